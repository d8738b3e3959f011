//! Plain clients that the tests speak with: nothing of them knows the stand-ins.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ecto_sandbox::edge::{Edge, PUBLIC_IPV4};
use ecto_sandbox::tailnet::Tailnet;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Long enough for a loaded machine; nothing waits this long when all is well.
pub const LIMIT: Duration = Duration::from_secs(20);

pub async fn in_time<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, wait).await.expect("in time")
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }
}

pub async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
    })
}

pub fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "local-tailscaled.sock");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap()
}

pub async fn ask_with(
    socket: &Path,
    method: Method,
    endpoint: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let stream = UnixStream::connect(socket).await.unwrap();
    let request = request(method, &format!("/localapi/v0/{endpoint}"), headers, body);
    in_time(send(stream, request)).await.unwrap()
}

pub async fn get(tailnet: &Tailnet, endpoint: &str) -> Answer {
    ask_with(tailnet.socket(), Method::GET, endpoint, &[], "").await
}

pub async fn post(tailnet: &Tailnet, endpoint: &str, body: &str) -> Answer {
    ask_with(tailnet.socket(), Method::POST, endpoint, &[], body).await
}

pub async fn patch(tailnet: &Tailnet, endpoint: &str, body: &str) -> Answer {
    ask_with(tailnet.socket(), Method::PATCH, endpoint, &[], body).await
}

/// A watcher of the bus, line by line.
pub struct Watcher {
    lines: BufReader<UnixStream>,
}

impl Watcher {
    pub async fn open(tailnet: &Tailnet, mask: u64) -> Self {
        let mut stream = UnixStream::connect(tailnet.socket()).await.unwrap();
        let head = format!(
            "GET /localapi/v0/watch-ipn-bus?mask={mask} HTTP/1.1\r\nHost: local-tailscaled.sock\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut watcher = Self {
            lines: BufReader::new(stream),
        };
        let status = watcher.raw_line().await.unwrap();
        assert!(status.starts_with(b"HTTP/1.1 200"), "{status:?}");
        while watcher.raw_line().await.unwrap() != b"\r\n" {}
        watcher
    }

    async fn raw_line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        let length = in_time(self.lines.read_until(b'\n', &mut line))
            .await
            .ok()?;
        (length > 0).then_some(line)
    }

    /// The bytes of the next chunk, `None` at the end of the stream.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = self.raw_line().await?;
        let length = usize::from_str_radix(std::str::from_utf8(&length).ok()?.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        in_time(self.lines.read_exact(&mut chunk)).await.ok()?;
        chunk.truncate(length);
        (length > 0).then_some(chunk)
    }

    /// The next message.
    pub async fn message(&mut self) -> Value {
        serde_json::from_slice(&self.chunk().await.expect("a message")).unwrap()
    }

    /// Skips to the next message that has this field set, and returns the field.
    pub async fn field(&mut self, name: &str) -> Value {
        loop {
            let message = self.message().await;
            match message.get(name) {
                None | Some(Value::Null) => {}
                Some(value) => return value.clone(),
            }
        }
    }

    /// Skips to this state.
    pub async fn state(&mut self, number: u8) {
        while self.field("State").await != json!(number) {}
    }

    /// Waits until the daemon ends the stream.
    pub async fn end(&mut self) {
        while self.chunk().await.is_some() {}
    }
}

/// Claims host:443 for a target in the foreground of a session.
pub fn claim(tailnet: &Tailnet, session: &str, port: u16, target: &str) -> Value {
    json!({"Foreground": {session: web(&tailnet.host(), port, json!({"/": {"Proxy": target}}))}})
}

pub fn web(host: &str, port: u16, handlers: Value) -> Value {
    let site = format!("{host}:{port}");
    json!({
        "TCP": {port.to_string(): {"HTTPS": true}},
        "Web": {site.clone(): {"Handlers": handlers}},
        "AllowFunnel": {site: true}
    })
}

/// A client on the internet: trusts the sandbox's authority and dials where the public address is.
pub fn public_client(edge: &Edge, host: &str, port: u16) -> reqwest::Client {
    client_with(edge, host, port, false)
}

pub fn client_with(edge: &Edge, host: &str, port: u16, http1: bool) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(edge.root_certificate_pem().as_bytes()).unwrap();
    let address = edge.dial(SocketAddr::from((PUBLIC_IPV4, port))).unwrap();
    let mut builder = reqwest::Client::builder()
        .tls_certs_only([root])
        .resolve(host, address)
        .no_proxy()
        .timeout(LIMIT);
    if http1 {
        builder = builder.http1_only();
    }
    builder.build().unwrap()
}

/// The public address of the node: `resolve` takes the port of the socket only if the URL names none but its own.
pub fn public_url(edge: &Edge, host: &str, port: u16, path: &str) -> String {
    let address = edge.dial(SocketAddr::from((PUBLIC_IPV4, port))).unwrap();
    format!("https://{host}:{}{path}", address.port())
}

/// An upstream that shows what it was asked, as JSON, and notes it.
pub struct Mirror {
    pub address: SocketAddr,
    pub heads: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Mirror {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(reflect(stream, Arc::clone(&noted)));
            }
        });
        Self {
            address,
            heads,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn reflect(stream: TcpStream, heads: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        heads.lock().unwrap().push(head.clone());
        if head.contains("/ws") {
            let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(switched.as_bytes()).await.unwrap();
            let mut bytes = [0; 5];
            while stream.read_exact(&mut bytes).await.is_ok() {
                bytes.make_ascii_uppercase();
                stream.write_all(&bytes).await.unwrap();
            }
            return;
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}",
            head.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
