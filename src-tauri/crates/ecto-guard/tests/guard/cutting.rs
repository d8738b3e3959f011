//! What ends a stream: the switch, a key that is taken away, the client that leaves.

use std::time::{Duration, Instant};

use ecto_core::ports::Guard as _;
use ecto_guard::Limits;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::stand_in::*;

/// A stream under way, with one event through.
async fn open_stream(
    setting: &Setting,
    streams: &mut UnboundedReceiver<OpenStream>,
    key_seed: u64,
) -> (Client, OpenStream) {
    let mut client = setting.connect().await;
    let line = "POST /v1/chat/completions";
    client
        .send(&request_with(&secret(key_seed), line, &[], "{}"))
        .await;
    let stream = soon("the stream", streams.recv()).await.unwrap();
    stream.send("data: first\n\n");
    client.until("data: first\n\n").await;
    (client, stream)
}

#[tokio::test]
async fn stopping_cuts_every_stream_and_frees_the_port() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut open = Vec::new();
    for _ in 0..30 {
        open.push(open_stream(&setting, &mut streams, 1).await);
    }
    let _resting = setting.connect().await;
    let began = Instant::now();
    setting.guard.stop().await;
    let took = began.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert!(TcpStream::connect(setting.address).await.is_err());
    for (mut client, stream) in open {
        let rest = client.rest().await;
        assert!(
            !rest.ends_with("0\r\n\r\n"),
            "ended as if it were whole: {rest}"
        );
        stream.broke_off().await;
    }
    let activity = setting.guard.activity().borrow().clone();
    assert_eq!((activity.in_flight, activity.passed), (0, 30));

    setting
        .guard
        .start(gateway.access(), vec![key("phone", 1)])
        .await
        .unwrap();
}

#[tokio::test]
async fn stopping_cuts_a_client_that_does_not_read() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let (_client, stream) = open_stream(&setting, &mut streams, 1).await;
    let much = "x".repeat(1024 * 1024);
    for _ in 0..16 {
        stream.send(&much);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    soon("the stop", setting.guard.stop()).await;
    stream.broke_off().await;
}

#[tokio::test]
async fn dropping_the_guard_ends_everything() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let (mut client, stream) = open_stream(&setting, &mut streams, 1).await;
    drop(setting);
    stream.broke_off().await;
    client.rest().await;
}

#[tokio::test]
async fn a_key_that_is_taken_away_ends_its_streams_and_no_others() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let both = vec![key("phone", 1), key("script", 2)];
    let port = setting.guard.start(gateway.access(), both).await.unwrap();
    assert_eq!(port, setting.address);
    setting.guard.release();
    let (mut phone, at_phone) = open_stream(&setting, &mut streams, 1).await;
    let (mut script, at_script) = open_stream(&setting, &mut streams, 2).await;

    let other = TinyGateway::ordinary().await;
    let renamed = vec![key("laptop", 2), key("new", 3)];
    setting.guard.start(other.access(), renamed).await.unwrap();
    at_phone.broke_off().await;
    phone.rest().await;
    at_script.send("data: still here\n\n");
    script.until("data: still here\n\n").await;

    setting.guard.release();
    assert_eq!(setting.ask("GET /v1/models", "").await.status, 401);
    let mut client = setting.connect().await;
    client
        .send(&request_with(&secret(2), "GET /v1/models", &[], ""))
        .await;
    assert_eq!(client.answer().await.body, MODELS);
}

/// Keeps a paused clock from going on while something is waited for: until what it gives is dropped, and for as long as the
/// test is patient at all.
fn stop_clock() -> std::sync::mpsc::Sender<()> {
    let (stopped, goes_on) = std::sync::mpsc::channel();
    tokio::task::spawn_blocking(move || goes_on.recv_timeout(PATIENCE));
    stopped
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_taken_away_is_cut_before_any_time_passes() {
    let stopped = stop_clock();
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let (mut phone, at_phone) = open_stream(&setting, &mut streams, 1).await;
    let began = tokio::time::Instant::now();
    setting.guard.set_keys(vec![key("script", 2)]);
    phone.rest().await;
    at_phone.broke_off().await;
    assert_eq!(setting.ask("GET /v1/models", "").await.status, 401);
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop(stopped);
}

#[tokio::test]
async fn a_client_that_leaves_during_a_stream_ends_it_at_the_gateway() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let (client, stream) = open_stream(&setting, &mut streams, 1).await;
    drop(client);
    stream.broke_off().await;
}

/// A gateway that never answers, and what tells that a run of it was given up.
async fn never_answering() -> (TinyGateway, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let (tell, ended) = tokio::sync::mpsc::unbounded_channel();
    let gateway = TinyGateway::start(move |_| {
        let tell = tell.clone();
        async move {
            let _told_when_dropped = TellWhenDropped(tell);
            std::future::pending().await
        }
    })
    .await;
    (gateway, ended)
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_ends_the_run() {
    let (mut gateway, mut ended) = never_answering().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut activity = setting.guard.activity();
    let mut client = setting.connect().await;
    client.send(&request("POST /v1/responses", &[], "{}")).await;
    gateway.next().await;
    drop(client);
    soon("the end of the run", ended.recv()).await.unwrap();
    let line = soon(
        "the line",
        activity.wait_for(|activity| activity.last.is_some()),
    )
    .await;
    assert_eq!(line.unwrap().last.as_ref().unwrap().status, 499);
}

/// What a client sends behind its request does not hide that it left.
#[tokio::test]
async fn a_client_that_has_sent_more_and_leaves_ends_the_run() {
    let (mut gateway, mut ended) = never_answering().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let whole = request("POST /v1/responses", &[], "{}");
    let next = request("GET /v1/models", &[], "");
    for (with_it, later) in [
        (next.clone(), String::new()),
        (next[..20].to_owned(), next[20..].to_owned()),
        (String::new(), next.repeat(5)),
        (String::new(), "x".repeat(20_000)),
    ] {
        let mut client = setting.connect().await;
        client.send(format!("{whole}{with_it}")).await;
        gateway.next().await;
        client.send(later).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(ended.try_recv().is_err());
        drop(client);
        soon("the end of the run", ended.recv()).await.unwrap();
    }
    assert!(gateway.saw_nothing());
}

/// More than is read ahead hides it until something is written.
#[tokio::test]
async fn a_client_that_has_sent_a_great_deal_more_and_leaves_ends_its_stream_with_the_next_event() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let (mut client, stream) = open_stream(&setting, &mut streams, 1).await;
    client.send("x".repeat(100_000)).await;
    drop(client);
    let writing = async {
        while stream.0.send("data: next\n\n".into()).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("the end of the stream", writing).await;
}

pub struct TellWhenDropped(pub tokio::sync::mpsc::UnboundedSender<()>);

impl Drop for TellWhenDropped {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn a_stream_that_the_gateway_breaks_off_does_not_look_whole() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let (mut client, _stream) = open_stream(&setting, &mut streams, 1).await;
    gateway.stop().await;
    assert!(!client.rest().await.ends_with("0\r\n\r\n"));
}
