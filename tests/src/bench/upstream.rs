//! What stands for the gateway: answers at once, says what it was asked for, and counts.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::process::Pinned;
use super::subject::{Secrets, first_line};
use super::wires::monotonic;

/// Where it says what it counted; asked directly, never through a proxy.
const COUNTS: &str = "/counts";

/// Where it is told to end every connection and to be away for a while; likewise.
const RESTART: &str = "/restart";

/// How long it is away.
const AWAY: Duration = Duration::from_secs(1);

/// What the upstream has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Completions that it has answered or begun to answer.
    pub answered: u64,
    /// Requests that it has seen before.
    pub twice: u64,
    /// Requests that no proxy should have let through: without the upstream's token, or for another path.
    pub astray: u64,
    /// Streams that are open now.
    pub open: u64,
}

/// What a request asks for, in its body.
#[derive(Deserialize)]
struct Question {
    nonce: String,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    events: u64,
    #[serde(default)]
    pause_ms: u64,
    #[serde(default)]
    quiet: bool,
}

#[derive(Default)]
struct Shared {
    token: String,
    restart: Notify,
    nonces: Mutex<HashSet<u64>>,
    twice: AtomicU64,
    answered: AtomicU64,
    astray: AtomicU64,
    open: AtomicU64,
}

impl Shared {
    fn see(&self, nonce: &str) -> Result<()> {
        let nonce = u64::from_str_radix(nonce, 16)?;
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        if !nonces.insert(nonce) {
            self.twice.fetch_add(1, Ordering::Relaxed);
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn counts(&self) -> Counts {
        Counts {
            answered: self.answered.load(Ordering::Relaxed),
            twice: self.twice.load(Ordering::Relaxed),
            astray: self.astray.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
        }
    }
}

/// Counts an open stream until it is dropped.
struct Open<'a>(&'a AtomicU64);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The upstream in a process of its own.
pub struct Upstream {
    child: Child,
    address: SocketAddr,
}

impl Upstream {
    /// Starts it on a port, or on a free one, kept to a processor where one is given.
    ///
    /// # Errors
    ///
    /// Where it does not start.
    pub fn start(
        program: &Path,
        secrets: &Secrets,
        port: u16,
        processor: Option<usize>,
    ) -> Result<Self> {
        let pinned = processor.map(Pinned::to).transpose()?;
        let mut child = Command::new(program)
            .args(["upstream", &port.to_string()])
            .envs(secrets.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the upstream")?;
        drop(pinned);
        let address = first_line(&mut child)?.parse()?;
        Ok(Self { child, address })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has counted.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn counts(&self) -> Result<Counts> {
        Ok(serde_json::from_str(&self.ask(COUNTS)?)?)
    }

    /// Has it end every connection, be away for a second and listen again. It keeps what it counted.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn restart(&self) -> Result<()> {
        self.ask(RESTART)?;
        Ok(())
    }

    fn ask(&self, path: &str) -> Result<String> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: upstream\r\nConnection: close\r\n\r\n"
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (_, body) = text.split_once("\r\n\r\n").context("no answer")?;
        Ok(body.to_owned())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is the upstream until standard input closes. Prints its address first.
///
/// # Errors
///
/// Where it cannot listen.
#[expect(clippy::print_stdout, reason = "its parent reads the address there")]
pub fn upstream_process(port: u16) -> Result<()> {
    let shared = Arc::new(Shared {
        token: format!("Bearer {}", Secrets::from_environment()?.token()),
        ..Shared::default()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = listen(port)?;
        println!("{}", listener.local_addr()?);
        tokio::select! {
            served = accept(listener, shared) => served,
            () = super::subject::parent_ended() => Ok(()),
        }
    })
}

fn listen(port: u16) -> Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    Ok(socket.listen(4096)?)
}

async fn accept(mut listener: TcpListener, shared: Arc<Shared>) -> Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                let shared = shared.clone();
                connections.spawn(async move {
                    // A client that goes away ends its connection, and nothing else.
                    let _ = serve(stream, &shared).await;
                });
            }
            Some(_) = connections.join_next() => {}
            () = shared.restart.notified() => {
                let port = listener.local_addr()?.port();
                drop(listener);
                connections.shutdown().await;
                tokio::time::sleep(AWAY).await;
                listener = listen(port)?;
            }
        }
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    let mut unread = Vec::with_capacity(1024);
    loop {
        let head_end = loop {
            if let Some(at) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut unread).await? == 0 {
                return Ok(());
            }
        };
        let head = Head::read(unread.get(..head_end).unwrap_or_default(), &shared.token)?;
        let whole = head_end + head.length;
        while unread.len() < whole {
            if stream.read_buf(&mut unread).await? == 0 {
                return Ok(());
            }
        }
        let body = unread.get(head_end..whole).unwrap_or_default();
        match head.asked {
            Asked::Counts => {
                let counts = serde_json::to_string(&shared.counts())?;
                // The end of the connection is the end of the answer.
                return write_answer(&mut stream, "200 OK", &counts).await;
            }
            Asked::Restart => {
                write_answer(&mut stream, "200 OK", "{}").await?;
                shared.restart.notify_one();
                return Ok(());
            }
            Asked::NoRight => {
                shared.astray.fetch_add(1, Ordering::Relaxed);
                write_answer(&mut stream, "401 Unauthorized", r#"{"error":"token"}"#).await?;
            }
            Asked::NoPath => {
                shared.astray.fetch_add(1, Ordering::Relaxed);
                write_answer(&mut stream, "404 Not Found", r#"{"error":"path"}"#).await?;
            }
            Asked::Models => {
                write_answer(&mut stream, "200 OK", r#"{"object":"list","data":[]}"#).await?;
            }
            Asked::Chat => {
                let question: Question = serde_json::from_slice(body)?;
                shared.see(&question.nonce)?;
                if question.stream {
                    let _open = Open::new(&shared.open);
                    write_stream(&mut stream, &question).await?;
                } else {
                    let answer = format!(
                        r#"{{"id":"chatcmpl-1","object":"chat.completion","nonce":"{}","choices":[{{"index":0,"finish_reason":"stop","message":{{"role":"assistant","content":"It answers at once, and always with the same words."}}}}]}}"#,
                        question.nonce
                    );
                    write_answer(&mut stream, "200 OK", &answer).await?;
                }
            }
        }
        unread.drain(..whole);
    }
}

enum Asked {
    Chat,
    Models,
    Counts,
    Restart,
    NoRight,
    NoPath,
}

struct Head {
    asked: Asked,
    length: usize,
}

impl Head {
    fn read(bytes: &[u8], authorization: &str) -> Result<Self> {
        let text = std::str::from_utf8(bytes)?;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let mut length = 0;
        let mut may = false;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            } else if name.eq_ignore_ascii_case("authorization") {
                may = value.trim() == authorization;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                bail!("a body of unknown length, which nobody sends here");
            }
        }
        let target = first.strip_suffix(" HTTP/1.1").unwrap_or_default();
        let asked = match target.split_once(' ') {
            Some(("GET", COUNTS)) => Asked::Counts,
            Some(("GET", RESTART)) => Asked::Restart,
            Some(("POST", "/v1/chat/completions")) if may => Asked::Chat,
            Some(("GET", "/v1/models")) if may => Asked::Models,
            Some(("POST", "/v1/chat/completions") | ("GET", "/v1/models")) => Asked::NoRight,
            Some(_) | None => Asked::NoPath,
        };
        Ok(Self { asked, length })
    }
}

async fn write_answer(stream: &mut TcpStream, status: &str, body: &str) -> Result<()> {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Ok(stream.write_all(answer.as_bytes()).await?)
}

async fn write_stream(stream: &mut TcpStream, question: &Question) -> Result<()> {
    let mut piece = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for number in 0..question.events {
        if number > 0 {
            tokio::time::sleep(Duration::from_millis(question.pause_ms)).await;
        }
        let event = format!(
            "data: {{\"nonce\":\"{}\",\"number\":{number},\"sent\":{}}}\n\n",
            question.nonce,
            monotonic()
        );
        piece.push_str(&chunk(&event));
        stream.write_all(piece.as_bytes()).await?;
        piece.clear();
    }
    if question.quiet {
        // Says nothing more, until the other side goes away.
        let mut waste = [0; 16];
        let _ = stream.read(&mut waste).await;
        bail!("the client has gone");
    }
    piece.push_str(&chunk("data: [DONE]\n\n"));
    piece.push_str("0\r\n\r\n");
    Ok(stream.write_all(piece.as_bytes()).await?)
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}
