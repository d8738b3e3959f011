//! What a client of DNS over HTTPS notices.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::{IpAddr, SocketAddr};

use ecto_sandbox::edge::{Edge, Names, POINT_RESOLVE, PUBLIC_IPV4, PUBLIC_IPV6};
use ecto_sandbox::faults::Fault;
use ecto_sandbox::tailnet::Tailnet;
use serde_json::{Value, json};
use support::{public_client, web};

struct Internet {
    tailnet: Tailnet,
    edge: Edge,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

async fn internet() -> Internet {
    let folder = tempfile::tempdir().unwrap();
    let tailnet = Tailnet::builder()
        .signed_in()
        .funnel_allowed()
        .start(folder.path())
        .await
        .unwrap();
    let edge = Edge::start(&tailnet).await.unwrap();
    let client = public_client(&edge, &tailnet.host(), 443);
    Internet {
        tailnet,
        edge,
        client,
        _folder: folder,
    }
}

impl Internet {
    async fn ask(&self, resolver: usize, name: &str, kind: &str) -> Value {
        let mut url = self.edge.resolvers()[resolver].clone();
        url.query_pairs_mut()
            .append_pair("name", name)
            .append_pair("type", kind);
        let answer = self
            .client
            .get(url)
            .header("accept", "application/dns-json")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.headers()["content-type"], "application/dns-json");
        answer.json().await.unwrap()
    }
}

#[tokio::test]
async fn the_name_is_published_with_the_first_claim() {
    let internet = internet().await;
    let host = internet.tailnet.host();
    assert_eq!(internet.ask(0, &host, "A").await["Status"], json!(3));
    internet
        .tailnet
        .set_serve_config(web(&host, 443, json!({"/": {"Text": "x"}})))
        .unwrap();
    for resolver in [0, 1] {
        for (kind, number, address) in [
            ("A", 1, IpAddr::from(PUBLIC_IPV4)),
            ("AAAA", 28, IpAddr::from(PUBLIC_IPV6)),
        ] {
            let answer = internet.ask(resolver, &format!("{host}."), kind).await;
            assert_eq!(answer["Status"], json!(0));
            assert_eq!(
                answer["Answer"],
                json!([{"name": format!("{host}."), "type": number, "TTL": 60, "data": address.to_string()}])
            );
            let there = internet.edge.dial(SocketAddr::new(address, 443)).unwrap();
            assert_eq!(there, internet.edge.address());
        }
    }
    assert_eq!(
        internet.ask(1, "example.com", "A").await["Status"],
        json!(3)
    );
}

#[tokio::test]
async fn names_can_lie_and_disagree() {
    let internet = internet().await;
    let host = internet.tailnet.host();
    internet.edge.set_names(Names::Published);
    let private: Vec<IpAddr> = vec!["100.64.0.2".parse().unwrap()];
    internet.edge.set_names_of(1, Names::Addresses(private));
    assert_eq!(
        internet.ask(0, &host, "1").await["Answer"][0]["data"],
        json!("203.0.113.10")
    );
    assert_eq!(
        internet.ask(1, &host, "A").await["Answer"][0]["data"],
        json!("100.64.0.2")
    );
    let none = internet.ask(1, &host, "AAAA").await;
    assert_eq!((&none["Status"], none.get("Answer")), (&json!(0), None));
    for (names, status) in [(Names::Unknown, 3), (Names::Empty, 0), (Names::Failing, 2)] {
        internet.edge.set_names(names);
        assert_eq!(internet.ask(0, &host, "A").await["Status"], json!(status));
    }
}

#[tokio::test]
async fn resolvers_refuse_what_they_do_not_understand_and_fail_as_scripted() {
    let internet = internet().await;
    let plain = async |resolver: usize| {
        let mut url = internet.edge.resolvers()[resolver].clone();
        url.query_pairs_mut().append_pair("name", "example.com");
        internet.client.get(url).send().await
    };
    assert_eq!(
        plain(0).await.unwrap().status(),
        400,
        "it wants to be asked for JSON"
    );
    assert_eq!(plain(1).await.unwrap().status(), 200);
    internet
        .edge
        .faults()
        .fail(POINT_RESOLVE, 1, Fault::answer(503, ""));
    assert_eq!(plain(1).await.unwrap().status(), 503);
    internet.edge.die().await;
    assert!(plain(1).await.is_err());
    internet.edge.come_back().unwrap();
    assert_eq!(plain(1).await.unwrap().status(), 200);
}
