//! The client for LocalAPI, which tailscaled speaks on a unix socket or, in the macOS apps, on a loopback port.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, ETAG, HOST, HeaderName, HeaderValue, IF_MATCH};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::task::AbortOnDropHandle;

use crate::bus::Bus;
use crate::serve_config::ServeConfig;
use crate::status::{FeatureAnswer, Status};

/// The only host name that tailscaled takes (tailscale 1.104, `ipn/localapi/localapi.go`, `validHost`).
const HOST_NAME: &str = "local-tailscaled.sock";
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// `query-feature` is passed on to the control server, so it takes as long as that.
const CONTROL_LIMIT: Duration = Duration::from_secs(30);
const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// Where a tailscaled listens.
#[derive(Debug, Clone)]
pub(crate) enum Endpoint {
    /// A unix socket, which knows its caller by itself.
    Socket(PathBuf),
    /// A port on 127.0.0.1 that asks for a password: the macOS apps.
    Port { port: u16, password: SecretString },
}

/// Why a request to LocalAPI was not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// No tailscaled listens there.
    #[error("no tailscaled listens there")]
    Absent,
    /// Something listens and the exchange did not come to an end.
    #[error("{detail}")]
    Unreachable { detail: String },
    /// The connection ended in the middle of the exchange.
    #[error("the connection ended")]
    Cut,
    /// 403, or 401 where a password or more rights are needed.
    #[error("access denied: {detail}")]
    Denied { detail: String },
    /// 412: somebody else changed it meanwhile.
    #[error("it was changed by somebody else at the same moment")]
    Changed,
    /// Another refusal.
    #[error("{detail}")]
    Refused { status: u16, detail: String },
    /// The answer is not what tailscaled says.
    #[error("the answer is not Tailscale's: {detail}")]
    Protocol { detail: String },
}

impl ApiError {
    fn unreachable(error: impl std::fmt::Display) -> Self {
        Self::Unreachable {
            detail: error.to_string(),
        }
    }

    fn protocol(error: impl std::fmt::Display) -> Self {
        Self::Protocol {
            detail: error.to_string(),
        }
    }

