//! What the guard lets through, the stand-in gateway understands as the guard does.

use std::net::SocketAddr;

use ecto_sandbox::gateway::Gateway;
use ecto_tests::hostile::{add_changed, ask_twice, corpus, is_offered, pass_all};
use secrecy::ExposeSecret as _;

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_one_request_for_the_same_route() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::builder().start(folder.path()).await.unwrap();
    gateway.ready().await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], gateway.port()));
    let token = gateway.token().unwrap();
    let mut requests = corpus().unwrap();
    add_changed(&mut requests, 3_000, 20_261_122);
    let passed = pass_all(&requests, token.expose_secret()).await.unwrap();
    assert!(passed.len() > 40, "{}", passed.len());
    for request in &passed {
        assert!(is_offered(request), "{request:?}");
        let (seen, plain) = ask_twice(address, token.expose_secret(), request)
            .await
            .unwrap();
        assert_eq!(seen, plain, "{request:?}");
        // As it left the guard, what follows it, and the plain one.
        let routed = gateway.requests();
        let paths: Vec<_> = routed.iter().map(|routed| routed.path.as_str()).collect();
        let path = request.target.as_str();
        assert!(paths.ends_with(&[path, "/readyz", path]), "{path}");
    }
}
