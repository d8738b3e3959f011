//! The LocalAPI of tailscaled over HTTP (`ipn/localapi`, v1.102.3).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{
    AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, IF_MATCH, ORIGIN, REFERER, RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};

use super::backend::ServeRefusal;
use super::node::CertificateState;
use super::serve_config::ServeConfig;
use super::{Access, Inner, POINT_CONNECT, Request, bus};
use crate::answer::{Body, act_out, empty, json as json_answer, refusal, with_type};
use crate::faults::Fault;
use crate::life::Connection;

const PREFIX: &str = "/localapi/v0/";
const TEXT: &str = "text/plain; charset=utf-8";

/// How a door of the LocalAPI knows its clients.
#[derive(Clone)]
pub(super) enum Door {
    /// The unix socket: whoever may connect.
    Socket,
    /// The TCP port of the macOS apps: whoever knows the token.
    App {
        /// Password of the Basic authentication.
        token: String,
    },
}

/// Serves one connection to the LocalAPI.
pub(super) async fn serve(inner: Arc<Inner>, door: Door, connection: Connection) {
    match inner.faults.pass(POINT_CONNECT).await {
        Some(Fault::Refuse) => return,
        Some(Fault::Silence) => return std::future::pending().await,
        Some(Fault::Die { back_after }) => return inner.die_soon(back_after),
        None
        | Some(
            Fault::CloseAfter(_)
            | Fault::Answer { .. }
            | Fault::GarbageLine
            | Fault::HalfLine
            | Fault::LongLine(_)
            | Fault::Delay(_)
            | Fault::Hold(_),
        ) => {}
    }
    let service = service_fn(move |request| {
        let (inner, door) = (Arc::clone(&inner), door.clone());
        async move {
            let request = read(request).await;
            let point = request.point();
            let fault = inner.faults.pass(&point).await;
            act_out(fault, &inner.life, async { answer(&inner, &door, request) }).await
        }
    });
    // A client that goes away, and a fault that closes, both end here as errors: nobody is left to be told.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(connection), service)
        .await;
}

/// One request, read to its end.
struct Call {
    method: Method,
    path: String,
    query: HashMap<String, String>,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    fn endpoint(&self) -> Option<&str> {
        self.path.strip_prefix(PREFIX)
    }

