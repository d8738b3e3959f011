//! Starts the whole lab, says what is where, and waits for Ctrl-C; or builds and installs what it needs, and ends.

#![expect(
    clippy::print_stdout,
    reason = "it prints for the person who started it"
)]

use anyhow::Result;
use clap::Parser;
use ecto_tests::lab::{Binaries, Clients, Lab};

/// The lab: the real tailscaled and the real OpenClaw.
#[derive(Parser)]
struct Arguments {
    /// Builds and installs what the lab needs and what is tried in it, where that is missing, and ends.
    #[arg(long)]
    prepare: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    if Arguments::parse().prepare {
        Clients::install(&Binaries::ready().await?).await?;
        return Ok(());
    }
    keep().await
}

async fn keep() -> Result<()> {
    println!("Starting the lab.");
    let lab = tokio::select! {
        lab = Lab::start() => lab?,
        interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
    };
    let binaries = Binaries::ready().await?;
    let folder = tempfile::Builder::new().prefix("ecto-lab-").tempdir()?;
    let root = folder.path().join("root.pem");
    std::fs::write(&root, lab.authority.root_pem())?;
    let host = lab.node.host();
    let ingress = lab.ingress(443)?;

    println!(
        "
The lab is up; Ctrl-C ends it and removes its folders.

  Tailscale        {host}, signed in, may use Funnel
    LocalAPI       {socket}
    command        {tailscale} --socket={socket} status
    control        {control}
    admin          curl -X POST '{admin}/capabilities?node={name}&set=none'   (also https, full)
                   curl -X POST '{admin}/expire?node={name}'
                   curl -X POST '{admin}/ingress?open=false'
                   curl '{admin}/nodes'
  OpenClaw         {gateway}, token {token}
    configuration  {config}
    command        HOME={home} PATH={node_folder}:$PATH {openclaw} status
  From outside     curl --cacert {root} --resolve {host}:{port}:{ip} https://{host}:{port}/
    public DNS     {dns}
",
        socket = lab.node.socket().display(),
        tailscale = binaries.tailscale().display(),
        control = lab.tailnet.control_url(),
        admin = lab.tailnet.admin_url(),
        name = lab.node.name(),
        gateway = lab.gateway.url(),
        token = lab.gateway.token(),
        config = lab.gateway.config_path().display(),
        home = lab.gateway.home().display(),
        node_folder = binaries.node_folder().display(),
        openclaw = binaries.openclaw().display(),
        root = root.display(),
        port = ingress.port(),
        ip = ingress.ip(),
        dns = lab.resolver.dns_query_url(),
    );
    tokio::signal::ctrl_c().await?;
    println!("The lab is closing.");
    Ok(())
}
