//! What is offered once a person allowed it: embeddings, hooks, and calls from named web pages.

use std::num::NonZeroU32;
use std::time::Duration;

use ecto_core::gateway::HooksAccess;
use ecto_core::key::{Key, KeyGrant, KeyRing, Route};
use ecto_core::offer::Offer;
use ecto_core::ports::{Activity, Guard as _};
use ecto_core::proof::prove;
use ecto_guard::{Limits, Pace};
use secrecy::SecretString;
use tokio::sync::mpsc;

use crate::stand_in::*;

const HOOKS_TOKEN: &str = "hooks-token-that-never-leaves";
const PAGE: &str = "https://app.example";

fn hooks_at(path: &str) -> HooksAccess {
    HooksAccess {
        path: path.to_owned(),
        token: SecretString::from(HOOKS_TOKEN),
    }
}

fn offer(routes: &[Route], origins: &[&str]) -> Offer {
    Offer {
        routes: routes.iter().copied().collect(),
        origins: origins
            .iter()
            .map(|origin| origin.parse().unwrap())
            .collect(),
    }
}

/// A guard in front of a gateway with hooks at `path`, for the key of seed 1 that has every route and those of seed 2 and 3:
/// one with the usual routes, one with hooks and an agent.
async fn setting(gateway: &TinyGateway, path: Option<&str>, offer: Offer) -> Setting {
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut access = gateway.access();
    access.hooks = path.map(hooks_at);
    let mut usual = key("usual", 2);
    usual.grant = KeyGrant::default();
    let mut pinned = key("pinned", 3);
    pinned.grant.agent = Some("public".parse().unwrap());
    let keys = vec![key("all", 1), usual, pinned];
    setting.guard.start(access, keys).await.unwrap();
    setting.guard.set_offer(offer);
    setting.guard.release();
    setting
}

async fn ask(setting: &Setting, seed: u64, line: &str, headers: &[&str]) -> Answer {
    let mut client = setting.connect().await;
    client
        .send(&request_with(&secret(seed), line, headers, "{}"))
        .await;
    client.answer().await
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

const HOOK: &str = "POST /hooks/wake";
const EMBEDDINGS: &str = "POST /v1/embeddings";

#[tokio::test]
async fn what_was_not_allowed_is_not_there_whoever_asks() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = setting(&gateway, Some("/hooks"), Offer::default()).await;
    for line in [HOOK, EMBEDDINGS] {
        let answer = ask(&setting, 1, line, &[]).await;
        assert_eq!(
            refused(&answer),
            (404, "unknown_route".to_owned()),
            "{line}"
        );
    }
    // One is allowed, and the other is still not there.
    setting.guard.set_offer(offer(&[Route::Embeddings], &[]));
    assert_eq!(ask(&setting, 1, HOOK, &[]).await.status, 404);
    assert!(gateway.saw_nothing());
    assert_eq!(ask(&setting, 1, EMBEDDINGS, &[]).await.status, 200);
    assert_eq!(gateway.next().await.target, "/v1/embeddings");
    // And forbidden again, without anything being restarted.
    setting.guard.set_offer(Offer::default());
    assert_eq!(ask(&setting, 1, EMBEDDINGS, &[]).await.status, 404);
    assert!(gateway.saw_nothing());
}

#[tokio::test]
async fn a_hook_whose_token_openclaw_refuses_is_no_fault_of_the_key_or_the_gateways_token() {
    let gateway = TinyGateway::start(|_| async { Some(text(401, "{}")) }).await;
    let setting = setting(&gateway, Some("/hooks"), offer(&[Route::Hooks], &[])).await;
    let answer = ask(&setting, 1, HOOK, &[]).await;
    assert_eq!(
        refused(&answer),
        (502, "gateway_refused_hooks_token".to_owned())
    );
    assert!(answer.body.contains("hooks.token"), "{}", answer.body);
}