    /// The name of the point of faults: the method and the endpoint, with `cert/` for every certificate.
    fn point(&self) -> String {
        let endpoint = self.endpoint().unwrap_or(&self.path);
        let endpoint = if endpoint.starts_with("cert/") {
            "cert"
        } else {
            endpoint
        };
        format!("{} {endpoint}", self.method)
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
}

async fn read(request: http::Request<Incoming>) -> Call {
    let (head, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let query = url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
        .into_owned()
        .collect();
    Call {
        method: head.method,
        path: head.uri.path().to_owned(),
        query,
        target: head.uri.to_string(),
        headers: head.headers,
        body,
    }
}

fn answer(inner: &Arc<Inner>, door: &Door, call: Call) -> Response<Body> {
    let (version, capability) = {
        let mut backend = inner.backend();
        backend.requests.add(Request {
            method: call.method.to_string(),
            path: call.target.clone(),
            body: String::from_utf8_lossy(&call.body).into_owned(),
        });
        (
            backend.node.version.clone(),
            backend.node.release().capability().to_string(),
        )
    };
    if let Some(refused) = refuse_stranger(door, &call.headers) {
        return refused;
    }
    let mut answer = match refuse_without_token(door, &call.headers) {
        Some(refused) => refused,
        None => route(inner, &call),
    };
    for (name, value) in [
        ("tailscale-version", version),
        ("tailscale-cap", capability),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            answer
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    answer
}

fn refuse_stranger(door: &Door, headers: &HeaderMap) -> Option<Response<Body>> {
    let host = headers
        .get(HOST)
        .map(|host| host.to_str().unwrap_or("?"))
        .unwrap_or_default();
    let known = match host {
        "" | "local-tailscaled.sock" => true,
        other => match door {
            Door::Socket => false,
            Door::App { .. } => other
                .rsplit_once(':')
                .is_some_and(|(host, _)| host == "localhost" || host == "127.0.0.1"),
        },
    };
    let from_a_page = [ORIGIN, REFERER]
        .iter()
        .any(|name| headers.get(name).is_some_and(|value| !value.is_empty()));
    (!known || from_a_page).then(|| refusal(StatusCode::FORBIDDEN, "invalid localapi request"))
}

fn refuse_without_token(door: &Door, headers: &HeaderMap) -> Option<Response<Body>> {
    let Door::App { token } = door else {
        return None;
    };
    let password = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|encoded| BASE64.decode(encoded.as_bytes()).ok())
        .and_then(|decoded| String::from_utf8(decoded).ok())
        .and_then(|pair| {
            pair.split_once(':')
                .map(|(_, password)| password.to_owned())
        });
    match password {
        None => Some(refusal(StatusCode::UNAUTHORIZED, "auth required")),
        Some(password) if password != *token => {
            Some(refusal(StatusCode::FORBIDDEN, "bad password"))
        }
        Some(_) => None,
    }
}

fn route(inner: &Arc<Inner>, call: &Call) -> Response<Body> {
    let Some(endpoint) = call.endpoint() else {
        return if call.path == "/" {
            with_type(StatusCode::OK, TEXT, "tailscaled\n")
        } else {
            refusal(StatusCode::NOT_FOUND, "404 page not found")
        };
    };
    match endpoint {
        "status" => get_status(inner, call),
        "prefs" => prefs(inner, call),
        "start" => start(inner, call),
        "login-interactive" => changing(
            inner,
            call,
            "login access denied",
            "want POST",
            StatusCode::BAD_REQUEST,
            |inner| {
                inner.sign_in_interactively();
            },
        ),
        "logout" => changing(
            inner,
            call,
            "logout access denied",
            "want POST",
            StatusCode::BAD_REQUEST,
            |inner| {
                inner.backend().log_out();
            },
        ),
        "reset-auth" => changing(
            inner,
            call,
            "reset-auth modify access denied",
            "use POST",
            StatusCode::METHOD_NOT_ALLOWED,
            |inner| inner.backend().reset(),
        ),
        "watch-ipn-bus" => watch(inner, call),
        "query-feature" => query_feature(inner, call),
        "serve-config" => serve_config(inner, call),
        "cert-domains" => cert_domains(inner),
        other => match other.strip_prefix("cert/") {
            Some(host) => certificate(inner, call, host),
            None => refusal(StatusCode::NOT_FOUND, "404 page not found"),
        },
    }
}

fn may_read(inner: &Inner) -> bool {
    match inner.backend().access {
        Access::ReadWrite | Access::ReadOnly => true,
        Access::Denied => false,
    }
}

fn may_write(inner: &Inner) -> bool {
    match inner.backend().access {
        Access::ReadWrite => true,
        Access::ReadOnly | Access::Denied => false,
    }
}

fn get_status(inner: &Inner, call: &Call) -> Response<Body> {
    if !may_read(inner) {
        return refusal(StatusCode::FORBIDDEN, "status access denied");
    }
    let peers = !matches!(
        call.query("peers"),
        Some("false" | "0" | "f" | "F" | "False" | "FALSE")
    );
    json_answer(StatusCode::OK, &inner.backend().status(peers))
}

fn prefs(inner: &Arc<Inner>, call: &Call) -> Response<Body> {
    if !may_read(inner) {
        return refusal(StatusCode::FORBIDDEN, "prefs access denied");
    }
    if call.method == Method::GET || call.method == Method::HEAD {
        return json_answer(StatusCode::OK, &inner.backend().node.prefs.document());
    }
    if call.method != Method::PATCH {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "unsupported method");
    }
    if !may_write(inner) {
        return refusal(StatusCode::FORBIDDEN, "prefs write access denied");
    }
    let masked = match object(&call.body) {
        Ok(masked) => masked,
        Err(text) => return refusal(StatusCode::BAD_REQUEST, &text),
    };
    let edited = inner.moving(|backend| backend.edit_prefs(&masked));
    match edited {
        Ok(prefs) => json_answer(StatusCode::OK, &prefs),
        Err(text) => json_answer(StatusCode::BAD_REQUEST, &json!({"Error": text})),
    }
}

fn start(inner: &Arc<Inner>, call: &Call) -> Response<Body> {
    if !may_write(inner) {
        return refusal(StatusCode::FORBIDDEN, "access denied");
    }
    if call.method != Method::POST {
        return refusal(StatusCode::BAD_REQUEST, "want POST");
    }
    let options = match object(&call.body) {
        Ok(options) => options,
        Err(text) => return refusal(StatusCode::BAD_REQUEST, &text),
    };
    match inner.moving(|backend| backend.start(&options)) {
        Ok(()) => empty(StatusCode::NO_CONTENT),
        Err(text) => refusal(StatusCode::BAD_REQUEST, &text),
    }
}

fn changing(
    inner: &Arc<Inner>,
    call: &Call,
    denied: &str,
    wrong_method: &str,
    wrong_status: StatusCode,
    change: impl FnOnce(&Arc<Inner>),
) -> Response<Body> {
    if !may_write(inner) {
        return refusal(StatusCode::FORBIDDEN, denied);
    }
    if call.method != Method::POST {
        return refusal(wrong_status, wrong_method);
    }
    change(inner);
    empty(StatusCode::NO_CONTENT)
}

fn watch(inner: &Arc<Inner>, call: &Call) -> Response<Body> {
    if !may_read(inner) {
        return refusal(StatusCode::FORBIDDEN, "watch ipn bus access denied");
    }
    match bus::mask(call.query("mask")) {
        Ok(mask) => bus::watch(inner, mask),
        Err(text) => refusal(StatusCode::BAD_REQUEST, text),
    }
}

fn query_feature(inner: &Arc<Inner>, call: &Call) -> Response<Body> {
    if !may_read(inner) {
        return refusal(StatusCode::FORBIDDEN, "access denied");
    }
    if call.method != Method::POST {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "use POST");
    }
    let Some(feature) = call.query("feature").filter(|feature| !feature.is_empty()) else {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "missing feature");
    };
    if !inner.backend().node.is_in_network_map() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "no netmap");
    }
    json_answer(StatusCode::OK, &inner.query_feature(feature))
}

