//! What the guard answers by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ecto_core::key::Route;
use ecto_core::ports::Guard as _;
use ecto_core::refusal::Refusal;
use ecto_guard::Limits;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;

use crate::stand_in::*;

fn shown(answer: &Answer) -> String {
    let mut headers: Vec<_> = answer
        .head
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty() && !line.starts_with("date"))
        .collect();
    headers.sort_unstable();
    format!("{}\n{}\n{}", answer.status, headers.join("\n"), answer.body)
}

#[tokio::test]
async fn without_a_key_nobody_passes() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut client = setting.connect().await;
    client
        .send("GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    insta::assert_snapshot!(shown(&client.answer().await));
    client
        .send(&request_with(&secret(2), "GET /v1/models", &[], ""))
        .await;
    insta::assert_snapshot!(shown(&client.answer().await));
    for authorization in [
        "Basic eDp5",
        "Bearer",
        "Bearer gateway-token-that-never-leaves",
    ] {
        client
            .send(format!(
                "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n"
            ))
            .await;
        assert_eq!(client.answer().await.status, 401, "{authorization}");
    }
    assert!(gateway.saw_nothing());
}

#[tokio::test]
async fn what_is_not_offered_is_not_there_with_or_without_a_key() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut client = setting.connect().await;
    client.send(&request("POST /tools/invoke", &[], "{}")).await;
    insta::assert_snapshot!(shown(&client.answer().await));
    for line in [
        "GET /",
        "GET /health",
        "POST /v1/%2e%2e/tools/invoke",
        "POST /v1/../tools/invoke",
        "POST /v1/chat/completions/",
        "POST //v1/chat/completions",
        "POST /V1/chat/completions",
        "GET /v1/models/..%2f..%2ftools%2finvoke",
        "GET /favicon.ico",
        "OPTIONS *",
    ] {
        let answer = setting.ask(line, "").await;
        assert_eq!(
            (answer.status, answer.code()),
            (404, "unknown_route".to_owned()),
            "{line}"
        );
        let mut client = setting.connect().await;
        client
            .send(format!("{line} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        assert_eq!(client.answer().await.status, 404, "{line}");
    }
    assert!(gateway.saw_nothing());
}

#[tokio::test]
async fn another_method_is_named() {
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    insta::assert_snapshot!(shown(&setting.ask("DELETE /v1/models/openclaw", "").await));
    let answer = setting.ask("GET /v1/chat/completions", "").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn a_key_passes_only_where_it_may() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut only_models = key("phone", 1);
    only_models.grant.routes = [Route::Models].into();
    setting
        .guard
        .start(gateway.access(), vec![only_models])
        .await
        .unwrap();
    setting.guard.release();
    insta::assert_snapshot!(shown(&setting.ask("POST /v1/responses", "").await));
    assert!(gateway.saw_nothing());
    assert_eq!(setting.ask("GET /v1/models", "").await.status, 200);
}

#[tokio::test]
async fn a_gateway_that_is_away_is_said_so_and_comes_back_by_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let setting = Setting::new(address, Limits::default()).await;
    insta::assert_snapshot!(shown(&setting.ask("POST /v1/responses", "{}").await));

    let back = |listener| TinyGateway::start_on(listener, |_| async { Some(text(200, "{}")) });
    let gateway = back(TcpListener::bind(address).await.unwrap());
    assert_eq!(setting.ask("POST /v1/responses", "{}").await.status, 200);
    gateway.stop().await;
    assert_eq!(setting.ask("POST /v1/responses", "{}").await.status, 503);
    let _gateway = back(TcpListener::bind(address).await.unwrap());
    assert_eq!(setting.ask("POST /v1/responses", "{}").await.status, 200);
}

