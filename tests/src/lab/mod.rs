//! The lab: the real tailscaled and the real OpenClaw on loopback, in temporary folders.
//!
//! A [`Tailnet`] is the outer half (control server, relay, Funnel's public side; the Go module in `tests/lab`), a
//! [`Node`] is a real tailscaled that signs in to it, a [`Gateway`] is a real OpenClaw with a stand-in [`Model`],
//! a [`Visitor`] is somebody on the internet, a [`Resolver`] is the public DNS that this somebody asks.
//! [`Lab`] is all of them together. Each one ends when it is dropped, however its process ends.

mod binaries;
mod certificates;
mod child;
mod clients;
mod gateway;
mod localapi;
mod model;
mod node;
mod resolver;
mod rpc;
mod tailnet;
mod upstream;
pub(crate) mod visitor;

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

pub(crate) use binaries::say;

pub use binaries::Binaries;
pub use certificates::Authority;
pub use child::Child;
pub use clients::{Client, Clients, Language, Program};
pub use gateway::{Gateway, GatewayClient};
pub use localapi::{Answer, Bus, LocalApi};
pub use model::Model;
pub use node::{Node, Signed};
pub use resolver::{PUBLIC_ADDRESS, Resolver};
pub use rpc::{Rpc, connect_params};
pub use tailnet::{Capabilities, NodeSummary, Tailnet};
pub use upstream::{Seen, Upstream};
pub use visitor::Visitor;

/// Name that the lab's node has in its tailnet.
pub const NODE_NAME: &str = "lab-mac";

/// A machine with everything ready: a signed-in node that may use Funnel, and a running gateway.
pub struct Lab {
    /// The control server and the public side.
    pub tailnet: Tailnet,
    /// The machine's tailscaled, signed in.
    pub node: Node,
    /// The machine's OpenClaw.
    pub gateway: Gateway,
    /// Public DNS over HTTPS, which knows the node's host.
    pub resolver: Resolver,
    /// Signs the certificates of the node and of the resolver.
    pub authority: Authority,
}

impl Lab {
    /// Starts everything, at the same time where one does not need the other, and waits until all is ready.
    ///
    /// The first call on a machine builds the Go programs (minutes) and installs OpenClaw.
    ///
    /// # Errors
    ///
    /// Whatever could not be built, installed or started, with the end of its log.
    pub async fn start() -> Result<Self> {
        let binaries = Binaries::ready().await?;
        let (outside, gateway) = tokio::join!(Self::outside(&binaries), Gateway::start(&binaries));
        Self::together(outside?, gateway?).await
    }

    /// Starts everything around a gateway that runs already.
    ///
    /// # Errors
    ///
    /// Whatever could not be started, with the end of its log.
    pub async fn start_with_gateway(binaries: &Binaries, gateway: Gateway) -> Result<Self> {
        Self::together(Self::outside(binaries).await?, gateway).await
    }

    async fn outside(binaries: &Binaries) -> Result<(Authority, Tailnet, Node)> {
        let authority = Authority::new()?;
        let tailnet = Tailnet::start(binaries, Capabilities::Full).await?;
        let node = Node::start(binaries, &tailnet, &authority, NODE_NAME).await?;
        node.sign_in(&tailnet).await?;
        Ok((authority, tailnet, node))
    }

    async fn together(
        (authority, tailnet, node): (Authority, Tailnet, Node),
        gateway: Gateway,
    ) -> Result<Self> {
        let resolver = Resolver::start(&authority, node.host()).await?;
        Ok(Self {
            tailnet,
            node,
            gateway,
            resolver,
            authority,
        })
    }

    /// Returns somebody on the internet who visits the node on its public port 443.
    ///
    /// # Errors
    ///
    /// Where the tailnet has no ingress for that port.
    pub fn visitor(&self) -> Result<Visitor> {
        self.visitor_on(443)
    }

    /// Returns somebody on the internet who visits the node on another public port: 443, 8443 or 10000.
    ///
    /// # Errors
    ///
    /// Where the tailnet has no ingress for that port.
    pub fn visitor_on(&self, port: u16) -> Result<Visitor> {
        Visitor::new(
            &self.authority.root_pem(),
            self.node.host(),
            port,
            self.ingress(port)?,
        )
    }

    /// Returns the loopback address that a public port of the node is reached on.
    ///
    /// # Errors
    ///
    /// Where the tailnet has no ingress for that port.
    pub fn ingress(&self, port: u16) -> Result<SocketAddr> {
        self.tailnet
            .ingress(port)
            .with_context(|| format!("the lab has no ingress for port {port}"))
    }
}
