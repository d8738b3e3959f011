//! Which headers cross the guard.
//!
//! Towards the gateway only what is listed, because a header that is not known today may be a way in tomorrow:
//! OpenClaw takes `x-openclaw-*` for which agent, session and scopes (2026.9.6), and everything that speaks of
//! forwarding makes it refuse. Back to the client everything but what belongs to the hop or speaks of the machine.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONNECTION, CONTENT_ENCODING,
    CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue};

const TO_THE_GATEWAY: [HeaderName; 6] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    USER_AGENT,
];

const ALSO_TO_THE_GATEWAY: [&str; 4] = [
    "idempotency-key",
    "traceparent",
    "tracestate",
    "x-request-id",
];

/// Which agent OpenClaw is to use.
const AGENT: HeaderName = HeaderName::from_static("x-openclaw-agent-id");

const NOT_TO_THE_CLIENT: [&str; 19] = [
    "alt-svc",
    "authorization",
    "connection",
    "content-length",
    "forwarded",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "refresh",
    "server",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-powered-by",
];

const NOT_TO_THE_CLIENT_PREFIXES: [&str; 5] = [
    "access-control-",
    "proxy-",
    "tailscale-",
    "x-forwarded-",
    "x-openclaw-",
];

/// How the gateway is addressed.
#[derive(Debug, Clone)]
pub(crate) struct GatewayHeaders {
    /// `Host`.
    pub host: HeaderValue,
    /// `Authorization`, marked sensitive.
    pub authorization: HeaderValue,
}

/// Names in `Connection`: they belong to the hop too (RFC 9110, 7.6.1).
fn is_named_in_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|token| {
            token
                .trim_ascii()
                .eq_ignore_ascii_case(name.as_str().as_bytes())
        })
    })
}

/// Whether a client's header goes on to the gateway.
pub(crate) fn goes_to_the_gateway(name: &HeaderName) -> bool {
    TO_THE_GATEWAY.contains(name)
        || ALSO_TO_THE_GATEWAY.contains(&name.as_str())
        || name.as_str().starts_with("openai-")
}

/// Whether a value is made of what every server reads in the same way: visible ASCII, spaces and tabs.
fn is_plain(value: &HeaderValue) -> bool {
    value.to_str().is_ok()
}

/// Header fields in the order in which they are written.
pub(crate) type Fields = Vec<(HeaderName, HeaderValue)>;

/// The headers of the request to the gateway. The length of the body is not among them: it follows from the body.
///
/// `agent` pins the agent: OpenClaw takes this header before the body's `model`, and the session follows from it
/// (2026.9.6, `src/gateway/http-utils.ts`).
pub(crate) fn headers_to_the_gateway(
    client: &HeaderMap,
    gateway: &GatewayHeaders,
    agent: Option<&HeaderValue>,
) -> Fields {
    let mut fields = Vec::with_capacity(8);
    fields.push((HOST, gateway.host.clone()));
    fields.push((AUTHORIZATION, gateway.authorization.clone()));
    for (name, value) in client {
        if goes_to_the_gateway(name) && is_plain(value) && !is_named_in_connection(client, name) {
            fields.push((name.clone(), value.clone()));
        }
    }
    fields.extend(agent.map(|agent| (AGENT, agent.clone())));
    fields
}

