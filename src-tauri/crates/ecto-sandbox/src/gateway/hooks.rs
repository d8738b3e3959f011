//! The gateway's hooks, as far as a caller sees of them: nothing is woken.

use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::config::Effective;
use super::http::bearer;
use super::response::{Body, json_response, method_not_allowed, plain};

/// What follows the hooks' own path, where hooks are enabled and this is one.
pub(crate) fn find<'a>(path: &'a str, config: &Effective) -> Option<&'a str> {
    if !config.hooks() {
        return None;
    }
    let own = config.text("/hooks/path").unwrap_or("/hooks");
    path.strip_prefix(own)?.strip_prefix('/')
}

/// Refuses everything but `POST` with the hooks' own token.
pub(crate) fn refusal(
    method: &Method,
    headers: &HeaderMap,
    config: &Effective,
) -> Option<Response<Body>> {
    if method != Method::POST {
        return Some(method_not_allowed("POST"));
    }
    let token = config.text("/hooks/token");
    let is_right = token.is_some() && bearer(headers) == token;
    (!is_right).then(|| plain(StatusCode::UNAUTHORIZED, "Unauthorized"))
}

/// Answers a caller who may.
pub(crate) fn answer(hook: &str, body: &[u8]) -> Response<Body> {
    let call: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| call.get(name).and_then(Value::as_str);
    let missing = |what: &str| {
        json_response(
            StatusCode::BAD_REQUEST,
            &json!({ "ok": false, "error": format!("{what} required") }),
        )
    };
    match hook {
        "wake" if text("text").is_none() => missing("text"),
        "wake" => json_response(
            StatusCode::OK,
            &json!({ "ok": true, "mode": text("mode").unwrap_or("now"), "eventOutcome": "queued" }),
        ),
        "agent" if text("message").is_none() => missing("message"),
        "agent" => json_response(StatusCode::OK, &json!({ "ok": true, "runId": "stand-in" })),
        _ => plain(StatusCode::NOT_FOUND, "Not Found"),
    }
}
