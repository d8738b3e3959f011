//! What a key may do: routes, addresses, time, how often, how many at once, and which agent.

use std::num::NonZeroU32;

use ecto_core::Timestamp;
use ecto_core::key::{AgentId, GuardKey, KeyGrant, Route, ValidDigest};
use ecto_core::ports::Guard;
use ecto_core::proof::ProofQuestion;
use ecto_guard::Limits;

use crate::stand_in::{
    Answer, Client, Setting, TinyGateway, key, new_guard_at, request_with, secret, soon, text,
};

fn limited(name: &str, seed: u64, limit: impl FnOnce(&mut KeyGrant)) -> GuardKey {
    let mut key = key(name, seed);
    limit(&mut key.grant);
    key
}

async fn setting(gateway: &TinyGateway, others: Vec<GuardKey>) -> Setting {
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let keys = std::iter::once(key("phone", 1)).chain(others).collect();
    setting.guard.set_keys(keys);
    setting
}

async fn ask(setting: &Setting, seed: u64, line: &str, headers: &[&str], body: &str) -> Answer {
    let mut client = setting.connect().await;
    let request = request_with(&secret(seed), line, headers, body);
    client.send(&request).await;
    client.answer().await
}

async fn models(setting: &Setting, seed: u64, headers: &[&str]) -> Answer {
    ask(setting, seed, "GET /v1/models", headers, "").await
}

async fn open_stream(setting: &Setting, seed: u64) -> Client {
    let mut client = setting.connect().await;
    let line = "POST /v1/chat/completions";
    client
        .send(&request_with(&secret(seed), line, &[], "{}"))
        .await;
    client
}

#[tokio::test]
async fn a_key_that_is_used_too_often_is_told_how_long_to_wait() {
    let mut gateway = TinyGateway::ordinary().await;
    let slow = limited("slow", 2, |grant| {
        grant.rate = Some("2/hour".parse().unwrap())
    });
    let setting = setting(&gateway, vec![slow]).await;
    for _ in 0..2 {
        assert_eq!(models(&setting, 2, &[]).await.status, 200);
        gateway.next().await;
    }
    let refused = models(&setting, 2, &[]).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (429, "key_rate_reached")
    );
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1790..=1800).contains(&wait), "{wait}");
    assert!(
        refused.body.contains("rate_limit_error"),
        "{}",
        refused.body
    );
    assert!(gateway.saw_nothing());
    assert_eq!(models(&setting, 1, &[]).await.status, 200, "another key");
}

#[tokio::test]
async fn what_is_refused_for_another_reason_uses_up_nothing_of_a_key() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let limits = Limits {
        address_under_way: 1,
        under_way_bytes: 100,
        ..Limits::default()
    };
    let setting = Setting::new(gateway.address, limits).await;
    let once = limited("once", 2, |grant| {
        grant.rate = Some("1/day".parse().unwrap());
        grant.concurrent = NonZeroU32::new(1);
    });
    setting.guard.set_keys(vec![key("phone", 1), once]);
    let (line, from) = ("POST /v1/responses", ["X-Forwarded-For: 203.0.113.9"]);
    let mut busy = setting.connect().await;
    busy.send(&request_with(&secret(1), line, &from, "{}"))
        .await;
    let at_gateway = soon("a stream", streams.recv()).await.unwrap();
    let refused = ask(&setting, 2, line, &from, "{}").await;
    assert_eq!(refused.code(), "address_busy");
    let large = request_with(&secret(2), line, &[], "");
    let large = large.replace("Content-Length: 0", "Content-Length: 20971521");
    let mut client = setting.connect().await;
    client.send(large).await;
    assert_eq!(client.answer().await.code(), "body_too_large");
    let refused = ask(&setting, 2, line, &[], &"x".repeat(101)).await;
    assert_eq!(refused.code(), "too_busy");
    assert_eq!(setting.guard.key_uses().len(), 1, "it was not used yet");

    let mut passes = open_stream(&setting, 2).await;
    drop(soon("a stream", streams.recv()).await.unwrap());
    passes.until("0\r\n\r\n").await;
    let refused = models(&setting, 2, &[]).await;
    assert_eq!(refused.code(), "key_rate_reached");
    drop(at_gateway);
}

