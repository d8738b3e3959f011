//! The WebSocket RPC, and what becomes of changes to the configuration.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use http::Method;
use serde_json::{Value, json};

use super::{CHANGE_LIMIT, GatewayUnderTest, status, until};
use crate::lab::{Rpc, connect_params};

const REDACTED: &str = "__OPENCLAW_REDACTED__";

async fn connect(world: &dyn GatewayUnderTest) -> Rpc {
    Rpc::connect(world.port(), &world.token()).await.unwrap()
}

async fn perform(rpc: &mut Rpc, method: &str, params: Value) -> Value {
    let answer = rpc.call(method, params).await.unwrap();
    assert_eq!(answer["ok"], true, "{method}: {answer}");
    answer["payload"].clone()
}

async fn hash(rpc: &mut Rpc) -> String {
    let config = perform(rpc, "config.get", json!({})).await;
    config["hash"].as_str().unwrap().to_owned()
}

/// Patches the configuration as it is now.
async fn patch(rpc: &mut Rpc, change: &Value) -> Value {
    let base = hash(rpc).await;
    let params = json!({ "raw": change.to_string(), "baseHash": base });
    rpc.call("config.patch", params).await.unwrap()
}

fn chat(enabled: bool) -> Value {
    json!({ "gateway": { "http": { "endpoints": { "chatCompletions": { "enabled": enabled } } } } })
}

async fn chat_status(world: &dyn GatewayUnderTest) -> u16 {
    status(world, "/v1/chat/completions", None).await
}

/// What is said before anybody connects, and to whom connects.
pub async fn a_socket_begins_with_a_challenge(world: &dyn GatewayUnderTest) {
    let mut rpc = Rpc::open(world.port()).await.unwrap();
    assert_eq!(rpc.challenge["type"], "event");
    assert_eq!(rpc.challenge["event"], "connect.challenge");
    let hello = perform(&mut rpc, "connect", connect_params(&world.token())).await;
    assert_eq!(hello["type"], "hello-ok");
    assert_eq!(hello["protocol"], 4);
    let scopes = hello["auth"]["scopes"].as_array().unwrap();
    for scope in ["operator.read", "operator.write", "operator.admin"] {
        assert!(scopes.contains(&json!(scope)), "{hello}");
    }
}

/// A wrong token, no token, another method first.
pub async fn a_wrong_token_is_turned_away(world: &dyn GatewayUnderTest) {
    let mut rpc = Rpc::open(world.port()).await.unwrap();
    let answer = rpc.call("connect", connect_params("wrong")).await.unwrap();
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["error"]["code"], "INVALID_REQUEST", "{answer}");
    let details = &answer["error"]["details"]["code"];
    assert_eq!(details, "AUTH_TOKEN_MISMATCH", "{answer}");
    let (code, reason) = rpc.closed().await.unwrap();
    assert_eq!(code, 1008, "{reason}");

    let mut rpc = Rpc::open(world.port()).await.unwrap();
    let answer = rpc.call("config.get", json!({})).await.unwrap();
    assert_eq!(answer["ok"], false, "{answer}");
    let (code, reason) = rpc.closed().await.unwrap();
    assert_eq!(code, 1008, "{reason}");
}

/// `config.get`.
pub async fn the_configuration_is_shown_without_its_secrets(world: &dyn GatewayUnderTest) {
    let mut rpc = connect(world).await;
    let shown = perform(&mut rpc, "config.get", json!({})).await;
    assert_eq!(shown["exists"], true);
    assert_eq!(shown["valid"], true);
    let path = world.config_path();
    assert_eq!(shown["path"], path.to_str().unwrap());
    assert_eq!(shown["config"]["gateway"]["auth"]["token"], REDACTED);
    assert_eq!(shown["config"]["gateway"]["auth"]["mode"], "token");
    assert!(
        !shown.to_string().contains(&world.token()),
        "a secret is shown"
    );
    assert!(!shown["hash"].as_str().unwrap().is_empty());
}

