//! What somebody on the internet notices of the node.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use ecto_sandbox::edge::{Attempt, Edge, Outcome};
use ecto_sandbox::faults::Fault;
use ecto_sandbox::tailnet::{CertificateState, POINT_PROXY, Tailnet, Visitor};
use serde_json::json;
use support::{
    Mirror, Watcher, claim, client_with, get, in_time, post, public_client, public_url, web,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Internet {
    tailnet: Tailnet,
    edge: Edge,
    mirror: Mirror,
    _folder: tempfile::TempDir,
}

impl Internet {
    async fn new() -> Self {
        Self::with(Tailnet::builder().signed_in().funnel_allowed()).await
    }

    async fn with(builder: ecto_sandbox::tailnet::TailnetBuilder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tailnet = builder.start(folder.path()).await.unwrap();
        let edge = Edge::start(&tailnet).await.unwrap();
        Self {
            tailnet,
            edge,
            mirror: Mirror::start().await,
            _folder: folder,
        }
    }

    fn serve(&self, handlers: serde_json::Value) {
        let config = web(&self.tailnet.host(), 443, handlers);
        self.tailnet.set_serve_config(config).unwrap();
    }

    async fn visit(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        let host = self.tailnet.host();
        public_client(&self.edge, &host, 443)
            .get(public_url(&self.edge, &host, 443, path))
            .send()
            .await
    }
}

#[tokio::test]
async fn a_foreground_claim_is_public_as_long_as_its_watcher_is_there() {
    let internet = Internet::new().await;
    assert!(internet.visit("/").await.is_err(), "nothing is claimed");

    let mut watcher = Watcher::open(&internet.tailnet, 2).await;
    let session = watcher.field("SessionID").await;
    let tag = get(&internet.tailnet, "serve-config").await;
    assert_eq!(tag.text(), "null");
    let wanted = claim(
        &internet.tailnet,
        session.as_str().unwrap(),
        443,
        &internet.mirror.url(),
    );
    assert_eq!(
        post(&internet.tailnet, "serve-config", &wanted.to_string())
            .await
            .status,
        200
    );
    assert_eq!(internet.visit("/v1/models").await.unwrap().status(), 200);

    drop(watcher);
    in_time(async {
        while internet.tailnet.is_funnel_on() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(internet.visit("/v1/models").await.is_err());
    assert_eq!(
        get(&internet.tailnet, "serve-config").await.json(),
        json!({})
    );
    let host = internet.tailnet.host();
    let outcomes: Vec<Outcome> = internet
        .edge
        .attempts()
        .into_iter()
        .map(
            |Attempt {
                 host: asked,
                 port,
                 outcome,
             }| {
                assert_eq!((asked, port), (host.clone(), 443));
                outcome
            },
        )
        .collect();
    assert_eq!(
        outcomes,
        [Outcome::Refused, Outcome::Admitted, Outcome::Refused]
    );
}

#[tokio::test]
async fn headers_are_set_and_stripped_as_by_the_daemon() {
    for http1 in [true, false] {
        let internet = Internet::new().await;
        internet.serve(json!({"/": {"Proxy": internet.mirror.url()}}));
        let host = internet.tailnet.host();
        let url = public_url(&internet.edge, &host, 443, "/a%2Fb//c?q=1");
        let seen = client_with(&internet.edge, &host, 443, http1)
            .get(&url)
            .header("X-Forwarded-For", "1.2.3.4")
            .header("X-Forwarded-Proto", "gopher")
            .header("Forwarded", "for=1.2.3.4")
            .header("Tailscale-User-Login", "admin@example.com")
            .header("Tailscale-Funnel-Request", "?0")
            .header("Tailscale-App-Capabilities", "all")
            .header("X-Real-IP", "1.2.3.4")
            .header("Cookie", "a=b")
            .header("Authorization", "Bearer x")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .to_ascii_lowercase();
        assert!(seen.starts_with("get /a%2fb//c?q=1 http/1.1\r\n"), "{seen}");
        for there in [
            "x-forwarded-for: 203.0.113.9\r\n",
            "x-forwarded-proto: https\r\n",
            &format!("x-forwarded-host: {host}"),
            &format!("\r\nhost: {host}"),
            "tailscale-funnel-request: ?1\r\n",
            "accept-encoding: gzip\r\n",
            "x-real-ip: 1.2.3.4\r\n",
            "cookie: a=b\r\n",
            "authorization: bearer x\r\n",
        ] {
            assert!(seen.contains(there), "{there} in {seen}");
        }
        for gone in [
            "1.2.3.4, ",
            "gopher",
            "for=",
            "tailscale-user",
            "?0",
            "capabilities",
        ] {
            assert!(!seen.contains(gone), "{gone} in {seen}");
        }
    }
}

#[tokio::test]
async fn a_user_of_the_tailnet_is_named_and_not_marked_public() {
    let internet = Internet::new().await;
    internet.serve(json!({"/": {"Proxy": internet.mirror.url()}}));
    internet.edge.set_visitor(Visitor::Tailnet {
        address: IpAddr::V4(Ipv4Addr::new(100, 64, 0, 7)),
        login: "user@example.com".to_owned(),
        name: "User".to_owned(),
    });
    let seen = internet.visit("/").await.unwrap().text().await.unwrap();
    assert!(
        seen.contains("tailscale-user-login: user@example.com\r\n"),
        "{seen}"
    );
    assert!(seen.contains("x-forwarded-for: 100.64.0.7\r\n"), "{seen}");
    assert!(!seen.contains("tailscale-funnel-request"), "{seen}");
}

#[tokio::test]
async fn texts_redirects_missing_paths_and_dead_targets_answer_as_by_the_daemon() {
    let internet = Internet::new().await;
    let free = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    internet.serve(json!({
        "/.well-known/probe": {"Text": "nonce"},
        "/down": {"Proxy": format!("http://{free}/down")},
        "/v1/models": {"Proxy": format!("{}/v1/models", internet.mirror.url())}
    }));
    let text = internet.visit("/.well-known/probe").await.unwrap();
    assert_eq!(text.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(text.text().await.unwrap(), "nonce");
    let missing = internet.visit("/v1").await.unwrap();
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.text().await.unwrap(), "404 page not found\n");
    let down = internet.visit("/down").await.unwrap();
    assert_eq!(down.status(), 502);
    assert_eq!(down.text().await.unwrap(), "");
    let models = internet
        .visit("/v1/models/gpt%2F4?q")
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        models.starts_with("GET /v1/models/gpt%2F4?q HTTP/1.1\r\n"),
        "{models}"
    );
}

#[tokio::test]
async fn a_web_socket_passes_both_ways() {
    let internet = Internet::new().await;
    internet.serve(json!({"/": {"Proxy": internet.mirror.url()}}));
    let host = internet.tailnet.host();
    let answer = client_with(&internet.edge, &host, 443, true)
        .get(public_url(&internet.edge, &host, 443, "/ws"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 101);
    let mut socket = answer.upgrade().await.unwrap();
    socket.write_all(b"hello").await.unwrap();
    let mut bytes = [0; 5];
    in_time(socket.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(&bytes, b"HELLO");
    internet.tailnet.die().await;
    assert_eq!(in_time(socket.read(&mut bytes)).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn events_stream_through_at_once() {
    let internet = Internet::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    internet.serve(json!({"/": {"Proxy": format!("http://{}", listener.local_addr().unwrap())}}));
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            .await
            .unwrap();
        stream
    });
    let mut answer = internet.visit("/stream").await.unwrap();
    assert_eq!(in_time(answer.chunk()).await.unwrap().unwrap(), "one");
    let mut upstream = upstream.await.unwrap();
    upstream.write_all(b"3\r\ntwo\r\n").await.unwrap();
    assert_eq!(in_time(answer.chunk()).await.unwrap().unwrap(), "two");
    drop(answer);
    let mut rest = [0; 16];
    assert_eq!(
        in_time(upstream.read(&mut rest)).await.unwrap_or(0),
        0,
        "the target notices the visitor going away"
    );
}

#[tokio::test]
async fn uploads_stream_through_at_once() {
    let internet = Internet::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    internet.serve(json!({"/": {"Proxy": format!("http://{}", listener.local_addr().unwrap())}}));
    let (parts, received) = tokio::sync::mpsc::channel::<Result<&'static str, std::io::Error>>(1);
    let body = futures_util::stream::unfold(received, |mut received| async move {
        received.recv().await.map(|part| (part, received))
    });
    let host = internet.tailnet.host();
    let sending = tokio::spawn(
        public_client(&internet.edge, &host, 443)
            .post(public_url(&internet.edge, &host, 443, "/"))
            .body(reqwest::Body::wrap_stream(body))
            .send(),
    );
    let (mut upstream, _) = in_time(listener.accept()).await.unwrap();
    let mut seen = String::new();
    for part in ["first", "second"] {
        parts.send(Ok(part)).await.unwrap();
        while !seen.contains(part) {
            let mut bytes = [0; 4096];
            let length = in_time(upstream.read(&mut bytes)).await.unwrap();
            assert!(length > 0);
            seen.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
    }
    drop(parts);
    upstream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(in_time(sending).await.unwrap().unwrap().status(), 204);
}

#[tokio::test]
async fn whoever_is_not_let_in_notices_only_a_closed_connection() {
    type Case = (&'static str, fn(&Tailnet));
    let cases: [Case; 5] = [
        ("stopped", |tailnet| tailnet.set_running_elsewhere(false)),
        ("forbidden", Tailnet::forbid_funnel),
        ("port not granted", |tailnet| {
            tailnet.set_funnel_ports("8443-9000")
        }),
        ("expired", Tailnet::expire_key),
        ("broken release", |tailnet| {
            tailnet.set_version("1.102.1-t0")
        }),
    ];
    for (case, make) in cases {
        let internet = Internet::new().await;
        internet.serve(json!({"/": {"Proxy": internet.mirror.url()}}));
        assert_eq!(internet.visit("/").await.unwrap().status(), 200, "{case}");
        make(&internet.tailnet);
        assert!(internet.visit("/").await.is_err(), "{case}");
        assert!(
            internet.tailnet.is_funnel_on(),
            "{case}: the claim still looks well"
        );
    }
}

#[tokio::test]
async fn a_renamed_node_answers_no_more_under_the_old_claim() {
    let internet = Internet::new().await;
    internet.serve(json!({"/": {"Text": "here"}}));
    internet.tailnet.rename_host("other");
    assert_eq!(internet.tailnet.host(), "other.tail1234.ts.net");
    assert!(internet.visit("/").await.is_err());
    internet.serve(json!({"/": {"Text": "here"}}));
    assert_eq!(
        internet.visit("/").await.unwrap().text().await.unwrap(),
        "here"
    );
}

#[tokio::test]
async fn a_pending_certificate_is_an_alert() {
    let internet = Internet::with(
        Tailnet::builder()
            .signed_in()
            .funnel_allowed()
            .certificate(CertificateState::Pending),
    )
    .await;
    internet.serve(json!({"/": {"Text": "here"}}));
    let error = format!("{:?}", internet.visit("/").await.unwrap_err());
    assert!(error.contains("InternalError"), "{error}");
    internet.tailnet.set_certificate(CertificateState::Ready);
    assert_eq!(internet.visit("/").await.unwrap().status(), 200);
}

#[tokio::test]
async fn faults_strike_public_requests_too() {
    let internet = Internet::new().await;
    internet.serve(json!({"/": {"Text": "a long text"}}));
    let faults = internet.tailnet.faults();
    faults.fail(POINT_PROXY, 1, Fault::answer(503, "later"));
    assert_eq!(internet.visit("/").await.unwrap().status(), 503);
    faults.fail(POINT_PROXY, 1, Fault::CloseAfter(3));
    assert!(internet.visit("/").await.unwrap().text().await.is_err());
    internet.edge.faults().fail("ingress", 1, Fault::Refuse);
    assert!(internet.visit("/").await.is_err());
    assert_eq!(internet.visit("/").await.unwrap().status(), 200);
}

#[tokio::test]
async fn everything_starts_within_a_blink() {
    let start = Instant::now();
    let internet = Internet::new().await;
    internet.serve(json!({"/": {"Text": "here"}}));
    let started = start.elapsed();
    assert_eq!(internet.visit("/").await.unwrap().status(), 200);
    assert!(started < Duration::from_secs(2), "{started:?}");
}
