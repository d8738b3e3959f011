//! A stand-in for the public edge: the relays that take in Funnel connections, and the public DNS.
//!
//! Real relays hand the connection on and the daemon ends TLS; here both happen in one place, with the certificate of the
//! tailnet's [`Authority`](crate::authority::Authority).

mod ingress;
mod resolver;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use url::Url;

use crate::faults::Faults;
use crate::life::{Life, Place};
use crate::tailnet::{Inner as Node, StartError, Tailnet, Visitor};
pub use resolver::Names;

/// The point of faults at which a public connection was accepted and nothing was read yet.
pub const POINT_INGRESS: &str = "ingress";
/// The point of faults of the resolver that answers at `/dns-query`.
pub const POINT_DNS_QUERY: &str = "GET /dns-query";
/// The point of faults of the resolver that answers at `/resolve`.
pub const POINT_RESOLVE: &str = "GET /resolve";

/// The ports that Funnel can have.
pub const FUNNEL_PORTS: [u16; 3] = [443, 8443, 10000];

/// The address that the public DNS tells for the node's name, of the range for documentation.
pub const PUBLIC_IPV4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// The IPv6 address that the public DNS tells for the node's name, of the range for documentation.
pub const PUBLIC_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// The address that public requests come from unless told otherwise.
pub const VISITOR_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// What became of a public connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was let in.
    Admitted,
    /// It was closed: nothing is claimed for its name and port, or the tailnet refuses.
    Refused,
    /// It was ended by an alert, because there is no certificate.
    NoCertificate,
}

/// A public connection that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The name that the handshake asked for, empty where it named none.
    pub host: String,
    /// The public port.
    pub port: u16,
    /// What became of it.
    pub outcome: Outcome,
}

struct State {
    visitor: Visitor,
    /// TLS sides already made, by name.
    certificates: BTreeMap<String, Arc<ServerConfig>>,
    names: [Names; 2],
    attempts: Vec<Attempt>,
}

struct Inner {
    node: Arc<Node>,
    life: Life,
    faults: Faults,
    state: Mutex<State>,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The TLS side for a name, made at its first connection.
    fn certificate(&self, host: &str) -> Option<Arc<ServerConfig>> {
        if let Some(made) = self.state().certificates.get(host) {
            return Some(Arc::clone(made));
        }
        let issued = self.node.authority.issue(host);
        let made = issued.and_then(|issued| issued.server(&[b"h2", b"http/1.1"]));
        match made {
            Ok(made) => {
                self.state()
                    .certificates
                    .insert(host.to_owned(), Arc::clone(&made));
                Some(made)
            }
            Err(error) => {
                tracing::warn!(%error, "the edge could not make a certificate");
                None
            }
        }
    }
}

/// A running stand-in of the edge. It ends when it is dropped.
pub struct Edge {
    inner: Arc<Inner>,
    doors: BTreeMap<u16, SocketAddr>,
    resolvers: Vec<Url>,
    root_certificate_pem: String,
}

