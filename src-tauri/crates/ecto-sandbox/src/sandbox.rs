//! All stand-ins together, for a person who wants to see the whole journey without an account or a network.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::edge::Edge;
use crate::gateway::{self, Gateway};
use crate::tailnet::{self, Tailnet};

/// How long the people at the other end take for what they are asked, unless told otherwise.
pub const PACE: Duration = Duration::from_secs(1);

/// A gateway that runs and has yet to be set up: its HTTP endpoints are off. `$TOKEN` becomes a random token.
const CONFIG: &str = r#"// The OpenClaw of the Ecto sandbox.
{
  gateway: {
    mode: "local",
    port: $PORT,
    bind: "loopback",
    auth: { mode: "token", token: "$TOKEN" },
  },
}
"#;

/// A sandbox could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tailnet or the edge could not.
    #[error(transparent)]
    Tailnet(#[from] tailnet::StartError),
    /// The gateway could not.
    #[error(transparent)]
    Gateway(#[from] gateway::StartError),
    /// A file could not be written.
    #[error("the sandbox could not write its files: {0}")]
    Files(#[from] std::io::Error),
}

/// Describes a sandbox; made by [`Sandbox::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct SandboxBuilder {
    pace: Duration,
    ready: bool,
    gateway_timing: gateway::Timing,
}

impl SandboxBuilder {
    /// How long the people at the other end take to sign in, and to allow Funnel. Zero is at once.
    pub fn pace(mut self, time: Duration) -> Self {
        self.pace = time;
        self
    }

    /// Everything is done already: signed in, Funnel allowed, the gateway's endpoints on.
    pub fn ready(mut self) -> Self {
        self.ready = true;
        self
    }

    /// How long the gateway takes for what it does; short unless told otherwise.
    pub fn gateway_timing(mut self, timing: gateway::Timing) -> Self {
        self.gateway_timing = timing;
        self
    }

    /// Starts all stand-ins with their files in this folder, which must exist: the socket `ts.sock`, the gateway's `openclaw`,
    /// the command `bin/openclaw`, and the certificate `root.pem`. Must be called within a tokio runtime.
    pub async fn start(self, folder: &Path) -> Result<Sandbox, StartError> {
        let socket = folder.join("ts.sock");
        let mut tailnet = Tailnet::builder()
            .socket(socket)
            .host_name("ecto-sandbox")
            .suffix("sandbox.ts.net")
            .approves_sign_in_after(self.pace)
            .approves_machine_after(self.pace)
            .allows_funnel_after(self.pace);
        if self.ready {
            tailnet = tailnet.signed_in().funnel_allowed();
        }
        let tailnet = tailnet.start(folder).await?;
        let edge = Edge::start(&tailnet).await?;
        let mut gateway = Gateway::builder().timing(self.gateway_timing).service(true);
        if !self.ready {
            let token = data_encoding::HEXLOWER.encode(&rand::random::<[u8; 32]>());
            gateway = gateway.config_json5(CONFIG.replace("$TOKEN", &token));
        }
        let gateway = gateway.start(folder.join("openclaw")).await?;
        let commands = folder.join("bin");
        std::fs::create_dir_all(&commands)?;
        let command = gateway.write_command(&commands)?;
        let root_certificate = folder.join("root.pem");
        std::fs::write(&root_certificate, edge.root_certificate_pem())?;
        Ok(Sandbox {
            tailnet,
            edge,
            gateway,
            command,
            root_certificate,
        })
    }
}

/// A running sandbox. It ends when it is dropped.
pub struct Sandbox {
    edge: Edge,
    tailnet: Tailnet,
    gateway: Gateway,
    command: PathBuf,
    root_certificate: PathBuf,
}

impl Sandbox {
    /// Begins to describe a sandbox: nobody signed in, Funnel not allowed, the gateway running and not set up.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder {
            pace: PACE,
            ready: false,
            gateway_timing: gateway::Timing::short(),
        }
    }

    /// The stand-in of tailscaled and the tailnet.
    pub fn tailnet(&self) -> &Tailnet {
        &self.tailnet
    }

    /// The stand-in of the public edge.
    pub fn edge(&self) -> &Edge {
        &self.edge
    }

    /// The stand-in of the OpenClaw gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The path of the stand-in `openclaw` command.
    pub fn openclaw_command(&self) -> &Path {
        &self.command
    }

    /// The path of the root certificate to trust, as PEM: for `curl --cacert`.
    pub fn root_certificate(&self) -> &Path {
        &self.root_certificate
    }

    /// Ends everything and waits until it has ended.
    pub async fn shutdown(self) {
        self.gateway.stop().await;
        self.edge.shutdown().await;
        self.tailnet.shutdown().await;
    }
}
