//! How much the guard takes.

use std::io::Write as _;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use ecto_core::ports::Guard as _;
use ecto_core::watchword::HEADER;
use ecto_guard::{Limits, Pace};
use http_body_util::{BodyExt as _, Full};
use proptest::prelude::*;
use tokio::net::TcpStream;

use crate::cutting::TellWhenDropped;
use crate::stand_in::*;

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_body_of_twenty_megabytes_passes_and_one_byte_more_does_not() {
    let gateway = TinyGateway::start(|request| async move {
        let body = request.into_body().collect().await.ok()?.to_bytes();
        let size = Bytes::from(body.len().to_string());
        Some(http::Response::new(Full::new(size).boxed_unsync()))
    })
    .await;
    let limits = Limits {
        farewell: PATIENCE,
        ..Limits::default()
    };
    let setting = Setting::new(gateway.address, limits).await;
    let most = 20 * 1024 * 1024;
    let body = "x".repeat(most);
    let answer = setting.ask("POST /v1/responses", &body).await;
    assert_eq!((answer.status, answer.body), (200, most.to_string()));

    let mut client = setting.connect().await;
    let whole = request("POST /v1/responses", &[], &format!("{body}x"));
    client.send(&whole).await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.code()),
        (413, "body_too_large".to_owned())
    );

    let mut client = setting.connect().await;
    client
        .send(&request(
            "POST /v1/responses",
            &["Transfer-Encoding: chunked"],
            "",
        ))
        .await;
    client
        .send_what_goes(format!("{:x}\r\n{body}x\r\n0\r\n\r\n", most + 1))
        .await;
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_before_it_comes() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut client = setting.connect().await;
    let small = request("POST /v1/responses", &[], "");
    client
        .send(small.replace("Content-Length: 0", "Content-Length: 20971521"))
        .await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (413, Some("close"))
    );
    assert!(gateway.saw_nothing());
}

#[tokio::test]
async fn a_body_that_stops_coming_is_not_waited_for() {
    let limits = Limits {
        body_silence: SHORT,
        ..Limits::default()
    };
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, limits).await;
    let mut client = setting.connect().await;
    let small = request("POST /v1/responses", &[], "{}");
    client
        .send(small.replace("Content-Length: 2", "Content-Length: 3"))
        .await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.code()),
        (408, "body_too_slow".to_owned())
    );
}

#[tokio::test]
async fn a_slow_answer_is_waited_for_longer_than_any_limit() {
    let limits = Limits {
        head_time: SHORT,
        body_silence: SHORT,
        rest: SHORT,
        ..Limits::default()
    };
    let gateway = TinyGateway::start(|_| async {
        tokio::time::sleep(SHORT * 5).await;
        Some(text(200, "{}"))
    })
    .await;
    let setting = Setting::new(gateway.address, limits).await;
    assert_eq!(setting.ask("POST /v1/responses", "{}").await.status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let long = format!("X-Long: {}", "x".repeat(32 * 1024));
    let many: Vec<String> = (0..101).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for headers in [vec![long.as_str()], many] {
        let mut client = setting.connect().await;
        client.send(&request("GET /v1/models", &headers, "")).await;
        assert_eq!(client.answer().await.status, 431);
        assert_eq!(client.rest().await, "");
    }
    let mut client = setting.connect().await;
    client.send("GET /v1/models HTTP/1.1\r\nX-Endless: ").await;
    for _ in 0..1024 {
        client.send_what_goes([b'x'; 1024]).await;
    }
    assert_eq!(client.answer().await.status, 431);
    assert!(gateway.saw_nothing());
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let limits = Limits {
        head_time: SHORT,
        ..Limits::default()
    };
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, limits).await;
    for begun in [
        "GET /v1/models HTT",
        "GET /v1/models HTTP/1.1\r\nHost: x\r\n",
    ] {
        let mut client = setting.connect().await;
        client.send(begun).await;
        let answer = client.answer().await;
        assert_eq!(
            (answer.status, answer.code()),
            (408, "head_too_slow".to_owned())
        );
        assert_eq!(client.rest().await, "", "{begun}");
    }
    let mut client = setting.connect().await;
    client.send(&request("GET /v1/models", &[], "")).await;
    assert_eq!(client.answer().await.status, 200);
    client.send("GET /v1/mod").await;
    assert_eq!(client.answer().await.status, 408);
    assert_eq!(client.rest().await, "", "the second head on a connection");

    let mut client = setting.connect().await;
    let drip = async {
        loop {
            client.send_what_goes("G").await;
            tokio::time::sleep(SHORT / 2).await;
        }
    };
    let _: Result<(), _> = tokio::time::timeout(SHORT * 4, drip).await;
    assert_eq!(client.answer().await.status, 408);
}

