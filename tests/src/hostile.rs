//! Requests as nobody should write them, what the guard makes of them, and what a gateway makes of that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use ecto_core::gateway::{GatewayAccess, GatewayFingerprint, HooksAccess};
use ecto_core::key::{GuardKey, Route, make_key};
use ecto_core::offer::Offer;
use ecto_core::ports::Guard as _;
use ecto_guard::{Limits, LoopbackGuard};
use ecto_platform::clock::SystemClock;
use futures_util::StreamExt as _;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::visitor::plain_client;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many clients write at the same time.
const AT_ONCE: usize = 8;

/// The web page whose programs may call.
const PAGE: &str = "https://app.example";

/// Ordinary requests, which the changes begin with beside the fuzzers' corpus.
const ORDINARY: [&str; 8] = [
    "GET /v1/models/openclaw HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nUser-Agent: a\r\n\r\n",
    "GET /v1/models?after=1&x=/../tools HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nX-OpenClaw-Agent-Id: main\r\n\r\n",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n\
     Content-Length: 23\r\n\r\n{\"model\":1,\"messages\":1}",
    "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nTransfer-Encoding: chunked\r\n\r\n\
     9\r\n{\"input\":\r\n2\r\n1}\r\n0\r\n\r\n",
    "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nTransfer-Encoding: chunked\r\n\r\n\
     14\r\n{\"model\":\"openclaw\",\r\nb\r\n\"input\":\"a\"\r\n1\r\n}\r\n0\r\n\r\n",
    "POST /hooks/wake?text=/../tools HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n\
     Content-Length: 36\r\n\r\n{\"text\":\"a\",\"mode\":\"next-heartbeat\"}",
    "POST /hooks/agent HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nX-OpenClaw-Token: a\r\nContent-Length: 2\r\n\r\n{}",
    "OPTIONS /hooks/wake HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
];

/// A gateway as the guard knows it: its own token, and its hooks.
pub struct Asked {
    /// The token for everything but hooks.
    pub token: SecretString,
    /// Where hooks are, and their token.
    pub hooks: HooksAccess,
}

impl Asked {
    /// What a plain request for this target presents.
    fn token_for(&self, target: &str) -> &str {
        match self.hook(target) {
            Some(_) => self.hooks.token.expose_secret(),
            None => self.token.expose_secret(),
        }
    }

    /// What follows the hooks' own path.
    fn hook<'a>(&self, target: &'a str) -> Option<&'a str> {
        target.strip_prefix(&self.hooks.path)?.strip_prefix('/')
    }

    /// Whether a request that passed is one of those that the guard is to let through where everything is allowed.
    #[must_use]
    pub fn is_offered(&self, passed: &Passed) -> bool {
        let is_plain = |part: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            !part.is_empty() && part.bytes().all(plain)
        };
        match (passed.method.as_str(), passed.target.as_str()) {
            ("POST", "/v1/chat/completions" | "/v1/responses" | "/v1/embeddings")
            | ("GET", "/v1/models") => true,
            ("POST", target) => self
                .hook(target)
                .is_some_and(|hook| hook.split('/').all(is_plain)),
            ("GET", target) => target
                .strip_prefix("/v1/models/")
                .is_some_and(|id| !id.is_empty() && !id.contains(['/', '?', '\\', '.'])),
            _ => false,
        }
    }
}

/// Reads the corpus of the fuzzers' request target, and the ordinary requests.
///
/// # Errors
///
/// Where it cannot be read.
pub fn corpus() -> Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/request");
    let mut files = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    let mut requests = files
        .iter()
        .map(|file| std::fs::read(file).context("read a request of the corpus"))
        .collect::<Result<Vec<_>>>()?;
    requests.extend(ORDINARY.map(|request| request.as_bytes().to_vec()));
    Ok(requests)
}

/// Adds `count` changed requests: bytes in the place of others, left out, put in, or a piece of another request.
pub fn add_changed(requests: &mut Vec<Vec<u8>>, count: usize, seed: u64) {
    const TELLING: &[u8] = b"\r\n\0 \t:;,/\\%.*#?+-0159aFx\x7f\x80\xff";
    let mut random = StdRng::seed_from_u64(seed);
    let whole = requests.len();
    for _ in 0..count {
        let mut bytes = pick(&mut random, requests, whole).to_vec();
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(0..=bytes.len());
            let telling = TELLING
                .get(random.random_range(0..TELLING.len()))
                .copied()
                .unwrap_or_default();
            match (random.random_range(0..5), bytes.get_mut(place)) {
                (0, Some(byte)) => *byte = random.random(),
                (1, Some(_)) => drop(bytes.remove(place)),
                (2, Some(byte)) => *byte = telling,
                (3, _) => {
                    let other = pick(&mut random, requests, whole);
                    let from = random.random_range(0..=other.len());
                    let to = random.random_range(from..=other.len());
                    let piece = other.get(from..to).unwrap_or_default().to_vec();
                    bytes.splice(place..place, piece);
                }
                _ => bytes.insert(place, telling),
            }
        }
        requests.push(bytes);
    }
}