#[tokio::test]
async fn what_the_prover_asks_is_neither_counted_nor_limited() {
    let gateway = TinyGateway::ordinary().await;
    let once = limited("once", 2, |grant| {
        grant.rate = Some("1/day".parse().unwrap());
        grant.concurrent = NonZeroU32::new(1);
    });
    let setting = setting(&gateway, vec![once]).await;
    for _ in 0..5 {
        let question = ProofQuestion::RightKey(secret(2));
        assert!(setting.guard.ask(question).await.unwrap().lists_models);
    }
    assert_eq!(setting.guard.key_uses(), []);
    assert_eq!(models(&setting, 2, &[]).await.status, 200);
    let question = ProofQuestion::RightKey(secret(2));
    assert!(setting.guard.ask(question).await.unwrap().lists_models);
    let uses = setting.guard.key_uses();
    assert_eq!(uses.len(), 1);
    assert_eq!(uses[0].0.as_str(), "once");
}

#[tokio::test]
async fn a_key_has_no_more_streams_than_it_may_and_each_end_makes_room() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let two = limited("two", 2, |grant| grant.concurrent = NonZeroU32::new(2));
    let setting = setting(&gateway, vec![two]).await;
    let first = open_stream(&setting, 2).await;
    let first_at_gateway = soon("a stream", streams.recv()).await.unwrap();
    let mut second = open_stream(&setting, 2).await;
    let second_at_gateway = soon("a stream", streams.recv()).await.unwrap();
    let refused = models(&setting, 2, &[]).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "key_busy"));
    assert_eq!(refused.header("retry-after"), Some("1"));

    drop(first);
    first_at_gateway.broke_off().await;
    let third = open_stream(&setting, 2).await;
    let third_at_gateway = soon("a stream", streams.recv()).await.unwrap();
    // A stream that comes to its end by itself makes room too.
    second.until("\r\n\r\n").await;
    drop(second_at_gateway);
    second.until("0\r\n\r\n").await;
    let fourth = open_stream(&setting, 2).await;
    soon("a stream", streams.recv()).await.unwrap();
    drop((third, third_at_gateway, fourth));
}

#[tokio::test]
async fn a_key_may_be_bound_to_addresses() {
    let mut gateway = TinyGateway::ordinary().await;
    let office = limited("office", 2, |grant| {
        grant.from = vec![
            "203.0.113.0/24".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ];
    });
    let setting = setting(&gateway, vec![office]).await;
    for good in ["203.0.113.9", "2001:db8::1", "::ffff:203.0.113.9"] {
        let header = format!("X-Forwarded-For: {good}");
        assert_eq!(models(&setting, 2, &[&header]).await.status, 200, "{good}");
        gateway.next().await;
    }
    for bad in [
        "203.0.114.9",
        "2001:db9::1",
        "127.0.0.1",
        "203.0.113.9, 6.6.6.6",
    ] {
        let header = format!("X-Forwarded-For: {bad}");
        let refused = models(&setting, 2, &[&header]).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (403, "address_not_allowed"),
            "{bad}"
        );
    }
    assert_eq!(models(&setting, 2, &[]).await.code(), "address_not_allowed");
    assert!(gateway.saw_nothing());
}

#[tokio::test]
async fn a_key_that_has_expired_opens_nothing_and_an_open_stream_ends_at_that_moment() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let (guard, clock) = new_guard_at(Timestamp::UNIX_EPOCH);
    let end = Timestamp::from_millisecond(1500).unwrap();
    let guest = limited("guest", 2, |grant| grant.expires = Some(end));
    let keys = vec![key("phone", 1), guest];
    let address = guard.start(gateway.access(), keys).await.unwrap();
    guard.release();
    let setting = Setting { guard, address };
    let mut guest = open_stream(&setting, 2).await;
    let guest_at_gateway = soon("a stream", streams.recv()).await.unwrap();
    let mut other = open_stream(&setting, 1).await;
    let other_at_gateway = soon("a stream", streams.recv()).await.unwrap();
    guest_at_gateway.send("one");
    guest.until("one").await;
    guest_at_gateway.broke_off().await;
    assert!(ecto_core::ports::Clock::now(&*clock) >= end);
    guest.rest().await;
    let refused = models(&setting, 2, &[]).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (401, "key_expired")
    );
    other_at_gateway.send("still here");
    other.until("still here").await;
}

