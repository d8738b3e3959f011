//! What tailscaled does with a public request (`ipn/ipnlocal/serve.go`, v1.102.3): find the handler, strip, join, forward.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{
    ACCEPT_ENCODING, CONNECTION, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use super::serve_config::Handler;
use super::{Inner, POINT_PROXY};
use crate::answer::{Body, Closed, act_out, empty, full, refusal, with_type};
use crate::life::Life;

/// Who makes a request over the node's web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visitor {
    /// Somebody on the internet, through Funnel.
    Public {
        /// The address that the relay saw.
        address: IpAddr,
    },
    /// A user of the tailnet, through Serve.
    Tailnet {
        /// The address of the user's node.
        address: IpAddr,
        /// The login name.
        login: String,
        /// The display name.
        name: String,
    },
}

impl Visitor {
    fn address(&self) -> IpAddr {
        match self {
            Self::Public { address } | Self::Tailnet { address, .. } => *address,
        }
    }
}

pub(super) type Upstream = Client<HttpConnector, Body>;

pub(super) fn upstream(life: &Life) -> Upstream {
    Client::builder(life.clone()).build_http()
}

/// Where a request is served: what the TLS handshake told.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The name of the handshake; the `Host` header does not count.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) visitor: Visitor,
}

/// Answers a request that came in over TLS.
pub(crate) async fn serve(
    inner: Arc<Inner>,
    site: Site,
    request: Request<Incoming>,
) -> Result<Response<Body>, Closed> {
    let fault = inner.faults.pass(POINT_PROXY).await;
    let life = inner.life.clone();
    act_out(fault, &life, answer(inner, site, request)).await
}

async fn answer(inner: Arc<Inner>, site: Site, request: Request<Incoming>) -> Response<Body> {
    let raw_path = request.uri().path().to_owned();
    let Some(path) = decode(&raw_path) else {
        return refusal(StatusCode::BAD_REQUEST, "400 Bad Request");
    };
    let found = {
        let backend = inner.backend();
        backend
            .serve
            .handlers(&site.host, site.port)
            .and_then(|handlers| find(handlers, &path))
            .map(|(mount, handler)| (mount.to_owned(), handler.clone()))
    };
    let Some((mount, handler)) = found else {
        return refusal(StatusCode::NOT_FOUND, "404 page not found");
    };
    if !handler.text.is_empty() {
        return with_type(StatusCode::OK, "text/plain; charset=utf-8", handler.text);
    }
    if !handler.redirect.is_empty() {
        return redirect(&handler.redirect, &request);
    }
    if !handler.proxy.is_empty() {
        let Some(rest) = strip(&mount, &path, &raw_path) else {
            return refusal(StatusCode::NOT_FOUND, "404 page not found");
        };
        return forward(&inner, &site, &handler.proxy, &rest, request).await;
    }
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "empty handler")
}

/// Finds the handler for a path: exact, then the cleaned path and its parents, each with a slash at its end first.
pub(super) fn find<'a>(
    handlers: &'a BTreeMap<String, Handler>,
    path: &str,
) -> Option<(&'a str, &'a Handler)> {
    let look = |mount: &str| {
        handlers
            .get_key_value(mount)
            .map(|(mount, handler)| (mount.as_str(), handler))
    };
    if let Some(found) = look(path) {
        return Some(found);
    }
    let mut current = clean(path);
    if !current.starts_with('/') {
        return None;
    }
    loop {
        if let Some(found) = look(&format!("{current}/")).or_else(|| look(&current)) {
            return Some(found);
        }
        if current == "/" {
            return None;
        }
        let parent = match current.rfind('/') {
            Some(0) | None => "/".to_owned(),
            Some(index) => current.split_at(index).0.to_owned(),
        };
        current = parent;
    }
}

/// Go's `path.Clean` for paths that begin with a slash.
fn clean(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Takes the mount point off a path, as Go's `StripPrefix` does: both the decoded and the raw form must begin with it.
fn strip(mount: &str, path: &str, raw_path: &str) -> Option<String> {
    let prefix = mount.strip_suffix('/').unwrap_or(mount);
    if path == "/" || prefix.is_empty() {
        return Some(raw_path.to_owned());
    }
    path.strip_prefix(prefix)?;
    raw_path.strip_prefix(prefix).map(str::to_owned)
}

/// Joins the rest of a path onto the path of the target, as Go's `SetURL` does; an exact hit adds no slash.
fn join(target: &str, rest: &str) -> String {
    if rest.is_empty() && !target.is_empty() {
        return target.to_owned();
    }
    match (target.ends_with('/'), rest.starts_with('/')) {
        (true, true) => format!("{target}{}", rest.strip_prefix('/').unwrap_or(rest)),
        (false, false) => format!("{target}/{rest}"),
        (true, false) | (false, true) => format!("{target}{rest}"),
    }
}

fn decode(raw: &str) -> Option<String> {
    let bytes = raw.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = after
                .get(..2)
                .and_then(|digits| std::str::from_utf8(digits).ok())?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after.get(2..)?;
        } else {
            decoded.push(*first);
            rest = after;
        }
    }
    // Go keeps bytes that are no UTF-8; mount points are text, so such a path matches none but the root.
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