fn serve_config(inner: &Arc<Inner>, call: &Call) -> Response<Body> {
    if call.method == Method::GET {
        if !may_read(inner) {
            return refusal(StatusCode::FORBIDDEN, "serve config denied");
        }
        let (document, tag) = {
            let backend = inner.backend();
            (backend.serve.document().to_string(), backend.serve.etag())
        };
        let mut answer = with_type(StatusCode::OK, "application/json", document);
        if let Ok(tag) = HeaderValue::try_from(tag) {
            answer.headers_mut().insert(ETAG, tag);
        }
        return answer;
    }
    if call.method != Method::POST {
        return refusal(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    }
    if !may_write(inner) {
        return refusal(StatusCode::FORBIDDEN, "serve config denied");
    }
    let config = match ServeConfig::decode(&call.body) {
        Ok(config) => config,
        Err(text) => return error_json(&format!("decoding config: {text}")),
    };
    if config.serves_path_or_socket() {
        return refusal(
            StatusCode::UNAUTHORIZED,
            "must be root, or be an operator and able to run 'sudo tailscale' to serve a path or Unix socket",
        );
    }
    let tag = call
        .headers
        .get(IF_MATCH)
        .and_then(|tag| tag.to_str().ok())
        .unwrap_or_default();
    match inner.backend().set_serve_config(config, tag) {
        Ok(()) => empty(StatusCode::OK),
        Err(ServeRefusal::TagMismatch) => refusal(StatusCode::PRECONDITION_FAILED, "etag mismatch"),
        Err(ServeRefusal::Invalid(text)) => error_json(&format!("updating config: {text}")),
    }
}

fn cert_domains(inner: &Inner) -> Response<Body> {
    if !may_read(inner) {
        return refusal(StatusCode::FORBIDDEN, "cert-domains access denied");
    }
    let backend = inner.backend();
    let domains = if backend.node.is_in_network_map() && backend.node.grants.https {
        json!([backend.node.host()])
    } else {
        json!([])
    };
    json_answer(StatusCode::OK, &domains)
}

fn certificate(inner: &Inner, call: &Call, host: &str) -> Response<Body> {
    if !may_write(inner) {
        return refusal(StatusCode::FORBIDDEN, "cert access denied");
    }
    let (own, https, state) = {
        let backend = inner.backend();
        (
            backend.node.is_in_network_map() && backend.node.host() == host,
            backend.node.grants.https,
            backend.node.certificate.clone(),
        )
    };
    if !https {
        return refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "your Tailscale account does not support getting TLS certs",
        );
    }
    if !own {
        return refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!(
                "invalid domain {host:?}; must be one of [{:?}]",
                inner.backend().node.host()
            ),
        );
    }
    match state {
        // The real daemon waits for the authority; the stand-in is asked to be quick.
        CertificateState::Ready | CertificateState::Pending => match inner.authority.issue(host) {
            Ok(issued) => match call.query("type") {
                None | Some("" | "crt" | "cert") => {
                    with_type(StatusCode::OK, "text/plain", issued.certificate_pem)
                }
                Some("key") => with_type(StatusCode::OK, "text/plain", issued.key_pem),
                Some("pair") => with_type(
                    StatusCode::OK,
                    "text/plain",
                    issued.key_pem + &issued.certificate_pem,
                ),
                Some(_) => refusal(
                    StatusCode::BAD_REQUEST,
                    "invalid type; want \"cert\" (default), \"key\", or \"pair\"",
                ),
            },
            Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        CertificateState::Limited { retry_after } => {
            let mut answer = refusal(StatusCode::TOO_MANY_REQUESTS, "acme: rate limited");
            answer.headers_mut().insert(RETRY_AFTER, retry_after.into());
            answer
        }
        CertificateState::Failed(text) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &text),
    }
}

fn error_json(text: &str) -> Response<Body> {
    let mut answer = json_answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": text}));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn object(body: &[u8]) -> Result<Map<String, Value>, String> {
    if body.is_empty() {
        return Err("EOF".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}