#[tokio::test]
async fn a_key_that_ended_by_a_clock_that_was_ahead_is_good_again_once_it_is_set_back() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let (guard, clock) = new_guard_at(Timestamp::UNIX_EPOCH);
    let end = Timestamp::from_second(3600).unwrap();
    let guest = limited("guest", 2, |grant| grant.expires = Some(end));
    let mut rotated = key("tablet", 3);
    rotated.digests.push(ValidDigest {
        until: Some(end),
        ..key("tablet", 4).digests[0]
    });
    let keys = vec![key("phone", 1), guest, rotated];
    let address = guard.start(gateway.access(), keys.clone()).await.unwrap();
    guard.release();
    let setting = Setting { guard, address };
    let mut stays = open_stream(&setting, 3).await;
    let stays_at_gateway = soon("a stream", streams.recv()).await.unwrap();

    for _ in 0..2 {
        let mut open = Vec::new();
        for seed in [2, 4] {
            let mut client = open_stream(&setting, seed).await;
            client.until("HTTP/1.1 200").await;
            open.push((client, soon("a stream", streams.recv()).await.unwrap()));
        }
        clock.set_ahead(7200);
        // Has the guard look at its clock now, and not within a quarter of a minute.
        setting.guard.set_keys(keys.clone());
        for (_, at_gateway) in &open {
            at_gateway.broke_off().await;
        }
        assert_eq!(models(&setting, 2, &[]).await.code(), "key_expired");
        assert_eq!(models(&setting, 4, &[]).await.code(), "invalid_api_key");
        clock.set_ahead(0);
    }
    for seed in [2, 4] {
        let mut client = open_stream(&setting, seed).await;
        client.until("HTTP/1.1 200").await;
    }
    stays_at_gateway.send("still here");
    stays.until("still here").await;
}

#[tokio::test]
async fn revoking_cuts_the_streams_of_that_key_and_of_no_other() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = setting(&gateway, vec![key("tablet", 2)]).await;
    let mut gone = open_stream(&setting, 2).await;
    let gone_at_gateway = soon("a stream", streams.recv()).await.unwrap();
    let mut stays = open_stream(&setting, 1).await;
    let stays_at_gateway = soon("a stream", streams.recv()).await.unwrap();
    gone.until("\r\n\r\n").await;
    setting.guard.set_keys(vec![key("phone", 1), key("new", 3)]);
    gone_at_gateway.broke_off().await;
    gone.rest().await;
    stays_at_gateway.send("goes on");
    stays.until("goes on").await;
    let mut new = open_stream(&setting, 3).await;
    let new_at_gateway = soon("a stream", streams.recv()).await.unwrap();
    new_at_gateway.send("at once");
    new.until("at once").await;
    assert_eq!(models(&setting, 2, &[]).await.code(), "invalid_api_key");
}

#[tokio::test]
async fn a_key_that_could_not_be_revoked_goes_on_where_it_was() {
    let gateway = TinyGateway::ordinary().await;
    let twice = limited("tablet", 2, |grant| {
        grant.rate = Some("2/hour".parse().unwrap());
    });
    let setting = setting(&gateway, vec![twice.clone()]).await;
    assert_eq!(models(&setting, 2, &[]).await.status, 200);
    assert_eq!(models(&setting, 2, &[]).await.status, 200);
    let uses = setting.guard.key_uses();
    let mut revoked = twice.clone();
    revoked.digests.clear();
    setting.guard.set_keys(vec![key("phone", 1), revoked]);
    assert_eq!(models(&setting, 2, &[]).await.code(), "invalid_api_key");
    assert_eq!(setting.guard.key_uses(), uses);
    setting.guard.set_keys(vec![key("phone", 1), twice.clone()]);
    let refused = models(&setting, 2, &[]).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (429, "key_rate_reached")
    );
    assert_eq!(setting.guard.key_uses(), uses);

    // One that was revoked, and made anew under the same name, is another.
    setting.guard.set_keys(vec![key("phone", 1)]);
    setting.guard.set_keys(vec![key("phone", 1), twice]);
    assert_eq!(models(&setting, 2, &[]).await.status, 200);
}

#[tokio::test]
async fn closing_the_door_gives_no_key_its_rate_anew() {
    let gateway = TinyGateway::ordinary().await;
    let twice = limited("tablet", 2, |grant| {
        grant.rate = Some("2/day".parse().unwrap());
    });
    let keys = || vec![key("phone", 1), twice.clone()];
    let mut setting = setting(&gateway, vec![twice.clone()]).await;
    assert_eq!(models(&setting, 2, &[]).await.status, 200);
    assert_eq!(models(&setting, 2, &[]).await.status, 200);
    setting.open_again(&gateway, keys()).await;
    assert_eq!(models(&setting, 2, &[]).await.code(), "key_rate_reached");
    assert_eq!(models(&setting, 1, &[]).await.status, 200, "another key");

    // One that was revoked while the door was closed, and made anew under the same name, is another.
    setting.guard.stop().await;
    setting.guard.set_keys(vec![key("phone", 1)]);
    setting.open_again(&gateway, keys()).await;
    assert_eq!(models(&setting, 2, &[]).await.status, 200);
}

