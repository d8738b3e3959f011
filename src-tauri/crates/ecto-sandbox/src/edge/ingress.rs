//! Public connections: routed by the name of the TLS handshake, let in or refused, served.

use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio_rustls::LazyConfigAcceptor;

use super::{Attempt, Inner, Outcome, POINT_INGRESS};
use crate::faults::Fault;
use crate::life::Connection;
use crate::tailnet::{CertificateState, Site, serve_public};

/// A TLS record with the fatal alert `internal_error` (RFC 8446, section 6).
const ALERT_INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

pub(super) async fn serve(inner: Arc<Inner>, port: u16, connection: Connection) {
    match inner.faults.pass(POINT_INGRESS).await {
        Some(Fault::Refuse | Fault::CloseAfter(_)) => return,
        Some(Fault::Silence) => return std::future::pending().await,
        Some(Fault::Die { back_after }) => return inner.life.die_soon(back_after),
        None
        | Some(
            Fault::Answer { .. }
            | Fault::GarbageLine
            | Fault::HalfLine
            | Fault::LongLine(_)
            | Fault::Delay(_)
            | Fault::Hold(_),
        ) => {}
    }
    let Ok(mut handshake) = LazyConfigAcceptor::new(Acceptor::default(), connection).await else {
        return;
    };
    let host = handshake
        .client_hello()
        .server_name()
        .unwrap_or_default()
        .to_owned();
    let certificate = match inner.node.admission(&host, port) {
        None => return note(&inner, host, port, Outcome::Refused),
        Some(CertificateState::Ready) => inner.certificate(&host),
        Some(
            CertificateState::Pending
            | CertificateState::Limited { .. }
            | CertificateState::Failed(_),
        ) => None,
    };
    let Some(tls) = certificate else {
        // The peer may be gone; then it needs no alert.
        let _ = handshake.io.write_all(&ALERT_INTERNAL_ERROR).await;
        let _ = handshake.io.shutdown().await;
        return note(&inner, host, port, Outcome::NoCertificate);
    };
    note(&inner, host.clone(), port, Outcome::Admitted);
    let Ok(stream) = handshake.into_stream(tls).await else {
        return;
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let visitor = inner.state().visitor.clone();
    let site = Site {
        host,
        port,
        visitor,
    };
    let node = Arc::clone(&inner.node);
    let service = service_fn(move |request| serve_public(Arc::clone(&node), site.clone(), request));
    // A connection belongs to the daemon as much as to the edge: the death of either cuts it.
    let ended = inner.node.life.ended();
    let io = TokioIo::new(stream);
    let served = async {
        // A client that goes away ends here as an error: nobody is left to be told.
        if http2 {
            let _ = hyper::server::conn::http2::Builder::new(inner.node.life.clone())
                .serve_connection(io, service)
                .await;
        } else {
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .with_upgrades()
                .await;
        }
    };
    tokio::select! {
        () = ended => {}
        () = served => {}
    }
}

fn note(inner: &Inner, host: String, port: u16, outcome: Outcome) {
    inner.state().attempts.push(Attempt {
        host,
        port,
        outcome,
    });
}
