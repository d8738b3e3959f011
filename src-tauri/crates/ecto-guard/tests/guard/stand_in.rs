//! A gateway of a few lines that does what a test says, and a client that writes bytes.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ecto_core::Timestamp;
use ecto_core::cause::Cause;
use ecto_core::gateway::{GatewayAccess, GatewayFingerprint};
use ecto_core::key::{GuardKey, make_key};
use ecto_core::ports::{Clock, Guard};
use ecto_core::watchword::Watchword;
use ecto_guard::{Limits, LoopbackGuard};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rand::SeedableRng;
use rand::rngs::StdRng;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take before the test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const GATEWAY_TOKEN: &str = "gateway-token-that-never-leaves";

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("never happened: {what}"),
    }
}

pub type TinyBody = UnsyncBoxBody<Bytes, Infallible>;
type Answering = Pin<Box<dyn Future<Output = Option<Response<TinyBody>>> + Send>>;

pub fn text(status: u16, body: &str) -> Response<TinyBody> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_owned())).boxed_unsync())
        .unwrap()
}

/// What the gateway saw of one request.
#[derive(Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: HeaderMap,
}

impl Seen {
    /// All headers, one a line, in the order of their names.
    pub fn header_lines(&self) -> Vec<String> {
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        let mut lines: Vec<String> = self.headers.iter().map(line).collect();
        lines.sort();
        lines
    }
}

pub struct TinyGateway {
    pub address: SocketAddr,
    pub seen: mpsc::UnboundedReceiver<Seen>,
    pub connections: Arc<AtomicUsize>,
    end: CancellationToken,
    accepting: JoinHandle<()>,
}

impl TinyGateway {
    /// A gateway that answers with what `answer` makes of a request; `None` closes the connection.
    pub async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
        A: Future<Output = Option<Response<TinyBody>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, answer)
    }

    pub fn start_on<F, A>(listener: TcpListener, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
        A: Future<Output = Option<Response<TinyBody>>> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let (tell, seen) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let answer: Arc<dyn Fn(Request<Incoming>) -> Answering + Send + Sync> =
            Arc::new(move |request| Box::pin(answer(request)));
        let end = CancellationToken::new();
        let ending = end.clone();
        let accepting = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Some(accepted) = ending.run_until_cancelled(listener.accept()).await {
                let (stream, _) = accepted.unwrap();
                stream.set_nodelay(true).unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let (tell, answer) = (tell.clone(), answer.clone());
                open.spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let _ = tell.send(Seen {
                            method: request.method().to_string(),
                            target: request.uri().to_string(),
                            headers: request.headers().clone(),
                        });
                        let answering = answer(request);
                        async move { answering.await.ok_or("breaks off") }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
            drop(listener);
            open.shutdown().await;
        });
        Self {
            address,
            seen,
            connections,
            end,
            accepting,
        }
    }

    /// A gateway that takes its token and lists its models, and answers everything else with an empty object.
    pub async fn ordinary() -> Self {
        Self::start(|request| async move {
            let body = request.uri().path().to_owned();
            let _ = request.into_body().collect().await;
            Some(match body.as_str() {
                "/v1/models" => text(200, MODELS),
                _ => text(200, "{}"),
            })
        })
        .await
    }

    /// A gateway whose answers the test streams; the test is told of each, and of its end.
    pub async fn streaming() -> (Self, mpsc::UnboundedReceiver<OpenStream>) {
        let (tell, streams) = mpsc::unbounded_channel();
        let gateway = Self::start(move |_request| {
            let (response, stream) = event_stream();
            let _ = tell.send(stream);
            async move { Some(response) }
        })
        .await;
        (gateway, streams)
    }

    /// What was seen next.
    pub async fn next(&mut self) -> Seen {
        soon("a request at the gateway", self.seen.recv())
            .await
            .unwrap()
    }

    pub fn saw_nothing(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }

    pub fn access(&self) -> GatewayAccess {
        access_to(self.address)
    }

    pub async fn stop(mut self) {
        self.halt().await;
    }

    /// Ends with all its connections; what it saw can still be read.
    pub async fn halt(&mut self) {
        self.end.cancel();
        soon("the end of the gateway", &mut self.accepting)
            .await
            .unwrap();
    }
}

