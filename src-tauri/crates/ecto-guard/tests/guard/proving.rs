//! Holding, and the prover that passes all the same.

use ecto_core::cause::Cause;
use ecto_core::ports::Guard as _;
use ecto_core::proof::{ProofQuestion, prove};
use ecto_guard::Limits;
use tokio::net::TcpListener;

use crate::stand_in::*;

#[tokio::test]
async fn a_guard_that_is_held_lets_only_the_prover_through() {
    let mut gateway = TinyGateway::ordinary().await;
    let guard = new_guard(Limits::default());
    let keys = vec![key("phone", 1)];
    let address = guard.start(gateway.access(), keys).await.unwrap();
    let setting = Setting { guard, address };

    let answer = setting.ask("GET /v1/models", "").await;
    assert_eq!((answer.status, answer.code()), (503, "held".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("2"));
    let mut client = setting.connect().await;
    client
        .send("GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 401);
    assert!(gateway.saw_nothing());

    let access = gateway.access();
    let proof = prove(
        &setting.guard,
        &RefusesWithoutToken,
        address,
        &access,
        &secret(1),
    )
    .await;
    assert_eq!(proof.unwrap().gateway(), &access.fingerprint);
    let seen = gateway.next().await;
    assert_eq!(seen.target, "/v1/models");
    assert!(!seen.headers.contains_key("x-ecto-prover"));
    assert!(gateway.saw_nothing());

    assert_eq!(setting.ask("GET /v1/models", "").await.status, 503);
    let mut activity = setting.guard.activity();
    let told = activity.wait_for(|activity| activity.passed + activity.refused >= 3);
    let told = soon("three lines", told).await.unwrap().clone();
    // The prover's questions are not among them.
    assert_eq!((told.passed, told.refused), (0, 3));
    setting.guard.release();
    assert_eq!(setting.ask("GET /v1/models", "").await.status, 200);
    setting.guard.hold();
    assert_eq!(setting.ask("GET /v1/models", "").await.status, 503);
}

#[tokio::test]
async fn holding_lets_streams_in_flight_go_on() {
    let (gateway, mut streams) = TinyGateway::streaming().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut client = setting.connect().await;
    client.send(&request("POST /v1/responses", &[], "{}")).await;
    let stream = soon("the stream", streams.recv()).await.unwrap();
    setting.guard.hold();
    stream.send("data: on\n\n");
    client.until("data: on\n\n").await;
}

#[tokio::test]
async fn starting_again_holds() {
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    assert_eq!(setting.ask("GET /v1/models", "").await.status, 200);
    let keys = vec![key("phone", 1)];
    setting.guard.start(gateway.access(), keys).await.unwrap();
    assert_eq!(setting.ask("GET /v1/models", "").await.status, 503);
}

#[tokio::test]
async fn what_stands_behind_the_guard_decides_the_proof() {
    let cases: [(u16, &str, Cause); 5] = [
        (401, "{}", Cause::GatewayTokenRefused),
        (
            403,
            r#"{"error":{"message":"x","type":"proxy_attribution_required"}}"#,
            Cause::GatewayRejectsProxy,
        ),
        (
            404,
            "{}",
            Cause::GatewayEndpointMissing {
                route: "/v1/models".to_owned(),
            },
        ),
        (503, "{}", Cause::GatewayNotReady { log: None }),
        (
            200,
            "<!doctype html>",
            Cause::GatewayUnexpected {
                detail: "the list of models is not OpenClaw's".into(),
            },
        ),
    ];
    for (status, body, expected) in cases {
        let gateway = TinyGateway::start(move |_| async move { Some(text(status, body)) }).await;
        let setting = Setting::new(gateway.address, Limits::default()).await;
        let access = gateway.access();
        let proof = prove(
            &setting.guard,
            &RefusesWithoutToken,
            setting.address,
            &access,
            &secret(1),
        )
        .await;
        assert_eq!(proof.unwrap_err(), expected, "{status}");
    }
}

#[tokio::test]
async fn a_gateway_that_is_away_is_not_proven() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let setting = Setting::new(address, Limits::default()).await;
    let answer = setting
        .guard
        .ask(ProofQuestion::RightKey(secret(1)))
        .await
        .unwrap();
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn a_guard_that_does_not_listen_cannot_be_asked() {
    let guard = new_guard(Limits::default());
    let failed = guard.ask(ProofQuestion::NoKey).await.unwrap_err();
    assert!(matches!(failed, Cause::GuardFailed { .. }), "{failed:?}");
}

#[tokio::test]
async fn a_gateway_on_another_machine_is_refused() {
    let guard = new_guard(Limits::default());
    let elsewhere = access_to("192.0.2.1:18789".parse().unwrap());
    assert!(guard.start(elsewhere, Vec::new()).await.is_err());
}
