//! How much one connection, and all of them together, hold.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ecto_core::ports::{Recorder, RequestLine};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::fuzz::{Setting, share};

/// Ten thousand connections are ten thousand of these.
#[test]
fn a_connection_under_way_is_small() {
    let (_client, guard) = tokio::io::duplex(1);
    let size = size_of_val(&serve(guard, Setting::default().shared));
    assert!(size <= 4096, "{size}");
}

const ANSWER: usize = 400_000;
const CLIENTS: usize = 24;

/// Counts what was handed over to be written.
#[derive(Default)]
struct Counter {
    lines: AtomicUsize,
    bytes: AtomicUsize,
}

impl Recorder for Counter {
    fn keep(&self, line: &RequestLine) {
        let bytes = usize::try_from(line.bytes).unwrap();
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
        self.lines.fetch_add(1, Ordering::SeqCst);
    }
}

/// A gateway whose answers are large, and come as fast as they are taken.
async fn talking_gateway() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                while stream.read(&mut asked).await.is_ok_and(|count| count > 0) {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {ANSWER}\r\n\r\n");
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(&vec![b'x'; ANSWER]).await;
                }
            });
        }
    });
    address
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}

/// Clients that ask through pipes into which next to nothing fits.
async fn ask(shared: &Arc<Shared>, key: &SecretString) -> (JoinSet<()>, Vec<DuplexStream>) {
    let mut serving = JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (mut client, guard) = tokio::io::duplex(64);
        serving.spawn(serve(guard, shared.clone()));
        let key = key.expose_secret();
        let request =
            format!("GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        clients.push(client);
    }
    (serving, clients)
}

#[tokio::test]
async fn answers_that_nobody_reads_have_a_bound_together_and_arrive_whole_when_read() {
    let room = 200 * 1024;
    let limits = Limits {
        under_way_bytes: room,
        ..Limits::default()
    };
    let counter = Arc::new(Counter::default());
    let recorder: Arc<dyn Recorder> = counter.clone();
    let (shared, key) = share(talking_gateway().await, limits, Some(recorder));
    let is_full = || shared.room.take(FREE + 16 * 1024).is_none();

    let (mut serving, clients) = ask(&shared, &key).await;
    until("the room is full", is_full).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    serving.shutdown().await;
    assert_eq!(counter.lines.load(Ordering::SeqCst), CLIENTS);
    let held = counter.bytes.load(Ordering::SeqCst);
    let most = room + CLIENTS * (FREE + 16 * 1024 + 64);
    assert!(held <= most, "{held} of {most}");
    drop(clients);
    assert!(shared.room.take(room).is_some(), "all is given back");

    let (serving, clients) = ask(&shared, &key).await;
    until("the room is full", is_full).await;
    let mut reading = JoinSet::new();
    for mut client in clients {
        reading.spawn(async move {
            let mut read = vec![0; 16 * 1024];
            let mut seen = 0;
            // The head is a little more.
            while seen < ANSWER {
                seen += client.read(&mut read).await.unwrap();
            }
        });
    }
    let all = tokio::time::timeout(Duration::from_secs(60), reading.join_all());
    assert!(all.await.is_ok(), "an answer does not go on");
    drop(serving);
}