#[tokio::test]
async fn a_request_that_may_have_acted_is_never_sent_twice() {
    let mut gateway = TinyGateway::start(|request| async move {
        let again = request.uri().path() == "/v1/models";
        again.then(|| text(200, MODELS))
    })
    .await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    assert_eq!(setting.ask("GET /v1/models", "").await.status, 200);
    gateway.next().await;
    insta::assert_snapshot!(shown(&setting.ask("POST /v1/responses", "{}").await));
    gateway.next().await;
    assert_eq!(setting.ask("GET /v1/models", "").await.status, 200);
    assert_eq!(gateway.next().await.target, "/v1/models");
    assert!(gateway.saw_nothing());
}

#[tokio::test]
async fn the_gateways_own_refusal_is_not_taken_for_the_clients() {
    let gateway = TinyGateway::start(|_| async { Some(text(401, "{}")) }).await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    insta::assert_snapshot!(shown(&setting.ask("GET /v1/models", "").await));
}

#[test]
fn every_refusal_has_its_sentence() {
    let all: Vec<_> = Refusal::ALL
        .into_iter()
        .map(|refusal| {
            format!(
                "{} {} ({}): {}",
                refusal.status(),
                refusal.code(),
                refusal.kind(),
                refusal.sentence()
            )
        })
        .collect();
    insta::assert_snapshot!(all.join("\n"));
}

/// How often the gateway is restarted.
const RESTARTS: usize = 6;

fn named(id: &str) -> String {
    let header = format!("X-Request-Id: {id}");
    request("POST /v1/responses", &[&header], "{}")
}

/// A gateway that answers with the id of the request, and holds back what it is told to.
fn busy_gateway(listener: TcpListener) -> TinyGateway {
    TinyGateway::start_on(listener, |request| async move {
        let id = request.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        if id.starts_with("held") {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        Some(text(200, &id))
    })
}

/// Asks as often as this, one after the other, whatever is answered.
async fn ask_on_and_on(setting: Arc<Setting>, name: usize, times: usize) -> Vec<(String, u16)> {
    let mut answers = Vec::new();
    let mut client = setting.connect().await;
    for turn in 0..times {
        let id = format!("{name}-{turn}");
        client.send(named(&id)).await;
        let answer = client.answer().await;
        if answer.status == 200 {
            assert_eq!(answer.body, id);
        }
        answers.push((id, answer.status));
        if answer.header("connection") == Some("close") {
            client = setting.connect().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    answers
}

/// How often each request was seen.
#[derive(Default)]
struct Times(HashMap<String, usize>);

impl Times {
    fn count(&mut self, seen: &Seen) {
        let id = seen.headers["x-request-id"].to_str().unwrap();
        *self.0.entry(id.to_owned()).or_default() += 1;
    }

    fn of(&self, id: &str) -> usize {
        self.0.get(id).copied().unwrap_or_default()
    }
}

/// The gateway is restarted again and again while clients ask: whatever a client is told is true of what the gateway saw.
/// What it had under way gets 502 and may have acted; what comes while it is away gets 503, and may be sent again.
#[tokio::test]
async fn a_gateway_that_restarts_under_load_sees_no_request_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut gateway = busy_gateway(listener);
    let setting = Arc::new(Setting::new(address, Limits::default()).await);
    let asking: Vec<_> = (0..8)
        .map(|name| tokio::spawn(ask_on_and_on(setting.clone(), name, 60)))
        .collect();
    let mut times = Times::default();
    for restart in 0..RESTARTS {
        let held: Vec<String> = (0..4)
            .map(|number| format!("held-{restart}-{number}"))
            .collect();
        let mut clients = Vec::new();
        for id in &held {
            let mut client = setting.connect().await;
            client.send(named(id)).await;
            clients.push(client);
        }
        while held.iter().any(|id| times.of(id) == 0) {
            times.count(&gateway.next().await);
        }
        gateway.halt().await;
        while let Ok(seen) = gateway.seen.try_recv() {
            times.count(&seen);
        }
        for (id, client) in held.iter().zip(&mut clients) {
            let answer = client.answer().await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (502, "gateway_broke_off")
            );
            assert_eq!(answer.header("x-should-retry"), Some("false"));
            assert_eq!(answer.header("retry-after"), None);
            assert_eq!(times.of(id), 1, "{id}");
            let mut client = setting.connect().await;
            client.send(named(&format!("new after {id}"))).await;
            let answer = client.answer().await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (503, "gateway_away")
            );
            let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!(seconds > 0);
        }
        gateway = busy_gateway(TcpListener::bind(address).await.unwrap());
        let id = format!("back-{restart}");
        let mut client = setting.connect().await;
        client.send(named(&id)).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body), (200, id));
    }
    let mut answers = Vec::new();
    for asking in asking {
        answers.extend(soon("all answers", asking).await.unwrap());
    }
    while let Ok(seen) = gateway.seen.try_recv() {
        times.count(&seen);
    }
    for (id, status) in &answers {
        let seen = times.of(id);
        match status {
            200 => assert_eq!(seen, 1, "{id}"),
            502 => assert!(seen <= 1, "{id}: {seen}"),
            503 => assert_eq!(seen, 0, "{id}"),
            other => panic!("{id}: {other}"),
        }
    }
    let passed = answers.iter().filter(|(_, status)| *status == 200).count();
    assert!(passed > 100, "{passed}");
    let twice = times.0.iter().find(|(_, count)| **count > 1);
    assert_eq!(twice, None);
    let sent_while_away = times.0.keys().find(|id| id.starts_with("new"));
    assert_eq!(sent_while_away, None);
}