/// An answer that is an event stream, and what goes into it.
pub fn event_stream() -> (Response<TinyBody>, OpenStream) {
    let (send, frames) = mpsc::unbounded_channel::<Bytes>();
    let frames = futures_util::stream::unfold(frames, |mut frames| async move {
        let bytes = frames.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), frames))
    });
    let response = Response::builder()
        .header("content-type", "text/event-stream")
        .body(StreamBody::new(frames).boxed_unsync());
    (response.unwrap(), OpenStream(send))
}

pub struct OpenStream(pub mpsc::UnboundedSender<Bytes>);

impl OpenStream {
    pub fn send(&self, text: &str) {
        self.0.send(Bytes::from(text.to_owned())).unwrap();
    }

    /// Waits until nobody listens any more.
    pub async fn broke_off(&self) {
        soon("the end of a stream at the gateway", self.0.closed()).await;
    }
}

pub const MODELS: &str =
    r#"{"object":"list","data":[{"id":"openclaw","object":"model","owned_by":"openclaw"}]}"#;

pub fn access_to(address: SocketAddr) -> GatewayAccess {
    GatewayAccess {
        address,
        token: SecretString::from(GATEWAY_TOKEN),
        hooks: None,
        fingerprint: GatewayFingerprint("first".to_owned()),
    }
}

pub struct TestClock {
    began: Instant,
    at: Timestamp,
    ahead: AtomicU64,
}

impl TestClock {
    /// Sets the time of day so many seconds ahead, as a machine may have it that has just started.
    pub fn set_ahead(&self, seconds: u64) {
        self.ahead.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let ahead = Duration::from_secs(self.ahead.load(Ordering::SeqCst));
        self.at + self.began.elapsed() + ahead
    }

    fn uptime(&self) -> Duration {
        self.began.elapsed()
    }
}

pub fn new_guard(limits: Limits) -> LoopbackGuard {
    new_guard_with(limits, Timestamp::UNIX_EPOCH).0
}

/// A guard whose clock begins at `at`.
pub fn new_guard_at(at: Timestamp) -> (LoopbackGuard, Arc<TestClock>) {
    new_guard_with(Limits::default(), at)
}

fn new_guard_with(limits: Limits, at: Timestamp) -> (LoopbackGuard, Arc<TestClock>) {
    let began = Instant::now();
    let ahead = AtomicU64::new(0);
    let clock = Arc::new(TestClock { began, at, ahead });
    let mut random = StdRng::seed_from_u64(99);
    let guard =
        LoopbackGuard::with_recorder(limits, clock.clone(), &mut random, None, Some(watchword()));
    (guard.unwrap(), clock)
}

/// What the check from outside shows to these guards.
pub fn watchword() -> Watchword {
    Watchword::make(&mut StdRng::seed_from_u64(98)).unwrap()
}

pub fn secret(seed: u64) -> SecretString {
    make_key(&mut StdRng::seed_from_u64(seed)).unwrap()
}

pub fn key(name: &str, seed: u64) -> GuardKey {
    GuardKey::with_all_routes(name.parse().unwrap(), &secret(seed))
}

/// A guard that lets `key("phone", 1)` through to a gateway.
pub struct Setting {
    pub guard: LoopbackGuard,
    pub address: SocketAddr,
}

impl Setting {
    pub async fn new(gateway: SocketAddr, limits: Limits) -> Self {
        let guard = new_guard(limits);
        let address = guard
            .start(access_to(gateway), vec![key("phone", 1)])
            .await
            .unwrap();
        guard.release();
        Self { guard, address }
    }

    /// Stops the guard and starts it again.
    pub async fn open_again(&mut self, gateway: &TinyGateway, keys: Vec<GuardKey>) {
        self.guard.stop().await;
        let access = access_to(gateway.address);
        self.address = self.guard.start(access, keys).await.unwrap();
        self.guard.release();
    }

    pub async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Sends one request with the right key and reads the whole answer.
    pub async fn ask(&self, line: &str, body: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(&request(line, &[], body)).await;
        client.answer().await
    }
}