/// `config.patch` of a key that needs no restart.
pub async fn a_patch_applies_at_once(world: &dyn GatewayUnderTest) {
    let mut rpc = connect(world).await;
    assert_eq!(chat_status(world).await, 405);
    let answer = patch(&mut rpc, &chat(false)).await;
    assert_eq!(answer["ok"], true, "{answer}");
    assert_eq!(
        answer["payload"]["changedPaths"],
        json!(["gateway.http.endpoints.chatCompletions.enabled"])
    );
    until("the endpoint is off", async || {
        chat_status(world).await == 404
    })
    .await;
    let text = fs::read_to_string(world.config_path()).unwrap();
    assert!(
        text.contains(&world.token()),
        "the token is still in the file"
    );
    let mode = fs::metadata(world.config_path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let answer = patch(&mut rpc, &chat(false)).await;
    assert_eq!(answer["payload"]["noop"], true, "{answer}");
    patch(&mut rpc, &chat(true)).await;
    until("the endpoint is on", async || {
        chat_status(world).await == 405
    })
    .await;
    perform(&mut rpc, "health", json!({})).await;
}

/// `config.patch` with a hash of yesterday, and with none.
pub async fn a_patch_needs_the_hash_of_what_it_changes(world: &dyn GatewayUnderTest) {
    let mut rpc = connect(world).await;
    let raw = chat(false).to_string();
    let stale = json!({ "raw": raw, "baseHash": "0".repeat(64) });
    let answer = rpc.call("config.patch", stale).await.unwrap();
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["error"]["code"], "INVALID_REQUEST");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("config changed since last load"),
        "{message}"
    );
    let answer = rpc
        .call("config.patch", json!({ "raw": raw }))
        .await
        .unwrap();
    assert_eq!(answer["ok"], false);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("base hash required"), "{message}");
    assert_eq!(chat_status(world).await, 405);
}

/// `config.patch` with what the gateway does not know.
pub async fn an_unknown_key_is_refused(world: &dyn GatewayUnderTest) {
    let mut rpc = connect(world).await;
    let before = fs::read(world.config_path()).unwrap();
    for change in [
        json!({ "gateway": { "tokn": 1 } }),
        json!({ "gateway": { "bind": "127.0.0.1" } }),
        json!({ "gateway": { "auth": { "token": 5 } } }),
    ] {
        let answer = patch(&mut rpc, &change).await;
        assert_eq!(answer["ok"], false, "{change}");
        assert_eq!(answer["error"]["code"], "INVALID_REQUEST");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("invalid config: gateway"), "{message}");
    }
    assert_eq!(fs::read(world.config_path()).unwrap(), before);
}

/// `config.schema.lookup`.
pub async fn a_lookup_tells_what_a_change_costs(world: &dyn GatewayUnderTest) {
    let mut rpc = connect(world).await;
    for (path, cost) in [
        // It says so, and yet another token of the same mode applies at once.
        ("gateway.auth.token", "restart"),
        ("gateway.http.endpoints.chatCompletions.enabled", "hot"),
        ("gateway.auth.mode", "restart"),
        ("gateway.port", "restart"),
    ] {
        let found = perform(&mut rpc, "config.schema.lookup", json!({ "path": path })).await;
        assert_eq!(found["reloadKind"], cost, "{path}: {found}");
    }
}

