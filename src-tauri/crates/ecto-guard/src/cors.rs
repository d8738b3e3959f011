//! What lets programs of named web pages call (CORS, <https://fetch.spec.whatwg.org/#http-cors-protocol>). The gateway
//! knows nothing of it (OpenClaw 2026.9.6), so the guard answers for itself: for exact origins alone, never for `*`, and
//! without the browser's own credentials, because a key is all that counts here.

use ecto_core::offer::Offer;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::header::goes_to_the_gateway;

/// For how many seconds a browser may remember the answer to a preflight: what is forbidden must end soon.
const REMEMBERED: HeaderValue = HeaderValue::from_static("60");

/// What a page may read of an answer beside its type and length.
const READABLE: HeaderValue = HeaderValue::from_static("retry-after, x-request-id, x-should-retry");

/// OpenAI's library for JavaScript describes itself with these. They end at the guard.
const DESCRIPTIONS: &str = "x-stainless-";

/// What an answer says about origins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sharing {
    /// The origin, where its pages may read the answer.
    allowed: Option<HeaderValue>,
    /// Whether the answer depends on the origin.
    varies: bool,
}

impl Sharing {
    /// For a request with these headers.
    pub fn of(offer: &Offer, headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(ORIGIN).iter();
        let allowed = match (given.next(), given.next()) {
            (Some(origin), None) => offer
                .origins
                .iter()
                .any(|allowed| allowed.as_str().as_bytes() == origin.as_bytes())
                .then(|| origin.clone()),
            (_, _) => None,
        };
        Self {
            allowed,
            varies: !offer.origins.is_empty(),
        }
    }

    /// Puts it into the head of an answer.
    pub fn put_into(&self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = &self.allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, READABLE);
        }
    }

    /// The head of the answer to a preflight, where this is one from an origin that may call a path that takes `method`.
    pub fn preflight(&self, head: &Parts, method: Option<&Method>) -> Option<HeaderMap> {
        let wanted = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let method = method?;
        if head.method != Method::OPTIONS
            || self.allowed.is_none()
            || wanted.as_bytes() != method.as_str().as_bytes()
        {
            return None;
        }
        let mut answer = HeaderMap::with_capacity(6);
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, wanted.clone());
        if let Some(names) = allowed_headers(&head.headers) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
        answer.append(
            VARY,
            HeaderValue::from_static(
                "Access-Control-Request-Method, Access-Control-Request-Headers",
            ),
        );
        Some(answer)
    }
}

/// Of the headers that a page asks for, those that mean something here.
fn allowed_headers(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut names: Vec<HeaderName> = headers
        .get_all(ACCESS_CONTROL_REQUEST_HEADERS)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| {
            *name == AUTHORIZATION
                || goes_to_the_gateway(name)
                || name.as_str().starts_with(DESCRIPTIONS)
        })
        .collect();
    names.sort_by(|left, right| left.as_str().cmp(right.as_str()));
    names.dedup();
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    if names.is_empty() {
        return None;
    }
    HeaderValue::from_str(&names.join(", ")).ok()
}