/// As tailscaled's transport makes them, when another connection comes free first.
#[tokio::test]
async fn a_connection_that_was_made_ahead_is_there_when_it_is_needed() {
    let limits = Limits {
        head_time: SHORT,
        ..Limits::default()
    };
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, limits).await;
    let mut client = setting.connect().await;
    tokio::time::sleep(SHORT * 3).await;
    client.send(&request("GET /v1/models", &[], "")).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_connection_at_rest_is_closed_and_one_in_use_is_not() {
    let limits = Limits {
        rest: SHORT,
        ..Limits::default()
    };
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, limits).await;
    let mut client = setting.connect().await;
    client.send(&request("POST /v1/responses", &[], "{}")).await;
    let stream = soon("the stream", streams.recv()).await.unwrap();
    tokio::time::sleep(SHORT * 3).await;
    stream.send("data: still\n\n");
    client.until("data: still\n\n").await;
    drop(stream);
    client.until("0\r\n\r\n").await;
    assert_eq!(client.rest().await, "");
    let mut unused = setting.connect().await;
    assert_eq!(unused.rest().await, "");
}

#[tokio::test]
async fn more_connections_than_there_is_room_for_are_turned_away() {
    let limits = Limits {
        connections: 2,
        farewell: SHORT * 3,
        ..Limits::default()
    };
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, limits).await;
    let mut first = setting.connect().await;
    let second = setting.connect().await;
    for client in [&mut first] {
        client.send(&request("GET /v1/models", &[], "")).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let mut activity = setting.guard.activity();
    let mut third = setting.connect().await;
    let answer = third.answer().await;
    assert_eq!((answer.status, answer.code()), (503, "too_busy".to_owned()));
    let told = activity.wait_for(|activity| activity.refused == 1);
    let line = soon("the line", told).await.unwrap().last.clone().unwrap();
    assert_eq!(
        (line.route.as_str(), line.address.as_str()),
        ("(a connection too many)", "unknown address")
    );
    drop(second);
    let mut served = false;
    for _ in 0..200 {
        let mut again = setting.connect().await;
        again
            .send_what_goes(&request("GET /v1/models", &[], ""))
            .await;
        if again.answer().await.status == 200 {
            served = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(served);
}

/// A client that has sent all of this before anybody else did anything.
fn connect_having_sent(setting: &Setting, whole: &str) -> Client {
    let mut stream = std::net::TcpStream::connect(setting.address).unwrap();
    stream.write_all(whole.as_bytes()).unwrap();
    stream.set_nonblocking(true).unwrap();
    Client::on(TcpStream::from_std(stream))
}

async fn is_told_that_there_is_no_room(client: &mut Client) {
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.code()), (503, "too_busy".to_owned()));
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    client.ends().await.unwrap();
}

#[tokio::test]
async fn whoever_is_turned_away_reads_why_although_its_request_is_sent_already() {
    let limits = Limits {
        connections: 1,
        turned_away: 2,
        ..Limits::default()
    };
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, limits).await;
    let _only = setting.connect().await;
    let whole = |length| request("POST /v1/responses", &[], &"x".repeat(length));
    for length in [2, 30_000] {
        let mut client = connect_having_sent(&setting, &whole(length));
        is_told_that_there_is_no_room(&mut client).await;
    }

    // One that has asked nothing yet is told nothing yet.
    let mut clients = [setting.connect().await, setting.connect().await];
    for client in &mut clients {
        tokio::time::sleep(SHORT).await;
        assert!(client.has_heard_nothing());
        client.send(&whole(500_000)).await;
        is_told_that_there_is_no_room(client).await;
    }
    // For a third there is no time: it is told at once, and may lose that when it sends more.
    setting.connect().await.until("HTTP/1.1 503").await;
}

/// `count` an hour.
fn each_hour(count: u32) -> Pace {
    Pace::new(NonZeroU32::new(count).unwrap(), Duration::from_secs(3600))
}

