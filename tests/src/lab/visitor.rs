//! Somebody on the internet who visits the node through Funnel's public side.

use std::{
    net::SocketAddr,
    sync::{Arc, Once},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request, Response, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::Answer;

/// How long an ordinary request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// Knows the node's public host and port, and the loopback address that stands for them.
pub struct Visitor {
    host: String,
    port: u16,
    address: SocketAddr,
    tls: TlsConnector,
    client: reqwest::Client,
}

impl Visitor {
    /// Visits a host on a public port, which this loopback address stands for. The root certificate is PEM.
    ///
    /// # Errors
    ///
    /// Where the root certificate is none.
    pub fn new(root_pem: &str, host: &str, port: u16, address: SocketAddr) -> Result<Self> {
        use_ring();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(root_pem.as_bytes())?)?;
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let root = reqwest::Certificate::from_pem(root_pem.as_bytes())?;
        let client = reqwest::Client::builder()
            .tls_certs_only([root])
            .resolve(host, address)
            .no_proxy()
            // Each request shows whether the door is open now.
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(REQUEST_LIMIT)
            .build()?;
        Ok(Self {
            host: host.to_owned(),
            port,
            address,
            tls: TlsConnector::from(Arc::new(tls)),
            client,
        })
    }

    /// Returns a client that trusts the lab's authority and takes the public host to its loopback address.
    #[must_use]
    pub const fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Returns the public URL of a path, for [`Visitor::client`]. It never names a port, so that the client takes
    /// the one of the loopback address.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.host)
    }

    /// Begins a request to a path; each one comes over a new connection.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// Opens a TLS connection and verifies the certificate.
    ///
    /// # Errors
    ///
    /// Where the door is closed, or the certificate is not the node's.
    pub async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(self.host.clone())?;
        Ok(self.tls.connect(name, stream).await?)
    }

    /// Sends a request with the path's bytes exactly as given: nothing is normalised or escaped.
    ///
    /// # Errors
    ///
    /// Where the door is closed or the connection breaks.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Answer> {
        let exchange = async {
            let (parts, body) = self.open(request).await?.into_parts();
            anyhow::Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body: body.collect().await?.to_bytes(),
            })
        };
        tokio::time::timeout(REQUEST_LIMIT, exchange).await?
    }

    /// Sends a request as [`Visitor::send`] does, and returns as soon as the head of its answer is there.
    ///
    /// # Errors
    ///
    /// Where the door is closed or the connection breaks.
    pub async fn open(&self, request: Request<Bytes>) -> Result<Response<Incoming>> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection.with_upgrades());
        let mut request = request.map(Full::new);
        let host = match self.port {
            443 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        };
        request
            .headers_mut()
            .entry(HOST)
            .or_insert(host.try_into()?);
        Ok(sender.send_request(request).await?)
    }
}

/// Returns a client for plain HTTP on loopback.
pub(crate) fn plain_client() -> Result<reqwest::Client> {
    use_ring();
    Ok(reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(REQUEST_LIMIT)
        .build()?)
}

/// Makes ring the cryptography of this process.
pub(super) fn use_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Another part of the process may have installed one already; that does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
