//! What crosses the guard, in both directions.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use ecto_core::ports::Guard as _;
use ecto_guard::Limits;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use tokio::sync::mpsc;

use crate::stand_in::*;

#[tokio::test]
async fn a_completion_reaches_the_gateway_as_a_local_call() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut client = setting.connect().await;
    let headers = [
        "Content-Type: application/json",
        "User-Agent: OpenAI/Python 2.0",
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Host: mac.tail1234.ts.net",
        "X-Forwarded-Proto: https",
        "Tailscale-Funnel-Request: ?1",
        "Tailscale-User-Login: somebody@example.com",
        "X-Real-IP: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "Via: 1.1 proxy",
        "Cookie: session=1",
        "x-openclaw-agent-id: main",
        "X-OpenClaw-Scopes: operator.admin",
        "X-Ecto-Prover: guess",
        "Connection: keep-alive, X-Request-Id",
        "X-Request-Id: 7",
    ];
    client
        .send(&request(
            "POST /v1/chat/completions?token=x",
            &headers,
            "{\"a\":1}",
        ))
        .await;
    assert_eq!(client.answer().await.status, 200);

    let seen = gateway.next().await;
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.target, "/v1/chat/completions");
    assert_eq!(
        seen.header_lines(),
        [
            format!("authorization: Bearer {GATEWAY_TOKEN}"),
            "content-length: 7".to_owned(),
            "content-type: application/json".to_owned(),
            format!("host: {}", gateway.address),
            "user-agent: OpenAI/Python 2.0".to_owned(),
        ]
    );
}

#[tokio::test]
async fn every_listed_route_passes() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    for (line, target) in [
        ("POST /v1/chat/completions", "/v1/chat/completions"),
        ("POST /v1/responses", "/v1/responses"),
        ("GET /v1/models", "/v1/models"),
        ("GET /v1/models/openclaw", "/v1/models/openclaw"),
        ("GET /v1/models/openclaw/main", "/v1/models/openclaw%2Fmain"),
        (
            "GET /v1/models/openclaw%2Fmain",
            "/v1/models/openclaw%2Fmain",
        ),
    ] {
        assert_eq!(setting.ask(line, "{}").await.status, 200, "{line}");
        assert_eq!(gateway.next().await.target, target);
    }
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut client = setting.connect().await;
    for _ in 0..5 {
        client.send(&request("GET /v1/models", &[], "")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, MODELS));
        client.send(&request("POST /v1/responses", &[], "{}")).await;
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(gateway.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_gateways_errors_are_passed_on_but_not_what_speaks_of_the_machine() {
    let gateway = TinyGateway::start(|_| async {
        let response = Response::builder()
            .status(429)
            .header("retry-after", "300")
            .header("content-type", "application/json")
            .header("x-request-id", "42")
            .header("server", "node")
            .header("x-powered-by", "express")
            .header("set-cookie", "a=b")
            .header("connection", "keep-alive, x-internal")
            .header("x-internal", "1")
            .header("keep-alive", "timeout=5")
            .header("x-openclaw-session-key", "agent:main")
            .header("authorization", "Bearer oops")
            .body(Full::new(Bytes::from_static(b"{\"error\":{}}")).boxed_unsync());
        Some(response.unwrap())
    })
    .await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let answer = setting.ask("POST /v1/responses", "{}").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (429, "{\"error\":{}}")
    );
    let mut names: Vec<_> = answer
        .head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.to_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "content-length",
            "content-type",
            "date",
            "retry-after",
            "x-request-id"
        ]
    );
}

#[tokio::test]
async fn an_answer_streams_through_event_by_event() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut client = setting.connect().await;
    client
        .send(&request("POST /v1/chat/completions", &[], "{}"))
        .await;
    let stream = soon("the stream", streams.recv()).await.unwrap();
    let head = client.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/event-stream"));
    for number in 0..20 {
        let event = format!("data: {number}\n\n");
        stream.send(&event);
        client.until(&event).await;
    }
    drop(stream);
    client.until("0\r\n\r\n").await;
    client.send(&request("GET /v1/models", &[], "")).await;
    soon("the next request on the same connection", streams.recv()).await;
}

#[tokio::test]
async fn a_body_streams_through_piece_by_piece() {
    let (tell, mut pieces) = mpsc::unbounded_channel();
    let gateway = TinyGateway::start(move |request| {
        let tell = tell.clone();
        async move {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                let data = frame.unwrap().into_data().unwrap();
                tell.send(String::from_utf8(data.to_vec()).unwrap())
                    .unwrap();
            }
            Some(text(200, "{}"))
        }
    })
    .await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut client = setting.connect().await;
    client
        .send(&request(
            "POST /v1/responses",
            &["Transfer-Encoding: chunked"],
            "",
        ))
        .await;
    for piece in ["one", "two", "three"] {
        client
            .send(format!("{:x}\r\n{piece}\r\n", piece.len()))
            .await;
        let arrived = soon("a piece", pieces.recv()).await.unwrap();
        assert_eq!(arrived, piece);
    }
    client.send("0\r\nX-Trailer: 1\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut client = setting.connect().await;
    let whole = request("POST /v1/responses", &["Expect: 100-continue"], "{}");
    let (head, body) = whole.split_at(whole.len() - 2);
    client.send(head).await;
    client.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send(body).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn each_request_leaves_one_line_without_a_secret() {
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut activity = setting.guard.activity();
    let mut client = setting.connect().await;
    client
        .send(&request(
            "GET /v1/models?key=ecto_abc",
            &["X-Forwarded-For: 203.0.113.9"],
            "",
        ))
        .await;
    client.answer().await;
    let done = soon(
        "a line",
        activity.wait_for(|activity| activity.last.is_some()),
    )
    .await
    .unwrap()
    .clone();
    assert_eq!((done.passed, done.refused, done.in_flight), (1, 0, 0));
    let line = done.last.unwrap();
    assert_eq!(line.key.as_deref(), Some("phone"));
    assert_eq!(line.address.as_str(), "203.0.113.9");
    assert_eq!(line.route.as_str(), "GET /v1/models");
    assert_eq!((line.status, line.bytes), (200, MODELS.len() as u64));

    client
        .send(&request("GET /v1/models/ecto_abc/x/y", &[], ""))
        .await;
    client.answer().await;
    let done = soon(
        "a line",
        activity.wait_for(|activity| activity.refused == 1),
    )
    .await
    .unwrap()
    .clone();
    let line = done.last.unwrap();
    assert_eq!(line.route.as_str(), "GET (a path with a key in it)");
    assert_eq!(line.address.as_str(), "this machine");
    assert_eq!((line.key, line.status), (None, 404));
}
