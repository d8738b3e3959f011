//! Requests that mean one thing to one server and another thing to the next.

use std::time::Duration;

use ecto_core::ports::Guard as _;
use ecto_guard::Limits;

use crate::stand_in::*;

/// Sends bytes and says what the gateway saw of them.
async fn what_reaches_the_gateway(bytes: &str) -> (String, Vec<String>) {
    let mut gateway = TinyGateway::ordinary().await;
    let short = Duration::from_millis(200);
    let limits = Limits {
        head_time: short,
        body_silence: short,
        rest: short,
        ..Limits::default()
    };
    let setting = Setting::new(gateway.address, limits).await;
    let mut client = setting.connect().await;
    client
        .send_what_goes(bytes.replace("KEY", secrecy::ExposeSecret::expose_secret(&secret(1))))
        .await;
    let answers = client.rest().await;
    let mut seen = Vec::new();
    while let Ok(one) = gateway.seen.try_recv() {
        seen.push(format!("{} {}", one.method, one.target));
    }
    (answers, seen)
}

#[tokio::test]
async fn ambiguous_requests_do_not_pass() {
    let cases = [
        (
            "two different lengths",
            "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        ),
        (
            "a length that is not a number",
            "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: +2\r\n\r\n{}",
        ),
        (
            "a list of lengths",
            "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: 2, 3\r\n\r\n{}",
        ),
        (
            "a coding that does not end in chunked",
            "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        ),
        (
            "an unknown coding",
            "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "a space before the colon",
            "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length : 2\r\n\r\n{}",
        ),
        (
            "a folded line",
            "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r\n KEY\r\n\r\n",
        ),
        (
            "a bare carriage return",
            "GET /v1/models HTTP/1.1\r\nHost: x\rAuthorization: Bearer KEY\r\n\r\n",
        ),
        (
            "a zero byte in a value",
            "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nAccept: a\0b\r\n\r\n",
        ),
        (
            "a zero byte in the path",
            "GET /v1/models\0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n",
        ),
        (
            "two keys",
            "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nAuthorization: Bearer KEY\r\n\r\n",
        ),
        (
            "two hosts",
            "GET /v1/models HTTP/1.1\r\nHost: x\r\nHost: y\r\nAuthorization: Bearer KEY\r\n\r\n",
        ),
        (
            "no host",
            "GET /v1/models HTTP/1.1\r\nAuthorization: Bearer KEY\r\n\r\n",
        ),
        (
            "a whole address",
            "GET http://127.0.0.1:18789/v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n",
        ),
        (
            "a tunnel",
            "CONNECT 127.0.0.1:18789 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n",
        ),
        (
            "an older version",
            "GET /v1/models HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n",
        ),
        ("no version", "GET /v1/models\r\n\r\n"),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (
            "a WebSocket",
            "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ),
        (
            "an upgrade to HTTP/2",
            "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        ),
        (
            "a backslash",
            "POST /v1/..\\tools\\invoke HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n",
        ),
        (
            "two spaces",
            "GET  /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n",
        ),
        ("not HTTP", "\x16\x03\x01\x02"),
    ];
    for (what, bytes) in cases {
        let (answers, seen) = what_reaches_the_gateway(bytes).await;
        assert_eq!(seen, Vec::<String>::new(), "{what}: {answers}");
        assert!(
            !answers.contains("HTTP/1.1 2") && !answers.contains("HTTP/1.1 101"),
            "{what}: {answers}"
        );
    }
}

#[tokio::test]
async fn a_websocket_is_not_there() {
    let (answers, _) = what_reaches_the_gateway(
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    )
    .await;
    assert!(answers.starts_with("HTTP/1.1 404"), "{answers}");
    assert!(answers.contains("upgrade_not_offered"), "{answers}");
}

#[tokio::test]
async fn both_lengths_are_refused() {
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        let bytes = format!(
            "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n{framing}\r\n\r\n0\r\n\r\n\
             POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: 0\r\n\r\n"
        );
        let (answers, seen) = what_reaches_the_gateway(&bytes).await;
        assert_eq!(seen, Vec::<String>::new(), "{answers}");
        assert!(answers.starts_with("HTTP/1.1 400 "), "{answers}");
        assert_eq!(answers.matches("HTTP/1.1").count(), 1 + 1, "{answers}");
    }
}

#[tokio::test]
async fn broken_chunks_do_not_become_a_whole_body() {
    for chunks in [
        "5\r\nhello",
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
    ] {
        let bytes = format!(
            "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        );
        let (answers, _) = what_reaches_the_gateway(&bytes).await;
        assert!(!answers.contains("HTTP/1.1 200"), "{chunks:?}: {answers}");
    }
}

#[tokio::test]
async fn a_header_hidden_behind_a_line_feed_is_refused() {
    let (answers, seen) = what_reaches_the_gateway(
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nUser-Agent: a\nx-openclaw-scopes: operator.admin\r\n\r\n",
    )
    .await;
    assert_eq!(seen, Vec::<String>::new(), "{answers}");
    assert!(answers.contains("malformed_request"), "{answers}");
}

#[tokio::test]
async fn a_refused_head_leaves_a_line() {
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut activity = setting.guard.activity();
    let mut client = setting.connect().await;
    client.send("GET /v1/models HTTP/1.1\nHost: x\n\n").await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (400, Some("close"))
    );
    assert_eq!(answer.code(), "malformed_request");
    assert_eq!(client.rest().await, "");
    let line = soon(
        "the line",
        activity.wait_for(|activity| activity.refused == 1),
    )
    .await;
    let line = line.unwrap().last.clone().unwrap();
    assert_eq!(
        (line.status, line.route.as_str()),
        (400, "(a head that could not be read)")
    );
    assert_eq!(line.address.as_str(), "unknown address");
}

/// Requests may follow one another without waiting; what is wrong with the second is no matter of the first.
#[tokio::test]
async fn what_comes_before_a_malformed_request_is_answered() {
    let (answers, seen) = what_reaches_the_gateway(
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n\
         GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n\
         POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(seen, ["GET /v1/models", "GET /v1/models"], "{answers}");
    let statuses: Vec<_> = answers
        .match_indices("HTTP/1.1 ")
        .filter_map(|(place, _)| answers.get(place + 9..place + 12))
        .collect();
    assert_eq!(statuses, ["200", "200", "400", "req"], "{answers}");
}

/// What arrives at a gateway that reads bytes, from a client that sends everything a client might try.
#[tokio::test]
async fn the_gateway_sees_these_bytes_and_no_others() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let setting = Setting::new(address, Limits::default()).await;
    let mut client = setting.connect().await;
    let headers = [
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-Proto: https",
        "X-Real-IP: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "Via: 1.0 x",
        "Cookie: a=b",
        "X-OpenClaw-Scopes: operator.admin",
        "Proxy-Authorization: Basic eDp5",
        "User-Agent: J\u{e9}r\u{f4}me",
        "Accept: */*",
        "OpenAI-Beta:   v2\t",
        "TE: trailers",
        "Expect: 100-continue",
        "Keep-Alive: timeout=5",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked",
    ];
    let mut text = request("POST /v1/responses?x=/../y", &headers, "");
    text.push_str("2\r\n{}\r\n0\r\nX-OpenClaw-Scopes: operator.admin\r\n\r\n");
    client.send(text).await;
    let (mut stream, _) = soon("a connection", listener.accept()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"0\r\n\r\n") {
        let count = soon(
            "bytes at the gateway",
            tokio::io::AsyncReadExt::read_buf(&mut stream, &mut seen),
        )
        .await
        .unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
    }
    assert_eq!(
        String::from_utf8(seen).unwrap(),
        format!(
            "POST /v1/responses HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {GATEWAY_TOKEN}\r\n\
             accept: */*\r\nopenai-beta: v2\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
        )
    );
}

/// Many connections one after the other leave nothing behind. The hundred thousand go the same way as the five thousand
/// that are always tried, and take a minute, so they are asked for: `cargo test -p ecto-guard -- --ignored`.
async fn connections_in_turn(count: usize) {
    let gateway = TinyGateway::ordinary().await;
    let limits = Limits {
        connections: 50,
        ..Limits::default()
    };
    let setting = Setting::new(gateway.address, limits).await;
    let whole = request("GET /v1/models", &["Connection: close"], "");
    for turn in 0..count {
        let mut client = setting.connect().await;
        match turn % 4 {
            0 => drop(client),
            1 => {
                client.send("GET /v1/mo").await;
                drop(client);
            }
            2 => {
                client.send("\u{16}\u{3}\u{1}").await;
                assert!(client.rest().await.contains("malformed_request"));
            }
            _ => {
                client.send(&whole).await;
                assert_eq!(client.answer().await.status, 200, "connection {turn}");
                assert_eq!(client.rest().await, "");
            }
        }
    }
    assert_eq!(setting.ask("GET /v1/models", "").await.status, 200);
}

#[tokio::test]
async fn five_thousand_connections_in_turn_leave_nothing_behind() {
    connections_in_turn(5000).await;
}

#[tokio::test]
#[ignore = "takes a minute; five thousand are always tried"]
async fn a_hundred_thousand_connections_in_turn_leave_nothing_behind() {
    connections_in_turn(100_000).await;
}

/// A body where none belongs is not carried on, and is not taken for the next request.
#[tokio::test]
async fn a_body_where_none_belongs_is_not_a_request() {
    let smuggled = "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n\r\n";
    let (answers, seen) = what_reaches_the_gateway(&format!(
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: {}\r\n\r\n{}",
        smuggled.len() + 50,
        smuggled.replace("KEY", "ecto_"),
    ))
    .await;
    assert_eq!(seen, ["GET /v1/models"], "{answers}");
}
