//! The gateway's HTTP side: connections, recording, who may, and the table of paths.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::config::{Authentication, Effective};
use super::lockout::{Origin, attribute};
use super::patch::VERSION;
use super::path::normalise;
use super::record::{Outcome, Request};
use super::state::{Order, Phase, State};
use super::{completion, rpc};
use crate::faults::Fault;

/// The largest body the gateway reads; with more it closes the connection.
pub const LARGEST_BODY: usize = 20 * 1024 * 1024;

/// The longest wait of a local client with a wrong token.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// The time a broken answer gets to reach the wire.
const FLUSH: Duration = Duration::from_millis(30);

/// A response's body.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the gateway closes the connection")]
pub(crate) struct Closed;

/// Accepts connections until the process ends.
pub(crate) async fn accept(state: Arc<State>, listener: TcpListener, cut: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = cut.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(converse(Arc::clone(&state), stream, cut.clone()));
                }
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn converse(state: Arc<State>, stream: TcpStream, cut: CancellationToken) {
    match state.faults.pass("connect").await {
        None
        | Some(
            Fault::CloseAfter(_)
            | Fault::GarbageLine
            | Fault::HalfLine
            | Fault::LongLine(_)
            | Fault::Delay(_)
            | Fault::Hold(_),
        ) => {}
        Some(Fault::Silence) => {
            cut.cancelled().await;
            drop(stream);
            return;
        }
        Some(Fault::Die { back_after }) => return state.order(Order::Die(back_after)),
        Some(Fault::Refuse | Fault::Answer { .. }) => return,
    }
    let service = service_fn(move |request| handle(Arc::clone(&state), cut.clone(), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::trace!(%error, "a connection to the stand-in gateway ended early");
    }
}

/// One request in the record, until its answer was handed over whole.
struct Entry {
    state: Arc<State>,
    place: usize,
    done: bool,
}

impl Entry {
    fn finish(&mut self, status: StatusCode) {
        if !self.done {
            self.done = true;
            self.state.record.update(self.place, |request| {
                request.outcome = Outcome::Answered(status)
            });
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.done {
            self.state
                .record
                .update(self.place, |request| request.outcome = Outcome::CutOff);
        }
    }
}

/// A body that tells the record when it was handed over whole, and that can break off early.
struct Tracked {
    inner: Body,
    entry: Entry,
    status: StatusCode,
    break_after: Option<usize>,
    flushed: Pin<Box<Sleep>>,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.break_after == Some(0) {
            // What was handed over must reach the wire before the connection breaks.
            ready!(self.flushed.as_mut().poll(context));
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        let status = self.status;
        match polled {
            Poll::Ready(None) => {
                self.entry.finish(status);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                let frame = match (self.break_after, frame.into_data()) {
                    (Some(left), Ok(mut data)) => {
                        data.truncate(left);
                        self.break_after = Some(left - data.len());
                        Frame::data(data)
                    }
                    (None, Ok(data)) => Frame::data(data),
                    (_, Err(frame)) => frame,
                };
                if self.break_after.is_none() && self.inner.is_end_stream() {
                    self.entry.finish(status);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            other @ (Poll::Ready(Some(Err(_))) | Poll::Pending) => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.break_after.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn track(response: Response<Body>, mut entry: Entry, break_after: Option<usize>) -> Response<Body> {
    let status = response.status();
    response.map(|inner| {
        if break_after.is_none() && inner.is_end_stream() {
            entry.finish(status);
        }
        Tracked {
            inner,
            entry,
            status,
            break_after,
            flushed: Box::pin(tokio::time::sleep(FLUSH)),
        }
        .boxed()
    })
}

async fn handle(
    state: Arc<State>,
    cut: CancellationToken,
    request: http::Request<Incoming>,
) -> Result<Response<Body>, Closed> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    let path = normalise(&target);
    let place = state.record.add_request(Request {
        method: request.method().clone(),
        target,
        path: path.clone(),
        headers: request.headers().clone(),
        body: Bytes::new(),
        agent: None,
        outcome: Outcome::Open,
    });
    let entry = Entry {
        state: Arc::clone(&state),
        place,
        done: false,
    };
    let point = format!("{} {path}", request.method());
    let mut break_after = None;
    match state.faults.pass(&point).await {
        None
        | Some(
            Fault::GarbageLine
            | Fault::HalfLine
            | Fault::LongLine(_)
            | Fault::Delay(_)
            | Fault::Hold(_),
        ) => {}
        Some(Fault::CloseAfter(bytes)) => break_after = Some(bytes),
        Some(Fault::Refuse) => return Err(Closed),
        Some(Fault::Die { back_after }) => {
            state.order(Order::Die(back_after));
            return Err(Closed);
        }
        Some(Fault::Silence) => {
            cut.cancelled().await;
            return Err(Closed);
        }
        Some(Fault::Answer {
            status,
            headers,
            body,
        }) => {
            return Ok(track(scripted(status, &headers, body), entry, None));
        }
    }
    let exchange = Exchange {
        state,
        cut,
        path,
        place,
    };
    let response = exchange.answer(request).await?;
    Ok(track(response, entry, break_after))
}

fn scripted(status: u16, headers: &[(String, String)], body: String) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(status, "text/plain; charset=utf-8", body);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::try_from(name),
            HeaderValue::from_str(value),
        ) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// One request being answered.
pub(crate) struct Exchange {
    pub state: Arc<State>,
    pub cut: CancellationToken,
    pub path: String,
    pub place: usize,
}

impl Exchange {
    async fn answer(self, request: http::Request<Incoming>) -> Result<Response<Body>, Closed> {
        if self.state.behaviour().answers_everything {
            return Ok(json_response(StatusCode::OK, &json!({ "ok": true })));
        }
        let Some(config) = self.state.active() else {
            return Err(Closed);
        };
        let origin = attribute(request.headers(), &config);
        if request.headers().contains_key(UPGRADE) {
            return Ok(self.upgrade(request, origin));
        }
        let path = self.path.clone();
        match path.as_str() {
            "/health" | "/healthz" => {
                return Ok(probe(request.method(), || {
                    json_response(StatusCode::OK, &json!({ "ok": true, "status": "live" }))
                }));
            }
            "/browser/extension" | "/browser/screencast" => {
                return Ok(plain(
                    StatusCode::UPGRADE_REQUIRED,
                    "Upgrade Required: connect over WebSocket",
                ));
            }
            _ => {}
        }
        if origin == Origin::Unattributed {
            return Ok(unattributed());
        }
        match path.as_str() {
            "/ready" | "/readyz" => Ok(probe(request.method(), || {
                self.readiness(request.headers(), origin, &config)
            })),
            "/startup" | "/startupz" => Ok(probe(request.method(), || self.startup())),
            "/v1/chat/completions" if config.chat_completions() => {
                self.complete(completion::Kind::Chat, request, origin, &config)
                    .await
            }
            "/v1/responses" if config.responses() => {
                self.complete(completion::Kind::Responses, request, origin, &config)
                    .await
            }
            "/v1/embeddings" if config.chat_completions() || config.responses() => {
                self.protected_post(request, origin, &config, |_| {
                    error(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "internal error",
                        "api_error",
                    )
                })
                .await
            }
            "/tools/invoke" => {
                self.protected_post(request, origin, &config, |body| invoke_tool(&body))
                    .await
            }
            other if other == "/v1/models" || other.starts_with("/v1/models/") => {
                Ok(self.models(request.method(), request.headers(), origin, &config))
            }
            other => {
                Ok(self.elsewhere(other, request.method(), request.headers(), origin, &config))
            }
        }
    }

    fn upgrade(&self, request: http::Request<Incoming>, origin: Origin) -> Response<Body> {
        if origin == Origin::Unattributed {
            return unattributed();
        }
        let first = self.path.split('/').nth(1).unwrap_or_default();
        if matches!(
            first,
            "desktop" | "node-desktop" | "node-portal" | "browser"
        ) {
            return unauthorized();
        }
        rpc::upgrade(Arc::clone(&self.state), self.cut.clone(), origin, request)
    }

    fn readiness(&self, headers: &HeaderMap, origin: Origin, config: &Effective) -> Response<Body> {
        let failing = match self.state.phase() {
            Phase::Ready => json!([]),
            Phase::Draining => json!(["gateway-draining"]),
            Phase::Stopped | Phase::Starting | Phase::Warming | Phase::Down | Phase::Exited(_) => {
                json!(["startup-sidecars"])
            }
        };
        let ready = failing.as_array().is_some_and(Vec::is_empty);
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let mut body = json!({ "ready": ready });
        if origin == Origin::Local || holds_right_secret(headers, config) {
            body["failing"] = failing;
            body["uptimeMs"] = json!(self.state.uptime_milliseconds());
            body["eventLoop"] =
                json!({ "degraded": false, "degradedSinceMs": null, "reasons": [] });
        }
        no_store(json_response(status, &body))
    }

    fn startup(&self) -> Response<Body> {
        no_store(json_response(
            StatusCode::OK,
            &json!({ "ok": true, "status": "started", "version": VERSION, "uptimeMs": self.state.uptime_milliseconds() }),
        ))
    }

    fn models(
        &self,
        method: &Method,
        headers: &HeaderMap,
        origin: Origin,
        config: &Effective,
    ) -> Response<Body> {
        if !config.chat_completions() && !config.responses() {
            return not_found();
        }
        if method != Method::GET {
            return method_not_allowed("GET");
        }
        if let Some(refusal) = self.refusal(headers, origin, config) {
            return refusal;
        }
        let model = |id: &str| json!({ "id": id, "object": "model", "created": 0, "owned_by": "openclaw", "permission": [] });
        let mut ids = vec!["openclaw".to_owned(), "openclaw/default".to_owned()];
        ids.extend(
            config
                .agents()
                .iter()
                .map(|agent| format!("openclaw/{agent}")),
        );
        let Some(asked) = self.path.strip_prefix("/v1/models/") else {
            let data: Vec<Value> = ids.iter().map(|id| model(id)).collect();
            return json_response(StatusCode::OK, &json!({ "object": "list", "data": data }));
        };
        let asked = asked.replace("%2F", "/").replace("%2f", "/");
        if ids.contains(&asked) {
            json_response(StatusCode::OK, &model(&asked))
        } else {
            invalid_request("Invalid model id.")
        }
    }

    async fn complete(
        self,
        kind: completion::Kind,
        request: http::Request<Incoming>,
        origin: Origin,
        config: &Arc<Effective>,
    ) -> Result<Response<Body>, Closed> {
        if request.method() != Method::POST {
            return Ok(method_not_allowed("POST"));
        }
        if let Some(refusal) = self.slow_refusal(request.headers(), origin, config).await {
            return Ok(refusal);
        }
        if self.state.phase() != Phase::Ready {
            return Ok(error(
                StatusCode::SERVICE_UNAVAILABLE,
                "Gateway is not ready.",
                "service_unavailable",
            ));
        }
        let (parts, body) = request.into_parts();
        let body = self.read_body(body).await?;
        completion::answer(self, kind, &parts.headers, &body, config).await
    }

    async fn protected_post(
        self,
        request: http::Request<Incoming>,
        origin: Origin,
        config: &Effective,
        answer: impl FnOnce(Bytes) -> Response<Body> + Send,
    ) -> Result<Response<Body>, Closed> {
        if request.method() != Method::POST {
            return Ok(method_not_allowed("POST"));
        }
        if let Some(refusal) = self.slow_refusal(request.headers(), origin, config).await {
            return Ok(refusal);
        }
        let body = self.read_body(request.into_body()).await?;
        Ok(answer(body))
    }

    async fn read_body(&self, mut body: Incoming) -> Result<Bytes, Closed> {
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(|_| Closed)?.into_data().unwrap_or_default();
            if read.len() + data.len() > LARGEST_BODY {
                return Err(Closed);
            }
            read.extend_from_slice(&data);
        }
        let read = read.freeze();
        self.state
            .record
            .update(self.place, |request| request.body = read.clone());
        Ok(read)
    }

    /// Every other path: the Control UI answers any GET that nothing else claims.
    fn elsewhere(
        &self,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
        origin: Origin,
        config: &Effective,
    ) -> Response<Body> {
        let mut segments = path.split('/').skip(1);
        let (first, second) = (
            segments.next().unwrap_or_default(),
            segments.next().unwrap_or_default(),
        );
        let missing_own_credential =
            || json_response(StatusCode::NOT_FOUND, &json!({ "error": "not_found" }));
        match (first, second) {
            ("v1" | "assets" | "share", _) if path != "/share/card.png" => not_found(),
            ("api", "users" | "channels")
            | ("sessions" | "avatar", _)
            | ("plugins", "geolocation")
            | (
                "__openclaw__",
                "catalog-icon" | "channel-avatar" | "link-favicon" | "plugin-icon"
                | "workspace-icon" | "a2ui",
            )
            | ("control-ui-config.json", "")
            | ("__openclaw__" | "__openclaw", "control-ui-config.json") => {
                match self.refusal(headers, origin, config) {
                    Some(refusal) => refusal,
                    None if path.ends_with("control-ui-config.json") => json_response(
                        StatusCode::OK,
                        &json!({ "basePath": "", "assistantName": "Assistant" }),
                    ),
                    None => not_found(),
                }
            }
            ("api", _) => not_found(),
            ("j", _)
            | ("__openclaw__", "worker-bootstrap" | "worker-bundle" | "worker-transfer") => {
                missing_own_credential()
            }
            ("__openclaw__", other) if other != "canvas" && other != "cap" => not_found(),
            ("oauth", "provider") => plain(StatusCode::GONE, "Gone"),
            _ if method == Method::GET && config.control_ui() => control_ui(),
            _ => not_found(),
        }
    }

    /// Does what [`Exchange::refusal`] does, and lets a wrong local client wait longer each time.
    async fn slow_refusal(
        &self,
        headers: &HeaderMap,
        origin: Origin,
        config: &Effective,
    ) -> Option<Response<Body>> {
        let refusal = self.refusal(headers, origin, config)?;
        if origin == Origin::Local {
            let doublings = self.state.lockouts.recent(origin).saturating_sub(1).min(5);
            let delay = self.state.timing().wrong_token * 2_u32.pow(doublings);
            tokio::time::sleep(delay.min(LONGEST_DELAY)).await;
        }
        Some(refusal)
    }

    /// Returns the refusal of a client that may not, as the gateway decides for every protected path.
    fn refusal(
        &self,
        headers: &HeaderMap,
        origin: Origin,
        config: &Effective,
    ) -> Option<Response<Body>> {
        let expected = match &config.authentication {
            Authentication::Open => {
                // Without a token the gateway still refuses what tailscaled marks as coming from the internet.
                return match origin {
                    Origin::Local | Origin::Forwarded { funnel: false, .. } => None,
                    Origin::Forwarded { funnel: true, .. } | Origin::Unattributed => {
                        Some(unauthorized())
                    }
                };
            }
            Authentication::TrustedProxy => return Some(unauthorized()),
            Authentication::Token { secret, .. } | Authentication::Password(secret) => secret,
        };
        if let Some(remaining) = self.state.lockouts.remaining(origin, config) {
            return Some(locked_out(remaining));
        }
        let Some(presented) = bearer(headers) else {
            return Some(unauthorized());
        };
        if presented == expected.expose_secret() {
            self.state.lockouts.forgive(origin);
            return None;
        }
        self.state.lockouts.count(origin, config);
        Some(unauthorized())
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn holds_right_secret(headers: &HeaderMap, config: &Effective) -> bool {
    let right = |secret: &SecretString| bearer(headers) == Some(secret.expose_secret());
    match &config.authentication {
        Authentication::Token { secret, .. } | Authentication::Password(secret) => right(secret),
        Authentication::Open | Authentication::TrustedProxy => false,
    }
}

fn probe(method: &Method, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
    if method == Method::GET || method == Method::HEAD {
        answer()
    } else {
        method_not_allowed("GET, HEAD")
    }
}

fn invoke_tool(body: &[u8]) -> Response<Body> {
    let call: Value = serde_json::from_slice(body).unwrap_or_default();
    match call.get("tool").and_then(Value::as_str) {
        Some("sessions_list") => {
            let details =
                json!({ "count": 0, "sessions": [], "hasMore": false, "limitApplied": 100 });
            let content = json!([{ "type": "text", "text": details.to_string() }]);
            json_response(
                StatusCode::OK,
                &json!({ "ok": true, "result": { "content": content, "details": details } }),
            )
        }
        other => json_response(
            StatusCode::NOT_FOUND,
            &json!({ "ok": false, "error": { "type": "not_found", "message": format!("Tool not available: {}", other.unwrap_or_default()) } }),
        ),
    }
}

fn control_ui() -> Response<Body> {
    let page = "<!doctype html>\n<html data-openclaw-control-ui-base-path=\"\" lang=\"en\">\n<head><title>OpenClaw Control</title></head>\n<body></body>\n</html>\n";
    let mut response = respond(StatusCode::OK, "text/html; charset=utf-8", page);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
        .headers_mut()
        .insert("x-frame-options", HeaderValue::from_static("DENY"));
    response
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let body = Full::new(body.into())
        .map_err(|never: Infallible| match never {})
        .boxed();
    head(status, content_type, body)
}

/// Puts the gateway's usual headers on a response.
pub(crate) fn head(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    respond(status, "application/json; charset=utf-8", body.to_string())
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", text)
}

pub(crate) fn error(status: StatusCode, message: &str, kind: &str) -> Response<Body> {
    json_response(
        status,
        &json!({ "error": { "message": message, "type": kind } }),
    )
}

pub(crate) fn invalid_request(message: &str) -> Response<Body> {
    error(StatusCode::BAD_REQUEST, message, "invalid_request_error")
}

fn unauthorized() -> Response<Body> {
    error(StatusCode::UNAUTHORIZED, "Unauthorized", "unauthorized")
}

fn unattributed() -> Response<Body> {
    error(
        StatusCode::FORBIDDEN,
        "Proxy client attribution is required. Configure gateway.trustedProxies narrowly and make the proxy overwrite or safely rebuild forwarded client headers.",
        "proxy_attribution_required",
    )
}

fn locked_out(remaining: Duration) -> Response<Body> {
    let mut response = error(
        StatusCode::TOO_MANY_REQUESTS,
        "Too many failed authentication attempts. Please try again later.",
        "rate_limited",
    );
    let seconds = remaining.as_millis().div_ceil(1000);
    if let Ok(seconds) = HeaderValue::from_str(&seconds.to_string()) {
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "Not Found")
}

fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn no_store(mut response: Response<Body>) -> Response<Body> {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