#[tokio::test]
async fn a_hook_is_reached_with_the_hooks_own_token_and_never_with_the_gateways() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = setting(&gateway, Some("/intern/hooks"), offer(&[Route::Hooks], &[])).await;
    let headers = [
        "X-OpenClaw-Token: stolen",
        "X-OpenClaw-Session-Key: agent:main",
        "X-Forwarded-For: 203.0.113.9",
        "Content-Type: application/json",
    ];
    let line = "POST /hooks/git-hub/issues?token=stolen";
    assert_eq!(ask(&setting, 1, line, &headers).await.status, 200);
    let seen = gateway.next().await;
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/intern/hooks/git-hub/issues")
    );
    assert_eq!(
        seen.header_lines(),
        [
            format!("authorization: Bearer {HOOKS_TOKEN}"),
            "content-length: 2".to_owned(),
            "content-type: application/json".to_owned(),
            format!("host: {}", gateway.address),
        ]
    );
    // The other routes still go with the gateway's own.
    ask(&setting, 1, "GET /v1/models", &[]).await;
    let seen = gateway.next().await;
    assert_eq!(
        seen.headers["authorization"],
        format!("Bearer {GATEWAY_TOKEN}")
    );
}

#[tokio::test]
async fn hooks_are_not_there_where_openclaw_has_none() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = setting(&gateway, None, offer(&[Route::Hooks], &[])).await;
    let answer = ask(&setting, 1, HOOK, &[]).await;
    assert_eq!(refused(&answer), (404, "unknown_route".to_owned()));
    assert!(gateway.saw_nothing());
}

#[tokio::test]
async fn a_key_has_an_optional_route_by_name_alone() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = setting(&gateway, Some("/hooks"), offer(&Route::OPTIONAL, &[])).await;
    for line in [HOOK, EMBEDDINGS] {
        let answer = ask(&setting, 2, line, &[]).await;
        assert_eq!(
            refused(&answer),
            (403, "route_not_allowed".to_owned()),
            "{line}"
        );
        let mut client = setting.connect().await;
        let text = format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        client.send(text).await;
        assert_eq!(client.answer().await.status, 401);
    }
    // A hook's body names its agent, so a key that is pinned to one has no hooks.
    let answer = ask(&setting, 3, HOOK, &[]).await;
    assert_eq!(refused(&answer), (403, "route_not_allowed".to_owned()));
    assert!(gateway.saw_nothing());
    assert_eq!(ask(&setting, 3, EMBEDDINGS, &[]).await.status, 200);
    assert_eq!(
        gateway.next().await.headers["x-openclaw-agent-id"],
        "public"
    );
}

#[test]
fn the_first_key_has_what_is_allowed_and_another_does_not() {
    let first = Key::first(secret(1), None);
    let other = Key {
        name: "phone".parse().unwrap(),
        ..Key::first(secret(2), None)
    };
    let ring = KeyRing {
        keys: vec![first, other],
    };
    let handed = ring.for_the_guard();
    assert_eq!(handed[0].grant.routes, Route::ALL.into());
    assert_eq!(handed[1].grant.routes, Route::USUAL.into());
}

#[tokio::test]
async fn the_proof_asks_for_each_optional_route() {
    let gateway = TinyGateway::ordinary().await;
    for allowed in [
        &[][..],
        &[Route::Hooks],
        &[Route::Embeddings],
        &Route::OPTIONAL,
    ] {
        for path in [None, Some("/hooks")] {
            let setting = setting(&gateway, path, offer(allowed, &[])).await;
            let mut access = gateway.access();
            access.hooks = path.map(hooks_at);
            let (guard, address) = (&setting.guard, setting.address);
            prove(guard, &RefusesWithoutToken, address, &access, &secret(1))
                .await
                .unwrap();
        }
    }
    // A guard that is told of hooks which the gateway is not known to have does not pass.
    let setting = setting(&gateway, Some("/hooks"), offer(&[Route::Hooks], &[])).await;
    let access = gateway.access();
    prove(
        &setting.guard,
        &RefusesWithoutToken,
        setting.address,
        &access,
        &secret(1),
    )
    .await
    .unwrap_err();
}

async fn preflight(
    setting: &Setting,
    path: &str,
    origin: &str,
    method: &str,
    names: &str,
) -> Answer {
    let mut client = setting.connect().await;
    client
        .send(format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: {method}\r\nAccess-Control-Request-Headers: {names}\r\n\r\n"
        ))
        .await;
    client.answer().await
}