#[tokio::test]
async fn an_address_has_its_rate() {
    let limits = Limits {
        address_requests: each_hour(2),
        ..Limits::default()
    };
    let mut gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, limits).await;
    let mut client = setting.connect().await;
    let from = |address: &str| {
        request(
            "GET /v1/models",
            &[&format!("X-Forwarded-For: {address}")],
            "",
        )
    };
    for _ in 0..2 {
        client.send(from("203.0.113.9")).await;
        assert_eq!(client.answer().await.status, 200);
        gateway.next().await;
    }
    client.send(from("203.0.113.9")).await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.code()),
        (429, "address_rate_reached".to_owned())
    );
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&wait), "{wait}");
    assert!(gateway.saw_nothing());
    client.send(from("203.0.113.10")).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn an_address_has_its_places_and_gives_them_back() {
    let limits = Limits {
        address_under_way: 1,
        ..Limits::default()
    };
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, limits).await;
    let whole = request(
        "POST /v1/responses",
        &["X-Forwarded-For: 203.0.113.9"],
        "{}",
    );
    let mut first = setting.connect().await;
    first.send(&whole).await;
    let stream = soon("the stream", streams.recv()).await.unwrap();
    first.until("\r\n\r\n").await;
    let mut second = setting.connect().await;
    second.send(&whole).await;
    let answer = second.answer().await;
    assert_eq!(
        (answer.status, answer.code()),
        (429, "address_busy".to_owned())
    );
    drop(stream);
    first.until("0\r\n\r\n").await;
    let mut third = setting.connect().await;
    third.send(&whole).await;
    soon("the stream", streams.recv()).await.unwrap();
    drop(third);
}

#[tokio::test]
async fn many_wrong_keys_are_told_to_wait_and_a_good_one_passes() {
    let limits = Limits {
        address_wrong_keys: each_hour(3),
        ..Limits::default()
    };
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, limits).await;
    let mut client = setting.connect().await;
    let from = ["X-Forwarded-For: 203.0.113.9"];
    let mut statuses = Vec::new();
    for seed in 2..7 {
        client
            .send(&request_with(&secret(seed), "GET /v1/models", &from, ""))
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.status == 429, answer.header("retry-after").is_some());
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    client.send(&request("GET /v1/models", &from, "")).await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_body_that_drips_is_not_waited_for() {
    let limits = Limits {
        body_time: SHORT * 3,
        ..Limits::default()
    };
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, limits).await;
    let mut client = setting.connect().await;
    let small = request("POST /v1/responses", &[], "{}");
    client
        .send(small.replace("Content-Length: 2", "Content-Length: 999"))
        .await;
    let drip = async {
        loop {
            client.send_what_goes("x").await;
            tokio::time::sleep(SHORT / 2).await;
        }
    };
    let _: Result<(), _> = tokio::time::timeout(SHORT * 5, drip).await;
    assert_eq!(client.answer().await.code(), "body_too_slow");
}

#[tokio::test]
async fn a_silent_event_stream_gets_comments_between_its_events() {
    let limits = Limits {
        stream_silence: SHORT,
        ..Limits::default()
    };
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, limits).await;
    let mut client = setting.connect().await;
    client.send(&request("POST /v1/responses", &[], "{}")).await;
    let stream = soon("the stream", streams.recv()).await.unwrap();
    client.until("\r\n\r\n").await;
    client.until(": keep-alive\n").await;
    stream.send("data: one\n\n");
    client.until("data: one\n\n").await;
    client.until(": keep-alive\n").await;
    stream.send("data: tw");
    client.until("data: tw").await;
    tokio::time::sleep(SHORT * 4).await;
    stream.send("o\n\n");
    let rest = client.until("o\n\n").await;
    assert!(!rest.contains("keep-alive"), "{rest}");
}

/// What the guard holds at most of an answer that nobody reads, in bytes: hyper's buffer, and one read from the gateway.
const HELD: u64 = 64 * 1024 + 16 * 1024;

/// How much a client asks its system to hold for it, in bytes. Linux doubles that.
const CLIENT_HOLDS: u32 = 64 * 1024;

/// What the system holds at most of what the guard has written, in bytes.
fn system_holds() -> u64 {
    let most = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem");
    // Elsewhere a socket has no more than this either (`kern.ipc.maxsockbuf` of macOS).
    let most = most.map_or(8 * 1024 * 1024, |sizes| {
        sizes.split_whitespace().last().unwrap().parse().unwrap()
    });
    // The last write may be more than fits.
    most + HELD + 2 * u64::from(CLIENT_HOLDS)
}

