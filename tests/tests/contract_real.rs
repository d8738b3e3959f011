//! The contract against the real tailscaled and the real OpenClaw.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and then says what it saw"
)]

mod tailnet {
    use async_trait::async_trait;
    use ecto_tests::contract::tailnet::TailnetUnderTest;
    use ecto_tests::lab::{
        Authority, Binaries, Capabilities, LocalApi, NODE_NAME, Node, Tailnet, Visitor,
    };

    struct RealTailnet {
        authority: Authority,
        tailnet: Tailnet,
        node: Node,
    }

    async fn signed_out() -> RealTailnet {
        let binaries = Binaries::ready().await.unwrap();
        let authority = Authority::new().unwrap();
        let tailnet = Tailnet::start(&binaries, Capabilities::None).await.unwrap();
        let node = Node::start(&binaries, &tailnet, &authority, NODE_NAME)
            .await
            .unwrap();
        RealTailnet {
            authority,
            tailnet,
            node,
        }
    }

    impl Drop for RealTailnet {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!("tailnet:\n{}", self.tailnet.log().unwrap_or_default());
                println!("tailscaled:\n{}", self.node.log().unwrap_or_default());
            }
        }
    }

    #[async_trait]
    impl TailnetUnderTest for RealTailnet {
        fn localapi(&self) -> LocalApi {
            self.node.localapi()
        }

        fn host(&self) -> String {
            self.node.host().to_owned()
        }

        fn visitor(&self, port: u16) -> Visitor {
            let root = self.authority.root_pem();
            let address = self.tailnet.ingress(port).unwrap();
            Visitor::new(&root, self.node.host(), port, address).unwrap()
        }

        async fn approve(&self, link: &str) {
            self.tailnet.approve(link).await.unwrap();
        }

        async fn require_machine_approval(&self) {
            self.tailnet.require_machine_approval(true).await.unwrap();
        }

        async fn approve_machine(&self) {
            self.tailnet.approve_machine(NODE_NAME).await.unwrap();
        }

        async fn grant(&self, capabilities: Capabilities) {
            self.tailnet.grant(NODE_NAME, capabilities).await.unwrap();
        }

        async fn expire(&self) {
            self.tailnet.expire(NODE_NAME).await.unwrap();
        }
    }

    ecto_tests::tailnet_contract!(super::tailnet::signed_out);
}

mod gateway {
    use std::path::PathBuf;

    use async_trait::async_trait;
    use ecto_tests::contract::gateway::GatewayUnderTest;
    use ecto_tests::lab::{Binaries, Gateway, GatewayClient};

    struct RealGateway(Gateway);

    async fn ready() -> RealGateway {
        let binaries = Binaries::ready().await.unwrap();
        RealGateway(Gateway::start(&binaries).await.unwrap())
    }

    impl Drop for RealGateway {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!("gateway:\n{}", self.0.log().unwrap_or_default());
            }
        }
    }

    #[async_trait]
    impl GatewayUnderTest for RealGateway {
        fn port(&self) -> u16 {
            self.0.port()
        }

        fn token(&self) -> String {
            self.0.token().to_owned()
        }

        fn config_path(&self) -> PathBuf {
            self.0.config_path()
        }

        fn client(&self) -> GatewayClient {
            self.0.client().unwrap()
        }

        fn stall(&self) {
            self.0.model.stall();
        }

        fn resume(&self) {
            self.0.model.resume();
        }
    }

    ecto_tests::gateway_contract!(super::gateway::ready);
}
