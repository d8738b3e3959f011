//! What the guard lets through, the stand-in gateway understands as the guard does.

use std::net::SocketAddr;

use ecto_core::gateway::HooksAccess;
use ecto_core::key::Route;
use ecto_sandbox::gateway::Gateway;
use ecto_tests::hostile::{Asked, add_changed, ask_twice, corpus, count_routes, pass_all};
use secrecy::SecretString;

const CONFIGURATION: &str = r#"{
  gateway: {
    mode: "local",
    auth: { mode: "token", token: "the-gateways-own" },
    http: { endpoints: { chatCompletions: { enabled: true }, responses: { enabled: true } } },
  },
  hooks: { enabled: true, token: "the-hooks-own", path: "/intake/events" },
}"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_one_request_for_the_same_route() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::builder()
        .config_json5(CONFIGURATION)
        .start(folder.path())
        .await
        .unwrap();
    gateway.ready().await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], gateway.port()));
    let asked = Asked {
        token: gateway.token().unwrap(),
        hooks: HooksAccess {
            path: "/intake/events".to_owned(),
            token: SecretString::from("the-hooks-own"),
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
        assert_ne!(seen.status, 401, "{request:?}");
        // As it left the guard, what follows it, and the plain one.
        let routed = gateway.requests();
        let paths: Vec<_> = routed.iter().map(|routed| routed.path.as_str()).collect();
        let path = request.target.as_str();
        assert!(paths.ends_with(&[path, "/readyz", path]), "{path}");
    }
}
