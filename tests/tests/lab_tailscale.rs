//! The adapter to tailscaled, on the real tailscaled of the lab.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    convert::Infallible,
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use ecto_core::{
    cause::Cause,
    ports::Tailnet as _,
    proof::Opening,
    step::{Reporter, StepNote, Waiting},
    tailnet::{FunnelPermission, NodeChoice, NodeKind, TailnetView},
};
use ecto_tailscale::{Administrator, OperatingSystem, OwnNodePlaces, Places, Tailscale};
use ecto_tests::lab::{Authority, Binaries, Capabilities, NODE_NAME, Node, Tailnet, Visitor};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;

const LIMIT: Duration = Duration::from_secs(60);
const AUTO: NodeChoice = NodeChoice::Auto;

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.unwrap()
}

struct Nobody;

#[async_trait]
impl Administrator for Nobody {
    async fn run(&self, _: &Path, _: &[OsString]) -> Result<(), Cause> {
        Err(Cause::AdministratorCancelled)
    }
}

/// Stands for the guard.
async fn serve_text(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |_| async move {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
                    text.as_bytes(),
                ))))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

fn places(folder: &Path, tailnet: &Tailnet, system_sockets: Vec<PathBuf>) -> Places {
    let own = folder.join("own");
    let set = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    Places {
        system: OperatingSystem::Linux,
        system_sockets,
        standalone_folder: folder.join("none"),
        application: folder.join("none"),
        program_folders: vec![folder.join("bin")],
        launch_daemons: folder.join("none"),
        os_release: folder.join("none"),
        lsof: folder.join("none"),
        open: folder.join("none"),
        own: OwnNodePlaces {
            socket: own.join("tailscaled.sock"),
            log: own.join("tailscaled.log"),
            arguments: vec!["--no-logs-no-support".into()],
            environment: vec![
                set(
                    "TS_DEBUG_ACME_DIRECTORY_URL",
                    "http://127.0.0.1:1/directory",
                ),
                set("TS_DISABLE_PORTMAPPER", "true"),
                set("TS_NO_LOGS_NO_SUPPORT", "true"),
                set("TS_PANIC_IF_HIT_MAIN_CONTROL", "true"),
            ],
            state: own,
        },
        environment: vec![(OsString::from("HOME"), folder.as_os_str().to_owned())],
        host_name: NODE_NAME.to_owned(),
        control: Some(tailnet.control_url().parse().unwrap()),
    }
}

fn adapter(places: Places) -> Arc<Tailscale> {
    Arc::new(Tailscale::new(places, Arc::new(Nobody)))
}

async fn link(notes: &mut UnboundedReceiver<StepNote>) -> (Waiting, String) {
    loop {
        if let StepNote::Waiting(waiting) = in_time(notes.recv()).await.unwrap()
            && let Some(link) = waiting.link()
        {
            let link = link.as_str().to_owned();
            return (waiting, link);
        }
    }
}

async fn sign_in(tailscale: &Arc<Tailscale>, tailnet: &Tailnet) {
    let (reporter, mut notes) = Reporter::channel();
    let task = {
        let tailscale = tailscale.clone();
        tokio::spawn(async move { tailscale.sign_in(AUTO, reporter).await })
    };
    let (waiting, link) = link(&mut notes).await;
    assert!(matches!(waiting, Waiting::SignIn { .. }));
    tailnet.approve(&link).await.unwrap();
    assert_eq!(in_time(task).await.unwrap(), Ok(()));
}

async fn until_view(tailscale: &Tailscale, wanted: impl Fn(&TailnetView) -> bool) {
    let mut changes = tailscale.changes();
    in_time(async {
        loop {
            changes.mark_unchanged();
            let view = tailscale.observe(AUTO).await;
            if wanted(&view) {
                return;
            }
            changes.changed().await.unwrap();
        }
    })
    .await;
}

fn may_funnel(view: &TailnetView) -> bool {
    matches!(view, TailnetView::Running(node) if node.funnel == FunnelPermission::Allowed)
}

async fn until_refused(visitor: &Visitor) {
    in_time(async { while visitor.connect().await.is_ok() {} }).await;
}

/// A system node that the lab runs, not signed in.
struct World {
    tailscale: Arc<Tailscale>,
    visitor: Visitor,
    node: Node,
    tailnet: Tailnet,
    _folder: TempDir,
}

impl World {
    async fn start(capabilities: Capabilities) -> Self {
        let binaries = Binaries::ready().await.unwrap();
        let authority = Authority::new().unwrap();
        let tailnet = Tailnet::start(&binaries, capabilities).await.unwrap();
        let node = Node::start(&binaries, &tailnet, &authority, NODE_NAME)
            .await
            .unwrap();
        let ingress = tailnet.ingress(443).unwrap();
        let visitor = Visitor::new(&authority.root_pem(), node.host(), 443, ingress).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let tailscale = adapter(places(folder.path(), &tailnet, vec![node.socket()]));
        Self {
            tailscale,
            visitor,
            node,
            tailnet,
            _folder: folder,
        }
    }

