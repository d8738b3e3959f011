//! Answers in the shapes of the real gateway.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

/// A response's body.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

pub(crate) fn control_ui() -> Response<Body> {
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

pub(crate) fn respond(
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

pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
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

pub(crate) fn unauthorized() -> Response<Body> {
    error(StatusCode::UNAUTHORIZED, "Unauthorized", "unauthorized")
}

pub(crate) fn unattributed() -> Response<Body> {
    error(
        StatusCode::FORBIDDEN,
        "Proxy client attribution is required. Configure gateway.trustedProxies narrowly and make the proxy overwrite or safely rebuild forwarded client headers.",
        "proxy_attribution_required",
    )
}

pub(crate) fn locked_out(remaining: Duration) -> Response<Body> {
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

pub(crate) fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "Not Found")
}

pub(crate) fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

pub(crate) fn no_store(mut response: Response<Body>) -> Response<Body> {
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