/// The gateway sends as fast as it may, the client reads nothing: the guard takes no more than its own buffers and the
/// system's hold, and after a while the client is given up, which the gateway notices.
#[tokio::test]
async fn a_client_that_reads_nothing_holds_the_gateway_back_and_is_given_up() {
    let (tell, mut ended) = tokio::sync::mpsc::unbounded_channel::<()>();
    let gateway = TinyGateway::start(move |_| {
        let tell = tell.clone();
        async move {
            let endless = futures_util::stream::unfold(TellWhenDropped(tell), |tell| async move {
                let frame = http_body::Frame::data(Bytes::from(vec![b'x'; 65_536]));
                Some((Ok::<_, std::convert::Infallible>(frame), tell))
            });
            let body = http_body_util::StreamBody::new(endless);
            Some(http::Response::new(body.boxed_unsync()))
        }
    })
    .await;
    let limits = Limits {
        write_silence: Duration::from_secs(1),
        ..Limits::default()
    };
    let setting = Setting::new(gateway.address, limits).await;
    let mut activity = setting.guard.activity();
    let mut client = Client::connect_holding(setting.address, CLIENT_HOLDS).await;
    client.send(&request("POST /v1/responses", &[], "{}")).await;
    soon("the end of the answer at the gateway", ended.recv()).await;
    let seen = soon("its line", activity.wait_for(|seen| seen.last.is_some())).await;
    let taken = seen.unwrap().last.as_ref().unwrap().bytes;
    let most = system_holds() + HELD;
    assert!((HELD..=most).contains(&taken), "{taken} of {most}");
}