fn sharing(answer: &Answer) -> Vec<&str> {
    let mut lines: Vec<&str> = answer
        .head
        .lines()
        .skip(1)
        .filter(|line| line.starts_with("access-control") || line.starts_with("vary"))
        .collect();
    lines.sort_unstable();
    lines
}

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn a_preflight_is_answered_for_exact_origins_without_a_key_and_without_the_gateway() {
    let mut gateway = TinyGateway::ordinary().await;
    let setting = setting(&gateway, None, offer(&[], &[PAGE, "http://localhost:3000"])).await;
    let names = "authorization,content-type,x-stainless-os,x-openclaw-agent-id,cookie";
    let answer = preflight(&setting, CHAT, PAGE, "POST", names).await;
    assert_eq!(answer.status, 204);
    assert_eq!(
        sharing(&answer),
        [
            "access-control-allow-headers: authorization, content-type, x-stainless-os",
            "access-control-allow-methods: POST",
            "access-control-allow-origin: https://app.example",
            "access-control-expose-headers: retry-after, x-request-id, x-should-retry",
            "access-control-max-age: 60",
            "vary: Access-Control-Request-Method, Access-Control-Request-Headers",
            "vary: Origin",
        ]
    );
    for (path, origin, method) in [
        (CHAT, "https://evil.example", "POST"),
        (CHAT, "https://app.example.evil.example", "POST"),
        (CHAT, "https://sub.app.example", "POST"),
        (CHAT, "https://APP.example", "POST"),
        (CHAT, "https://app.example:8443", "POST"),
        (CHAT, "http://app.example", "POST"),
        (CHAT, "null", "POST"),
        (CHAT, "*", "POST"),
        (CHAT, PAGE, "DELETE"),
        ("/tools/invoke", PAGE, "POST"),
        ("/v1/embeddings", PAGE, "POST"),
        ("/hooks/wake", PAGE, "POST"),
    ] {
        let answer = preflight(&setting, path, origin, method, names).await;
        assert!(
            matches!(answer.status, 404 | 405),
            "{path} {origin} {method}"
        );
        assert_eq!(answer.header("access-control-allow-methods"), None);
        let shared = answer.header("access-control-allow-origin");
        assert_eq!(shared, (origin == PAGE).then_some(PAGE), "{origin}");
    }
    assert!(gateway.saw_nothing());
}

/// A preflight of the page, as Tailscale passes it on from an address.
async fn preflight_from(client: &mut Client, address: &str) -> Answer {
    client
        .send(format!(
            "OPTIONS {CHAT} HTTP/1.1\r\nHost: x\r\nOrigin: {PAGE}\r\nX-Forwarded-For: {address}\r\n\
             Access-Control-Request-Method: POST\r\n\r\n"
        ))
        .await;
    client.answer().await
}