/// A request with a short body whose head and body are sent apart.
fn in_two_parts(key: &SecretString, length: usize, more: &str) -> String {
    let key = key.expose_secret();
    format!(
        "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n{more}\r\n"
    )
}

#[tokio::test]
async fn a_short_body_is_heard_out_before_it_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = listener.local_addr().unwrap();
    drop(listener);
    let setting = Setting::new(away, Limits::default()).await;
    let (good, wrong) = (secret(1), secret(2));
    for (key, status) in [(&wrong, 401), (&good, 503)] {
        let mut client = setting.connect().await;
        client.send(in_two_parts(key, 4, "")).await;
        client.send("wh").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(client.has_heard_nothing(), "{status} came too early");
        client.send("at").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (status, None));
        // Nothing is left over that would be taken for the next request.
        client.send(&request_with(key, "GET /", &[], "")).await;
        assert_eq!(client.answer().await.status, 404);
    }
}

#[tokio::test]
async fn what_may_never_come_is_not_waited_for() {
    let gateway = TinyGateway::ordinary().await;
    let limits = Limits {
        farewell: Duration::from_millis(200),
        heard_out: 1,
        ..Limits::default()
    };
    let setting = Setting::new(gateway.address, limits).await;
    let wrong = secret(2);
    let ends = |answer: Answer| {
        (
            answer.status,
            answer.header("connection").map(str::to_owned),
        )
    };
    let closed = (401, Some("close".to_owned()));
    // The client asks first whether to send it, or it is long, or its length is not told.
    for head in [
        in_two_parts(&wrong, 4, "Expect: 100-continue\r\n"),
        in_two_parts(&wrong, 65_537, ""),
        in_two_parts(&wrong, 4, "").replace("Content-Length: 4", "Transfer-Encoding: chunked"),
    ] {
        let mut client = setting.connect().await;
        client.send(head).await;
        assert_eq!(ends(client.answer().await), closed);
    }
    // Only so many are waited for at once, and each only so long.
    let mut first = setting.connect().await;
    first.send(in_two_parts(&wrong, 4, "")).await;
    let mut second = setting.connect().await;
    second.send(in_two_parts(&wrong, 4, "")).await;
    assert_eq!(ends(second.answer().await), closed);
    assert_eq!(ends(first.answer().await), closed);
}
