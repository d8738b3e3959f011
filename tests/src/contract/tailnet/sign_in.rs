//! States, the bus, signing in, preferences.

use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use super::{
    MASK, TailnetUnderTest, begin_sign_in, claim, granted, link, ready, set, signed_in, state,
};
use crate::lab::Capabilities;

/// `GET status` in each state that a sign-in goes through.
pub async fn status_tells_each_state(world: &dyn TailnetUnderTest) {
    let localapi = world.localapi();
    let status = localapi.status().await.unwrap();
    assert_eq!(status["BackendState"], "NeedsLogin");
    assert_eq!(status["AuthURL"], "");
    assert_ne!(status["HaveNodeKey"], true);
    assert_eq!(status["Self"]["DNSName"], "");
    assert_eq!(status["TailscaleIPs"], Value::Null);
    assert_eq!(status["CertDomains"], Value::Null);
    assert_eq!(status["CurrentTailnet"], Value::Null);

    let mut bus = localapi.watch(MASK).await.unwrap();
    begin_sign_in(&localapi).await;
    let link = link(&mut bus).await;
    let status = localapi.status().await.unwrap();
    assert_eq!(status["BackendState"], "NeedsLogin");
    assert_eq!(status["AuthURL"], link.as_str());

    world.approve(&link).await;
    state(&mut bus, 6).await;
    let status = localapi.status().await.unwrap();
    assert_eq!(status["BackendState"], "Running");
    assert_eq!(status["AuthURL"], "");
    assert_eq!(status["HaveNodeKey"], true);
    assert_eq!(status["Self"]["DNSName"], format!("{}.", world.host()));
    assert_eq!(status["Self"]["CapMap"].get("https"), None);
    assert_eq!(status["Self"]["CapMap"].get("funnel"), None);
    let suffix = world.host();
    let suffix = suffix.split_once('.').unwrap().1;
    assert_eq!(status["MagicDNSSuffix"], suffix);
    assert_eq!(status["CurrentTailnet"]["MagicDNSSuffix"], suffix);
    assert_eq!(status["CurrentTailnet"]["MagicDNSEnabled"], true);
    assert_eq!(status["Peer"], Value::Null);

    world.grant(Capabilities::Full).await;
    granted(world, &mut bus, "funnel").await;
    let status = localapi.status().await.unwrap();
    let capabilities = &status["Self"]["CapMap"];
    assert_eq!(capabilities.get("https"), Some(&Value::Null));
    assert_eq!(capabilities.get("funnel"), Some(&Value::Null));
    let ports = "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000";
    assert_eq!(capabilities.get(ports), Some(&Value::Null));
    assert_eq!(status["CertDomains"], json!([world.host()]));

    let off = json!({ "WantRunning": false, "WantRunningSet": true });
    localapi.patch("prefs", &off).await.unwrap();
    state(&mut bus, 4).await;
    let status = localapi.status().await.unwrap();
    assert_eq!(status["BackendState"], "Stopped");
    assert_eq!(status["HaveNodeKey"], true);
}

/// The first message of the bus, by the bits of its mask.
pub async fn the_bus_begins_with_what_the_mask_asks_for(world: &dyn TailnetUnderTest) {
    let localapi = world.localapi();
    for (mask, state, preferences, health) in [
        (2, true, false, false),
        (2 | 4, true, true, false),
        (2 | 128, true, false, true),
        (MASK, true, true, true),
        (4, false, true, false),
    ] {
        let mut bus = localapi.watch(mask).await.unwrap();
        let first = bus.next().await.unwrap();
        assert!(first["Version"].is_string(), "{mask}");
        assert_eq!(first["SessionID"].is_string(), state, "{mask}: {first}");
        assert_eq!(first["State"] == 2, state, "{mask}");
        assert_eq!(first["Prefs"].is_object(), preferences, "{mask}");
        assert_eq!(first["Health"].is_object(), health, "{mask}");
    }
    let mut one = localapi.watch(2).await.unwrap();
    let mut other = localapi.watch(2).await.unwrap();
    assert_ne!(one.session().await.unwrap(), other.session().await.unwrap());
    let first = localapi.watch(2 | 128).await.unwrap().next().await.unwrap();
    let warning = &first["Health"]["Warnings"]["wantrunning-false"];
    assert_eq!(warning["WarnableCode"], "wantrunning-false", "{first}");
}

/// Start, sign-in link, approval, running.
pub async fn a_link_signs_the_node_in(world: &dyn TailnetUnderTest) {
    let localapi = world.localapi();
    let mut bus = localapi.watch(MASK).await.unwrap();
    begin_sign_in(&localapi).await;
    let shown = link(&mut bus).await;

    let mut late = localapi.watch(2).await.unwrap();
    let first = late.next().await.unwrap();
    assert_eq!(first["BrowseToURL"], shown.as_str(), "{first}");

    world.approve(&shown).await;
    let mut order = Vec::new();
    while order.last() != Some(&"State 6") {
        let message = bus.next().await.unwrap();
        if message["LoginFinished"].is_object() {
            order.push("LoginFinished");
        }
        if message["State"] == 5 {
            order.push("State 5");
        }
        if message["State"] == 6 {
            order.push("State 6");
        }
    }
    assert_eq!(order, ["LoginFinished", "State 5", "State 6"]);
}

/// Approval of machines by an administrator.
pub async fn a_machine_may_wait_for_an_administrator(world: &dyn TailnetUnderTest) {
    world.require_machine_approval().await;
    let localapi = world.localapi();
    let mut bus = localapi.watch(MASK).await.unwrap();
    begin_sign_in(&localapi).await;
    world.approve(&link(&mut bus).await).await;
    state(&mut bus, 3).await;
    let status = localapi.status().await.unwrap();
    assert_eq!(status["BackendState"], "NeedsMachineAuth");
    world.approve_machine().await;
    state(&mut bus, 6).await;
}