    async fn ready() -> Self {
        let world = Self::start(Capabilities::Full).await;
        sign_in(&world.tailscale, &world.tailnet).await;
        until_view(&world.tailscale, may_funnel).await;
        world
    }

    async fn visit(&self) -> String {
        let response = self.visitor.request(Method::GET, "/").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.text().await.unwrap()
    }
}

#[tokio::test]
async fn the_whole_journey_from_signed_out_to_public_and_back() {
    let world = World::start(Capabilities::None).await;
    let tailscale = &world.tailscale;
    let kind = NodeKind::System;
    assert_eq!(
        tailscale.observe(AUTO).await,
        TailnetView::NeedsSignIn { kind }
    );
    sign_in(tailscale, &world.tailnet).await;
    let TailnetView::Running(node) = tailscale.observe(AUTO).await else {
        panic!("it does not run")
    };
    assert_eq!(node.host.as_str(), world.node.host());
    assert_eq!(node.funnel, FunnelPermission::Missing);

    let (reporter, mut notes) = Reporter::channel();
    let task = {
        let tailscale = tailscale.clone();
        tokio::spawn(async move { tailscale.allow_funnel(AUTO, reporter).await })
    };
    let (waiting, address) = link(&mut notes).await;
    assert!(matches!(waiting, Waiting::FunnelPermission { .. }));
    let page = reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .build()
        .unwrap()
        .get(address)
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert_eq!(in_time(task).await.unwrap(), Ok(()));

    let guard = serve_text("guarded").await;
    let begun = Instant::now();
    let claim = tailscale
        .open(AUTO, Opening::unproven_for_test(guard))
        .await
        .unwrap();
    println!("opened in {:.0?}", begun.elapsed());
    assert_eq!(
        claim.address().origin(),
        format!("https://{}", world.node.host())
    );
    assert_eq!(world.visit().await, "guarded");
    assert_eq!(claim.verify().await, Ok(()));

    let begun = Instant::now();
    assert_eq!(claim.close().await, Ok(()));
    println!("closed in {:.0?}", begun.elapsed());
    until_refused(&world.visitor).await;
    println!("refused after {:.0?}", begun.elapsed());
    let (config, _) = world.node.localapi().serve_config().await.unwrap();
    assert_eq!(config, json!({}));
    assert_eq!(tailscale.confirm_closed(AUTO, guard).await, Ok(()));
}

#[tokio::test]
async fn what_others_serve_is_left_alone_and_the_next_port_is_taken() {
    let world = World::ready().await;
    let host = world.node.host();
    let localapi = world.node.localapi();
    let theirs = json!({
        "TCP": {"443": {"HTTPS": true}},
        "Web": {format!("{host}:443"): {"Handlers": {"/": {"Text": "somebody's"}}}},
    });
    let (_, tag) = localapi.serve_config().await.unwrap();
    let set = localapi.set_serve_config(&theirs, &tag).await.unwrap();
    assert_eq!(set.status, StatusCode::OK, "{}", set.text());
    let guard = serve_text("guarded").await;
    let open = || {
        world
            .tailscale
            .open(AUTO, Opening::unproven_for_test(guard))
    };
    let first = open().await.unwrap();
    let second = open().await.unwrap();
    assert_eq!(first.address().port.number(), 8443);
    assert_eq!(second.address().port.number(), 10000);
    assert!(matches!(open().await, Err(Cause::PortsTaken)));
    assert_eq!(first.close().await, Ok(()));
    assert_eq!(second.verify().await, Ok(()));
    drop(second);
    let again = open().await.unwrap();
    assert_eq!(again.address().port.number(), 8443);
    assert_eq!(again.close().await, Ok(()));
    let (config, _) = localapi.serve_config().await.unwrap();
    assert_eq!(config, theirs);
}

#[tokio::test]
async fn a_claim_notices_its_loss_and_a_dropped_one_is_gone() {
    let mut world = World::ready().await;
    let guard = serve_text("guarded").await;
    let opening = || Opening::unproven_for_test(guard);
    let claim = world.tailscale.open(AUTO, opening()).await.unwrap();
    assert_eq!(world.visit().await, "guarded");
    drop(claim);
    until_refused(&world.visitor).await;
    for _ in 0..10 {
        // tailscaled may not have noticed yet that the one before is gone.
        let claim = world.tailscale.open(AUTO, opening()).await.unwrap();
        assert_eq!(claim.address().port.number(), 443);
    }

    let claim = world.tailscale.open(AUTO, opening()).await.unwrap();
    let reset = world.node.localapi().set_serve_config(&json!({}), "").await;
    assert_eq!(reset.unwrap().status, StatusCode::OK);
    assert_eq!(in_time(claim.lost()).await, Cause::ClaimLost);
    assert_eq!(claim.close().await, Ok(()));

    let claim = world.tailscale.open(AUTO, opening()).await.unwrap();
    let off = json!({"WantRunning": false, "WantRunningSet": true});
    world.node.localapi().patch("prefs", &off).await.unwrap();
    assert_eq!(in_time(claim.lost()).await, Cause::TailscaleLost);
    assert_eq!(claim.close().await, Ok(()));
    let kind = NodeKind::System;
    assert_eq!(
        world.tailscale.observe(AUTO).await,
        TailnetView::Stopped { kind }
    );
    let signed_in = in_time(world.tailscale.sign_in(AUTO, Reporter::silent())).await;
    assert_eq!(signed_in, Ok(()));
    until_view(&world.tailscale, may_funnel).await;

    let claim = world.tailscale.open(AUTO, opening()).await.unwrap();
    world.node.kill().await.unwrap();
    assert_eq!(in_time(claim.lost()).await, Cause::TailscaleLost);
    assert_eq!(claim.close().await, Ok(()));
    world.node.start_again().await.unwrap();
    until_view(&world.tailscale, may_funnel).await;
    let (config, _) = world.node.localapi().serve_config().await.unwrap();
    assert!(!config.to_string().contains("AllowFunnel"), "{config}");
    let claim = in_time(world.tailscale.open(AUTO, opening()))
        .await
        .unwrap();
    assert_eq!(claim.address().port.number(), 443);
}

