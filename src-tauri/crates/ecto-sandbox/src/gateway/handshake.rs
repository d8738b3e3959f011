//! The first frame of the WebSocket RPC: who is let in, and with which scopes.

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::authentication::Authentication;
use super::config::Effective;
use super::lockout::Origin;
use super::patch::{Refusal, VERSION};
use super::state::{State, milliseconds, random_id};

const PROTOCOL: u64 = 4;

const CLIENT_IDS: &[&str] = &[
    "webchat-ui",
    "openclaw-control-ui",
    "openclaw-browser-copilot",
    "openclaw-tui",
    "webchat",
    "cli",
    "gateway-client",
    "openclaw-macos",
    "openclaw-linux",
    "openclaw-ios",
    "openclaw-watchos",
    "openclaw-android",
    "node-host",
    "openclaw-worker",
    "test",
    "fingerprint",
    "openclaw-probe",
];

const CLIENT_MODES: &[&str] = &[
    "webchat", "cli", "ui", "backend", "node", "worker", "probe", "test",
];

const METHODS: &[&str] = &[
    "health",
    "config.get",
    "config.patch",
    "config.schema.lookup",
    "gateway.restart.preflight",
    "gateway.restart.request",
    "secrets.reload",
];

/// Who opened a WebSocket.
#[derive(Debug)]
pub(crate) struct Peer {
    pub origin: Origin,
    pub web_origin: Option<String>,
}

/// Decides about a `connect` request: the scopes, or the close code and the refusal.
pub(crate) fn admit(
    state: &State,
    peer: &Peer,
    method: &str,
    params: &Value,
    config: &Effective,
) -> Result<Vec<&'static str>, (u16, Refusal)> {
    let invalid = |message: &str| (1008, Refusal::invalid(message));
    if method != "connect" {
        return Err(invalid("invalid handshake: first request must be connect"));
    }
    let word = |pointer: &str| params.pointer(pointer).and_then(Value::as_str);
    for (pointer, allowed) in [("/client/id", CLIENT_IDS), ("/client/mode", CLIENT_MODES)] {
        if !word(pointer).is_some_and(|word| allowed.contains(&word)) {
            return Err(invalid(&format!(
                "invalid connect params: at {pointer}: must be equal to one of the allowed values"
            )));
        }
    }
    let number = |name: &str| params.get(name).and_then(Value::as_u64);
    let (Some(low), Some(high)) = (number("minProtocol"), number("maxProtocol")) else {
        return Err(invalid(
            "invalid connect params: must have required property 'minProtocol'",
        ));
    };
    if !(low..=high).contains(&PROTOCOL) {
        let details = json!({
            "code": "PROTOCOL_MISMATCH", "clientMinProtocol": low, "clientMaxProtocol": high,
            "expectedProtocol": PROTOCOL, "minimumProbeProtocol": 3,
        });
        let refusal = Refusal {
            details: Some(details),
            ..Refusal::invalid("protocol mismatch")
        };
        return Err((1002, refusal));
    }
    if peer.web_origin.is_some() {
        let details =
            json!({ "code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": "origin not allowed" });
        let message = "origin not allowed (open the Control UI from the gateway host or allow it in gateway.controlUi.allowedOrigins)";
        return Err((
            1008,
            Refusal {
                details: Some(details),
                ..Refusal::invalid(message)
            },
        ));
    }
    check_secret(state, peer, params, config)?;
    if peer.origin != Origin::Local {
        // Through a proxy the shared secret alone gives no scope; that needs a paired device.
        return Ok(Vec::new());
    }
    let asked = params.get("scopes").and_then(Value::as_array);
    let scopes = ["operator.read", "operator.write", "operator.admin"];
    Ok(scopes
        .into_iter()
        .filter(|scope| asked.is_some_and(|asked| asked.contains(&json!(scope))))
        .collect())
}

fn check_secret(
    state: &State,
    peer: &Peer,
    params: &Value,
    config: &Effective,
) -> Result<(), (u16, Refusal)> {
    let (secret, word, hint) = match &config.authentication {
        Authentication::Open => return Ok(()),
        Authentication::Token { secret, .. } => (
            Some(secret),
            "token",
            "use this gateway's gateway.auth.token or pair the device",
        ),
        Authentication::Password(secret) => (
            Some(secret),
            "password",
            "use this gateway's gateway.auth.password",
        ),
        Authentication::TrustedProxy => (
            None,
            "token",
            "use this gateway's gateway.auth.token or pair the device",
        ),
    };
    let presented: Vec<&str> = ["/auth/token", "/auth/password"]
        .into_iter()
        .filter_map(|pointer| params.pointer(pointer).and_then(Value::as_str))
        .collect();
    if presented.is_empty() {
        let details = Some(json!({ "code": "DEVICE_IDENTITY_REQUIRED" }));
        let message = "device identity required".to_owned();
        return Err((
            1008,
            Refusal {
                code: "NOT_PAIRED",
                message,
                details,
            },
        ));
    }
    if secret.is_some_and(|secret| presented.contains(&secret.expose_secret())) {
        return Ok(());
    }
    state.lockouts.count(peer.origin, config);
    let details = json!({
        "code": format!("AUTH_{}_MISMATCH", word.to_uppercase()), "authReason": format!("{word}_mismatch"),
        "canRetryWithDeviceToken": false, "recommendedNextStep": "update_auth_credentials",
    });
    let message = format!("unauthorized: gateway {word} mismatch ({hint})");
    Err((
        1008,
        Refusal {
            details: Some(details),
            ..Refusal::invalid(message)
        },
    ))
}

/// Returns the payload of the answer to an accepted `connect`.
pub(crate) fn hello(state: &State, scopes: &[&str], config: &Effective) -> Value {
    json!({
        "type": "hello-ok",
        "protocol": PROTOCOL,
        "server": { "version": VERSION, "connId": random_id() },
        "features": {
            "methods": METHODS,
            "events": ["connect.challenge", "config.changed", "shutdown", "health", "tick"],
            "capabilities": ["gateway-restart-target-safe-v1"],
        },
        "snapshot": {
            "health": health(),
            "uptimeMs": state.uptime_milliseconds(),
            "appliedConfigHash": config.reading.hash,
        },
        "auth": { "role": "operator", "scopes": scopes },
        "policy": { "maxPayload": 26_214_400, "maxBufferedBytes": 52_428_800, "tickIntervalMs": 30_000 },
    })
}

/// Returns the payload of `health`.
pub(crate) fn health() -> Value {
    json!({
        "ok": true, "ts": milliseconds(), "durationMs": 1,
        "plugins": { "loaded": [], "errors": [], "unavailable": [] },
        "configReload": { "hotReloadStatus": "active" },
        "channels": {}, "channelOrder": [], "defaultAgentId": "main",
    })
}
