//! How much one connection, and all of them together, hold.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ecto_core::ports::{Recorder, RequestLine};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
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

/// Whatever room there is: what hyper buffers, and what is read from the gateway at once.
#[tokio::test]
async fn of_one_answer_that_nobody_reads_no_more_is_taken_than_two_buffers_hold() {
    let limits = Limits {
        write_silence: Duration::from_secs(1),
        ..Limits::default()
    };
    let counter = Arc::new(Counter::default());
    let recorder: Arc<dyn Recorder> = counter.clone();
    let (shared, key) = share(talking_gateway().await, limits, Some(recorder));
    let (serving, _clients) = ask(&shared, &key).await;
    serving.join_all().await;
    assert_eq!(counter.lines.load(Ordering::SeqCst), CLIENTS);
    let taken = counter.bytes.load(Ordering::SeqCst) / CLIENTS;
    let most = BUFFER + 16 * 1024 + 64;
    assert!((BUFFER..=most).contains(&taken), "{taken} of {most}");
}

/// A gateway that takes a connection and then does nothing: it reads only what is asked for.
async fn hanging_gateway(reads: usize) -> (std::net::SocketAddr, JoinSet<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut hanging = JoinSet::new();
    hanging.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; reads];
        stream.read_exact(&mut asked).await.unwrap();
        stream
    });
    (address, hanging)
}

fn post(key: &SecretString, length: usize) -> String {
    let key = key.expose_secret();
    format!(
        "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// A run may take as long as it likes; what ends it is the client that leaves.
#[tokio::test]
async fn a_gateway_that_never_answers_is_waited_for_until_the_client_leaves() {
    let (address, mut hanging) = hanging_gateway(100).await;
    let (shared, key) = share(address, Limits::default(), None);
    let (mut client, guard) = tokio::io::duplex(1024);
    let serving = tokio::spawn(serve(guard, shared));
    let request = post(&key, 2) + "{}";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut stream = hanging.join_next().await.unwrap().unwrap();
    tokio::time::pause();
    let heard = timeout(Duration::from_secs(24 * 3600), client.read(&mut [0])).await;
    assert!(heard.is_err(), "nothing is said for a day");
    tokio::time::resume();
    drop(client);
    serving.await.unwrap();
    let mut rest = Vec::new();
    let end = timeout(Duration::from_secs(20), stream.read_to_end(&mut rest));
    assert!(end.await.is_ok(), "the gateway is told");
}

/// Of a body that the gateway does not read no more is taken from the client than fits into a few buffers; and where that
/// lasts, the client is told.
#[tokio::test]
async fn a_body_that_the_gateway_does_not_read_is_held_back_and_given_up_in_time() {
    let (address, mut hanging) = hanging_gateway(100).await;
    let (shared, key) = share(address, Limits::default(), None);
    let limits = shared.limits.clone();
    let room = shared.room.clone();
    let (mut client, guard) = tokio::io::duplex(1024);
    let serving = tokio::spawn(serve(guard, shared));
    let length = 20 * 1024 * 1024;
    client
        .write_all(post(&key, length).as_bytes())
        .await
        .unwrap();
    let mut sent = 0;
    let piece = [b'x'; 1024];
    // It stops when the buffers of the system are full too.
    while let Ok(written) = timeout(Duration::from_secs(2), client.write(&piece)).await {
        sent += written.unwrap();
    }
    let _stream = hanging.join_next().await.unwrap().unwrap();
    assert!(sent < length / 2, "{sent}");
    assert!(room.take(limits.under_way_bytes).is_none());
    assert!(room.take(limits.under_way_bytes - 128 * 1024).is_some());

    tokio::time::pause();
    let mut heard = vec![0; 4096];
    let early = limits.body_time - Duration::from_secs(60);
    let told = timeout(early, client.read(&mut heard)).await;
    assert!(told.is_err());
    let told = timeout(Duration::from_secs(120), client.read(&mut heard)).await;
    let count = told.unwrap().unwrap();
    let told = String::from_utf8_lossy(&heard[..count]).into_owned();
    assert!(told.starts_with("HTTP/1.1 502 "), "{told}");
    drop(client);
    serving.await.unwrap();
    assert!(room.take(limits.under_way_bytes).is_some());
}