/// A request with the key of [`Setting`].
pub fn request(line: &str, headers: &[&str], body: &str) -> String {
    request_with(&secret(1), line, headers, body)
}

pub fn request_with(key: &SecretString, line: &str, headers: &[&str], body: &str) -> String {
    let mut text = format!(
        "{line} HTTP/1.1\r\nHost: mac.tail1234.ts.net\r\nAuthorization: Bearer {}\r\n",
        key.expose_secret()
    );
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if line.starts_with("POST")
        && !headers
            .iter()
            .any(|header| header.starts_with("Transfer-Encoding"))
    {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text
}

/// A client that writes bytes and reads what comes.
pub struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::on(soon("a connection", TcpStream::connect(address)).await)
    }

    /// A client whose system is asked to hold so many bytes for it and no more.
    pub async fn connect_holding(address: SocketAddr, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        Self::on(soon("a connection", socket.connect(address)).await)
    }

    pub fn on(stream: io::Result<TcpStream>) -> Self {
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("room to write", self.stream.write_all(bytes.as_ref()))
            .await
            .unwrap();
    }

    /// Sends as much as the other side takes.
    pub async fn send_what_goes(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon("room to write", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Reads more; `false` when the connection has ended.
    pub async fn read_more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match soon("bytes from the guard", self.stream.read(&mut buffer)).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                true
            }
        }
    }

    /// Whether not one byte has come.
    pub fn has_heard_nothing(&self) -> bool {
        let read = self.stream.try_read(&mut [0]);
        self.read.is_empty() && read.is_err_and(|fault| fault.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads until the connection ends: an error where that is no orderly end.
    pub async fn ends(&mut self) -> io::Result<usize> {
        soon("the end", self.stream.read_to_end(&mut self.read)).await
    }

    /// Everything until the connection ends.
    pub async fn rest(&mut self) -> String {
        while self.read_more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    /// Reads until `text` has come, and takes everything up to its end.
    pub async fn until(&mut self, text: &str) -> String {
        loop {
            let found = self
                .read
                .windows(text.len())
                .position(|window| window == text.as_bytes());
            if let Some(place) = found {
                let rest = self.read.split_off(place + text.len());
                let taken = std::mem::replace(&mut self.read, rest);
                return String::from_utf8_lossy(&taken).into_owned();
            }
            assert!(
                self.read_more().await,
                "ended before {text:?}: {}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    /// The next answer, with a body of known length.
    pub async fn answer(&mut self) -> Answer {
        let head = self.until("\r\n\r\n").await;
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        let length: usize = match answer.header("content-length") {
            Some(length) => length.parse().unwrap(),
            None => 0,
        };
        while self.read.len() < length {
            assert!(self.read_more().await, "ended inside a body");
        }
        let rest = self.read.split_off(length);
        answer.body = String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
        answer
    }
}

/// The port of a gateway that only the prover asks about.
pub struct RefusesWithoutToken;

#[async_trait::async_trait]
impl ecto_core::ports::Gateway for RefusesWithoutToken {
    fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        unreachable!()
    }

    async fn observe(&self) -> ecto_core::gateway::GatewayView {
        unreachable!()
    }

    async fn set_up(&self, _: ecto_core::step::Reporter) -> Result<(), Cause> {
        unreachable!()
    }

    async fn start(&self, _: ecto_core::step::Reporter) -> Result<(), Cause> {
        unreachable!()
    }

    async fn restart(&self, _: ecto_core::step::Reporter) -> Result<(), Cause> {
        unreachable!()
    }

    async fn access(&self, _: &ecto_core::offer::Offer) -> Result<GatewayAccess, Cause> {
        unreachable!()
    }

    async fn refuses_without_token(&self, _: &GatewayAccess) -> Result<(), Cause> {
        Ok(())
    }

    async fn agents(&self) -> Option<Vec<ecto_core::key::AgentId>> {
        unreachable!()
    }

    async fn restore(
        &self,
        _: ecto_core::step::Reporter,
    ) -> Result<Vec<ecto_core::gateway::RestoredKey>, Cause> {
        unreachable!()
    }
}
