//! Bare requests to tailscaled's LocalAPI, with nothing of Ecto in between.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// The `Host` that tailscaled wants (ipn/localapi/localapi.go of v1.102.5).
const LOCAL_HOST: &str = "local-tailscaled.sock";

/// How long a message of the bus may take.
const BUS_LIMIT: Duration = Duration::from_secs(30);

/// Speaks to the LocalAPI of one tailscaled.
#[derive(Debug, Clone)]
pub struct LocalApi {
    socket: PathBuf,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the body as JSON.
    ///
    /// # Errors
    ///
    /// Where it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{}: not JSON: {}", self.status, self.text()))
    }

    /// Returns the value of a header, empty where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl LocalApi {
    /// Speaks through this socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Sends any request; the path begins after `/localapi/v0/`, and `Host` is set where it is missing.
    ///
    /// # Errors
    ///
    /// Where tailscaled does not answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        headers
            .entry(HOST)
            .or_insert(HeaderValue::from_static(LOCAL_HOST));
        let response = self.open(method, path, headers, body.into()).await?;
        let (parts, body) = response.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// Sends a GET.
    ///
    /// # Errors
    ///
    /// Where tailscaled does not answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, HeaderMap::new(), "").await
    }

    /// Sends a POST with a JSON body; `Null` is an empty body.
    ///
    /// # Errors
    ///
    /// Where tailscaled does not answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, HeaderMap::new(), encode(body))
            .await
    }

    /// Sends a PATCH with a JSON body.
    ///
    /// # Errors
    ///
    /// Where tailscaled does not answer.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::PATCH, path, HeaderMap::new(), encode(body))
            .await
    }

    /// Reads the status without peers.
    ///
    /// # Errors
    ///
    /// Where tailscaled does not answer with JSON.
    pub async fn status(&self) -> Result<Value> {
        self.get("status?peers=false").await?.json()
    }

    /// Reads the serve config and its tag.
    ///
    /// # Errors
    ///
    /// Where tailscaled does not answer with JSON.
    pub async fn serve_config(&self) -> Result<(Value, String)> {
        let answer = self.get("serve-config").await?;
        Ok((answer.json()?, answer.header("etag").to_owned()))
    }

    /// Writes the serve config, if it is still the one with this tag; an empty tag forces.
    ///
    /// # Errors
    ///
    /// Where tailscaled does not answer.
    pub async fn set_serve_config(&self, config: &Value, tag: &str) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        if !tag.is_empty() {
            headers.insert("if-match", HeaderValue::from_str(tag)?);
        }
        self.send(Method::POST, "serve-config", headers, encode(config))
            .await
    }

    /// Opens the notification bus.
    ///
    /// # Errors
    ///
    /// Where tailscaled refuses.
    pub async fn watch(&self, mask: u32) -> Result<Bus> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(LOCAL_HOST));
        let path = format!("watch-ipn-bus?mask={mask}");
        let response = self.open(Method::GET, &path, headers, Bytes::new()).await?;
        if !response.status().is_success() {
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            bail!("{status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(Bus {
            body: response.into_body(),
            buffered: Vec::new(),
        })
    }

    async fn open(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<http::Response<Incoming>> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/localapi/v0/{path}"))
            .body(Full::new(body))?;
        *request.headers_mut() = headers;
        Ok(sender.send_request(request).await?)
    }
}

fn encode(body: &Value) -> Bytes {
    if body.is_null() {
        return Bytes::new();
    }
    body.to_string().into()
}

/// An open notification bus. Dropping it closes the connection, and with it every foreground claim of its session.
pub struct Bus {
    body: Incoming,
    buffered: Vec<u8>,
}

impl Bus {
    /// Waits for the next message.
    ///
    /// # Errors
    ///
    /// Where the bus ends, stays silent for half a minute, or says what is not JSON.
    pub async fn next(&mut self) -> Result<Value> {
        tokio::time::timeout(BUS_LIMIT, self.read_line())
            .await
            .context("the bus is silent")?
    }

    /// Waits for a message that the function finds something in.
    ///
    /// # Errors
    ///
    /// As [`Bus::next`].
    pub async fn find<T>(&mut self, mut search: impl FnMut(&Value) -> Option<T>) -> Result<T> {
        loop {
            if let Some(found) = search(&self.next().await?) {
                return Ok(found);
            }
        }
    }

    /// Waits for the name of this bus session, which a foreground claim is tied to.
    ///
    /// # Errors
    ///
    /// As [`Bus::next`].
    pub async fn session(&mut self) -> Result<String> {
        self.find(|message| message["SessionID"].as_str().map(str::to_owned))
            .await
    }

    async fn read_line(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.buffered.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffered.drain(..=end).collect();
                return Ok(serde_json::from_slice(&line)?);
            }
            let frame = self.body.frame().await.context("the bus ended")??;
            if let Ok(data) = frame.into_data() {
                self.buffered.extend_from_slice(&data);
            }
        }
    }
}
