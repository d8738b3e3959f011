//! DNS over HTTPS in JSON, as two public resolvers speak it: one at `/dns-query`, one at `/resolve`.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::ACCEPT;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::{Inner, POINT_DNS_QUERY, POINT_RESOLVE, PUBLIC_IPV4, PUBLIC_IPV6};
use crate::answer::{Body, act_out, refusal, with_type};
use crate::life::Connection;

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// What a resolver knows of the node's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// Its public addresses, once Funnel was asked for on the node; before that, no such name.
    AsClaimed,
    /// Its public addresses, in any case.
    Published,
    /// No such name (NXDOMAIN).
    Unknown,
    /// The name without addresses.
    Empty,
    /// These addresses, such as the private ones of MagicDNS, or a part of the public ones.
    Addresses(Vec<IpAddr>),
    /// The resolver fails (SERVFAIL).
    Failing,
}

/// One of the two resolvers.
#[derive(Clone, Copy)]
pub(super) struct Resolver {
    index: usize,
    pub(super) path: &'static str,
    point: &'static str,
    /// It answers JSON only to those who ask for it.
    wants_accept: bool,
}

pub(super) const RESOLVERS: [Resolver; 2] = [
    Resolver {
        index: 0,
        path: "/dns-query",
        point: POINT_DNS_QUERY,
        wants_accept: true,
    },
    Resolver {
        index: 1,
        path: "/resolve",
        point: POINT_RESOLVE,
        wants_accept: false,
    },
];

pub(super) async fn serve(
    inner: Arc<Inner>,
    resolver: Resolver,
    tls: Arc<ServerConfig>,
    connection: Connection,
) {
    let Ok(stream) = TlsAcceptor::from(tls).accept(connection).await else {
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let inner = Arc::clone(&inner);
        async move {
            let fault = inner.faults.pass(resolver.point).await;
            let life = inner.life.clone();
            act_out(fault, &life, async { answer(&inner, resolver, &request) }).await
        }
    });
    // A client that goes away ends here as an error: nobody is left to be told.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer(inner: &Inner, resolver: Resolver, request: &Request<Incoming>) -> Response<Body> {
    if request.uri().path() != resolver.path {
        return refusal(StatusCode::NOT_FOUND, "404 page not found");
    }
    let accepts = request
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("application/dns-json"));
    if resolver.wants_accept && !accepts {
        return refusal(StatusCode::BAD_REQUEST, "Invalid query.");
    }
    let query = request.uri().query().unwrap_or_default();
    let mut name = String::new();
    let mut kind = Some(TYPE_A);
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match key.as_ref() {
            "name" => name = value.trim_end_matches('.').to_ascii_lowercase(),
            "type" => {
                kind = match value.to_ascii_uppercase().as_str() {
                    "A" | "1" => Some(TYPE_A),
                    "AAAA" | "28" => Some(TYPE_AAAA),
                    _ => None,
                }
            }
            _ => {}
        }
    }
    let (Some(kind), false) = (kind, name.is_empty()) else {
        return refusal(StatusCode::BAD_REQUEST, "Invalid query.");
    };
    let document = document(inner, resolver, &name, kind);
    with_type(StatusCode::OK, "application/dns-json", document.to_string())
}

fn document(inner: &Inner, resolver: Resolver, name: &str, kind: u16) -> Value {
    const NO_ERROR: u8 = 0;
    const SERVER_FAILURE: u8 = 2;
    const NO_SUCH_NAME: u8 = 3;
    let public = vec![IpAddr::V4(PUBLIC_IPV4), IpAddr::V6(PUBLIC_IPV6)];
    let names = inner.state().names.get(resolver.index).cloned();
    let (status, addresses) = if name != inner.node.host() {
        (NO_SUCH_NAME, Vec::new())
    } else {
        match names {
            Some(Names::AsClaimed) | None if !inner.node.is_name_published() => {
                (NO_SUCH_NAME, Vec::new())
            }
            Some(Names::AsClaimed | Names::Published) | None => (NO_ERROR, public),
            Some(Names::Unknown) => (NO_SUCH_NAME, Vec::new()),
            Some(Names::Empty) => (NO_ERROR, Vec::new()),
            Some(Names::Addresses(addresses)) => (NO_ERROR, addresses),
            Some(Names::Failing) => (SERVER_FAILURE, Vec::new()),
        }
    };
    let answers: Vec<Value> = addresses
        .into_iter()
        .filter(|address| address.is_ipv4() == (kind == TYPE_A))
        .map(|address| json!({"name": format!("{name}."), "type": kind, "TTL": 60, "data": address.to_string()}))
        .collect();
    let mut document = json!({
        "Status": status,
        "TC": false,
        "RD": true,
        "RA": true,
        "AD": false,
        "CD": false,
        "Question": [{"name": format!("{name}."), "type": kind}]
    });
    if answers.is_empty() {
        document["Authority"] = json!([{
            "name": "ts.net.",
            "type": 6,
            "TTL": 300,
            "data": "ns1.dnsimple.com. admin.dnsimple.com. 1 86400 7200 604800 300"
        }]);
    } else {
        document["Answer"] = json!(answers);
    }
    document
}
