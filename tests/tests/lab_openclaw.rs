//! The adapter to OpenClaw, on the real OpenClaw of the lab.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use ecto_core::{
    cause::Cause,
    gateway::{GatewayView, ReadyGateway, RestoreOutcome},
    offer::Offer,
    ports::Gateway as _,
    step::Reporter,
};
use ecto_openclaw::{Environment, OpenClaw, Options};
use ecto_tests::lab::{Binaries, Gateway};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(120);
const MADE: &str = "made-for-the-lab-0123456789abcdefghijklmnop";

/// Both endpoints off, comments everywhere.
fn without_endpoints(port: u16, model_url: &str) -> String {
    Gateway::configuration(port, model_url).replace(
        "    http: { endpoints: { chatCompletions: { enabled: true }, responses: { enabled: true } } },\n",
        "    // No endpoints yet.\n",
    )
}

fn adapter(binaries: &Binaries, gateway: &Gateway, state: &TempDir) -> OpenClaw {
    let mut environment = Environment::new(BTreeMap::new(), gateway.home());
    environment.launch_agents = None;
    environment.program_folders = vec![
        binaries.openclaw().parent().unwrap().to_owned(),
        binaries.node_folder(),
    ];
    let make = Arc::new(|| Ok(SecretString::from(MADE)));
    OpenClaw::new(Options::new(environment, state.path().join("ecto"), make))
}