fn pick<'a>(random: &mut StdRng, requests: &'a [Vec<u8>], whole: usize) -> &'a [u8] {
    let place = random.random_range(0..whole);
    requests.get(place).map_or(&[], Vec::as_slice)
}

/// A request as it leaves the guard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Passed {
    /// The method that an HTTP library reads in it.
    pub method: String,
    /// The target that it reads.
    pub target: String,
    /// The body that it reads.
    pub body: Vec<u8>,
    /// The bytes themselves.
    pub bytes: Vec<u8>,
}

/// Sends requests through a guard with the key in place of `KEY`, and tells what comes out on the gateway's side, each
/// once. The guard allows everything that can be allowed, and presents the tokens of `asked` to what it takes to be that
/// gateway.
///
/// # Errors
///
/// Where nothing can be listened to.
pub async fn pass_all(requests: &[Vec<u8>], asked: &Asked) -> Result<Vec<Passed>> {
    let tap = Tap::start().await?;
    let mut random = StdRng::seed_from_u64(7);
    let key = make_key(&mut random)?;
    let short = Duration::from_millis(100);
    let limits = Limits {
        head_time: short,
        body_silence: short,
        rest: short,
        ..Limits::default()
    };
    let guard = LoopbackGuard::new(limits, Arc::new(SystemClock), &mut random)?;
    let access = GatewayAccess {
        address: tap.address,
        token: asked.token.clone(),
        hooks: Some(asked.hooks.clone()),
        fingerprint: GatewayFingerprint("tap".to_owned()),
    };
    let known = GuardKey::with_all_routes("lab".parse().map_err(anyhow::Error::msg)?, &key);
    let address = guard
        .start(access, vec![known])
        .await
        .map_err(|cause| anyhow::anyhow!("{}", cause.code()))?;
    guard.set_offer(Offer {
        routes: Route::OPTIONAL.into(),
        origins: [PAGE.parse().map_err(anyhow::Error::msg)?].into(),
    });
    guard.release();
    futures_util::stream::iter(requests)
        .map(|request| write_out(address, put_in(request, &key)))
        .buffer_unordered(AT_ONCE)
        .for_each(|()| async {})
        .await;
    guard.stop().await;
    let passed = tap.passed.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(passed.iter().cloned().collect())
}

fn put_in(request: &[u8], key: &SecretString) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = request;
    while let Some((first, others)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"KEY") {
            text.extend_from_slice(key.expose_secret().as_bytes());
            rest = after;
        } else {
            text.push(*first);
            rest = others;
        }
    }
    text
}

async fn write_out(guard: SocketAddr, bytes: Vec<u8>) {
    let _ = tokio::time::timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(guard).await?;
        stream.write_all(&bytes).await?;
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).await
    })
    .await;
}

/// Stands where the gateway is: takes down what arrives, and answers at once.
struct Tap {
    address: SocketAddr,
    passed: Arc<Mutex<BTreeSet<Passed>>>,
    _accepting: tokio::task::JoinSet<()>,
}

impl Tap {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let passed = Arc::new(Mutex::new(BTreeSet::new()));
        let mut accepting = tokio::task::JoinSet::new();
        let all = Arc::clone(&passed);
        accepting.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take_down(stream, Arc::clone(&all)));
            }
        });
        Ok(Self {
            address,
            passed,
            _accepting: accepting,
        })
    }
}

async fn take_down(stream: TcpStream, passed: Arc<Mutex<BTreeSet<Passed>>>) {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let copy = Copying {
        stream,
        bytes: Arc::clone(&bytes),
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let (bytes, passed) = (Arc::clone(&bytes), Arc::clone(&passed));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner).clone();
            passed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(Passed {
                    method: head.method.to_string(),
                    target: head.uri.to_string(),
                    body: body.to_vec(),
                    bytes,
                });
            // One connection for each request, so that its bytes are known.
            let mut answer = Response::new(Full::new(Bytes::from_static(b"{}")));
            let close = http::HeaderValue::from_static("close");
            answer.headers_mut().insert(http::header::CONNECTION, close);
            Ok::<_, hyper::Error>(answer)
        }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(copy), service)
        .await;
}

