//! Plain HTTP questions to the gateway. None of them starts a model turn, and none presents a wrong token.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use ecto_core::cause::Cause;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The most bytes of an answer that are read.
const BODY_LIMIT: usize = 256 * 1024;

/// The endpoints that the guard passes on to.
pub const ENDPOINTS: [&str; 2] = ["/v1/chat/completions", "/v1/responses"];

/// Where the models are listed; asks for a token, and costs the gateway nothing.
pub const MODELS: &str = "/v1/models";

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    /// The body, where it is JSON and not too long.
    pub body: Option<Value>,
}

impl Answer {
    /// The type of the error that the body tells.
    pub fn error_type(&self) -> Option<&str> {
        self.body.as_ref()?["error"]["type"].as_str()
    }
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nobody listens.
    Away,
    /// Somebody ended the connection without an answer.
    Closed,
    /// Somebody took the question and does not answer in time. OpenClaw does everything in one thread, which can be busy
    /// for longer than that.
    Late,
    /// Somebody answers, and not in HTTP.
    Foreign,
}

/// What is wrong with a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It does not answer.
    Silent(NoAnswer),
    /// It answers 503, as it does while it starts and ends.
    NotNow,
    /// It does not behave as it should.
    Wrong(Cause),
}

impl From<Fault> for Cause {
    fn from(fault: Fault) -> Self {
        let detail = match fault {
            Fault::Wrong(cause) => return cause,
            Fault::NotNow | Fault::Silent(NoAnswer::Late | NoAnswer::Away) => {
                return Self::GatewayNotReady { log: None };
            }
            Fault::Silent(NoAnswer::Closed) => "it ends the connection without an answer",
            Fault::Silent(NoAnswer::Foreign) => "it does not speak HTTP",
        };
        Self::GatewayUnexpected {
            detail: detail.into(),
        }
    }
}

impl From<NoAnswer> for Fault {
    fn from(silence: NoAnswer) -> Self {
        Self::Silent(silence)
    }
}

impl From<Cause> for Fault {
    fn from(cause: Cause) -> Self {
        Self::Wrong(cause)
    }
}

/// Asks one question with `GET`, with the token where one is given.
pub async fn ask(
    address: SocketAddr,
    path: &str,
    token: Option<&SecretString>,
) -> Result<Answer, NoAnswer> {
    timeout(LIMIT, exchange(address, path, token))
        .await
        .unwrap_or(Err(NoAnswer::Late))
}

async fn exchange(
    address: SocketAddr,
    path: &str,
    token: Option<&SecretString>,
) -> Result<Answer, NoAnswer> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|_| NoAnswer::Away)?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|fault| no_answer(&fault))?;
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close");
    if let Some(token) = token {
        request = request.header(
            header::AUTHORIZATION,
            format!("Bearer {}", token.expose_secret()),
        );
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|_| NoAnswer::Closed)?;
    let talk = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|fault| no_answer(&fault))?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let is_json = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        // The status alone is an answer too: a page may be long or never end.
        let body = if is_json {
            let bytes = Limited::new(response.into_body(), BODY_LIMIT)
                .collect()
                .await
                .ok();
            bytes.and_then(|bytes| serde_json::from_slice(&bytes.to_bytes()).ok())
        } else {
            None
        };
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    };
    // The connection goes away with this future, whatever is still to come over it.
    tokio::pin!(talk);
    tokio::select! {
        biased;
        answer = &mut talk => answer,
        _ = connection => talk.await,
    }
}

fn no_answer(fault: &hyper::Error) -> NoAnswer {
    if fault.is_parse() {
        NoAnswer::Foreign
    } else {
        NoAnswer::Closed
    }
}

/// What is on the gateway's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nobody listens.
    Away,
    /// The gateway, starting or draining.
    Starting,
    /// The gateway, ready, since this long.
    Ready {
        /// Time since this start, where it tells.
        uptime: Option<Duration>,
    },
    /// Somebody who does not answer: the gateway where it is busy, coming up or going away.
    Silent,
    /// Another program.
    Foreign,
}