const PUBLIC: &str = r#"{"id":"openclaw/public","object":"model"}"#;

fn pinned(seed: u64) -> GuardKey {
    limited("pinned", seed, |grant| {
        grant.agent = Some("Public".parse::<AgentId>().unwrap());
    })
}

#[tokio::test]
async fn a_pinned_key_sends_its_agent_and_nothing_else_of_openclaws() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = setting(&gateway, vec![pinned(2)]).await;
    let forged = [
        "X-OpenClaw-Agent-Id: main",
        "x-openclaw-agent: main",
        "x-openclaw-model: openai/gpt-9",
        "x-openclaw-session-key: agent:main:main",
        "x-openclaw-scopes: operator.admin",
        "x-openclaw-message-channel: telegram",
    ];
    for line in ["POST /v1/chat/completions", "POST /v1/responses"] {
        let body = r#"{"model":"openclaw/main"}"#;
        assert_eq!(ask(&setting, 2, line, &forged, body).await.status, 200);
        let seen = gateway.next().await;
        let about: Vec<_> = seen
            .headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("x-openclaw"))
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(about, [("x-openclaw-agent-id", "public")]);
    }
    ask(&setting, 1, "POST /v1/chat/completions", &forged, "{}").await;
    let seen = gateway.next().await;
    let is_openclaws = |name: &str| name.starts_with("x-openclaw");
    assert!(!seen.headers.keys().any(|name| is_openclaws(name.as_str())));
}

#[tokio::test]
async fn a_pinned_key_is_shown_its_agent_alone() {
    let mut gateway = TinyGateway::start(|request| async move {
        Some(match request.uri().path() {
            "/v1/models/openclaw%2Fpublic" => text(200, PUBLIC),
            _ => text(
                404,
                r#"{"error":{"message":"no","type":"invalid_request_error"}}"#,
            ),
        })
    })
    .await;
    let other = limited("other", 3, |grant| {
        grant.agent = Some("gone".parse::<AgentId>().unwrap());
    });
    let setting = setting(&gateway, vec![pinned(2), other]).await;
    let listed = models(&setting, 2, &["Accept-Encoding: gzip"]).await;
    assert_eq!(
        listed.body,
        format!(r#"{{"object":"list","data":[{PUBLIC}]}}"#)
    );
    let seen = gateway.next().await;
    assert_eq!(seen.target, "/v1/models/openclaw%2Fpublic");
    assert!(!seen.headers.contains_key("accept-encoding"));
    let one = ask(&setting, 2, "GET /v1/models/openclaw%2Fpublic", &[], "").await;
    assert_eq!((one.status, one.body.as_str()), (200, PUBLIC));
    gateway.next().await;
    for other in [
        "openclaw",
        "openclaw/default",
        "openclaw/main",
        "openclaw/PUBLIC",
    ] {
        let refused = ask(&setting, 2, &format!("GET /v1/models/{other}"), &[], "").await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (404, "model_not_found"),
            "{other}"
        );
    }
    assert!(gateway.saw_nothing());
    assert_eq!(
        models(&setting, 3, &[]).await.status,
        404,
        "an agent that OpenClaw has not"
    );
}

#[tokio::test]
async fn routes_are_granted_one_by_one() {
    let mut gateway = TinyGateway::ordinary().await;
    let chat = limited("chat", 2, |grant| grant.routes = [Route::Chat].into());
    let setting = setting(&gateway, vec![chat]).await;
    assert_eq!(
        ask(&setting, 2, "POST /v1/chat/completions", &[], "{}")
            .await
            .status,
        200
    );
    gateway.next().await;
    for line in [
        "POST /v1/responses",
        "GET /v1/models",
        "GET /v1/models/openclaw",
    ] {
        let refused = ask(&setting, 2, line, &[], "").await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (403, "route_not_allowed"),
            "{line}"
        );
    }
    assert!(gateway.saw_nothing());
}
