//! The contract against the stand-ins.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod tailnet {
    use std::net::SocketAddr;

    use async_trait::async_trait;
    use ecto_sandbox::edge::{Edge, PUBLIC_IPV4};
    use ecto_sandbox::tailnet::Tailnet;
    use ecto_tests::contract::tailnet::TailnetUnderTest;
    use ecto_tests::lab::{Capabilities, LocalApi, Visitor};
    use tempfile::TempDir;

    struct StandIn {
        edge: Edge,
        tailnet: Tailnet,
        _folder: TempDir,
    }

    async fn signed_out() -> StandIn {
        let folder = tempfile::tempdir().unwrap();
        let tailnet = Tailnet::builder().start(folder.path()).await.unwrap();
        StandIn {
            edge: Edge::start(&tailnet).await.unwrap(),
            tailnet,
            _folder: folder,
        }
    }

    #[async_trait]
    impl TailnetUnderTest for StandIn {
        fn localapi(&self) -> LocalApi {
            LocalApi::new(self.tailnet.socket())
        }

        fn host(&self) -> String {
            self.tailnet.host()
        }

        fn visitor(&self, port: u16) -> Visitor {
            let root = self.edge.root_certificate_pem();
            let address = self.edge.dial(SocketAddr::from((PUBLIC_IPV4, port)));
            Visitor::new(root, &self.tailnet.host(), port, address.unwrap()).unwrap()
        }

        async fn approve(&self, link: &str) {
            assert_eq!(self.tailnet.sign_in_link().as_deref(), Some(link));
            assert!(self.tailnet.approve_sign_in());
        }

        async fn require_machine_approval(&self) {
            self.tailnet.require_machine_approval();
        }

        async fn approve_machine(&self) {
            self.tailnet.approve_machine();
        }

        async fn grant(&self, capabilities: Capabilities) {
            match capabilities {
                Capabilities::Full => self.tailnet.allow_funnel(),
                Capabilities::None => self.tailnet.forbid_funnel(),
                Capabilities::Https => panic!("no check asks for it"),
            }
        }

        async fn expire(&self) {
            self.tailnet.expire_key();
        }
    }

    ecto_tests::tailnet_contract!(super::tailnet::signed_out);
}

mod gateway {
    use std::path::PathBuf;
    use std::time::Duration;

    use async_trait::async_trait;
    use ecto_sandbox::gateway::Gateway;
    use ecto_tests::contract::gateway::GatewayUnderTest;
    use ecto_tests::lab::GatewayClient;
    use secrecy::ExposeSecret as _;
    use tempfile::TempDir;

    struct StandIn {
        gateway: Gateway,
        token: String,
        _folder: TempDir,
    }

    async fn ready() -> StandIn {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join(".openclaw");
        let gateway = Gateway::builder().start(state).await.unwrap();
        let token = gateway.token().unwrap().expose_secret().to_owned();
        StandIn {
            gateway,
            token,
            _folder: folder,
        }
    }

    #[async_trait]
    impl GatewayUnderTest for StandIn {
        fn port(&self) -> u16 {
            self.gateway.port()
        }

        fn token(&self) -> String {
            self.token.clone()
        }

        fn config_path(&self) -> PathBuf {
            self.gateway.config_path().to_owned()
        }

        fn client(&self) -> GatewayClient {
            GatewayClient::new(self.gateway.port()).unwrap()
        }

        fn stall(&self) {
            self.gateway.stall(Duration::from_secs(600));
        }

        fn resume(&self) {
            self.gateway.stall(Duration::ZERO);
        }
    }

    ecto_tests::gateway_contract!(super::gateway::ready);
}
