//! What the guard lets through, the real OpenClaw understands as the guard does.

use std::net::SocketAddr;

use ecto_tests::hostile::{add_changed, ask_twice, corpus, is_offered, pass_all};
use ecto_tests::lab::{Binaries, Gateway};

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_one_request_for_the_same_route() {
    let binaries = Binaries::ready().await.unwrap();
    let gateway = Gateway::start(&binaries).await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], gateway.port()));
    let token = gateway.token();
    let mut requests = corpus().unwrap();
    add_changed(&mut requests, 3_000, 20_261_122);
    let passed = pass_all(&requests, token).await.unwrap();
    assert!(passed.len() > 40, "{}", passed.len());
    for request in &passed {
        assert!(is_offered(request), "{request:?}");
        let (seen, plain) = ask_twice(address, token, request).await.unwrap();
        assert_eq!(seen, plain, "{request:?}");
        assert!(seen.status < 500 && seen.status != 401, "{seen:?}");
    }
    eprintln!(
        "{} of {} requests passed, and OpenClaw took each as meant.",
        passed.len(),
        requests.len()
    );
}
