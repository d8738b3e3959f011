//! The serve configuration and the claims in it, and the certificate behind them.

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::{TailnetUnderTest, claim, ready, set, web};

fn hello() -> Value {
    json!({ "/": { "Text": "hello" } })
}

/// Reading, the tag, writing with a stale tag, writing by force.
pub async fn the_serve_configuration_is_guarded_by_its_tag(world: &dyn TailnetUnderTest) {
    let (_bus, _) = ready(world).await;
    let localapi = world.localapi();
    let (config, empty_tag) = localapi.serve_config().await.unwrap();
    assert_eq!(config, Value::Null);
    assert_eq!(empty_tag.len(), 64, "{empty_tag}");

    let wanted = web(&world.host(), 443, &hello());
    let answer = localapi
        .set_serve_config(&wanted, &empty_tag)
        .await
        .unwrap();
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, ""));
    let (config, tag) = localapi.serve_config().await.unwrap();
    assert_eq!(config, wanted);
    assert_ne!(tag, empty_tag);

    let answer = localapi
        .set_serve_config(&json!({}), &empty_tag)
        .await
        .unwrap();
    assert_eq!(answer.status, 412);
    assert!(answer.text().contains("etag mismatch"), "{}", answer.text());
    assert_eq!(localapi.serve_config().await.unwrap(), (wanted, tag));

    let answer = localapi.set_serve_config(&json!({}), "").await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(localapi.serve_config().await.unwrap().0, json!({}));
}

/// Bodies that are no configuration change nothing.
pub async fn what_is_no_serve_configuration_is_refused(world: &dyn TailnetUnderTest) {
    let (_bus, _) = ready(world).await;
    let localapi = world.localapi();
    let wanted = web(&world.host(), 443, &hello());
    set(&localapi, &wanted).await;
    for body in ["{", "", "[1]", "{\"TCP\": {\"http\": {}}}"] {
        let answer = localapi.send(Method::POST, "serve-config", HeaderMap::new(), body);
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 500, "{body}: {}", answer.text());
        assert!(answer.json().unwrap()["error"].is_string(), "{body}");
    }
    assert_eq!(localapi.serve_config().await.unwrap().0, wanted);
}

/// The claim that Ecto holds: there, public, and gone with its session, while other handlers stay.
pub async fn a_foreground_claim_ends_with_its_session(world: &dyn TailnetUnderTest) {
    let (bus, session) = ready(world).await;
    let localapi = world.localapi();
    let background = web(&world.host(), 8443, &hello());
    set(&localapi, &background).await;
    let mut both = background.clone();
    let held = claim(&session, &world.host(), 443, &hello());
    both["Foreground"] = held["Foreground"].clone();
    set(&localapi, &both).await;
    assert_eq!(localapi.serve_config().await.unwrap().0, both);
    world.visitor(443).connect().await.unwrap();

    drop(bus);
    while localapi.serve_config().await.unwrap().0 != background {
        tokio::task::yield_now().await;
    }
    world.visitor(443).connect().await.unwrap_err();
    world.visitor(8443).connect().await.unwrap();
}

/// A claim for a session that nobody holds.
pub async fn a_claim_of_a_session_that_is_not_there_vanishes(world: &dyn TailnetUnderTest) {
    let (_bus, _) = ready(world).await;
    let localapi = world.localapi();
    set(
        &localapi,
        &claim("0123456789abcdef", &world.host(), 443, &hello()),
    )
    .await;
    assert_eq!(localapi.serve_config().await.unwrap().0, json!({}));
    world.visitor(443).connect().await.unwrap_err();
}

/// Port 443 with somebody else behind it.
pub async fn a_taken_port_is_refused(world: &dyn TailnetUnderTest) {
    let (_bus, session) = ready(world).await;
    let localapi = world.localapi();
    let host = world.host();
    let refused = async |config: &Value, why: &str| {
        let (before, tag) = localapi.serve_config().await.unwrap();
        let answer = localapi.set_serve_config(config, &tag).await.unwrap();
        assert_eq!(answer.status, 500, "{}", answer.text());
        let error = format!("updating config: {why}");
        assert_eq!(answer.json().unwrap(), json!({ "error": error }));
        assert_eq!(localapi.serve_config().await.unwrap().0, before);
    };

    let background = web(&host, 443, &hello());
    set(&localapi, &background).await;
    let mut both = background.clone();
    both["Foreground"] = claim(&session, &host, 443, &hello())["Foreground"].clone();
    refused(&both, "listener already exists for port 443").await;

    set(&localapi, &json!({})).await;
    let held = claim(&session, &host, 443, &hello());
    set(&localapi, &held).await;
    let mut other = localapi.watch(2).await.unwrap();
    let second = other.session().await.unwrap();
    let mut both = held.clone();
    both["Foreground"][&second] = web(&host, 443, &hello());
    refused(&both, "listener already exists for port 443").await;

    let mut both = background;
    both["Foreground"] = held["Foreground"].clone();
    refused(&both, "foreground listener already exists for port 443").await;
}

/// Blocking incoming connections and Funnel exclude each other.
pub async fn shields_keep_the_door_shut(world: &dyn TailnetUnderTest) {
    let (_bus, session) = ready(world).await;
    let localapi = world.localapi();
    let shields = json!({ "ShieldsUp": true, "ShieldsUpSet": true });
    localapi.patch("prefs", &shields).await.unwrap();
    let (_, tag) = localapi.serve_config().await.unwrap();
    let held = claim(&session, &world.host(), 443, &hello());
    let answer = localapi.set_serve_config(&held, &tag).await.unwrap();
    assert_eq!(answer.status, 500);
    let text = answer.text();
    assert!(
        text.contains("Unable to turn on Funnel while shields-up is enabled"),
        "{text}"
    );
    world.visitor(443).connect().await.unwrap_err();
}

/// `GET cert`.
pub async fn a_certificate_is_given_for_the_own_name_alone(world: &dyn TailnetUnderTest) {
    let (_bus, _) = ready(world).await;
    let localapi = world.localapi();
    let host = world.host();
    let answer = localapi
        .get(&format!("cert/{host}?type=cert"))
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().starts_with("-----BEGIN CERTIFICATE-----"));
    let answer = localapi
        .get(&format!("cert/{host}?type=pair"))
        .await
        .unwrap();
    assert!(answer.text().contains("PRIVATE KEY-----"));
    assert!(answer.text().contains("-----BEGIN CERTIFICATE-----"));
    let answer = localapi.get("cert/example.com?type=cert").await.unwrap();
    assert_eq!(answer.status, 500);
}