impl Edge {
    /// Starts an edge for the node of a tailnet. Must be called within a tokio runtime.
    #[expect(
        clippy::unused_async,
        reason = "starting is awaited like every other start of a stand-in"
    )]
    pub async fn start(tailnet: &Tailnet) -> Result<Self, StartError> {
        let inner = Arc::new(Inner {
            node: Arc::clone(tailnet.inner()),
            life: Life::begin(),
            faults: Faults::new(),
            state: Mutex::new(State {
                visitor: Visitor::Public {
                    address: IpAddr::V4(VISITOR_ADDRESS),
                },
                names: [Names::AsClaimed, Names::AsClaimed],
                attempts: Vec::new(),
                certificates: BTreeMap::new(),
            }),
        });
        let mut doors = BTreeMap::new();
        for port in FUNNEL_PORTS {
            let weak = Arc::downgrade(&inner);
            let address = listen(&inner.life, move |connection| {
                let inner = weak.upgrade();
                async move {
                    if let Some(inner) = inner {
                        ingress::serve(inner, port, connection).await;
                    }
                }
            })?;
            doors.insert(port, address);
        }
        let certificate = tailnet
            .authority()
            .issue_for_address(IpAddr::V4(Ipv4Addr::LOCALHOST))?
            .server(&[b"http/1.1"])?;
        let mut resolvers = Vec::new();
        for resolver in resolver::RESOLVERS {
            let weak = Arc::downgrade(&inner);
            let tls = Arc::clone(&certificate);
            let address = listen(&inner.life, move |connection| {
                let (inner, tls) = (weak.upgrade(), Arc::clone(&tls));
                async move {
                    if let Some(inner) = inner {
                        resolver::serve(inner, resolver, tls, connection).await;
                    }
                }
            })?;
            if let Ok(url) = Url::parse(&format!("https://{address}{}", resolver.path)) {
                resolvers.push(url);
            }
        }
        Ok(Self {
            inner,
            doors,
            resolvers,
            root_certificate_pem: tailnet.authority().root_certificate_pem(),
        })
    }

    /// The loopback socket behind which the public port 443 is.
    pub fn address(&self) -> SocketAddr {
        self.doors
            .get(&443)
            .copied()
            .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// The loopback socket behind which a public address is: one of [`PUBLIC_IPV4`] and [`PUBLIC_IPV6`], one of [`FUNNEL_PORTS`].
    pub fn dial(&self, public: SocketAddr) -> Option<SocketAddr> {
        let ours = public.ip() == IpAddr::V4(PUBLIC_IPV4) || public.ip() == IpAddr::V6(PUBLIC_IPV6);
        if ours {
            self.doors.get(&public.port()).copied()
        } else {
            None
        }
    }

    /// Every public address with the loopback socket behind it, for a client that dials by a table.
    pub fn dial_table(&self) -> BTreeMap<SocketAddr, SocketAddr> {
        self.doors
            .iter()
            .flat_map(|(port, address)| {
                [
                    (SocketAddr::from((PUBLIC_IPV4, *port)), *address),
                    (SocketAddr::from((PUBLIC_IPV6, *port)), *address),
                ]
            })
            .collect()
    }

    /// The root certificate to trust, for the node's name and for the resolvers, as PEM.
    pub fn root_certificate_pem(&self) -> &str {
        &self.root_certificate_pem
    }

    /// The addresses of the two DNS-over-HTTPS resolvers.
    pub fn resolvers(&self) -> &[Url] {
        &self.resolvers
    }

    /// Sets what both resolvers answer.
    pub fn set_names(&self, names: Names) {
        self.inner.state().names = [names.clone(), names];
    }

    /// Sets what one resolver answers: 0 is `/dns-query`, 1 is `/resolve`.
    pub fn set_names_of(&self, resolver: usize, names: Names) {
        if let Some(held) = self.inner.state().names.get_mut(resolver) {
            *held = names;
        }
    }

    /// Sets who the requests come from.
    pub fn set_visitor(&self, visitor: Visitor) {
        self.inner.state().visitor = visitor;
    }

    /// Sets the public address that requests come from.
    pub fn set_visitor_address(&self, address: IpAddr) {
        self.set_visitor(Visitor::Public { address });
    }

    /// Which public connections were tried, oldest first.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.inner.state().attempts.clone()
    }

    /// The script of faults.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// The edge goes away: every public connection is cut, and connecting is refused.
    pub async fn die(&self) {
        self.inner.life.die().await;
    }

    /// The edge comes back at the same addresses.
    pub fn come_back(&self) -> Result<(), StartError> {
        self.inner.life.come_back()?;
        Ok(())
    }

    /// Goes away for a while.
    pub fn die_for(&self, time: Duration) {
        self.inner.life.die_soon(Some(time));
    }

    /// Ends everything and waits until it has ended.
    pub async fn shutdown(self) {
        self.inner.life.end_and_wait().await;
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.inner.life.end();
    }
}

fn listen<F>(
    life: &Life,
    serve: impl Fn(crate::life::Connection) -> F + Send + Sync + 'static,
) -> Result<SocketAddr, StartError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Ok(life.listen(Place::Tcp(any), serve)?.unwrap_or(any))
}