impl Presence {
    /// Whether the gateway is there, as far as can be told.
    pub fn is_gateway(self) -> bool {
        matches!(self, Self::Starting | Self::Ready { .. } | Self::Silent)
    }
}

/// Looks what is on the port, by `/readyz`.
pub async fn presence(address: SocketAddr) -> Presence {
    let answer = match ask(address, "/readyz", None).await {
        Ok(answer) => answer,
        Err(NoAnswer::Away) => return Presence::Away,
        Err(NoAnswer::Closed | NoAnswer::Late) => return Presence::Silent,
        Err(NoAnswer::Foreign) => return Presence::Foreign,
    };
    let ready = answer
        .body
        .as_ref()
        .and_then(|body| body["ready"].as_bool());
    match (answer.status, ready) {
        (StatusCode::OK, Some(true)) => Presence::Ready {
            uptime: answer
                .body
                .as_ref()
                .and_then(|body| body["uptimeMs"].as_u64())
                .map(Duration::from_millis),
        },
        (StatusCode::SERVICE_UNAVAILABLE, _) | (StatusCode::OK, Some(false)) => Presence::Starting,
        _ => Presence::Foreign,
    }
}

/// Asks for the models without a token: see [`ecto_core::ports::Gateway::refuses_without_token`].
pub async fn refuses_without_token(address: SocketAddr) -> Result<(), Fault> {
    let answer = ask(address, MODELS, None).await?;
    match answer.status {
        StatusCode::UNAUTHORIZED => Ok(()),
        StatusCode::NOT_FOUND => Err(missing(MODELS).into()),
        StatusCode::SERVICE_UNAVAILABLE => Err(Fault::NotNow),
        StatusCode::TOO_MANY_REQUESTS => Err(locked_out(&answer).into()),
        StatusCode::FORBIDDEN if answer.error_type() == Some("proxy_attribution_required") => {
            Err(Cause::GatewayRejectsProxy.into())
        }
        status if status.is_success() => Err(Cause::GatewayOpen.into()),
        status => Err(unexpected(status).into()),
    }
}

/// Asks for the models with the token.
pub async fn accepts(address: SocketAddr, token: &SecretString) -> Result<(), Fault> {
    let answer = ask(address, MODELS, Some(token)).await?;
    match answer.status {
        StatusCode::OK => Ok(()),
        StatusCode::UNAUTHORIZED => Err(Cause::GatewayTokenRefused.into()),
        StatusCode::NOT_FOUND => Err(missing(MODELS).into()),
        StatusCode::SERVICE_UNAVAILABLE => Err(Fault::NotNow),
        StatusCode::TOO_MANY_REQUESTS => Err(locked_out(&answer).into()),
        StatusCode::FORBIDDEN if answer.error_type() == Some("proxy_attribution_required") => {
            Err(Cause::GatewayRejectsProxy.into())
        }
        status => Err(unexpected(status).into()),
    }
}

/// Looks whether both endpoints are there. A `GET` on them is answered 405 before anything else is done with it, and 404
/// where they are off (tried with OpenClaw 2026.9.6).
pub async fn has_endpoints(address: SocketAddr) -> Result<(), Fault> {
    for path in ENDPOINTS {
        let answer = ask(address, path, None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(missing(path).into());
        }
    }
    Ok(())
}

fn missing(route: &str) -> Cause {
    Cause::GatewayEndpointMissing {
        route: route.to_owned(),
    }
}

fn locked_out(answer: &Answer) -> Cause {
    Cause::GatewayLockedOut {
        seconds: answer.retry_after.unwrap_or(60),
    }
}

fn unexpected(status: StatusCode) -> Cause {
    Cause::GatewayUnexpected {
        detail: format!(
            "it answered {} to the question for its models",
            status.as_u16()
        )
        .into(),
    }
}
