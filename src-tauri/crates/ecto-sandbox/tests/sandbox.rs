//! The whole journey, without Ecto: what a person's steps lead to.

mod support;

use std::time::Duration;

use ecto_sandbox::Sandbox;
use ecto_sandbox::tailnet::{BackendState, Tailnet};
use serde_json::json;
use support::{Watcher, claim, post, public_client, public_url};

#[tokio::test]
async fn the_journey_ends_at_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::builder()
        .pace(Duration::from_millis(10))
        .start(folder.path())
        .await
        .unwrap();
    let tailnet = sandbox.tailnet();
    assert_eq!(tailnet.state(), BackendState::NeedsLogin);
    let mut watcher = Watcher::open(tailnet, 2).await;
    let session = watcher.field("SessionID").await;
    let prefs = json!({"UpdatePrefs": {"WantRunning": true, "LoggedOut": false}});
    post(tailnet, "start", &prefs.to_string()).await;
    post(tailnet, "login-interactive", "").await;
    assert!(watcher.field("BrowseToURL").await.is_string());
    watcher.state(6).await;
    let answer = post(tailnet, "query-feature?feature=funnel", "")
        .await
        .json();
    assert!(answer["URL"].is_string());
    while watcher.field("SelfChange").await["CapMap"]
        .get("funnel")
        .is_none()
    {}

    let wanted = claim(
        tailnet,
        session.as_str().unwrap(),
        443,
        &sandbox.gateway().url(),
    );
    assert_eq!(
        post(tailnet, "serve-config", &wanted.to_string())
            .await
            .status,
        200
    );
    let host = tailnet.host();
    let client = public_client(sandbox.edge(), &host, 443);
    let health = client
        .get(public_url(sandbox.edge(), &host, 443, "/health"))
        .send()
        .await
        .unwrap();
    assert_eq!(health.status(), 200);
    let seen = sandbox.gateway().requests();
    assert_eq!(
        seen.last().unwrap().header("tailscale-funnel-request"),
        Some("?1")
    );

    assert!(sandbox.openclaw_command().exists());
    let root = std::fs::read_to_string(sandbox.root_certificate()).unwrap();
    assert_eq!(root, sandbox.edge().root_certificate_pem());
    let socket = tailnet.socket().to_owned();
    sandbox.shutdown().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_ready_sandbox_needs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::builder()
        .ready()
        .start(folder.path())
        .await
        .unwrap();
    assert_eq!(sandbox.tailnet().state(), BackendState::Running);
    let answer = post(sandbox.tailnet(), "query-feature?feature=funnel", "").await;
    assert_eq!(answer.json(), json!({"Complete": true}));
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("x".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    let error = Tailnet::builder().start(&deep).await.err().unwrap();
    assert!(error.to_string().contains("shorter path"), "{error}");
}
