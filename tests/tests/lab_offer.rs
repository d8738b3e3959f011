//! The optional routes, through the guard, on the real OpenClaw of the lab.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ecto_core::key::{GuardKey, Route, make_key};
use ecto_core::offer::Offer;
use ecto_core::ports::{Gateway as _, Guard as _};
use ecto_core::proof::prove;
use ecto_guard::{Limits, LoopbackGuard};
use ecto_openclaw::{Environment, OpenClaw, Options};
use ecto_platform::clock::SystemClock;
use ecto_tests::lab::{Binaries, Gateway};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

const HOOKS_TOKEN: &str = "hooks-of-the-lab-0123456789abcdef0123456789";

const HOOKS: &str = r#"
  hooks: {
    enabled: true,
    token: "hooks-of-the-lab-0123456789abcdef0123456789",
    path: "/intake/events",
    mappings: [{ id: "push", match: { path: "git/push" }, action: "wake", wakeMode: "next-heartbeat", textTemplate: "A push." }],
  },
"#;

/// The adapter to OpenClaw, as the host makes it.
fn adapter(binaries: &Binaries, gateway: &Gateway, state: &tempfile::TempDir) -> OpenClaw {
    let mut environment = Environment::new(BTreeMap::new(), gateway.home());
    environment.launch_agents = None;
    environment.program_folders = vec![
        binaries.openclaw().parent().unwrap().to_owned(),
        binaries.node_folder(),
    ];
    let never = Arc::new(|| Ok(SecretString::from("never made")));
    OpenClaw::new(Options::new(environment, state.path().join("ecto"), never))
}

struct Caller {
    client: reqwest::Client,
    address: SocketAddr,
    key: SecretString,
}

impl Caller {
    fn new(address: SocketAddr, key: &str) -> Self {
        Self {
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            address,
            key: SecretString::from(key),
        }
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self
            .client
            .post(format!("http://{}{path}", self.address))
            .bearer_auth(self.key.expose_secret())
            .json(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }
}

fn offered(routes: &[Route]) -> Offer {
    Offer {
        routes: routes.iter().copied().collect(),
        ..Offer::default()
    }
}

#[tokio::test]
async fn openclaw_takes_what_is_allowed_for_what_it_is() {
    let binaries = Binaries::ready().await.unwrap();
    let gateway = Gateway::start_with(&binaries, |port, model| {
        Gateway::configuration(port, model)
            .replace("\n  agents: {", &format!("{HOOKS}  agents: {{"))
    })
    .await
    .unwrap();
    let state = tempfile::TempDir::new().unwrap();
    let adapter = adapter(&binaries, &gateway, &state);
    let access = adapter.access(&offered(&[Route::Hooks])).await.unwrap();
    let hooks = access.hooks.clone().unwrap();
    assert_eq!(hooks.path, "/intake/events");
    assert_eq!(hooks.token.expose_secret(), HOOKS_TOKEN);

    let clock = Arc::new(SystemClock);
    let guard = LoopbackGuard::new(Limits::default(), clock, &mut rand::rngs::SysRng).unwrap();
    let key = make_key(&mut rand::rngs::SysRng).unwrap();
    let known = GuardKey::with_all_routes("default".parse().unwrap(), &key);
    let address = guard.start(access.clone(), vec![known]).await.unwrap();
    guard.release();
    let caller = Caller::new(address, key.expose_secret());
    let straight = Caller::new(([127, 0, 0, 1], gateway.port()).into(), gateway.token());
    let hooks_straight = Caller::new(straight.address, HOOKS_TOKEN);

    let wake = json!({ "text": "The lab calls.", "mode": "next-heartbeat" });
    let embed = json!({ "model": "openclaw", "input": "The lab calls." });
    for allowed in [&[][..], &[Route::Hooks], &Route::OPTIONAL] {
        let offer = offered(allowed);
        guard.set_offer(offer.clone());
        prove(&guard, &adapter, address, &access, &key)
            .await
            .unwrap();
        let there = |route| offer.has(route);

        let (status, answer) = caller.post("/hooks/wake", &wake).await;
        if there(Route::Hooks) {
            // The gateway's own answer to a wake, and no other route's.
            assert_eq!((status, &answer["ok"]), (200, &json!(true)), "{answer}");
            assert!(answer["eventOutcome"].is_string(), "{answer}");
            let (status, answer) = caller.post("/hooks/git/push", &json!({})).await;
            assert_eq!((status, &answer["ok"]), (200, &json!(true)), "{answer}");
            // One that the gateway has no mapping for, and one without what it needs: its own words come through.
            for (path, body) in [("/hooks/none", json!({})), ("/hooks/agent", json!({}))] {
                let through = caller.post(path, &body).await;
                let own = path.replace("/hooks", "/intake/events");
                assert_eq!(through, hooks_straight.post(&own, &body).await, "{path}");
            }
        } else {
            assert_eq!(
                (status, &answer["error"]["code"]),
                (404, &json!("unknown_route"))
            );
        }

        let (status, answer) = caller.post("/v1/embeddings", &embed).await;
        if there(Route::Embeddings) {
            // The lab has no provider that embeds, so the gateway says what it says to those who call it without a guard.
            let (own_status, own) = straight.post("/v1/embeddings", &embed).await;
            assert_eq!((status, &answer), (own_status, &own));
            let (_, chat) = straight.post("/v1/unheard-of", &embed).await;
            assert_ne!(answer, chat, "the route is one that the gateway has");
            // It reads the request as one for embeddings.
            let (status, answer) = caller
                .post("/v1/embeddings", &json!({ "model": "openclaw" }))
                .await;
            let own = straight
                .post("/v1/embeddings", &json!({ "model": "openclaw" }))
                .await;
            assert_eq!((status, answer), own);
        } else {
            assert_eq!(
                (status, &answer["error"]["code"]),
                (404, &json!("unknown_route"))
            );
        }
    }
    // The gateway's own token opens no hook, and the hooks' token nothing else, so neither can have stood for the other.
    assert_eq!(
        Caller::new(straight.address, gateway.token())
            .post("/intake/events/wake", &wake)
            .await
            .0,
        401
    );
    assert_eq!(hooks_straight.post("/v1/embeddings", &embed).await.0, 401);
    guard.stop().await;
}
