//! The lab itself: what a public request meets on its way, and that the real gateway answers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Instant;

use ecto_tests::lab::{
    Authority, Binaries, Capabilities, Gateway, NODE_NAME, Node, Resolver, Seen, Tailnet, Upstream,
    Visitor,
};
use http::{Method, StatusCode};
use serde_json::{Value, json};

/// A claim of port 443 that leads everything to one address, tied to a bus session.
fn claim(session: &str, host: &str, upstream: &Upstream) -> Value {
    let door = format!("{host}:443");
    json!({ "Foreground": { session: {
        "TCP": { "443": { "HTTPS": true } },
        "Web": { &door: { "Handlers": { "/": { "Proxy": upstream.url() } } } },
        "AllowFunnel": { &door: true },
    } } })
}

#[tokio::test]
async fn a_public_request_reaches_the_claimed_door_and_the_door_closes_with_its_holder() {
    let binaries = Binaries::ready().await.unwrap();
    let started = Instant::now();
    let authority = Authority::new().unwrap();
    let tailnet = Tailnet::start(&binaries, Capabilities::None).await.unwrap();
    println!(
        "control server, relay and ingress: {:.0?}",
        started.elapsed()
    );
    let node = Node::start(&binaries, &tailnet, &authority, NODE_NAME)
        .await
        .unwrap();
    println!("tailscaled answers: {:.0?}", started.elapsed());
    let signed = node.sign_in(&tailnet).await.unwrap();
    println!(
        "link after {:.0?}, running {:.0?} after approval; in all {:.0?}",
        signed.link_after,
        signed.running_after,
        started.elapsed()
    );
    assert!(signed.link.starts_with(tailnet.control_url()));

    let localapi = node.localapi();
    let answer = localapi
        .post("query-feature?feature=funnel", &Value::Null)
        .await
        .unwrap();
    let offer = answer.json().unwrap();
    assert_eq!(offer["ShouldWait"], true, "{offer}");
    let mut bus = localapi.watch(2 | 128).await.unwrap();
    let session = bus.session().await.unwrap();
    let page = reqwest_plain(offer["URL"].as_str().unwrap()).await;
    assert_eq!(page, StatusCode::OK);
    loop {
        let status = localapi.status().await.unwrap();
        if status["Self"]["CapMap"].get("funnel").is_some() {
            assert_eq!(status["CertDomains"], json!([node.host()]));
            break;
        }
        bus.next().await.unwrap();
    }

    let visitor = Visitor::new(
        &authority.root_pem(),
        node.host(),
        443,
        tailnet.ingress(443).unwrap(),
    )
    .unwrap();
    visitor.connect().await.expect_err("nothing is claimed yet");

    let upstream = Upstream::start().await.unwrap();
    let (config, tag) = localapi.serve_config().await.unwrap();
    assert_eq!(config, Value::Null);
    let claimed = Instant::now();
    let answer = localapi
        .set_serve_config(&claim(&session, node.host(), &upstream), &tag)
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let response = visitor
        .request(Method::GET, "/v1/models")
        .header("X-Forwarded-For", "6.6.6.6")
        .header("Tailscale-User-Login", "somebody@example.com")
        .send()
        .await
        .unwrap();
    println!(
        "from claim to first public answer: {:.0?}",
        claimed.elapsed()
    );
    assert_eq!(response.status(), StatusCode::OK);
    let seen: Seen = response.json().await.unwrap();
    assert_eq!(seen.target, "/v1/models");
    let headers = &seen.headers;
    assert_eq!(headers["x-forwarded-for"], "203.0.113.9");
    assert_eq!(headers["x-forwarded-proto"], "https");
    assert_eq!(headers["x-forwarded-host"], node.host());
    assert_eq!(headers["tailscale-funnel-request"], "?1");
    assert_eq!(headers["host"], node.host());
    assert_eq!(headers.get("tailscale-user-login"), None);

    drop(bus);
    let dropped = Instant::now();
    while visitor.connect().await.is_ok() {}
    println!(
        "from the holder's end to refused: {:.0?}",
        dropped.elapsed()
    );
    let (config, _) = localapi.serve_config().await.unwrap();
    assert_eq!(config, json!({}));
}

#[tokio::test]
async fn the_public_resolver_knows_the_host_and_nothing_else() {
    let authority = Authority::new().unwrap();
    let resolver = Resolver::start(&authority, "lab-mac.tail1234.ts.net")
        .await
        .unwrap();
    let root = reqwest::Certificate::from_pem(authority.root_pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([root])
        .no_proxy()
        .build()
        .unwrap();
    let ask = async |url: String, query: &str| {
        let response = client.get(format!("{url}?{query}")).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/dns-json");
        response.json::<Value>().await.unwrap()
    };
    let known = ask(
        resolver.dns_query_url(),
        "name=lab-mac.tail1234.ts.net&type=A",
    )
    .await;
    assert_eq!(known["Answer"][0]["data"], "203.0.113.10");
    let known = ask(
        resolver.resolve_url(),
        "name=lab-mac.tail1234.ts.net&type=AAAA",
    )
    .await;
    assert_eq!((&known["Status"], known.get("Answer")), (&json!(0), None));
    let unknown = ask(resolver.resolve_url(), "name=other.tail1234.ts.net&type=A").await;
    assert_eq!(unknown["Status"], 3);
    resolver.publish(false);
    let unknown = ask(
        resolver.resolve_url(),
        "name=lab-mac.tail1234.ts.net&type=A",
    )
    .await;
    assert_eq!(unknown["Status"], 3);
    assert_eq!(resolver.questions(), 4);
}

#[tokio::test]
async fn the_gateway_answers_its_owner_and_nobody_else() {
    let binaries = Binaries::ready().await.unwrap();
    let started = Instant::now();
    let gateway = Gateway::start(&binaries).await.unwrap();
    println!("gateway ready: {:.1?}", started.elapsed());
    let client = gateway.client().unwrap();
    let token = Some(gateway.token());

    let status = async |token| client.get("/v1/models", token).await.unwrap().status();
    assert_eq!(status(None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(Some("wrong")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(token).await, StatusCode::OK);

    let started = Instant::now();
    let question = json!({
        "model": "openclaw",
        "messages": [{ "role": "user", "content": "ping one" }],
    });
    let response = client
        .post("/v1/chat/completions", token, &question)
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = response.json().await.unwrap();
    println!("first chat completion: {:.1?}", started.elapsed());
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.starts_with("Hello from the lab."), "{answer}");
    assert!(text.contains("ping one"), "{answer}");
    assert_eq!(gateway.model.calls(), 1);
}

/// Opens a link as a person does.
async fn reqwest_plain(link: &str) -> StatusCode {
    reqwest::Client::builder()
        .tls_certs_only([])
        .no_proxy()
        .build()
        .unwrap()
        .get(link)
        .send()
        .await
        .unwrap()
        .status()
}
