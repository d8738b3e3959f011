//! What reaches a program behind the door, and what reaches the visitor in front of it.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::{TailnetUnderTest, claim, ready, set};
use crate::lab::{Answer, Bus, Seen, Upstream, Visitor};

/// Opens port 443 to these handlers; the door is open as long as the bus is.
async fn open(world: &dyn TailnetUnderTest, handlers: &Value) -> Bus {
    let (bus, session) = ready(world).await;
    let held = claim(&session, &world.host(), 443, handlers);
    set(&world.localapi(), &held).await;
    bus
}

async fn get(visitor: &Visitor, path: &str) -> Answer {
    let request = Request::get(path).body(Bytes::new()).unwrap();
    visitor.send(request).await.unwrap()
}

/// No claim, no connection.
pub async fn nothing_claimed_means_nobody_gets_in(world: &dyn TailnetUnderTest) {
    let (_bus, session) = ready(world).await;
    world.visitor(443).connect().await.unwrap_err();
    let localapi = world.localapi();
    let handlers = json!({ "/": { "Text": "hello" } });
    let mut private = claim(&session, &world.host(), 443, &handlers);
    let door = format!("{}:443", world.host());
    private["Foreground"][&session]["AllowFunnel"][door] = json!(false);
    set(&localapi, &private).await;
    world.visitor(443).connect().await.unwrap_err();
    set(&localapi, &claim(&session, &world.host(), 443, &handlers)).await;
    let answer = get(&world.visitor(443), "/").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (200, "hello")
    );
}

/// Headers that the daemon sets, strips and leaves, over both versions of HTTP.
pub async fn a_public_request_arrives_with_the_daemons_headers(world: &dyn TailnetUnderTest) {
    let upstream = Upstream::start().await.unwrap();
    let _bus = open(world, &json!({ "/": { "Proxy": upstream.url() } })).await;
    let host = world.host();
    let sent = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=6.6.6.6"),
        ("tailscale-user-login", "somebody@example.com"),
        ("tailscale-user-name", "Somebody"),
        ("tailscale-funnel-request", "?0"),
        ("tailscale-app-capabilities", "{}"),
        ("x-real-ip", "6.6.6.6"),
        ("cookie", "a=b"),
        ("authorization", "Bearer somebody's"),
        ("x-openclaw-agent-id", "main"),
    ];
    let visitor = world.visitor(443);
    let mut request = visitor.request(Method::GET, "/a%2Fb?q=1");
    let mut plain = Request::get("/a%2Fb?q=1");
    for (name, value) in sent {
        request = request.header(name, value);
        plain = plain.header(name, value);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    let over_http2: Seen = response.json().await.unwrap();
    let answer = visitor.send(plain.body(Bytes::new()).unwrap()).await;
    let over_http1: Seen = serde_json::from_slice(&answer.unwrap().body).unwrap();

    for seen in [over_http2, over_http1] {
        assert_eq!(seen.method, "GET");
        assert_eq!(seen.target, "/a%2Fb?q=1");
        let header = |name: &str| seen.headers.get(name).map(String::as_str);
        assert_eq!(header("x-forwarded-for"), Some("203.0.113.9"));
        assert_eq!(header("x-forwarded-proto"), Some("https"));
        assert_eq!(header("x-forwarded-host"), Some(host.as_str()));
        assert_eq!(header("tailscale-funnel-request"), Some("?1"));
        assert_eq!(header("host"), Some(host.as_str()));
        assert_eq!(header("accept-encoding"), Some("gzip"));
        assert_eq!(header("forwarded"), None);
        for stripped in ["login", "name"] {
            assert_eq!(header(&format!("tailscale-user-{stripped}")), None);
        }
        assert_eq!(header("tailscale-app-capabilities"), None);
        assert_eq!(header("x-real-ip"), Some("6.6.6.6"));
        assert_eq!(header("cookie"), Some("a=b"));
        assert_eq!(header("authorization"), Some("Bearer somebody's"));
        assert_eq!(header("x-openclaw-agent-id"), Some("main"));
    }
}

/// Mounts, rewriting, and no way out of a mount.
pub async fn paths_lead_where_their_mount_says(world: &dyn TailnetUnderTest) {
    let upstream = Upstream::start().await.unwrap();
    let mount = |path: &str| json!({ "Proxy": format!("{}{path}", upstream.url()) });
    let handlers = json!({
        "/v1/chat/completions": mount("/v1/chat/completions"),
        "/v1/models": mount("/v1/models"),
        "/hooks/": mount("/hooks/"),
        "/bare": mount(""),
    });
    let _bus = open(world, &handlers).await;
    let visitor = world.visitor(443);
    for (path, leads_to) in [
        ("/v1/chat/completions", Some("/v1/chat/completions")),
        ("/v1/chat/completions/", Some("/v1/chat/completions/")),
        (
            "/v1/chat/completions/sub?q=1",
            Some("/v1/chat/completions/sub?q=1"),
        ),
        ("/v1/models/gpt%2F4", Some("/v1/models/gpt%2F4")),
        ("/hooks/wake", Some("/hooks/wake")),
        ("/bare/x", Some("/x")),
        ("/v1/chat/completionsX", None),
        ("/v1", None),
        ("/", None),
        ("/v1/models/../responses", None),
        ("/v1/models/..%2f..%2fadmin", None),
        ("//v1/models", None),
        ("/v1//models", None),
        ("/V1/models", None),
    ] {
        let answer = get(&visitor, path).await;
        let Some(leads_to) = leads_to else {
            assert_eq!(answer.status, 404, "{path}: {}", answer.text());
            continue;
        };
        assert_eq!(answer.status, 200, "{path}");
        let seen: Seen = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(seen.target, leads_to, "{path}");
    }
}

/// Ports 443, 8443 and 10000 are apart.
pub async fn each_public_port_has_its_own_claim(world: &dyn TailnetUnderTest) {
    let (_bus, session) = ready(world).await;
    let localapi = world.localapi();
    for port in [8443, 10000] {
        let text = format!("at {port}");
        let handlers = json!({ "/": { "Text": text } });
        set(&localapi, &claim(&session, &world.host(), port, &handlers)).await;
        let answer = get(&world.visitor(port), "/").await;
        assert_eq!(answer.text(), text);
        world.visitor(443).connect().await.unwrap_err();
    }
}

/// The first part of a body arrives while the second is not written yet.
pub async fn a_stream_is_passed_on_as_it_comes(world: &dyn TailnetUnderTest) {
    let upstream = Upstream::start().await.unwrap();
    let _bus = open(world, &json!({ "/": { "Proxy": upstream.url() } })).await;
    let request = Request::get("/stream").body(Bytes::new()).unwrap();
    let mut body = world.visitor(443).open(request).await.unwrap().into_body();
    let mut part = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(part().await, "one");
    upstream.go_on();
    assert_eq!(part().await, "two");
}

/// Nothing listens where the claim leads.
pub async fn a_dead_program_is_a_bad_gateway(world: &dyn TailnetUnderTest) {
    let upstream = Upstream::start().await.unwrap();
    let url = upstream.url();
    drop(upstream);
    let _bus = open(world, &json!({ "/": { "Proxy": url } })).await;
    let answer = get(&world.visitor(443), "/").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (502, ""));
}
