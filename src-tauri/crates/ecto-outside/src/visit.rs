//! A stranger's connection to the public address: pinned to the addresses that public DNS told, verified.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ecto_core::tailnet::PublicAddress;
use ecto_core::watchword::{self, Watchword};
use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::{Request, Uri};
use http_body_util::Empty;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::check::Limits;
use crate::exchange::{BodyUse, Exchange, Reply, first_good};
use crate::finding::{Trouble, judge_handshake};

/// Says which socket is behind a public one. In production it is the same; the lab and the sandbox have theirs on
/// loopback.
pub type Dial = Arc<dyn Fn(SocketAddr) -> SocketAddr + Send + Sync>;

/// A visitor at the public address.
pub(crate) struct Visit<'a> {
    address: &'a PublicAddress,
    watchword: &'a Watchword,
    limits: &'a Limits,
    tls: Arc<ClientConfig>,
    /// Where the first connection was made. All others go there too: whoever answered the first questions has to
    /// answer the last.
    place: SocketAddr,
    exchange: Exchange,
}

impl<'a> Visit<'a> {
    /// Connects to the first of `places` that answers, and verifies who it is.
    pub async fn begin(
        address: &'a PublicAddress,
        watchword: &'a Watchword,
        places: &[IpAddr],
        dial: &Dial,
        tls: Arc<ClientConfig>,
        limits: &'a Limits,
    ) -> Result<Self, Trouble> {
        let port = address.port.number();
        let connecting: Vec<_> = places
            .iter()
            .map(|ip| {
                let place = dial(SocketAddr::new(*ip, port));
                let connect = async move {
                    let stream = connect(place, limits.connect).await?;
                    Some((place, stream))
                };
                let connect: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(connect);
                connect
            })
            .collect();
        let (connected, _) = first_good(connecting, Option::is_some).await;
        let (place, stream) = connected.flatten().ok_or(Trouble::NotAnswering)?;
        let exchange = verify(address, stream, &tls, limits.handshake).await?;
        Ok(Self {
            address,
            watchword,
            limits,
            tls,
            place,
            exchange,
        })
    }

    /// Asks for the models, with a key or without.
    pub async fn ask(&mut self, key: Option<&SecretString>) -> Result<Reply, Trouble> {
        if !self.exchange.is_open() {
            let stream = connect(self.place, self.limits.connect)
                .await
                .ok_or(Trouble::NotAnswering)?;
            self.exchange = verify(self.address, stream, &self.tls, self.limits.handshake).await?;
        }
        let request = request(self.address, self.watchword, key).ok_or(Trouble::NotAnswering)?;
        match timeout(
            self.limits.answer,
            self.exchange.send(request, BodyUse::ReadRefusals),
        )
        .await
        {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(Trouble::NotAnswering),
            Err(_) => Err(Trouble::TooSlow),
        }
    }
}

async fn connect(place: SocketAddr, limit: Duration) -> Option<TcpStream> {
    timeout(limit, TcpStream::connect(place)).await.ok()?.ok()
}

async fn verify(
    address: &PublicAddress,
    stream: TcpStream,
    tls: &Arc<ClientConfig>,
    limit: Duration,
) -> Result<Exchange, Trouble> {
    let name = ServerName::try_from(address.host.as_str().to_owned())
        .map_err(|_| Trouble::NotAnswering)?;
    let handshake = TlsConnector::from(tls.clone()).connect(name, stream);
    let stream = timeout(limit, handshake)
        .await
        .map_err(|_| Trouble::NotAnswering)?
        .map_err(|fault| judge_handshake(&fault))?;
    Exchange::over(stream)
        .await
        .map_err(|_| Trouble::NotAnswering)
}

fn request(
    address: &PublicAddress,
    watchword: &Watchword,
    key: Option<&SecretString>,
) -> Option<Request<Empty<Bytes>>> {
    let mut word = HeaderValue::from_str(watchword.word()).ok()?;
    word.set_sensitive(true);
    let origin: Uri = address.origin().parse().ok()?;
    let mut request = Request::get("/v1/models")
        .header(HOST, origin.authority()?.as_str())
        .header(watchword::HEADER, word)
        .body(Empty::new())
        .ok()?;
    if let Some(key) = key {
        let bearer = Zeroizing::new(format!("Bearer {}", key.expose_secret()));
        let mut value = HeaderValue::from_str(&bearer).ok()?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Some(request)
}
