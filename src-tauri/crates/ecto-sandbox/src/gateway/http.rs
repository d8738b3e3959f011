//! The gateway's table of paths, and who may ask for what.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, UPGRADE};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::authentication::Authentication;
use super::config::Effective;
use super::connection::Closed;
use super::lockout::{Origin, attribute};
use super::patch::VERSION;
use super::response::{
    Body, control_ui, error, invalid_request, json_response, locked_out, method_not_allowed,
    no_store, not_found, plain, unattributed, unauthorized,
};
use super::state::{Phase, State};
use super::{completion, hooks, rpc};

/// The largest body the gateway reads; with more it closes the connection.
pub const LARGEST_BODY: usize = 20 * 1024 * 1024;

/// The longest wait of a local client with a wrong token.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// One request being answered.
pub(crate) struct Exchange {
    pub state: Arc<State>,
    pub cut: CancellationToken,
    pub path: String,
    pub place: usize,
}

impl Exchange {
    /// Answers the request, or closes the connection.
    pub(crate) async fn answer(
        self,
        request: http::Request<Incoming>,
    ) -> Result<Response<Body>, Closed> {
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
        if let Some(hook) = hooks::find(&path, &config) {
            if let Some(refusal) = hooks::refusal(request.method(), request.headers(), &config) {
                return Ok(refusal);
            }
            let body = self.read_body(request.into_body()).await?;
            return Ok(hooks::answer(hook, &body));
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
                self.protected_post(request, origin, &config, |body| embed(&body))
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

pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
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

/// There is no provider that embeds.
fn embed(body: &[u8]) -> Response<Body> {
    let call: Value = serde_json::from_slice(body).unwrap_or_default();
    match call.get("input") {
        Some(Value::String(_) | Value::Array(_)) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal error",
            "api_error",
        ),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            invalid_request("`input` must be a string or an array of strings.")
        }
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
        Some(other) => json_response(
            StatusCode::NOT_FOUND,
            &json!({ "ok": false, "error": { "type": "not_found", "message": format!("Tool not available: {other}") } }),
        ),
        None => invalid_request("tools.invoke requires name"),
    }
}
