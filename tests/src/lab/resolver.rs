//! Public DNS over HTTPS, as JSON, that knows the node's host.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use anyhow::Result;
use axum::{
    Json, Router,
    extract::{Query, State},
    http::header::CONTENT_TYPE,
    response::IntoResponse,
    routing::get,
};
use rustls::ServerConfig;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Authority, visitor::use_ring};

/// Address that the node's host resolves to; it is in a range kept for documentation. Whoever connects to it is led
/// to the ingress instead.
pub const PUBLIC_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const NO_ERROR: u16 = 0;
const NAME_UNKNOWN: u16 = 3;

/// Answers `GET /dns-query` and `GET /resolve` over TLS, with a certificate of the lab's authority for `127.0.0.1`.
pub struct Resolver {
    address: SocketAddr,
    zone: Arc<Zone>,
    server: JoinHandle<()>,
}

struct Zone {
    host: String,
    published: AtomicBool,
    questions: AtomicUsize,
}

#[derive(Deserialize)]
struct Question {
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
}

impl Resolver {
    /// Starts it; the host is published.
    ///
    /// # Errors
    ///
    /// Where it cannot listen.
    pub async fn start(authority: &Authority, host: &str) -> Result<Self> {
        use_ring();
        let certificate = authority.certify("127.0.0.1")?;
        let tls = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(certificate.chain, certificate.key)?;
        let listener = TlsListener {
            tcp: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
            tls: TlsAcceptor::from(Arc::new(tls)),
        };
        let address = listener.tcp.local_addr()?;
        let zone = Arc::new(Zone {
            host: host.to_owned(),
            published: AtomicBool::new(true),
            questions: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/dns-query", get(resolve))
            .route("/resolve", get(resolve))
            .with_state(Arc::clone(&zone));
        let server = tokio::spawn(async move {
            // It serves until the task is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            zone,
            server,
        })
    }

    /// URL of its query endpoint, as one provider writes it.
    #[must_use]
    pub fn dns_query_url(&self) -> String {
        format!("https://{}/dns-query", self.address)
    }

    /// URL of its query endpoint, as the other provider writes it.
    #[must_use]
    pub fn resolve_url(&self) -> String {
        format!("https://{}/resolve", self.address)
    }

    /// Sets whether the node's host is in public DNS.
    pub fn publish(&self, published: bool) {
        self.zone.published.store(published, Ordering::SeqCst);
    }

    /// Returns how many questions it was asked.
    #[must_use]
    pub fn questions(&self) -> usize {
        self.zone.questions.load(Ordering::SeqCst)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn resolve(
    State(zone): State<Arc<Zone>>,
    Query(question): Query<Question>,
) -> impl IntoResponse {
    zone.questions.fetch_add(1, Ordering::SeqCst);
    let answer = zone.answer(&question);
    (
        [(CONTENT_TYPE, "application/dns-json")],
        Json(answer).into_response().into_body(),
    )
}

impl Zone {
    fn answer(&self, question: &Question) -> Value {
        let name = question.name.trim_end_matches('.');
        let kind = match question.kind.as_str() {
            "AAAA" | "28" => TYPE_AAAA,
            _ => TYPE_A,
        };
        let known = name.eq_ignore_ascii_case(&self.host) && self.published.load(Ordering::SeqCst);
        let mut answer = json!({
            "Status": if known { NO_ERROR } else { NAME_UNKNOWN },
            "TC": false, "RD": true, "RA": true, "AD": false, "CD": false,
            "Question": [{ "name": name, "type": kind }],
        });
        if known && kind == TYPE_A {
            answer["Answer"] = json!([{
                "name": name, "type": TYPE_A, "TTL": 60, "data": PUBLIC_ADDRESS.to_string(),
            }]);
        }
        answer
    }
}

struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.tcp.accept().await else {
                continue;
            };
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