#[tokio::test]
async fn approval_key_expiry_and_shields_are_seen() {
    let world = World::start(Capabilities::Full).await;
    let tailscale = &world.tailscale;
    world.tailnet.require_machine_approval(true).await.unwrap();
    let (reporter, mut notes) = Reporter::channel();
    let task = {
        let tailscale = tailscale.clone();
        tokio::spawn(async move { tailscale.sign_in(AUTO, reporter).await })
    };
    let (_, address) = link(&mut notes).await;
    world.tailnet.approve(&address).await.unwrap();
    let (waiting, _) = link(&mut notes).await;
    assert!(matches!(waiting, Waiting::Approval { .. }));
    world.tailnet.approve_machine(NODE_NAME).await.unwrap();
    assert_eq!(in_time(task).await.unwrap(), Ok(()));
    until_view(tailscale, may_funnel).await;

    let shields = |up: bool| json!({"ShieldsUp": up, "ShieldsUpSet": true});
    let localapi = world.node.localapi();
    localapi.patch("prefs", &shields(true)).await.unwrap();
    until_view(tailscale, |view| {
        *view
            == TailnetView::Refused {
                cause: Cause::ShieldsUp,
            }
    })
    .await;
    let guard = serve_text("guarded").await;
    let opened = tailscale
        .open(AUTO, Opening::unproven_for_test(guard))
        .await;
    assert!(matches!(opened, Err(Cause::ShieldsUp)));
    localapi.patch("prefs", &shields(false)).await.unwrap();
    until_view(tailscale, may_funnel).await;

    world.tailnet.expire(NODE_NAME).await.unwrap();
    let kind = NodeKind::System;
    until_view(tailscale, |view| *view == TailnetView::NeedsSignIn { kind }).await;
}

#[tokio::test]
async fn the_own_node_comes_up_without_an_administrator_and_goes_with_its_host() {
    let binaries = Binaries::ready().await.unwrap();
    let authority = Authority::new().unwrap();
    let tailnet = Tailnet::start(&binaries, Capabilities::Full).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let places = places(folder.path(), &tailnet, Vec::new());
    fs::create_dir_all(folder.path().join("bin")).unwrap();
    symlink(binaries.tailscaled(), folder.path().join("bin/tailscaled")).unwrap();
    let host = format!("ecto-{NODE_NAME}.{}", tailnet.domain());
    let certificates = places.own.state.join("certs");
    fs::create_dir_all(&certificates).unwrap();
    let certificate = authority.certify(&host).unwrap();
    fs::write(
        certificates.join(format!("{host}.crt")),
        certificate.chain_pem,
    )
    .unwrap();
    fs::write(
        certificates.join(format!("{host}.key")),
        certificate.key_pem,
    )
    .unwrap();

    let socket = places.own.socket.clone();
    let tailscale = adapter(places);
    let kind = NodeKind::Own;
    assert_eq!(
        tailscale.observe(AUTO).await,
        TailnetView::NotRunning { kind }
    );
    let begun = Instant::now();
    assert_eq!(tailscale.start(AUTO, Reporter::silent()).await, Ok(()));
    println!("the own node answers after {:.0?}", begun.elapsed());
    assert_eq!(
        tailscale.observe(AUTO).await,
        TailnetView::NeedsSignIn { kind }
    );
    sign_in(&tailscale, &tailnet).await;
    until_view(&tailscale, may_funnel).await;
    let guard = serve_text("guarded").await;
    let claim = tailscale
        .open(AUTO, Opening::unproven_for_test(guard))
        .await
        .unwrap();
    assert_eq!(claim.address().host.as_str(), host);
    let visitor = Visitor::new(
        &authority.root_pem(),
        &host,
        443,
        tailnet.ingress(443).unwrap(),
    )
    .unwrap();
    let response = visitor.request(Method::GET, "/").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "guarded");
    drop(claim);
    drop(tailscale);
    in_time(async { while tokio::net::UnixStream::connect(&socket).await.is_ok() {} }).await;
    until_refused(&visitor).await;
}
