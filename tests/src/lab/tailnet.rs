//! The outer half of the tailnet: the control server, the relay and Funnel's public side.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use tempfile::TempDir;

use super::Binaries;

/// How much of Funnel's conditions the tailnet grants to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capabilities {
    /// Neither certificates nor Funnel.
    None,
    /// Certificates, not Funnel.
    Https,
    /// Certificates, and Funnel on the ports 443, 8443 and 10000.
    Full,
}

impl Capabilities {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Https => "https",
            Self::Full => "full",
        }
    }
}

/// What the control server knows of a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSummary {
    /// First label of its DNS name.
    pub name: String,
    /// Whole DNS name, without the trailing dot.
    pub host: String,
    /// IPv4 address inside the tailnet.
    pub address: String,
    /// Whether an administrator let it in, where that is required.
    pub authorized: bool,
    /// Whether its key is no longer valid.
    pub expired: bool,
    /// What the tailnet grants to it.
    pub capabilities: Capabilities,
    /// Whether it asks for public DNS and lets visitors in.
    pub ingress_enabled: bool,
    /// Whether it asks for public DNS alone.
    pub wire_ingress: bool,
}

#[derive(Deserialize)]
struct Addresses {
    control: String,
    admin: String,
    domain: String,
    ingress: HashMap<u16, SocketAddr>,
}

/// A running control server, and the client of its administrator's endpoints (`tests/lab/admin.go`).
pub struct Tailnet {
    program: std::process::Child,
    addresses: Addresses,
    client: reqwest::Client,
    folder: TempDir,
}

impl Tailnet {
    /// Starts it; nodes that sign in are granted these capabilities unless they are given others.
    ///
    /// # Errors
    ///
    /// Where it does not start, with what it printed.
    pub async fn start(binaries: &Binaries, capabilities: Capabilities) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ecto-tailnet-").tempdir()?;
        let log = folder.path().join("log");
        let mut program = Command::new(binaries.lab())
            .args(["serve", "--capabilities", capabilities.as_str(), "--state"])
            .arg(folder.path())
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log)?)
            .spawn()?;
        let stdout = program.stdout.take().context("no output")?;
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        })
        .await??;
        let addresses = serde_json::from_str(&line).with_context(|| {
            format!(
                "the tailnet did not start:\n{}",
                fs::read_to_string(&log).unwrap_or_default()
            )
        })?;
        Ok(Self {
            program,
            addresses,
            client: super::visitor::plain_client()?,
            folder,
        })
    }

    /// URL of the control server, for a node's `ControlURL`.
    #[must_use]
    pub fn control_url(&self) -> &str {
        &self.addresses.control
    }

    /// URL of the administrator's endpoints.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        &self.addresses.admin
    }

    /// Domain that the name of every node ends in.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.addresses.domain
    }

    /// Loopback address that stands for a public port: 443, 8443 or 10000.
    #[must_use]
    pub fn ingress(&self, port: u16) -> Option<SocketAddr> {
        self.addresses.ingress.get(&port).copied()
    }

    /// Approves the sign-in that waits on the link, as its owner does by opening it.
    ///
    /// # Errors
    ///
    /// Where nobody waits on it.
    pub async fn approve(&self, link: &str) -> Result<()> {
        self.post("/approve", &[("link", link)]).await
    }

    /// Sets whether nodes that sign in from now on wait for an administrator.
    ///
    /// # Errors
    ///
    /// Where the control server does not answer.
    pub async fn require_machine_approval(&self, required: bool) -> Result<()> {
        self.post("/machines/require", &[("required", as_str(required))])
            .await
    }

    /// Lets in a node that waits for an administrator.
    ///
    /// # Errors
    ///
    /// Where there is no such node.
    pub async fn approve_machine(&self, name: &str) -> Result<()> {
        self.post("/machines/approve", &[("node", name)]).await
    }

    /// Grants capabilities to a node.
    ///
    /// # Errors
    ///
    /// Where the control server does not answer.
    pub async fn grant(&self, name: &str, capabilities: Capabilities) -> Result<()> {
        self.post(
            "/capabilities",
            &[("node", name), ("set", capabilities.as_str())],
        )
        .await
    }

    /// Ends the validity of a node's key.
    ///
    /// # Errors
    ///
    /// Where there is no such node.
    pub async fn expire(&self, name: &str) -> Result<()> {
        self.post("/expire", &[("node", name)]).await
    }

    /// Sets whether the answer to a feature query asks its client to wait for the person.
    ///
    /// # Errors
    ///
    /// Where the control server does not answer.
    pub async fn set_feature_waits(&self, waits: bool) -> Result<()> {
        self.post("/feature", &[("wait", as_str(waits))]).await
    }

    /// Lets visitors in, or cuts each one as soon as it connects.
    ///
    /// # Errors
    ///
    /// Where the control server does not answer.
    pub async fn open_ingress(&self, open: bool) -> Result<()> {
        self.post("/ingress", &[("open", as_str(open))]).await
    }

    /// Breaks off the connection of every visitor.
    ///
    /// # Errors
    ///
    /// Where the control server does not answer.
    pub async fn reset_visitors(&self) -> Result<()> {
        self.post("/ingress/reset", &[]).await
    }

    /// Lists every node that ever signed in.
    ///
    /// # Errors
    ///
    /// Where the control server does not answer.
    pub async fn nodes(&self) -> Result<Vec<NodeSummary>> {
        let url = format!("{}/nodes", self.addresses.admin);
        read(self.client.get(url).send().await?).await
    }

    /// Returns everything that the control server and the ingress logged.
    ///
    /// # Errors
    ///
    /// Where the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("log"))?)
    }

    async fn post(&self, path: &str, query: &[(&str, &str)]) -> Result<()> {
        let url = url::Url::parse_with_params(&format!("{}{path}", self.addresses.admin), query)?;
        let _: serde_json::Value = read(self.client.post(url).send().await?).await?;
        Ok(())
    }
}

impl Drop for Tailnet {
    fn drop(&mut self) {
        // A hard end: there is nothing in it to be saved, and its state folder goes too.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

const fn as_str(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

async fn read<T: DeserializeOwned>(response: reqwest::Response) -> Result<T> {
    let status = response.status();
    let body = response.text().await?;
    ensure!(
        status.is_success(),
        "the tailnet answered {status}: {}",
        body.trim()
    );
    Ok(serde_json::from_str(&body)?)
}