/// Replaces the file as Ecto does: a new one of the same mode, moved over it.
fn replace(world: &dyn GatewayUnderTest, text: &str) {
    let path = world.config_path();
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

fn read(world: &dyn GatewayUnderTest) -> Value {
    // The gateway wrote it last, and it writes plain JSON.
    serde_json::from_str(&fs::read_to_string(world.config_path()).unwrap()).unwrap()
}

/// The file, edited under a running gateway.
pub async fn an_edit_of_the_file_applies_at_once(world: &dyn GatewayUnderTest) {
    let before = read(world);
    let mut config = before.clone();
    config["gateway"]["http"]["endpoints"]["chatCompletions"]["enabled"] = json!(false);
    let text = format!("// Edited by hand.\n{config:#}\n");
    replace(world, &text);
    until("the edit is noticed", async || {
        chat_status(world).await == 404
    })
    .await;
    let left = fs::read_to_string(world.config_path()).unwrap();
    assert_eq!(left, text, "the gateway leaves the file alone");
    replace(world, &format!("{before:#}"));
    until("it is undone", async || chat_status(world).await == 405).await;
}

/// The file, edited to something that is no configuration.
pub async fn a_broken_edit_changes_nothing(world: &dyn GatewayUnderTest) {
    let before = read(world);
    let mut config = before.clone();
    config["gateway"]["http"]["endpoints"]["chatCompletions"]["enabled"] = json!(false);
    config["gateway"]["tokn"] = json!(1);
    replace(world, &format!("{config:#}"));
    let mut rpc = connect(world).await;
    until("the fault is shown", async || {
        let shown = perform(&mut rpc, "config.get", json!({})).await;
        shown["valid"] == false
    })
    .await;
    assert_eq!(chat_status(world).await, 405);
    replace(world, &format!("{before:#}"));
    until("the fault is gone", async || {
        let shown = perform(&mut rpc, "config.get", json!({})).await;
        shown["valid"] == true
    })
    .await;
    assert_eq!(chat_status(world).await, 405);
}

/// Another token by `config.patch`.
pub async fn a_new_token_replaces_the_old(world: &dyn GatewayUnderTest) {
    let old = world.token();
    let new = "another-token-0123456789abcdef0123456789";
    let set = |token: &str| json!({ "gateway": { "auth": { "mode": "token", "token": token } } });
    let works = async |token: &str| status(world, "/v1/models", Some(token)).await == 200;
    let mut rpc = connect(world).await;
    let answer = patch(&mut rpc, &set(new)).await;
    assert_eq!(answer["ok"], true, "{answer}");
    assert!(
        !answer.to_string().contains(new),
        "the secret is not repeated"
    );
    until("the new token works", async || works(new).await).await;
    assert_eq!(status(world, "/v1/models", Some(&old)).await, 401);
    let (code, reason) = rpc.closed().await.unwrap();
    assert_eq!((code, reason.as_str()), (4001, "gateway auth changed"));

    let mut rpc = Rpc::connect(world.port(), new).await.unwrap();
    patch(&mut rpc, &set(&old)).await;
    until("the old token works", async || works(&old).await).await;
}

/// `gateway.restart.request` while somebody is being answered.
pub async fn a_restart_waits_for_who_is_being_answered(world: &dyn GatewayUnderTest) {
    world.stall();
    let question = json!({
        "model": "openclaw", "stream": true, "messages": [{ "role": "user", "content": "ping" }],
    });
    let (client, token) = (world.client(), world.token());
    let asked = client.post("/v1/chat/completions", Some(&token), &question);
    let answer = asked.await.unwrap();
    let mut rpc = connect(world).await;
    until("it is busy", async || {
        perform(&mut rpc, "gateway.restart.preflight", json!({})).await["safe"] == false
    })
    .await;
    let told = perform(&mut rpc, "gateway.restart.request", json!({})).await;
    assert_eq!(told["status"], "deferred", "{told}");
    assert_eq!(told["preflight"]["safe"], false, "{told}");
    let again = perform(&mut rpc, "gateway.restart.request", json!({})).await;
    assert_eq!(again["status"], "coalesced", "{again}");
    // Longer than it takes to look whether it may begin.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(status(world, "/readyz", None).await, 200);

    world.resume();
    drop(answer);
    let closed = tokio::time::timeout(CHANGE_LIMIT, rpc.closed());
    assert_eq!(closed.await.unwrap().unwrap().0, 1012);
    until("it is ready again", async || {
        let answer = client.send_raw(&Method::GET, "/readyz", &[]).await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
}

/// `gateway.restart.request`.
pub async fn a_restart_closes_the_socket_and_comes_back(world: &dyn GatewayUnderTest) {
    let mut rpc = connect(world).await;
    let answer = perform(&mut rpc, "gateway.restart.request", json!({})).await;
    assert_eq!(answer["ok"], true);
    // It waits for other requests that are under way, as a change of the configuration is a moment longer than it shows.
    assert!(
        ["scheduled", "deferred"].contains(&answer["status"].as_str().unwrap()),
        "{answer}"
    );
    let closed = tokio::time::timeout(CHANGE_LIMIT, rpc.closed())
        .await
        .unwrap();
    let (code, reason) = closed.unwrap();
    assert_eq!((code, reason.as_str()), (1012, "service restart"));
    let client = world.client();
    until("it is ready again", async || {
        let answer = client.send_raw(&Method::GET, "/readyz", &[]).await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    let token = world.token();
    assert_eq!(status(world, "/v1/models", Some(&token)).await, 200);
}
