//! The connections to the gateway: which are used again, and what comes of answers that come early.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ecto_guard::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::stand_in::*;

/// Reads until the end of a head, and gives back what came after it.
async fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    loop {
        let end = read.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            return Some(read.split_off(end + 4));
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

/// Serves each connection like this, and counts them.
async fn serving<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream));
        }
    });
    (address, connections)
}

/// Gives every request without a body this answer, byte for byte, and counts the connections on which they come.
async fn answering(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    serving(move |mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn a_connection_is_used_again_after_every_answer_that_has_an_end() {
    let ended = "content-length: 2\r\n\r\n{}";
    let cases = [
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            200,
            ended,
            1,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, "\r\n\r\n", 1),
        (
            "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\ncontent-length: 500\r\n\r\n",
            304,
            "\r\n\r\n",
            1,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx-trailer: 1\r\n\r\n",
            200,
            "0\r\n\r\n",
            1,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            200,
            "\r\n\r\n",
            1,
        ),
        (
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
            200,
            "{}",
            5,
        ),
        // What comes after an answer that has ended is not taken for the next one.
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
            200,
            "{}",
            5,
        ),
        (
            "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
            204,
            "\r\n\r\n",
            5,
        ),
    ];
    for (answer, status, end, expected) in cases {
        let (address, connections) = answering(answer).await;
        let setting = Setting::new(address, Limits::default()).await;
        let mut client = setting.connect().await;
        for turn in 0..5 {
            client.send(&request("GET /v1/models", &[], "")).await;
            let told = client.until("\r\n\r\n").await;
            assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{told}");
            if !end.ends_with("\r\n\r\n") || end.starts_with('0') {
                let rest = end
                    .rsplit_once("length: 2\r\n\r\n")
                    .map_or(end, |(_, body)| body);
                client.until(rest).await;
            }
            assert!(client.has_heard_nothing(), "{turn}: {answer}");
            // The guard gives the connection back when it has written the answer, which is a moment after it was read.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(connections.load(Ordering::SeqCst), expected, "{answer}");
    }
}

/// A gateway that answers the head of a request, piece by piece and whole, whatever becomes of the body.
async fn answering_early() -> (SocketAddr, Arc<AtomicUsize>) {
    serving(|mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst";
            stream.write_all(head.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
            let _ = stream.write_all(b" half").await;
        }
    })
    .await
}

#[tokio::test]
async fn an_early_answer_arrives_whole_though_the_request_does_not() {
    let (address, connections) = answering_early().await;
    let limits = Limits {
        body_silence: Duration::from_millis(100),
        ..Limits::default()
    };
    let setting = Setting::new(address, limits).await;
    let half = request("POST /v1/responses", &[], "{}");
    let half = half.replace("Content-Length: 2", "Content-Length: 2000");
    for turn in 1..=2 {
        let mut client = setting.connect().await;
        client.send(&half).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "first half"));
        // Of a connection that carries half a request nothing more is expected.
        assert_eq!(connections.load(Ordering::SeqCst), turn);
    }
}

/// Asks as often as it takes to find room, since a place is free a moment after its client has left.
async fn ask_until_served(setting: &Setting) {
    loop {
        let mut client = setting.connect().await;
        let whole = request("GET /v1/models", &["Connection: close"], "");
        client.send_what_goes(whole).await;
        let answer = client.rest().await;
        if answer.starts_with("HTTP/1.1 200") {
            return;
        }
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
}

/// How many files may be open is reckoned with that.
#[tokio::test]
async fn there_are_never_more_connections_to_the_gateway_than_clients_may_have() {
    let (address, connections) = serving(|mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
    })
    .await;
    let limits = Limits {
        connections: 4,
        gateway_rest: PATIENCE * 10,
        ..Limits::default()
    };
    let setting = Setting::new(address, limits).await;
    for _ in 0..20 {
        futures_util::future::join_all((0..6).map(|_| ask_until_served(&setting))).await;
    }
    // None was closed, so as many were open as were made.
    let made = connections.load(Ordering::SeqCst);
    assert!((1..=4).contains(&made), "{made}");
}