    /// Whether the daemon may be there again in a moment, as after a restart.
    pub(crate) fn is_interruption(&self) -> bool {
        match self {
            Self::Absent | Self::Unreachable { .. } | Self::Cut => true,
            Self::Denied { .. } | Self::Changed | Self::Refused { .. } | Self::Protocol { .. } => {
                false
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that lives as long as this value.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

struct Answer {
    etag: Option<String>,
    body: Bytes,
}

/// The client of one tailscaled. Each request has a connection of its own. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LocalApi {
    endpoint: Endpoint,
}

impl LocalApi {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }

    pub(crate) async fn status(&self) -> Result<Status, ApiError> {
        let answer = self.get("status?peers=false").await?;
        serde_json::from_slice(&answer.body).map_err(ApiError::protocol)
    }

    /// The preferences, whole, so that what this version does not know is kept.
    pub(crate) async fn prefs(&self) -> Result<Value, ApiError> {
        let answer = self.get("prefs").await?;
        let prefs: Value = serde_json::from_slice(&answer.body).map_err(ApiError::protocol)?;
        if !prefs.is_object() {
            return Err(ApiError::protocol("the preferences are not an object"));
        }
        Ok(prefs)
    }

    pub(crate) async fn switch_on(&self) -> Result<(), ApiError> {
        let change = json!({"WantRunning": true, "WantRunningSet": true});
        self.send(Method::PATCH, "prefs", Some(&change), None, REQUEST_LIMIT)
            .await?;
        Ok(())
    }

    /// Starts the backend with these preferences, which replace the ones it has.
    pub(crate) async fn start(&self, prefs: &Value) -> Result<(), ApiError> {
        let options = json!({"UpdatePrefs": prefs});
        self.send(Method::POST, "start", Some(&options), None, REQUEST_LIMIT)
            .await?;
        Ok(())
    }

    pub(crate) async fn log_in(&self) -> Result<(), ApiError> {
        self.send(Method::POST, "login-interactive", None, None, REQUEST_LIMIT)
            .await?;
        Ok(())
    }

    pub(crate) async fn query_feature(&self, feature: &str) -> Result<FeatureAnswer, ApiError> {
        let path = format!("query-feature?feature={feature}");
        let answer = self
            .send(Method::POST, &path, None, None, CONTROL_LIMIT)
            .await?;
        serde_json::from_slice(&answer.body).map_err(ApiError::protocol)
    }

    pub(crate) async fn serve_config(&self) -> Result<ServeConfig, ApiError> {
        let answer = self.get("serve-config").await?;
        let value = serde_json::from_slice(&answer.body).map_err(ApiError::protocol)?;
        let etag = answer
            .etag
            .ok_or_else(|| ApiError::protocol("the serve configuration came without an ETag"))?;
        ServeConfig::new(value, etag)
            .ok_or_else(|| ApiError::protocol("the serve configuration is not an object"))
    }

    /// Replaces the serve configuration, if it still is the one with this `etag`.
    pub(crate) async fn set_serve_config(&self, value: &Value, etag: &str) -> Result<(), ApiError> {
        self.send(
            Method::POST,
            "serve-config",
            Some(value),
            Some(etag),
            REQUEST_LIMIT,
        )
        .await?;
        Ok(())
    }

    /// Subscribes to the bus. The session ends with the returned value.
    pub(crate) async fn watch(&self, mask: u32) -> Result<Bus, ApiError> {
        let path = format!("watch-ipn-bus?mask={mask}");
        let begun = self.begin(Method::GET, &path, None, None);
        let (connection, status, _, body) = within(REQUEST_LIMIT, begun).await?;
        if status != StatusCode::OK {
            let body = within(REQUEST_LIMIT, collect(body)).await?;
            return Err(refusal(status, &body));
        }
        Ok(Bus::new(connection, body))
    }

    async fn get(&self, path: &str) -> Result<Answer, ApiError> {
        self.send(Method::GET, path, None, None, REQUEST_LIMIT)
            .await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        if_match: Option<&str>,
        limit: Duration,
    ) -> Result<Answer, ApiError> {
        within(limit, async {
            let (_connection, status, etag, body) =
                self.begin(method, path, body, if_match).await?;
            let body = collect(body).await?;
            if !status.is_success() {
                return Err(refusal(status, &body));
            }
            Ok(Answer { etag, body })
        })
        .await
    }

    async fn begin(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        if_match: Option<&str>,
    ) -> Result<(Connection, StatusCode, Option<String>, Incoming), ApiError> {
        let mut connection = self.connect().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/localapi/v0/{path}"))
            .header(HOST, HOST_NAME);
        if let Some(etag) = if_match {
            request = request.header(IF_MATCH, etag);
        }
        if let Endpoint::Port { password, .. } = &self.endpoint {
            request = request.header(AUTHORIZATION, basic(password)?);
        }
        let bytes = match body {
            Some(value) => {
                let json = HeaderValue::from_static("application/json");
                request = request.header(HeaderName::from_static("content-type"), json);
                Bytes::from(value.to_string())
            }
            None => Bytes::new(),
        };
        let request = request.body(Full::new(bytes)).map_err(ApiError::protocol)?;
        let response = connection
            .sender
            .send_request(request)
            .await
            .map_err(exchange_error)?;
        let etag = response
            .headers()
            .get(ETAG)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Ok((connection, response.status(), etag, response.into_body()))
    }

    async fn connect(&self) -> Result<Connection, ApiError> {
        let dialled = async {
            let stream: Box<dyn Stream> = match &self.endpoint {
                Endpoint::Socket(path) => Box::new(UnixStream::connect(path).await?),
                Endpoint::Port { port, .. } => {
                    let stream = TcpStream::connect(("127.0.0.1", *port)).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
            };
            Ok(stream)
        };
        let stream = within(CONNECT_LIMIT, async { dialled.await.map_err(dial_error) }).await?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(exchange_error)?;
        let driver = tokio::spawn(async move {
            // What goes wrong is seen by whoever waits for the answer.
            let _ = driver.await;
        });
        Ok(Connection {
            sender,
            _driver: AbortOnDropHandle::new(driver),
        })
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(ApiError::Unreachable {
            detail: format!("no answer within {} seconds", limit.as_secs()),
        }),
    }
}

async fn collect(body: Incoming) -> Result<Bytes, ApiError> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::protocol("the answer is too large"))
        }
        Err(_) => Err(ApiError::Cut),
    }
}

fn exchange_error(error: hyper::Error) -> ApiError {
    if error.is_parse() {
        ApiError::protocol(error)
    } else {
        ApiError::Cut
    }
}

fn dial_error(error: io::Error) -> ApiError {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound || kind == io::ErrorKind::ConnectionRefused {
        return ApiError::Absent;
    }
    // The listener went away with the connection in its queue.
    if kind == io::ErrorKind::ConnectionReset {
        return ApiError::Cut;
    }
    if kind == io::ErrorKind::PermissionDenied {
        return ApiError::Denied {
            detail: error.to_string(),
        };
    }
    ApiError::unreachable(error)
}

fn basic(password: &SecretString) -> Result<HeaderValue, ApiError> {
    let credentials = BASE64.encode(format!(":{}", password.expose_secret()).as_bytes());
    let mut value =
        HeaderValue::from_str(&format!("Basic {credentials}")).map_err(ApiError::protocol)?;
    value.set_sensitive(true);
    Ok(value)
}

fn refusal(status: StatusCode, body: &[u8]) -> ApiError {
    let detail = refusal_text(body);
    match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => ApiError::Denied { detail },
        StatusCode::PRECONDITION_FAILED => ApiError::Changed,
        _ => ApiError::Refused {
            status: status.as_u16(),
            detail: if detail.is_empty() {
                format!("status {status}")
            } else {
                detail
            },
        },
    }
}

/// Errors are plain text, or JSON with `error` or `Error` (tailscale 1.104, `ipn/localapi`: `http.Error`, `WriteErrorJSON`).
fn refusal_text(body: &[u8]) -> String {
    if let Ok(Value::Object(fields)) = serde_json::from_slice(body) {
        let text = fields.get("error").or_else(|| fields.get("Error"));
        if let Some(Value::String(text)) = text {
            return text.clone();
        }
    }
    String::from_utf8_lossy(body).trim().to_owned()
}