fn redirect(rule: &str, request: &Request<Incoming>) -> Response<Body> {
    let (status, target) = match rule.split_once(':') {
        Some((code, target)) if code.len() == 3 => match code.parse::<u16>() {
            Ok(code @ 300..=399) => (
                StatusCode::from_u16(code).unwrap_or(StatusCode::FOUND),
                target,
            ),
            Ok(_) | Err(_) => (StatusCode::FOUND, rule),
        },
        Some(_) | None => (StatusCode::FOUND, rule),
    };
    let target = target.replace("${HOST}", &host_of(request)).replace(
        "${REQUEST_URI}",
        request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str()),
    );
    let mut answer = empty(status);
    if let Ok(target) = HeaderValue::try_from(target) {
        answer.headers_mut().insert(LOCATION, target);
    }
    answer
}

/// The host that the client asked for: the header, or the authority of HTTP/2.
fn host_of(request: &Request<Incoming>) -> String {
    match request.headers().get(HOST) {
        Some(host) => String::from_utf8_lossy(host.as_bytes()).into_owned(),
        None => request
            .uri()
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

async fn forward(
    inner: &Arc<Inner>,
    site: &Site,
    target: &str,
    rest: &str,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let Some(uri) = target_uri(target, rest, request.uri().query()) else {
        return empty(StatusCode::BAD_GATEWAY);
    };
    let host = host_of(&request);
    let wanted = upgrade_wanted(request.headers());
    let client_side = wanted.as_ref().map(|_| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    head.uri = uri;
    head.version = Version::HTTP_11;
    head.extensions = http::Extensions::new();
    rewrite(&mut head.headers, &head.method, &host, site);
    if let Some(protocol) = wanted {
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        head.headers.insert(UPGRADE, protocol);
    }
    let (left, rest) = oneshot::channel();
    let body = UntilAnswered {
        body: Some(body),
        left: Some(left),
    };
    let body = body.map_err(Into::into).boxed_unsync();
    let mut answer = match inner
        .upstream()
        .request(Request::from_parts(head, body))
        .await
    {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(%error, "the stand-in's proxy could not reach its target");
            return empty(StatusCode::BAD_GATEWAY);
        }
    };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch(inner, client_side, answer);
    }
    drop_hop_by_hop(answer.headers_mut());
    *answer.version_mut() = Version::HTTP_11;
    answer.map(|body| {
        body.map_err(Into::into)
            .map_frame(move |frame| {
                let _kept = &rest;
                frame
            })
            .boxed_unsync()
    })
}

/// The body of a request, of which what is not read is kept until the answer has been sent: HTTP/2 tells a client whose
/// body is let go of before that to take the answer for broken.
struct UntilAnswered {
    body: Option<Incoming>,
    left: Option<oneshot::Sender<Incoming>>,
}

impl hyper::body::Body for UntilAnswered {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for UntilAnswered {
    fn drop(&mut self) {
        if let (Some(body), Some(left)) = (self.body.take(), self.left.take()) {
            // Where nobody waits any more, the answer has been sent.
            let _ = left.send(body);
        }
    }
}

fn switch(
    inner: &Arc<Inner>,
    client_side: Option<hyper::upgrade::OnUpgrade>,
    mut answer: Response<Incoming>,
) -> Response<Body> {
    let Some(client_side) = client_side else {
        return empty(StatusCode::BAD_GATEWAY);
    };
    let target_side = hyper::upgrade::on(&mut answer);
    inner.life.spawn(async move {
        if let (Ok(client), Ok(target)) = tokio::join!(client_side, target_side) {
            // Either side may go away at any time; the other is closed by that.
            let _ =
                tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(target))
                    .await;
        }
    });
    let (head, _) = answer.into_parts();
    Response::from_parts(head, full(""))
}

fn target_uri(target: &str, rest: &str, query: Option<&str>) -> Option<Uri> {
    let base: Uri = expand(target).parse().ok()?;
    if base.scheme_str() != Some("http") {
        return None;
    }
    // A `Uri` shows the empty path as a slash; Go keeps it empty.
    let base_path = if expand(target).matches('/').count() == 2 {
        ""
    } else {
        base.path()
    };
    let path = join(base_path, rest);
    let path = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    Uri::builder()
        .scheme("http")
        .authority(base.authority()?.clone())
        .path_and_query(path)
        .build()
        .ok()
}

/// A bare port or host and port means plain HTTP on loopback or there.
fn expand(target: &str) -> Cow<'_, str> {
    if target.parse::<u16>().is_ok() {
        return Cow::Owned(format!("http://127.0.0.1:{target}"));
    }
    if target.contains("://") {
        return Cow::Borrowed(target);
    }
    Cow::Owned(format!("http://{target}"))
}