/// Observes at every change until the gateway is ready.
async fn until_ready(adapter: &OpenClaw) -> ReadyGateway {
    let mut changes = adapter.changes();
    let look = async {
        loop {
            changes.borrow_and_update();
            if let GatewayView::Ready(gateway) = adapter.observe().await {
                return gateway;
            }
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(LIMIT, look).await.unwrap()
}

/// Observes at every change until the gateway is another process, and ready.
async fn until_another(adapter: &OpenClaw, first: &ReadyGateway) -> ReadyGateway {
    let mut changes = adapter.changes();
    let look = async {
        loop {
            let seen = until_ready(adapter).await;
            if seen.fingerprint != first.fingerprint {
                return seen;
            }
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(LIMIT, look).await.unwrap()
}

async fn restore(adapter: &OpenClaw) {
    let restored = adapter.restore(Reporter::silent()).await.unwrap();
    assert!(
        restored
            .iter()
            .all(|key| key.outcome == RestoreOutcome::Restored),
        "{restored:?}"
    );
}

#[tokio::test]
async fn keys_are_set_and_undone_and_every_other_byte_stays() {
    let binaries = Binaries::ready().await.unwrap();
    let gateway = Gateway::start_with(&binaries, without_endpoints)
        .await
        .unwrap();
    let state = TempDir::new().unwrap();
    let adapter = adapter(&binaries, &gateway, &state);
    let file = gateway.config_path();
    let read = || fs::read_to_string(&file).unwrap();
    let before = read();

    // A file with comments: edited, and taken by the running gateway without a restart.
    assert!(matches!(
        adapter.observe().await,
        GatewayView::NeedsSetUp { running: true, .. }
    ));
    let start = Instant::now();
    adapter.set_up(Reporter::silent()).await.unwrap();
    println!("set up by the file in {:?}", start.elapsed());
    let first = until_ready(&adapter).await;
    assert!(read().contains("// No endpoints yet.\n"));
    let access = adapter.access(&Offer::default()).await.unwrap();
    assert_eq!(access.token.expose_secret(), gateway.token());
    adapter.refuses_without_token(&access).await.unwrap();
    let mut looks: Vec<Duration> = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(until_ready(&adapter).await, first);
        looks.push(start.elapsed());
    }
    looks.sort();
    println!("observed in {:?} (median)", looks[10]);
    restore(&adapter).await;
    assert_eq!(read(), before);

    // A file as OpenClaw writes it: changed by OpenClaw.
    let mut value: Value = json5_value(&before);
    value["meta"] = serde_json::json!({
        "migrations": {"modelPolicyAllowlist": true, "utilityModelSeparation": true},
        "lastTouchedVersion": first.version.unwrap().as_str(),
    });
    let canonical = serde_json::to_string_pretty(&value).unwrap() + "\n";
    fs::write(&file, &canonical).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    adapter.set_up(Reporter::silent()).await.unwrap();
    println!("set up by the RPC in {:?}", start.elapsed());
    assert_eq!(until_ready(&adapter).await.fingerprint, first.fingerprint);
    restore(&adapter).await;
    assert_eq!(read(), canonical);

    // OpenClaw's own "Off" drops the whole of `gateway.auth`: noticed, and a token made.
    fs::write(&file, without_auth(&before)).unwrap();
    let GatewayView::NeedsSetUp { keys, .. } = adapter.observe().await else {
        unreachable!("not noticed")
    };
    assert!(keys.contains(&"gateway.auth.token".to_owned()), "{keys:?}");
    let start = Instant::now();
    adapter.set_up(Reporter::silent()).await.unwrap();
    println!("first token taken in {:?}", start.elapsed());
    until_ready(&adapter).await;
    assert_eq!(
        adapter
            .access(&Offer::default())
            .await
            .unwrap()
            .token
            .expose_secret(),
        MADE
    );
    restore(&adapter).await;
    assert_eq!(read(), without_auth(&before));

    assert_eq!(gateway.model.calls(), 0);
}

fn without_auth(text: &str) -> String {
    text.replace("    auth: {", "    // auth: {")
}

fn json5_value(text: &str) -> Value {
    ecto_openclaw::document::Document::parse(text.as_bytes())
        .unwrap()
        .value
}

#[tokio::test]
async fn restarts_and_absences_are_noticed_and_void_the_fingerprint() {
    let binaries = Binaries::ready().await.unwrap();
    let mut gateway = Gateway::start(&binaries).await.unwrap();
    let state = TempDir::new().unwrap();
    let adapter = adapter(&binaries, &gateway, &state);
    let before = fs::read(gateway.config_path()).unwrap();
    let first = until_ready(&adapter).await;

    let start = Instant::now();
    let restarted = adapter.restart(Reporter::silent()).await;
    println!("{restarted:?} in {:?}", start.elapsed());
    // What it does by itself after a start it ends first too, on a slow machine.
    let is_under_way = matches!(restarted, Ok(()) | Err(Cause::GatewayRestartDeferred));
    assert!(is_under_way, "{restarted:?}");
    let second = until_another(&adapter, &first).await;

    let mut changes = adapter.changes();
    changes.borrow_and_update();
    gateway.kill().await.unwrap();
    tokio::time::timeout(LIMIT, changes.changed())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(
        adapter.observe().await,
        GatewayView::NotRunning { .. }
    ));

    // There is no service in the lab, so the person is told how to start it, and Ecto goes on when it runs.
    let result = adapter.start(Reporter::silent()).await;
    let Err(Cause::GatewayNotStarted { detail, .. }) = result else {
        unreachable!("{result:?}")
    };
    println!("not started: {detail}");
    assert!(detail.as_str().contains("openclaw gateway run"), "{detail}");
    let (third, started) = tokio::join!(until_ready(&adapter), gateway.start_again());
    started.unwrap();
    assert_ne!(third.fingerprint, second.fingerprint);
    assert_eq!(fs::read(gateway.config_path()).unwrap(), before);
    assert_eq!(gateway.model.calls(), 0);
}

#[tokio::test]
async fn a_restart_that_waits_for_an_answer_under_way_is_not_said_to_be_done() {
    let binaries = Binaries::ready().await.unwrap();
    let gateway = Gateway::start(&binaries).await.unwrap();
    let state = TempDir::new().unwrap();
    let adapter = adapter(&binaries, &gateway, &state);
    let first = until_ready(&adapter).await;
    gateway.model.stall();
    let (client, token) = (gateway.client().unwrap(), gateway.token());
    let question = serde_json::json!({
        "model": "openclaw", "messages": [{ "role": "user", "content": "ping one" }],
    });
    let mut asked = tokio::spawn(async move {
        let path = "/v1/chat/completions";
        let answer = client.post(path, Some(token), &question).await;
        answer.unwrap().text().await.unwrap()
    });
    gateway.model.asked_by(&mut asked).await.unwrap();
    let start = Instant::now();
    assert_eq!(
        adapter.restart(Reporter::silent()).await,
        Err(Cause::GatewayRestartDeferred)
    );
    println!("put off in {:?}", start.elapsed());
    assert_eq!(until_ready(&adapter).await.fingerprint, first.fingerprint);
    // What was under way is answered; then it restarts by itself.
    gateway.model.resume();
    let answer = asked.await.unwrap();
    assert!(answer.contains("ping one"), "{answer}");
    until_another(&adapter, &first).await;
}

/// The agents that the gateway itself offers as models, and whether it has hooks.
async fn offered(gateway: &Gateway) -> (Vec<String>, bool) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let place = |path: &str| format!("http://127.0.0.1:{}{path}", gateway.port());
    let models = client.get(place("/v1/models")).bearer_auth(gateway.token());
    let models: Value = models.send().await.unwrap().json().await.unwrap();
    let mut agents: Vec<String> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|model| model["id"].as_str()?.strip_prefix("openclaw/"))
        .filter(|agent| *agent != "default")
        .map(str::to_owned)
        .collect();
    agents.sort();
    let wake = client
        .post(place("/hooks/wake"))
        .bearer_auth(HOOKS_TOKEN)
        .json(&serde_json::json!({ "text": "Hello", "mode": "next-heartbeat" }));
    (agents, wake.send().await.unwrap().status() == 200)
}

const HOOKS_TOKEN: &str = "of-the-hooks-0123456789abcdefghijklmnopqrs";

#[tokio::test]
async fn its_agents_and_hooks_are_known_without_asking_it() {
    let binaries = Binaries::ready().await.unwrap();
    for (agents, hooks) in [
        ("", String::new()),
        (
            "entries: { main: { default: true }, Notes: {} },",
            format!("hooks: {{ enabled: true, token: '{HOOKS_TOKEN}' }},"),
        ),
    ] {
        let gateway = Gateway::start_with(&binaries, |port, model| {
            Gateway::configuration(port, model).replace(
                "agents: { defaults:",
                &format!("{hooks} agents: {{ {agents} defaults:"),
            )
        })
        .await
        .unwrap();
        let state = TempDir::new().unwrap();
        let adapter = adapter(&binaries, &gateway, &state);
        let ready = until_ready(&adapter).await;
        let known = adapter.agents().await.unwrap();
        let mut known: Vec<String> = known.iter().map(ToString::to_string).collect();
        known.sort();
        assert_eq!((known, ready.hooks), offered(&gateway).await);
        assert_eq!(ready.hooks, !hooks.is_empty());
    }
}