/// Takes out of an answer what is not for the client. The length of the body is set anew from the body.
pub(crate) fn strip_answer(headers: &mut HeaderMap) {
    let leaving: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            NOT_TO_THE_CLIENT.contains(&name.as_str())
                || NOT_TO_THE_CLIENT_PREFIXES
                    .iter()
                    .any(|prefix| name.as_str().starts_with(prefix))
                || is_named_in_connection(headers, name)
        })
        .cloned()
        .collect();
    for name in leaving {
        headers.remove(name);
    }
    debug_assert!(
        !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING)
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gateway() -> GatewayHeaders {
        GatewayHeaders {
            host: HeaderValue::from_static("127.0.0.1:18789"),
            authorization: HeaderValue::from_static("Bearer gateway-token"),
        }
    }

    fn arrives(client: &HeaderMap, agent: Option<&HeaderValue>) -> HeaderMap {
        let fields = headers_to_the_gateway(client, &gateway(), agent);
        fields.into_iter().collect()
    }

    const FORBIDDEN: [&str; 33] = [
        "authorization",
        "proxy-authorization",
        "proxy-connection",
        "cookie",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "content-length",
        "upgrade",
        "http2-settings",
        "expect",
        "forwarded",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-prefix",
        "x-real-ip",
        "x-client-ip",
        "cf-connecting-ip",
        "true-client-ip",
        "tailscale-user-login",
        "tailscale-user-name",
        "tailscale-funnel-request",
        "tailscale-headers-info",
        "x-openclaw-agent-id",
        "x-openclaw-session-key",
        "x-openclaw-scopes",
        "x-openclaw-token",
        "x-http-method-override",
        "origin",
    ];

    fn in_some_case(name: String) -> impl Strategy<Value = String> {
        prop::collection::vec(any::<bool>(), name.len()).prop_map(move |upper| {
            name.chars()
                .zip(upper)
                .map(|(character, upper)| {
                    if upper {
                        character.to_ascii_uppercase()
                    } else {
                        character
                    }
                })
                .collect()
        })
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => prop::sample::select(FORBIDDEN.to_vec()).prop_map(str::to_owned),
            1 => "x-openclaw-[a-z]{1,8}",
            1 => "tailscale-[a-z]{1,8}",
            1 => "x-forwarded-[a-z]{1,8}",
            1 => "[a-z][a-z0-9-]{0,12}",
            1 => prop::sample::select(vec!["content-type", "accept", "user-agent"]).prop_map(str::to_owned),
        ]
        .prop_flat_map(in_some_case)
    }

    proptest! {
        #[test]
        fn no_forbidden_header_arrives(sent in prop::collection::vec((name(), "[ -~]{0,20}"), 0..20)) {
            let mut client = HeaderMap::new();
            for (name, value) in &sent {
                client.append(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                );
            }
            let pinned = arrives(&client, Some(&HeaderValue::from_static("public")));
            prop_assert_eq!(pinned.get_all(AGENT).iter().collect::<Vec<_>>(), ["public"]);
            let about: Vec<_> = pinned.keys().filter(|name| name.as_str().starts_with("x-openclaw")).collect();
            prop_assert_eq!(about, [&AGENT]);
            let arrived = arrives(&client, None);
            prop_assert_eq!(arrived.get_all(AUTHORIZATION).iter().count(), 1);
            prop_assert_eq!(&arrived[AUTHORIZATION], "Bearer gateway-token");
            prop_assert_eq!(arrived.get_all(HOST).iter().count(), 1);
            prop_assert_eq!(&arrived[HOST], "127.0.0.1:18789");
            for name in arrived.keys().map(HeaderName::as_str) {
                prop_assert!(name == "authorization" || !FORBIDDEN.contains(&name), "{}", name);
                for prefix in ["x-openclaw-", "tailscale-", "x-forwarded-", "proxy-", "x-real-"] {
                    prop_assert!(!name.starts_with(prefix), "{}", name);
                }
            }
        }

        #[test]
        fn an_answer_never_speaks_of_the_hop(sent in prop::collection::vec((name(), "[ -~]{0,20}"), 0..20)) {
            let mut headers = HeaderMap::new();
            for (name, value) in sent {
                headers.append(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(&value).unwrap(),
                );
            }
            strip_answer(&mut headers);
            for name in NOT_TO_THE_CLIENT {
                prop_assert!(!headers.contains_key(name), "{}", name);
            }
        }
    }

    #[test]
    fn what_a_client_library_sends_arrives() {
        let mut client = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("accept", "text/event-stream"),
            ("user-agent", "OpenAI/Python 2.0"),
            ("openai-beta", "assistants=v2"),
            ("idempotency-key", "7"),
        ] {
            client.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let arrived = arrives(&client, None);
        for (name, value) in &client {
            assert_eq!(arrived.get(name), Some(value));
        }
    }

    #[test]
    fn what_connection_names_stays_behind() {
        let mut client = HeaderMap::new();
        client.insert("connection", "close, X-Request-Id".parse().unwrap());
        client.append("connection", "accept".parse().unwrap());
        client.insert("x-request-id", "1".parse().unwrap());
        client.insert("accept", "*/*".parse().unwrap());
        client.insert("content-type", "application/json".parse().unwrap());
        let arrived = arrives(&client, None);
        assert!(!arrived.contains_key("x-request-id"));
        assert!(!arrived.contains_key("accept"));
        assert!(arrived.contains_key("content-type"));
    }
}