fn upgrade_wanted(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    if asked {
        headers.get(UPGRADE).cloned()
    } else {
        None
    }
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| HeaderName::try_from(token.trim()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
}

fn rewrite(headers: &mut HeaderMap, method: &Method, host: &str, site: &Site) {
    drop_hop_by_hop(headers);
    for name in [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "tailscale-user-login",
        "tailscale-user-name",
        "tailscale-user-profile-pic",
        "tailscale-funnel-request",
        "tailscale-headers-info",
        "tailscale-app-capabilities",
    ] {
        headers.remove(name);
    }
    headers.remove(FORWARDED);
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("host", host);
    set("x-forwarded-host", host);
    set("x-forwarded-proto", "https");
    set("x-forwarded-for", &site.visitor.address().to_string());
    match &site.visitor {
        Visitor::Public { .. } => set("tailscale-funnel-request", "?1"),
        Visitor::Tailnet { login, name, .. } => {
            set("tailscale-user-login", login);
            set("tailscale-user-name", name);
            set(
                "tailscale-headers-info",
                "https://tailscale.com/s/serve-headers",
            );
        }
    }
    // Go's transport asks for it by itself where the client did not say.
    let silent = !headers.contains_key(ACCEPT_ENCODING)
        && !headers.contains_key(RANGE)
        && *method != Method::HEAD;
    if silent {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(paths: &[&str]) -> BTreeMap<String, Handler> {
        paths
            .iter()
            .map(|path| ((*path).to_owned(), Handler::default()))
            .collect()
    }

    /// The table of what a real 1.96.5 answered, mount `/v1/X` to the target path `/v1/X`.
    #[test]
    fn paths_reach_the_target_as_with_the_real_daemon() {
        let handlers = mounts(&[
            "/v1/chat/completions",
            "/v1/models",
            "/v1/responses",
            "/hooks/",
        ]);
        let reach = |raw: &str| {
            let path = decode(raw)?;
            let (mount, _) = find(&handlers, &path)?;
            Some(join(mount, &strip(mount, &path, raw)?))
        };
        for (asked, reached) in [
            ("/v1/chat/completions", Some("/v1/chat/completions")),
            ("/v1/chat/completions/", Some("/v1/chat/completions/")),
            ("/v1/chat/completions/sub", Some("/v1/chat/completions/sub")),
            ("/v1/models/gpt%2F4", Some("/v1/models/gpt%2F4")),
            ("/hooks", Some("/hooks/")),
            ("/hooks/wake", Some("/hooks/wake")),
            ("/v1/chat/completionsX", None),
            ("/v1", None),
            ("/", None),
            ("/v1/models/../responses", None),
            ("/v1/models/..%2f..%2fadmin", None),
            ("//v1/models", None),
            ("/v1//models", None),
            ("/V1/models", None),
            ("/v1/%6dodels", None),
        ] {
            assert_eq!(reach(asked).as_deref(), reached, "{asked}");
        }
    }

    #[test]
    fn the_root_passes_paths_on_untouched() {
        let handlers = mounts(&["/"]);
        for raw in ["/", "/v1/%2e%2e/tools", "//v1//models", "/a/../b", "/x%2Fy"] {
            let path = decode(raw).unwrap();
            let (mount, _) = find(&handlers, &path).unwrap();
            assert_eq!(join("", &strip(mount, &path, raw).unwrap()), raw);
        }
    }

    #[test]
    fn a_target_without_a_path_loses_the_mount() {
        assert_eq!(
            target_uri(
                "http://127.0.0.1:18789",
                &strip("/api", "/api/x", "/api/x").unwrap(),
                Some("q=1")
            )
            .unwrap()
            .to_string(),
            "http://127.0.0.1:18789/x?q=1"
        );
        assert_eq!(
            target_uri("18789", "", None).unwrap().to_string(),
            "http://127.0.0.1:18789/"
        );
    }
}
