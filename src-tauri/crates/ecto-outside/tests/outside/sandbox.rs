//! The check against the sandbox's edge, which behaves like Funnel.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use ecto_core::cause::ReachCause;
use ecto_core::ports::{Outside as _, OutsideFinding};
use ecto_core::tailnet::{FunnelPort, HostName, PublicAddress};
use ecto_core::watchword::Watchword;
use ecto_outside::{Limits, PublicCheck, Setup, Trust};
use ecto_sandbox::edge::{Edge, Names};
use ecto_sandbox::tailnet::{CertificateState, Tailnet};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::net::TcpListener;

use crate::stand_in::{guarded, key, speak};

struct Sandbox {
    tailnet: Tailnet,
    edge: Edge,
    guard: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Sandbox {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tailnet = Tailnet::builder()
            .signed_in()
            .funnel_allowed()
            .start(folder.path())
            .await
            .unwrap();
        let edge = Edge::start(&tailnet).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let guard = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(speak(stream, guarded(), Arc::new(Mutex::new(Vec::new()))));
            }
        });
        Self {
            tailnet,
            edge,
            guard,
            _folder: folder,
        }
    }

    /// Claims a port for a target. JSON as `ipn.ServeConfig` has it.
    fn claim(&self, port: u16, target: &str) {
        let site = format!("{}:{port}", self.tailnet.host());
        let config = serde_json::json!({
            "TCP": {port.to_string(): {"HTTPS": true}},
            "Web": {site.clone(): {"Handlers": {"/": {"Proxy": target}}}},
            "AllowFunnel": {site: true}
        });
        self.tailnet.set_serve_config(config).unwrap();
    }

    async fn check(&self, port: FunnelPort) -> OutsideFinding {
        let table = self.edge.dial_table();
        let setup = Setup {
            resolvers: self.edge.resolvers().to_vec(),
            trust: Trust::only_pem(self.edge.root_certificate_pem()).unwrap(),
            dial: Arc::new(move |public| table[&public]),
            limits: Limits::default(),
        };
        let mut random = StdRng::seed_from_u64(3);
        let watchword = Watchword::make(&mut random).unwrap();
        let check = PublicCheck::new(setup, watchword, &mut random).unwrap();
        let address = PublicAddress {
            host: HostName::new(&self.tailnet.host()).unwrap(),
            port,
        };
        check.check(&address, &key()).await
    }

    async fn cause(&self) -> ReachCause {
        match self.check(FunnelPort::Https).await {
            OutsideFinding::Unreachable(cause) => cause,
            other @ (OutsideFinding::Reachable | OutsideFinding::OpenWithoutKey) => {
                panic!("{other:?}")
            }
        }
    }
}

#[tokio::test]
async fn a_claim_is_reachable_on_every_port() {
    for port in FunnelPort::ALL {
        let sandbox = Sandbox::new().await;
        sandbox.claim(port.number(), &format!("http://{}", sandbox.guard));
        assert_eq!(sandbox.check(port).await, OutsideFinding::Reachable);
    }
}

#[tokio::test]
async fn without_a_claim_there_is_no_name_and_no_way_in() {
    let sandbox = Sandbox::new().await;
    assert_eq!(sandbox.cause().await, ReachCause::NotPublished);
    sandbox.edge.set_names(Names::Published);
    assert_eq!(sandbox.cause().await, ReachCause::RelayRefuses);
}

#[tokio::test]
async fn what_is_missing_on_the_way_is_told_apart() {
    let sandbox = Sandbox::new().await;
    sandbox.claim(443, "http://127.0.0.1:1");
    assert_eq!(sandbox.cause().await, ReachCause::GuardAway);

    sandbox.tailnet.set_certificate(CertificateState::Pending);
    assert_eq!(sandbox.cause().await, ReachCause::CertificatePending);

    let own: IpAddr = "100.64.0.7".parse().unwrap();
    sandbox.edge.set_names(Names::Addresses(vec![own]));
    assert_eq!(
        sandbox.cause().await,
        ReachCause::PrivateAddress {
            address: own.to_string()
        }
    );

    sandbox.edge.set_names(Names::Failing);
    assert!(matches!(sandbox.cause().await, ReachCause::Offline { .. }));
}

#[tokio::test]
async fn something_else_behind_the_claim_is_not_the_guard() {
    let sandbox = Sandbox::new().await;
    let site = format!("{}:443", sandbox.tailnet.host());
    let config = serde_json::json!({
        "TCP": {"443": {"HTTPS": true}},
        "Web": {site.clone(): {"Handlers": {"/other": {"Text": "hello"}}}},
        "AllowFunnel": {site: true}
    });
    sandbox.tailnet.set_serve_config(config).unwrap();
    assert_eq!(
        sandbox.cause().await,
        ReachCause::NotTheGuard { status: 404 }
    );
}