/// A key that expires, and the sign-in after it.
pub async fn an_expired_key_asks_for_a_new_sign_in(world: &dyn TailnetUnderTest) {
    let localapi = world.localapi();
    let mut bus = signed_in(world).await;
    world.expire().await;
    state(&mut bus, 2).await;
    let status = localapi.status().await.unwrap();
    assert_eq!(status["BackendState"], "NeedsLogin");
    assert_eq!(status["HaveNodeKey"], true);
    let answer = localapi.post("login-interactive", &Value::Null).await;
    assert_eq!(answer.unwrap().status, 204);
    world.approve(&link(&mut bus).await).await;
    state(&mut bus, 6).await;
    let status = localapi.status().await.unwrap();
    assert_eq!(status["Self"]["DNSName"], format!("{}.", world.host()));
}

/// `POST logout` while a door is open.
pub async fn signing_out_ends_the_claim(world: &dyn TailnetUnderTest) {
    let localapi = world.localapi();
    let (mut bus, session) = ready(world).await;
    let handlers = json!({ "/": { "Text": "hello" } });
    set(&localapi, &claim(&session, &world.host(), 443, &handlers)).await;
    world.visitor(443).connect().await.unwrap();
    let answer = localapi.post("logout", &Value::Null).await.unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
    state(&mut bus, 2).await;
    let status = localapi.status().await.unwrap();
    assert_eq!(status["BackendState"], "NeedsLogin");
    assert_ne!(status["HaveNodeKey"], true);
    let preferences = localapi.get("prefs").await.unwrap().json().unwrap();
    assert_eq!(preferences["LoggedOut"], true);
    assert_eq!(preferences["WantRunning"], false);
    let (config, _) = localapi.serve_config().await.unwrap();
    assert_eq!(config, Value::Null);
    world.visitor(443).connect().await.unwrap_err();
}

/// `PATCH prefs` changes what is marked as set and answers with all.
pub async fn preferences_change_one_by_one(world: &dyn TailnetUnderTest) {
    let localapi = world.localapi();
    let mut bus = signed_in(world).await;
    let before = localapi.get("prefs").await.unwrap().json().unwrap();
    assert_eq!(before["WantRunning"], true);
    assert_eq!(before["ShieldsUp"], false);

    let unmarked = json!({ "ShieldsUp": true });
    let answer = localapi.patch("prefs", &unmarked).await.unwrap();
    assert_eq!(answer.json().unwrap()["ShieldsUp"], false);

    let shields = json!({ "ShieldsUp": true, "ShieldsUpSet": true });
    let answer = localapi.patch("prefs", &shields).await.unwrap();
    assert_eq!(answer.status, 200);
    let after = answer.json().unwrap();
    assert_eq!(after["ShieldsUp"], true);
    assert_eq!(after["WantRunning"], true);
    assert_eq!(after["Hostname"], before["Hostname"]);
    let told = bus.find(|message| {
        let preferences = message["Prefs"].as_object()?;
        (preferences["ShieldsUp"] == true).then_some(())
    });
    told.await.unwrap();

    let off = json!({ "WantRunning": false, "WantRunningSet": true });
    localapi.patch("prefs", &off).await.unwrap();
    state(&mut bus, 4).await;
    let on = json!({ "WantRunning": true, "WantRunningSet": true });
    localapi.patch("prefs", &on).await.unwrap();
    state(&mut bus, 6).await;

    let headers = HeaderMap::new();
    let garbage = localapi.send(Method::PATCH, "prefs", headers, "{");
    assert_eq!(garbage.await.unwrap().status, 400);
}

/// `POST query-feature`, before and after an administrator agreed.
pub async fn allowing_funnel_is_offered_until_it_is_done(world: &dyn TailnetUnderTest) {
    let localapi = world.localapi();
    let mut bus = signed_in(world).await;
    let ask = || localapi.post("query-feature?feature=funnel", &Value::Null);
    let offer = ask().await.unwrap().json().unwrap();
    assert_ne!(offer["Complete"], true);
    assert_eq!(offer["ShouldWait"], true);
    let text = offer["Text"].as_str().unwrap();
    assert!(
        text.contains("Funnel is not enabled on your tailnet."),
        "{text}"
    );
    let link = offer["URL"].as_str().unwrap();
    assert!(link.contains("/f/funnel?node="), "{link}");

    world.grant(Capabilities::Full).await;
    granted(world, &mut bus, "funnel").await;
    let done = ask().await.unwrap().json().unwrap();
    assert_eq!(done["Complete"], true);
}

/// Who may speak to the LocalAPI at all.
pub async fn only_local_programs_are_answered(world: &dyn TailnetUnderTest) {
    let localapi = world.localapi();
    let ask = async |name: &'static str, value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        let answer = localapi.send(Method::GET, "status", headers, "").await;
        answer.unwrap().status
    };
    assert_eq!(ask("host", "local-tailscaled.sock").await, 200);
    assert_eq!(ask("host", "localhost").await, 403);
    assert_eq!(ask("host", "127.0.0.1:41112").await, 403);
    assert_eq!(ask("origin", "https://example.com").await, 403);
    assert_eq!(ask("referer", "https://example.com/").await, 403);
    let answer = localapi.get("status").await.unwrap();
    assert!(!answer.header("tailscale-version").is_empty());
    assert!(answer.header("tailscale-cap").parse::<u32>().unwrap() > 100);
    assert_eq!(localapi.get("no-such-thing").await.unwrap().status, 404);
}
