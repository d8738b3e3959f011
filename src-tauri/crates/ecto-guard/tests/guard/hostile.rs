//! Requests that mean one thing to one server and another thing to the next.

use std::time::Duration;

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
}

/// hyper takes the chunks and forgets the length, as RFC 9112 6.3 asks; the guard writes the framing anew. What is
/// hidden behind the shorter of the two is a request of its own, judged like every other.
#[tokio::test]
async fn both_lengths_hide_nothing() {
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ] {
        let bytes = format!(
            "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n{framing}\r\n\r\n0\r\n\r\n\
             POST /tools/invoke HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Length: 0\r\n\r\n"
        );
        let (answers, seen) = what_reaches_the_gateway(&bytes).await;
        assert_eq!(seen, ["POST /v1/responses"], "{answers}");
        assert!(!answers.contains("tools"), "{answers}");
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

/// hyper takes a bare line feed for the end of a line; what follows is then a header like every other.
#[tokio::test]
async fn a_header_hidden_behind_a_line_feed_does_not_arrive() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut client = setting.connect().await;
    let hidden = "User-Agent: a\nx-openclaw-scopes: operator.admin";
    client.send(&request("GET /v1/models", &[hidden], "")).await;
    assert_eq!(client.answer().await.status, 200);
    let seen = gateway.next().await;
    assert_eq!(seen.headers["user-agent"], "a");
    assert!(!seen.headers.contains_key("x-openclaw-scopes"));
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
