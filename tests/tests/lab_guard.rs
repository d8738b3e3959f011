//! What the guard lets through, the real OpenClaw understands as the guard does.

use std::net::SocketAddr;

use ecto_core::gateway::HooksAccess;
use ecto_core::key::Route;
use ecto_tests::hostile::{Asked, add_changed, ask_twice, corpus, count_routes, pass_all};
use ecto_tests::lab::{Binaries, Gateway};
use secrecy::SecretString;

const HOOKS: &str = r#"
  hooks: {
    enabled: true,
    token: "hooks-of-the-lab-0123456789abcdef0123456789",
    path: "/intake/events",
    mappings: [{ id: "push", match: { path: "git/push" }, action: "wake", wakeMode: "next-heartbeat", textTemplate: "A push." }],
  },
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_one_request_for_the_same_route() {
    let binaries = Binaries::ready().await.unwrap();
    let gateway = Gateway::start_with(&binaries, |port, model| {
        Gateway::configuration(port, model)
            .replace("\n  agents: {", &format!("{HOOKS}  agents: {{"))
    })
    .await
    .unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], gateway.port()));
    let asked = Asked {
        token: SecretString::from(gateway.token()),
        hooks: HooksAccess {
            path: "/intake/events".to_owned(),
            token: SecretString::from("hooks-of-the-lab-0123456789abcdef0123456789"),
        },
    };
    let mut requests = corpus().unwrap();
    add_changed(&mut requests, 4_000, 20_261_122);
    let passed = pass_all(&requests, &asked).await.unwrap();
    let counts = count_routes(&passed, &asked);
    for route in Route::ALL {
        assert!(counts.get(&route) >= Some(&8), "{counts:?}");
    }
    for request in &passed {
        assert!(asked.is_offered(request), "{request:?}");
        let (seen, plain) = ask_twice(address, &asked, request).await.unwrap();
        assert_eq!(seen, plain, "{request:?}");
        // The lab has no provider that embeds, which OpenClaw tells as a fault of its own.
        let is_own = seen.status >= 500 && request.target != "/v1/embeddings";
        assert!(!is_own && seen.status != 401, "{seen:?}");
    }
    eprintln!(
        "{} of {} requests passed, and OpenClaw took each as meant: {counts:?}",
        passed.len(),
        requests.len()
    );
}