#[tokio::test]
async fn preflights_are_on_record_and_have_a_share_of_their_own() {
    let gateway = TinyGateway::ordinary().await;
    let limits = Limits {
        address_requests: Pace::new(NonZeroU32::new(3).unwrap(), Duration::from_secs(3600)),
        ..Limits::default()
    };
    let setting = Setting::new(gateway.address, limits).await;
    setting.guard.set_offer(offer(&[], &[PAGE]));
    let mut activity = setting.guard.activity();
    let mut client = setting.connect().await;
    for _ in 0..3 {
        let answer = preflight_from(&mut client, "203.0.113.9").await;
        assert_eq!(answer.status, 204);
    }
    let is_of = |activity: &Activity, status| {
        let last = activity.last.as_ref();
        last.is_some_and(|line| line.status == status)
    };
    let told = activity.wait_for(|activity| is_of(activity, 204));
    let told = soon("a line", told).await.unwrap().clone();
    assert_eq!((told.passed, told.refused, told.in_flight), (0, 0, 0));
    let line = told.last.unwrap();
    assert_eq!(line.route.as_str(), "OPTIONS /v1/chat/completions");
    assert_eq!(line.address.as_str(), "203.0.113.9");
    assert_eq!((line.key, line.bytes), (None, 0));

    for _ in 0..2 {
        let answer = preflight_from(&mut client, "203.0.113.9").await;
        assert_eq!(refused(&answer), (429, "address_rate_reached".to_owned()));
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1100..=1200).contains(&wait), "{wait}");
        let shared = answer.header("access-control-allow-origin");
        assert_eq!(shared, Some(PAGE), "the page may read why");
    }
    let told = activity.wait_for(|activity| activity.refused == 2);
    let told = soon("both lines", told).await.unwrap().clone();
    assert!(is_of(&told, 429), "{told:?}");
    // Nobody else waits for it, and no key: neither from there nor from elsewhere.
    let answer = preflight_from(&mut client, "203.0.113.10").await;
    assert_eq!(answer.status, 204);
    let from = "X-Forwarded-For: 203.0.113.9";
    for _ in 0..3 {
        let answer = ask(&setting, 1, "GET /v1/models", &[from]).await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn a_page_may_read_answers_and_refusals_and_others_may_not() {
    let mut gateway = TinyGateway::start(|_| async {
        let mut response = text(200, "{}");
        let headers = response.headers_mut();
        headers.insert("access-control-allow-origin", "*".parse().unwrap());
        headers.insert("access-control-allow-credentials", "true".parse().unwrap());
        Some(response)
    })
    .await;
    let setting = setting(&gateway, None, offer(&[], &[PAGE])).await;
    let shared = [
        "access-control-allow-origin: https://app.example",
        "access-control-expose-headers: retry-after, x-request-id, x-should-retry",
        "vary: Origin",
    ];
    let origin = format!("Origin: {PAGE}");
    let answer = ask(&setting, 1, "GET /v1/models", &[&origin]).await;
    assert_eq!((answer.status, sharing(&answer)), (200, shared.to_vec()));
    assert!(!gateway.next().await.headers.contains_key("origin"));
    let answer = ask(&setting, 9, "GET /v1/models", &[&origin]).await;
    assert_eq!((answer.status, sharing(&answer)), (401, shared.to_vec()));
    for headers in [
        &["Origin: https://evil.example"][..],
        &[],
        &[&*origin, &*origin],
    ] {
        let answer = ask(&setting, 1, "GET /v1/models", headers).await;
        assert_eq!(sharing(&answer), ["vary: Origin"], "{headers:?}");
    }
    // Where no page was named, an answer says nothing of origins.
    setting.guard.set_offer(Offer::default());
    let answer = ask(&setting, 1, "GET /v1/models", &[&origin]).await;
    assert_eq!((answer.status, sharing(&answer)), (200, vec![]));
    assert_eq!(
        preflight(&setting, CHAT, PAGE, "POST", "authorization")
            .await
            .status,
        405
    );
}

/// A request whose answer has begun, and the gateway's end of it.
async fn open_stream(
    setting: &Setting,
    line: &str,
    streams: &mut mpsc::UnboundedReceiver<OpenStream>,
) -> (Client, OpenStream) {
    let mut client = setting.connect().await;
    client
        .send(&request_with(&secret(1), line, &[], "{}"))
        .await;
    let stream = soon("the stream", streams.recv()).await.unwrap();
    stream.send("data: one\n\n");
    client.until("data: one").await;
    (client, stream)
}

#[tokio::test]
async fn what_is_forbidden_is_cut_at_once_and_nothing_else_is() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = setting(&gateway, Some("/hooks"), offer(&Route::OPTIONAL, &[PAGE])).await;
    let mut open = Vec::new();
    for line in [EMBEDDINGS, HOOK, "POST /v1/chat/completions"] {
        open.push(open_stream(&setting, line, &mut streams).await);
    }
    setting.guard.set_offer(offer(&[Route::Hooks], &[]));
    let (mut cut, stream) = open.remove(0);
    assert!(!cut.rest().await.ends_with("0\r\n\r\n"));
    stream.broke_off().await;
    for (client, stream) in &mut open {
        stream.send("data: two\n\n");
        client.until("data: two").await;
    }
    // Allowed again it is open again, and what was cut stays cut.
    setting.guard.set_offer(offer(&Route::OPTIONAL, &[]));
    let (mut client, stream) = open_stream(&setting, EMBEDDINGS, &mut streams).await;
    // Taking the key away cuts those of optional routes too.
    setting.guard.set_keys(vec![key("usual", 2)]);
    assert!(!client.rest().await.ends_with("0\r\n\r\n"));
    stream.broke_off().await;
}