/// A socket whose incoming bytes are kept.
struct Copying {
    stream: TcpStream,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Copying {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().get(before..).unwrap_or_default();
        self.bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(read);
        result
    }
}

impl AsyncWrite for Copying {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How many of these requests are for each route, so that a test sees that it tried them all.
#[must_use]
pub fn count_routes(passed: &[Passed], asked: &Asked) -> BTreeMap<Route, usize> {
    let mut counts = BTreeMap::new();
    for request in passed {
        let route = match request.target.as_str() {
            "/v1/chat/completions" => Route::Chat,
            "/v1/responses" => Route::Responses,
            "/v1/embeddings" => Route::Embeddings,
            hook if asked.hook(hook).is_some() => Route::Hooks,
            _ => Route::Models,
        };
        *counts.entry(route).or_default() += 1;
    }
    counts
}

/// What can be compared of a gateway's answer: its status, what it calls itself, and its error.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    /// The status.
    pub status: u16,
    /// `object` of the body.
    pub object: Option<Value>,
    /// `error` of the body.
    pub error: Option<Value>,
}

impl Shape {
    fn read(status: u16, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        Self {
            status,
            object: body.get("object").cloned(),
            error: body.get("error").cloned(),
        }
    }
}

/// What follows a request on the same connection: it is answered only where the request before it ended there.
const FOLLOWER: &str = "GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

/// What a gateway makes of the bytes of a request, and of a plain request for the same thing. Another request follows the
/// bytes on the same connection.
///
/// # Errors
///
/// Where the gateway does not answer twice: to the request, and to the one that follows it.
pub async fn ask_twice(
    gateway: SocketAddr,
    asked: &Asked,
    passed: &Passed,
) -> Result<(Shape, Shape)> {
    let mut stream = TcpStream::connect(gateway).await?;
    stream.write_all(&passed.bytes).await?;
    stream.write_all(FOLLOWER.as_bytes()).await?;
    let mut answers = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answers)).await??;
    let (seen, rest) = first_answer(&answers)?;
    let (follower, rest) = first_answer(rest)?;
    ensure!(follower.status == 200, "what follows was not understood");
    ensure!(rest.is_empty(), "there are more answers than requests");

    let url = format!("http://{gateway}{}", passed.target);
    let client = plain_client()?;
    let kind = sent_type(&passed.bytes);
    let mut plain = client
        .request(Method::from_bytes(passed.method.as_bytes())?, url)
        .bearer_auth(asked.token_for(&passed.target))
        .body(passed.body.clone());
    if let Some(kind) = kind {
        plain = plain.header("content-type", kind);
    }
    let answer = plain.send().await?;
    let status = answer.status().as_u16();
    let plain = Shape::read(status, &answer.bytes().await?);
    Ok((seen, plain))
}

fn sent_type(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = bytes.split(|byte| *byte == b'\n');
    let mut kinds = text.filter_map(|line| line.strip_prefix(b"content-type: "));
    let kind = kinds.next()?.trim_ascii_end();
    Some(kind.to_vec())
}

fn first_answer(bytes: &[u8]) -> Result<(Shape, &[u8])> {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("there is no answer")?;
    let (head, mut rest) = bytes.split_at(end + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let status = head.get(9..12).context("no status")?.parse()?;
    let field = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    if status == 100 {
        return first_answer(rest);
    }
    let mut body = Vec::new();
    if field("transfer-encoding:") == Some("chunked") {
        loop {
            let end = rest
                .windows(2)
                .position(|window| window == b"\r\n")
                .context("no size of a chunk")?;
            let (size, data) = rest.split_at(end);
            let size = usize::from_str_radix(std::str::from_utf8(size)?, 16)?;
            let data = data.get(2..).context("no chunk")?;
            body.extend_from_slice(data.get(..size).context("half a chunk")?);
            rest = data.get(size + 2..).context("half a chunk")?;
            if size == 0 {
                break;
            }
        }
    } else {
        let length = field("content-length:").map_or(Ok(0), str::parse)?;
        let (whole, after) = rest.split_at_checked(length).context("half an answer")?;
        body.extend_from_slice(whole);
        rest = after;
    }
    Ok((Shape::read(status, &body), rest))
}
