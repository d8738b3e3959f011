//! The gateway's WebSocket RPC, protocol 4.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_util::sync::CancellationToken;

use super::config;
use super::handshake::{self, Peer, health};
use super::lockout::Origin;
use super::patch::{self, Refusal};
use super::response::{Body, invalid_request};
use super::state::{Order, Signal, State, milliseconds, preflight, random_id, restart_answer};
use super::{recovery, schema};
use crate::faults::Fault;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers an upgrade request, on any path; the client proves itself in its `connect` frame.
pub(crate) fn upgrade(
    state: Arc<State>,
    cut: CancellationToken,
    origin: Origin,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let Some(accept) = request
        .headers()
        .get(SEC_WEBSOCKET_KEY)
        .map(|key| derive_accept_key(key.as_bytes()))
    else {
        return invalid_request("Missing Sec-WebSocket-Key header");
    };
    let web_origin = request
        .headers()
        .get(ORIGIN)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let session = async {
            let Ok(upgraded) = upgraded.await else { return };
            let socket =
                WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            let signals = state.signals.subscribe();
            let session = Session {
                state: Arc::clone(&state),
                socket,
                peer: Peer { origin, web_origin },
                connected: None,
                sequence: 0,
            };
            session.run(signals).await;
        };
        tokio::select! {
            () = cut.cancelled() => {}
            () = session => {}
        }
    });
    let mut response = Response::new(<Body as Default>::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

struct Session {
    state: Arc<State>,
    socket: Socket,
    peer: Peer,
    connected: Option<Vec<&'static str>>,
    sequence: u64,
}

/// The conversation is over: the peer is gone or was sent away.
struct Over;

impl Session {
    async fn run(mut self, mut signals: broadcast::Receiver<Signal>) {
        let challenge = json!({
            "type": "event", "event": "connect.challenge",
            "payload": { "nonce": random_id(), "ts": milliseconds(), "capabilities": ["model-catalog-snapshot"] },
        });
        if self.send(&challenge).await.is_err() {
            return;
        }
        loop {
            let result = tokio::select! {
                signal = signals.recv() => match signal {
                    Ok(signal) => self.tell(signal).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => Ok(()),
                    Err(broadcast::error::RecvError::Closed) => Err(Over),
                },
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.receive(text.as_str()).await,
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(()),
                    Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => Err(Over),
                },
            };
            if result.is_err() {
                // The closing handshake; it fails where the peer is gone already.
                let _ = self.socket.close(None).await;
                return;
            }
        }
    }

    async fn send(&mut self, frame: &Value) -> Result<(), Over> {
        self.socket
            .send(Message::text(frame.to_string()))
            .await
            .map_err(|_| Over)
    }

    async fn close(&mut self, code: u16, reason: &str) -> Result<(), Over> {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        };
        let _ = self.socket.close(Some(frame)).await;
        Err(Over)
    }

    async fn tell(&mut self, signal: Signal) -> Result<(), Over> {
        match signal {
            Signal::Event(mut event) => {
                if self.connected.is_none() {
                    return Ok(());
                }
                self.sequence += 1;
                event["seq"] = json!(self.sequence);
                self.send(&event).await
            }
            Signal::AuthenticationChanged => self.close(4001, "gateway auth changed").await,
            Signal::Shutdown {
                reason,
                code,
                close_reason,
            } => {
                self.sequence += 1;
                let event = json!({
                    "type": "event", "event": "shutdown",
                    "payload": { "reason": reason, "restartExpectedMs": 1500 }, "seq": self.sequence,
                });
                self.send(&event).await?;
                self.close(code, close_reason).await
            }
        }
    }

    async fn receive(&mut self, text: &str) -> Result<(), Over> {
        let Ok(frame) = serde_json::from_str::<Value>(text) else {
            return if self.connected.is_some() {
                Ok(())
            } else {
                self.close(1000, "").await
            };
        };
        let id = frame.get("id").cloned().unwrap_or_default();
        let method = frame
            .get("method")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let params = frame.get("params").cloned().unwrap_or_default();
        self.state.record.add_call(&method, params.clone());
        match self.state.faults.pass(&format!("rpc {method}")).await {
            None
            | Some(
                Fault::CloseAfter(_)
                | Fault::GarbageLine
                | Fault::HalfLine
                | Fault::LongLine(_)
                | Fault::Delay(_)
                | Fault::Hold(_),
            ) => {}
            Some(Fault::Refuse) => return Err(Over),
            Some(Fault::Silence) => return Ok(()),
            Some(Fault::Die { back_after }) => {
                self.state.order(Order::Die(back_after));
                return Err(Over);
            }
            Some(Fault::Answer { body, .. }) => {
                return self.refuse(&id, &Refusal::unavailable(body)).await;
            }
        }
        if self.connected.is_none() {
            return self.connect(&id, &method, &params).await;
        }
        let answer = self.perform(&method, &params).await;
        if method == "config.patch" && self.lose_patch_answer().await? {
            return Ok(());
        }
        match answer {
            Ok(payload) => {
                self.send(&json!({ "type": "res", "id": id, "ok": true, "payload": payload }))
                    .await?;
                if method == "gateway.restart.request" {
                    self.state.order(Order::RestartOnceIdle);
                }
                Ok(())
            }
            Err(refusal) => self.refuse(&id, &refusal).await,
        }
    }

    /// The point after a patch took effect: its answer can be lost.
    async fn lose_patch_answer(&mut self) -> Result<bool, Over> {
        match self.state.faults.pass("rpc config.patch answer").await {
            None
            | Some(
                Fault::Delay(_)
                | Fault::Hold(_)
                | Fault::GarbageLine
                | Fault::HalfLine
                | Fault::LongLine(_),
            ) => Ok(false),
            Some(Fault::Silence) => Ok(true),
            Some(Fault::Die { back_after }) => {
                self.state.order(Order::Die(back_after));
                Err(Over)
            }
            Some(Fault::Refuse | Fault::CloseAfter(_) | Fault::Answer { .. }) => Err(Over),
        }
    }

    async fn refuse(&mut self, id: &Value, refusal: &Refusal) -> Result<(), Over> {
        let mut error = json!({ "code": refusal.code, "message": refusal.message });
        if let Some(details) = &refusal.details {
            error["details"] = details.clone();
        }
        self.send(&json!({ "type": "res", "id": id, "ok": false, "error": error }))
            .await
    }

    async fn connect(&mut self, id: &Value, method: &str, params: &Value) -> Result<(), Over> {
        let Some(config) = self.state.active() else {
            return Err(Over);
        };
        match handshake::admit(&self.state, &self.peer, method, params, &config) {
            Ok(scopes) => {
                let hello = handshake::hello(&self.state, &scopes, &config);
                self.connected = Some(scopes);
                self.send(&json!({ "type": "res", "id": id, "ok": true, "payload": hello }))
                    .await
            }
            Err((code, refusal)) => {
                self.refuse(id, &refusal).await?;
                self.close(code, &refusal.message).await
            }
        }
    }

    async fn perform(&mut self, method: &str, params: &Value) -> Result<Value, Refusal> {
        let needed = match method {
            "config.patch" | "gateway.restart.request" | "secrets.reload" => "operator.admin",
            _ => "operator.read",
        };
        if !self
            .connected
            .as_deref()
            .unwrap_or_default()
            .contains(&needed)
        {
            return Err(Refusal::invalid(format!("missing scope: {needed}")));
        }
        match method {
            "health" => Ok(health()),
            "config.get" => Ok(self.get_config()),
            "config.patch" => self.patch_config(params).await,
            "config.schema.lookup" => {
                let path = params
                    .get("path")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                schema::lookup(path).ok_or_else(|| Refusal::invalid("config schema path not found"))
            }
            "gateway.restart.preflight" => Ok(preflight(*self.state.in_flight.borrow())),
            "gateway.restart.request" => Ok(self.accept_restart()),
            "secrets.reload" => {
                self.reload().await?;
                Ok(json!({ "ok": true, "warningCount": 0 }))
            }
            other => Err(Refusal::invalid(format!("unknown method: {other}"))),
        }
    }

    fn accept_restart(&self) -> Value {
        let coalesced = self.state.restart_pending.swap(true, Ordering::Relaxed);
        restart_answer(*self.state.in_flight.borrow(), coalesced)
    }

    async fn reload(&mut self) -> Result<(), Refusal> {
        let (done, result) = oneshot::channel();
        self.state.order(Order::Reload(done));
        match result.await {
            Ok(Err(error)) => Err(Refusal::unavailable(format!("Error: {error}"))),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    fn get_config(&self) -> Value {
        let path = self.state.config_path.display().to_string();
        let active = self.state.active();
        let applied = active.as_ref().map(|active| active.reading.hash.clone());
        let reading = match config::read(&self.state.config_path, &self.state.environment) {
            Ok(reading) => reading,
            Err(error) => {
                let missing = error == config::ConfigError::Missing;
                let issues = json!([{ "path": "", "message": error.to_string() }]);
                return json!({
                    "path": path, "exists": !missing, "raw": null, "parsed": {}, "valid": missing, "config": {},
                    "issues": if missing { json!([]) } else { issues }, "warnings": [], "legacyIssues": [],
                    "appliedConfigHash": applied,
                });
            }
        };
        let mut secrets = Vec::new();
        let parsed = config::redact(&reading.parsed, &mut secrets);
        let source = config::redact(&reading.included, &mut secrets);
        let resolved = config::redact(&reading.resolved, &mut secrets);
        let raw = secrets.iter().fold(reading.raw.clone(), |raw, secret| {
            if secret.is_empty() {
                raw
            } else {
                raw.replace(secret.as_str(), config::REDACTED)
            }
        });
        let issues = schema::validate(&reading.resolved);
        json!({
            "path": path,
            "includedPaths": reading.includes.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
            "exists": true,
            "raw": raw,
            "parsed": parsed,
            "sourceConfig": source,
            "resolved": resolved,
            "valid": issues.is_empty(),
            "runtimeConfig": resolved,
            "config": resolved,
            "hash": reading.hash,
            "issues": issues.iter().map(schema::Issue::json).collect::<Vec<_>>(),
            "warnings": [],
            "legacyIssues": [],
            "configRevisionHash": reading.hash,
            "appliedConfigHash": applied,
        })
    }

    async fn patch_config(&mut self, params: &Value) -> Result<Value, Refusal> {
        let state = Arc::clone(&self.state);
        let read_only = ["OPENCLAW_CONFIG_READONLY", "OPENCLAW_NIX_MODE"]
            .into_iter()
            .any(|name| {
                state
                    .environment
                    .get(name)
                    .is_some_and(|value| value == "1")
            });
        if read_only {
            return Err(Refusal::unavailable(
                "Error: config is read-only in this environment",
            ));
        }
        let patched = patch::apply(&state.config_path, &state.environment, params)?;
        let path = state.config_path.display().to_string();
        let shown = config::redact(&patched.written, &mut Vec::new());
        if patched.changed.is_empty() {
            return Ok(
                json!({ "ok": true, "noop": true, "changedPaths": [], "path": path, "config": shown }),
            );
        }
        state.record.say(format!(
            "config.patch write changedPaths={}",
            patched.changed.join(",")
        ));
        if let Ok(text) = std::fs::read_to_string(&state.config_path) {
            recovery::remember(&state.config_path, &text);
        }
        let hash = config::read(&state.config_path, &state.environment).map(|reading| reading.hash);
        let hash = hash.unwrap_or_default();
        if !patched.requires_restart {
            self.reload().await?;
        }
        state.signal(Signal::Event(json!({
            "type": "event", "event": "config.changed",
            "payload": { "path": path, "hash": hash, "ts": milliseconds() },
        })));
        Ok(json!({
            "ok": true,
            "path": path,
            "hash": hash,
            "config": shown,
            "changedPaths": patched.changed,
            "sentinel": {
                "persisted": true,
                "payload": {
                    "kind": "config-patch", "status": "ok", "ts": milliseconds(), "message": null,
                    "stats": {
                        "mode": "config.patch", "root": path, "requiresRestart": patched.requires_restart,
                    },
                },
            },
        }))
    }
}
