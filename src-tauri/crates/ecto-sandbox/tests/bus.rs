//! What a watcher of the bus notices, and what befalls it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use ecto_sandbox::faults::{Fault, Gate};
use ecto_sandbox::tailnet::{
    BackendState, POINT_BUS_LINE, POINT_CONNECT, Tailnet, TailnetBuilder, Warning,
};
use serde_json::{Value, json};
use support::{LIMIT, Watcher, claim, get, in_time, patch, post, web};
use tokio::net::UnixStream;

/// Initial state, preferences and health.
const MASK: u64 = 2 | 4 | 128;

struct Running {
    tailnet: Tailnet,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for Running {
    type Target = Tailnet;

    fn deref(&self) -> &Tailnet {
        &self.tailnet
    }
}

async fn start(builder: TailnetBuilder) -> Running {
    let folder = tempfile::tempdir().unwrap();
    Running {
        tailnet: builder.start(folder.path()).await.unwrap(),
        _folder: folder,
    }
}

async fn ready() -> Running {
    start(Tailnet::builder().signed_in().funnel_allowed()).await
}

async fn begin_sign_in(tailnet: &Tailnet) {
    let prefs = json!({"UpdatePrefs": {"WantRunning": true, "LoggedOut": false}});
    assert_eq!(post(tailnet, "start", &prefs.to_string()).await.status, 204);
    assert_eq!(post(tailnet, "login-interactive", "").await.status, 204);
}

#[tokio::test]
async fn the_first_message_follows_the_mask() {
    let tailnet = ready().await;
    let first = Watcher::open(&tailnet, MASK).await.message().await;
    assert_eq!(first["State"], json!(6));
    assert_eq!(first["SessionID"].as_str().unwrap().len(), 16);
    assert_eq!(first["Prefs"]["WantRunning"], json!(true));
    assert_eq!(first["Health"], json!({"Warnings": null}));
    let fields = first.as_object().unwrap();
    assert_eq!(
        fields.get("ErrMessage"),
        Some(&Value::Null),
        "unset fields are there as null"
    );
    assert!(!fields.contains_key("SelfChange"));

    let state_only = Watcher::open(&tailnet, 2).await.message().await;
    assert!(state_only["Prefs"].is_null() && state_only.get("Health").is_none());

    let mut silent = Watcher::open(&tailnet, 0).await;
    tailnet.set_running_elsewhere(false);
    let first = silent.message().await;
    assert!(first.get("SessionID").is_none());
    assert_eq!(first["Prefs"]["WantRunning"], json!(false));
    assert_eq!(get(&tailnet, "watch-ipn-bus?mask=x").await.status, 400);
    assert_eq!(get(&tailnet, "watch-ipn-bus?mask=4352").await.status, 400);
}

#[tokio::test]
async fn a_sign_in_goes_by_in_the_daemon_s_order() {
    let tailnet = start(Tailnet::builder()).await;
    let mut watcher = Watcher::open(&tailnet, MASK).await;
    watcher.state(2).await;
    begin_sign_in(&tailnet).await;
    assert_eq!(watcher.field("Prefs").await["WantRunning"], json!(true));
    watcher.state(2).await;
    let health = watcher.field("Health").await;
    assert!(health["Warnings"]["warming-up"]["ETag"].is_string());
    let url = watcher.field("BrowseToURL").await;
    assert_eq!(json!(tailnet.sign_in_link()), url);
    assert!(tailnet.approve_sign_in());
    assert_eq!(watcher.field("LoginFinished").await, json!({}));
    assert_eq!(watcher.field("Prefs").await["LoggedOut"], json!(false));
    assert_eq!(
        watcher.field("SelfChange").await["Name"],
        json!("oc-mac.tail1234.ts.net.")
    );
    watcher.state(5).await;
    watcher.state(6).await;
    assert_eq!(watcher.field("Health").await, json!({"Warnings": null}));
    assert!(!tailnet.approve_sign_in(), "a link works once");

    tailnet.log_out_elsewhere();
    watcher.state(4).await;
    assert_eq!(watcher.field("Prefs").await["LoggedOut"], json!(true));
    watcher.state(0).await;
    watcher.state(2).await;
}

#[tokio::test]
async fn the_link_can_be_hidden_from_the_bus() {
    let tailnet = start(Tailnet::builder().sign_in_link_hidden_from_bus()).await;
    let mut watcher = Watcher::open(&tailnet, 2).await;
    begin_sign_in(&tailnet).await;
    let status = get(&tailnet, "status?peers=false").await.json();
    assert_eq!(json!(tailnet.sign_in_link()), status["AuthURL"]);
    tailnet.approve_sign_in();
    loop {
        let message = watcher.message().await;
        assert!(message["BrowseToURL"].is_null());
        if message["State"] == json!(6) {
            return;
        }
    }
}

#[tokio::test]
async fn a_machine_waits_for_its_approval() {
    let tailnet = start(Tailnet::builder().machine_approval_required()).await;
    let mut watcher = Watcher::open(&tailnet, 2).await;
    begin_sign_in(&tailnet).await;
    tailnet.approve_sign_in();
    watcher.state(3).await;
    tailnet.approve_machine();
    watcher.state(6).await;
}

#[tokio::test]
async fn releases_tell_changes_of_the_node_in_their_own_way() {
    for (version, own, map) in [
        ("1.96.5", false, true),
        ("1.100.1", true, true),
        ("1.102.3", true, false),
    ] {
        let tailnet = start(Tailnet::builder().signed_in().version(version)).await;
        let mut watcher = Watcher::open(&tailnet, 0).await;
        tailnet.allow_funnel();
        tailnet.raise_warning(Warning {
            code: "end".to_owned(),
            severity: "low".to_owned(),
            title: String::new(),
            text: String::new(),
        });
        let (mut saw_own, mut saw_map) = (false, false);
        loop {
            let message = watcher.message().await;
            saw_own |= message
                .get("SelfChange")
                .is_some_and(|node| node["CapMap"].get("funnel").is_some());
            saw_map |= message["NetMap"]["SelfNode"]["CapMap"]
                .get("funnel")
                .is_some();
            if message.get("Health").is_some() {
                break;
            }
        }
        assert_eq!((saw_own, saw_map), (own, map), "{version}");
    }
}

#[tokio::test]
async fn health_comes_in_bursts() {
    let tailnet = ready().await;
    let mut watcher = Watcher::open(&tailnet, 0).await;
    tailnet.raise_warning(Warning {
        code: "no-derp-connection".to_owned(),
        severity: "medium".to_owned(),
        title: "Relay server unavailable".to_owned(),
        text: "Tailscale could not connect to the relay.".to_owned(),
    });
    let first = watcher.field("Health").await;
    assert_eq!(
        first["Warnings"]["no-derp-connection"]["Severity"],
        json!("medium")
    );
    assert_eq!(watcher.field("Health").await, first);
    let status = get(&tailnet, "status?peers=false").await.json();
    assert_eq!(
        status["Health"],
        json!(["Tailscale could not connect to the relay."])
    );
}

#[tokio::test(start_paused = true)]
async fn people_act_by_themselves_where_they_are_told_to() {
    let tailnet = start(
        Tailnet::builder()
            .machine_approval_required()
            .approves_sign_in_after(Duration::from_secs(1))
            .approves_machine_after(Duration::from_secs(2))
            .starts_within(Duration::from_secs(3))
            .allows_funnel_after(Duration::from_secs(4)),
    )
    .await;
    let mut watcher = Watcher::open(&tailnet, 2).await;
    begin_sign_in(&tailnet).await;
    let clock = tokio::time::Instant::now();
    watcher.state(3).await;
    assert_eq!(clock.elapsed().as_secs(), 1);
    watcher.state(5).await;
    assert_eq!(clock.elapsed().as_secs(), 3);
    watcher.state(6).await;
    assert_eq!(clock.elapsed().as_secs(), 6);
    let answer = post(&tailnet, "query-feature?feature=funnel", "")
        .await
        .json();
    assert_eq!(answer["ShouldWait"], json!(true));
    watcher.field("SelfChange").await;
    let done = post(&tailnet, "query-feature?feature=funnel", "")
        .await
        .json();
    assert_eq!(done, json!({"Complete": true}));
}

#[tokio::test]
async fn key_expiry_ends_running() {
    let tailnet = ready().await;
    let mut watcher = Watcher::open(&tailnet, 2).await;
    watcher.state(6).await;
    tailnet.expire_key();
    watcher.state(2).await;
    begin_sign_in(&tailnet).await;
    tailnet.approve_sign_in();
    watcher.state(6).await;
}

#[tokio::test]
async fn another_tailnet_is_another_name_and_nothing_claimed() {
    let tailnet = ready().await;
    tailnet
        .set_serve_config(web(&tailnet.host(), 443, json!({"/": {"Text": "x"}})))
        .unwrap();
    let mut watcher = Watcher::open(&tailnet, 2).await;
    tailnet.change_tailnet("other9.ts.net");
    assert_eq!(
        watcher.field("SelfChange").await["Name"],
        json!("oc-mac.other9.ts.net.")
    );
    assert_eq!(get(&tailnet, "serve-config").await.text(), "null");
    let status = get(&tailnet, "status").await.json();
    assert_eq!(
        status["CurrentTailnet"]["MagicDNSSuffix"],
        json!("other9.ts.net")
    );
}

#[tokio::test]
async fn a_watcher_whose_claim_is_overruled_is_ended() {
    let tailnet = ready().await;
    let mut watcher = Watcher::open(&tailnet, 2).await;
    let session = watcher.field("SessionID").await;
    let wanted = claim(
        &tailnet,
        session.as_str().unwrap(),
        443,
        "http://127.0.0.1:1",
    );
    assert_eq!(
        post(&tailnet, "serve-config", &wanted.to_string())
            .await
            .status,
        200
    );
    assert_eq!(tailnet.watchers(), 1);
    tailnet.set_serve_config(json!({})).unwrap();
    watcher.end().await;
}

#[tokio::test]
async fn a_daemon_that_dies_takes_the_foreground_with_it_and_keeps_the_rest() {
    let tailnet = ready().await;
    let held = web(&tailnet.host(), 8443, json!({"/": {"Text": "kept"}}));
    let mut watcher = Watcher::open(&tailnet, 2).await;
    let session = watcher.field("SessionID").await;
    let mut both = held.clone();
    both["Foreground"] = claim(
        &tailnet,
        session.as_str().unwrap(),
        443,
        "http://127.0.0.1:1",
    )["Foreground"]
        .clone();
    assert_eq!(
        post(&tailnet, "serve-config", &both.to_string())
            .await
            .status,
        200
    );
    tailnet.die().await;
    watcher.end().await;
    let refused = UnixStream::connect(tailnet.socket()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(!tailnet.is_alive());
    tailnet.come_back().unwrap();
    assert_eq!(get(&tailnet, "serve-config").await.json(), held);
    assert_eq!(tailnet.state(), BackendState::Running);
}

#[tokio::test]
async fn a_daemon_can_die_in_the_middle_of_a_request() {
    let tailnet = ready().await;
    let faults = tailnet.faults();
    faults.fail(
        "POST serve-config",
        1,
        Fault::Die {
            back_after: Some(Duration::from_millis(1)),
        },
    );
    let stream = UnixStream::connect(tailnet.socket()).await.unwrap();
    let asked = support::request(http::Method::POST, "/localapi/v0/serve-config", &[], "{}");
    assert!(in_time(support::send(stream, asked)).await.is_err());
    in_time(async {
        while UnixStream::connect(tailnet.socket()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(
        get(&tailnet, "serve-config").await.text(),
        "null",
        "nothing was done"
    );
}

#[tokio::test]
async fn faulty_lines_come_as_scripted() {
    let tailnet = ready().await;
    let faults = tailnet.faults();
    faults.fail(POINT_BUS_LINE, 1, Fault::GarbageLine);
    faults.fail(POINT_BUS_LINE, 2, Fault::LongLine(1_100_000));
    faults.fail(POINT_BUS_LINE, 3, Fault::HalfLine);
    let mut watcher = Watcher::open(&tailnet, 2).await;
    let garbage = watcher.chunk().await.unwrap();
    assert!(garbage.ends_with(b"\n") && serde_json::from_slice::<Value>(&garbage).is_err());
    assert_eq!(watcher.message().await["State"], json!(6));
    tailnet.set_running_elsewhere(false);
    let mut long = 0;
    while long < 1_100_001 {
        long += watcher.chunk().await.unwrap().len();
    }
    assert!(watcher.message().await["Prefs"].is_object());
    let half = watcher.chunk().await.unwrap();
    assert!(!half.ends_with(b"\n"));
    watcher.end().await;
}

#[tokio::test]
async fn a_silent_bus_says_nothing_and_stays_open() {
    let tailnet = ready().await;
    tailnet.faults().fail(POINT_BUS_LINE, 1, Fault::Silence);
    let mut watcher = Watcher::open(&tailnet, 2).await;
    tailnet.faults().reached(POINT_BUS_LINE, 1).await;
    tailnet.set_running_elsewhere(false);
    assert_eq!(tailnet.watchers(), 1);
    let heard = tokio::time::timeout(Duration::from_millis(50), watcher.chunk()).await;
    assert!(heard.is_err());
    drop(watcher);
    in_time(async {
        while tailnet.watchers() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_falls_behind_is_cut() {
    let tailnet = ready().await;
    let gate = Gate::new();
    tailnet
        .faults()
        .fail(POINT_BUS_LINE, 2, Fault::Hold(gate.clone()));
    let mut watcher = Watcher::open(&tailnet, 2).await;
    watcher.state(6).await;
    for _ in 0..200 {
        tailnet.notify(json!({"State": 99}).as_object().unwrap());
    }
    assert_eq!(tailnet.watchers(), 0);
    gate.open();
    assert_eq!(
        watcher.field("State").await,
        json!(99),
        "an unknown state number"
    );
    watcher.end().await;
}

#[tokio::test]
async fn requests_fail_as_scripted_and_only_then() {
    let tailnet = ready().await;
    let faults = tailnet.faults();
    let ask = async || {
        let stream = UnixStream::connect(tailnet.socket()).await.unwrap();
        let asked = support::request(http::Method::GET, "/localapi/v0/status", &[], "");
        tokio::time::timeout(LIMIT, support::send(stream, asked))
            .await
            .unwrap()
    };
    faults.fail(POINT_CONNECT, 1, Fault::Refuse);
    assert!(ask().await.is_err());
    faults.fail("GET status", 1, Fault::Refuse);
    assert!(ask().await.is_err());
    faults.fail("GET status", 1, Fault::CloseAfter(40));
    assert!(ask().await.is_err());
    faults.fail("GET status", 1, Fault::answer(500, "no"));
    assert_eq!(ask().await.unwrap().status, 500);
    assert_eq!(ask().await.unwrap().status, 200);
    let off = json!({"WantRunning": false, "WantRunningSet": true});
    faults.fail("PATCH prefs", 1, Fault::answer(400, "{\"Error\":\"no\"}"));
    patch(&tailnet, "prefs", &off.to_string()).await;
    assert_eq!(
        tailnet.state(),
        BackendState::Running,
        "a scripted answer does nothing"
    );
}