#[tokio::test]
async fn more_bodies_than_there_is_room_for_are_turned_away_before_they_are_read() {
    let limits = Limits {
        under_way_bytes: 2 * 128 * 1024,
        ..Limits::default()
    };
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, limits).await;
    let chunked = request(
        "POST /v1/chat/completions",
        &["Transfer-Encoding: chunked"],
        "1\r\n{\r\n",
    );
    let mut under_way = [setting.connect().await, setting.connect().await];
    for client in &mut under_way {
        client.send(&chunked).await;
    }
    let mut gateway = gateway;
    gateway.next().await;
    gateway.next().await;
    let mut third = setting.connect().await;
    third.send(&chunked).await;
    let answer = third.answer().await;
    assert_eq!((answer.status, answer.code()), (503, "too_busy".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    // What has no body takes no room.
    assert_eq!(setting.ask("GET /v1/models", "").await.status, 200);
    gateway.next().await;
    assert!(gateway.saw_nothing());
    for client in &mut under_way {
        client.send("1\r\n}\r\n0\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(setting.ask("POST /v1/responses", "{}").await.status, 200);
}

#[tokio::test]
async fn more_of_large_heads_than_there_is_room_for_is_turned_away() {
    let limits = Limits {
        under_way_bytes: 40 * 1024,
        ..Limits::default()
    };
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, limits).await;
    let half = format!(
        "GET /v1/models HTTP/1.1\r\nHost: mac.tail1234.ts.net\r\nX-Large: {}",
        "x".repeat(30 * 1024)
    );
    let mut first = setting.connect().await;
    first.send(&half).await;
    // Comes as soon as the first is read.
    let mut second = setting.connect().await;
    let answer = loop {
        second.send_what_goes(&half).await;
        let told = tokio::time::timeout(Duration::from_millis(200), second.answer()).await;
        match told {
            Ok(answer) => break answer,
            Err(_) => second = setting.connect().await,
        }
    };
    assert_eq!((answer.status, answer.code()), (503, "too_busy".to_owned()));
    assert_eq!(setting.ask("GET /v1/models", "").await.status, 200);
    first.send("\r\n\r\n").await;
    assert_eq!(first.answer().await.status, 401);
    let mut third = setting.connect().await;
    third.send(format!("{half}\r\n\r\n")).await;
    assert_eq!(third.answer().await.status, 401);
}

/// Sends `answer` a few bytes at a time to whoever asks, and then nothing.
async fn dripping_gateway(answer: &'static [u8]) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let mut buffer = [0; 4096];
                while matches!(stream.read(&mut buffer).await, Ok(count) if count > 0) {
                    for piece in answer.chunks(3) {
                        if stream.write_all(piece).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn an_answer_that_drips_arrives_whole() {
    let address = dripping_gateway(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
          5\r\n{\"id\"\r\n4\r\n:17}\r\n0\r\nX-Trailer: 1\r\n\r\n",
    )
    .await;
    let setting = Setting::new(address, Limits::default()).await;
    for _ in 0..3 {
        let mut client = setting.connect().await;
        client.send(&request("GET /v1/models", &[], "")).await;
        let seen = client.until("0\r\n\r\n").await;
        let text: String = seen.split("\r\n\r\n").skip(1).collect();
        let data: String = text.lines().skip(1).step_by(2).collect();
        assert_eq!(data, "{\"id\":17}", "{seen}");
        assert!(!seen.contains("X-Trailer"));
    }
}

#[tokio::test]
async fn what_ecto_asks_from_outside_is_neither_counted_nor_written_down_and_opens_nothing() {
    let gateway = TinyGateway::ordinary().await;
    let one = Pace::new(NonZeroU32::MIN, Duration::from_secs(3600));
    let limits = Limits {
        address_requests: one,
        address_wrong_keys: one,
        ..Limits::default()
    };
    let setting = Setting::new(gateway.address, limits).await;
    let mut rare = key("phone", 1);
    rare.grant.rate = Some("2/day".parse().unwrap());
    let keys = vec![rare];
    setting.guard.start(gateway.access(), keys).await.unwrap();
    setting.guard.release();
    let told = setting.guard.activity();
    let own = format!("{HEADER}: {}", watchword().word());
    let forged = format!("{HEADER}: {}", "0".repeat(64));
    let caller = "X-Forwarded-For: 203.0.113.9";
    let mut client = setting.connect().await;
    let mut ask = async |word: &str, seed| {
        let question = request_with(&secret(seed), "GET /v1/models", &[word, caller], "");
        client.send(question).await;
        client.answer().await.status
    };
    for _ in 0..3 {
        assert_eq!((ask(&own, 2).await, ask(&own, 1).await), (401, 200));
    }
    let activity = told.borrow().clone();
    assert_eq!(
        (activity.passed, activity.refused, activity.last),
        (0, 0, None)
    );
    assert_eq!(setting.guard.key_uses(), []);
    assert_eq!((ask(&forged, 2).await, ask(&forged, 2).await), (401, 429));
    assert_eq!((ask(&forged, 1).await, ask(&forged, 1).await), (200, 429));
    // A held guard lets nobody pass.
    setting.guard.hold();
    assert_eq!(ask(&own, 1).await, 503);
}

/// A request, its body and the head of the next one, in pieces.
#[derive(Debug, Clone)]
struct Pieces {
    room: usize,
    body: usize,
    is_chunked: bool,
    next_head: usize,
    cuts: Vec<usize>,
}

fn pieces() -> impl Strategy<Value = Pieces> {
    (
        prop_oneof![0usize..20_000, Just(1 << 20)],
        1usize..3000,
        any::<bool>(),
        prop_oneof![Just(0usize), 3000usize..20_000],
        prop::collection::vec(1usize..5000, 0..6),
    )
        .prop_map(|(room, body, is_chunked, next_head, cuts)| Pieces {
            room,
            body,
            is_chunked,
            next_head,
            cuts,
        })
}

async fn send_pieces(address: std::net::SocketAddr, pieces: Pieces) {
    let limits = Limits {
        under_way_bytes: pieces.room,
        body_silence: PATIENCE,
        ..Limits::default()
    };
    let setting = Setting::new(address, limits).await;
    let body = "x".repeat(pieces.body);
    let mut text = if pieces.is_chunked {
        let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", pieces.body);
        request(
            "POST /v1/responses",
            &["Transfer-Encoding: chunked"],
            &chunks,
        )
    } else {
        request("POST /v1/responses", &[], &body)
    };
    let field = format!("X-Large: {}", "y".repeat(pieces.next_head));
    text.push_str(&request("GET /v1/models", &[&field], ""));
    let mut client = setting.connect().await;
    let mut rest = text.as_str();
    for cut in &pieces.cuts {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        client.send_what_goes(piece).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        rest = after;
    }
    client.send_what_goes(rest).await;
    let first = client.answer().await;
    match first.status {
        200 => assert_eq!(first.body, format!("{{\"bytes\":{}}}", pieces.body)),
        _ => assert_eq!(first.code(), "too_busy", "{pieces:?}"),
    }
    if first.header("connection") == Some("close") {
        return;
    }
    let second = client.answer().await;
    match second.status {
        200 => assert_eq!(second.body, "{\"bytes\":0}"),
        _ => assert_eq!(second.code(), "too_busy", "{pieces:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_full_room_loses_nothing_of_a_request_that_was_let_in(all in prop::collection::vec(pieces(), 8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let gateway = TinyGateway::start(|request| async move {
                let body = request.into_body().collect().await.ok()?.to_bytes();
                Some(text(200, &format!("{{\"bytes\":{}}}", body.len())))
            })
            .await;
            let sending = all.into_iter().map(|pieces| send_pieces(gateway.address, pieces));
            futures_util::future::join_all(sending).await;
        });
    }
}
