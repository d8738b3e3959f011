//! A real gateway that is too busy to answer for a while, with the door open.

#![expect(clippy::unwrap_used, reason = "what a test leans on may end it")]

use ecto_tests::command::Ecto;
use ecto_tests::lab::{Lab, Visitor};
use http::{Method, StatusCode};
use serde_json::{Value, json};

async fn ask(visitor: &Visitor, key: &str, text: &str) -> (StatusCode, String) {
    let question =
        json!({ "model": "openclaw", "messages": [{ "role": "user", "content": text }] });
    let answer = visitor
        .request(Method::POST, "/v1/chat/completions")
        .bearer_auth(key)
        .json(&question)
        .send()
        .await
        .unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// OpenClaw does everything in one thread, and its first answer after a start keeps that busy for seconds, on a slow
/// machine for many.
#[tokio::test(flavor = "multi_thread")]
async fn who_asked_before_it_was_busy_is_answered_and_the_door_stays_open() {
    let lab = Lab::start().await.unwrap();
    let ecto = Ecto::new(&lab).unwrap();
    let visitor = lab.visitor().unwrap();
    let mut host = ecto.connect(&[]).await.unwrap();
    let key = ecto.key().await.unwrap();
    let since = ecto.status().await.unwrap()["exposure"]["since"].clone();

    lab.gateway.model.stall();
    let (asking, its_key) = (lab.visitor().unwrap(), key.clone());
    let mut asked = tokio::spawn(async move { ask(&asking, &its_key, "ping one").await });
    lab.gateway.model.asked_by(&mut asked).await.unwrap();
    lab.gateway.freeze().unwrap();
    let noticed = ecto
        .wait_for_status(|status| {
            status["exposure"]["state"] != "public" || status["exposure"]["held"].is_object()
        })
        .await
        .unwrap();
    let exposure = &noticed["exposure"];
    assert_eq!(exposure["state"], "public", "{exposure:#}");
    assert_eq!(
        exposure["held"]["code"], "gateway_not_ready",
        "{exposure:#}"
    );
    let (status, answer) = ask(&visitor, &key, "ping two").await;
    assert_eq!(status, 503, "{answer}");
    lab.gateway.thaw().unwrap();
    lab.gateway.model.resume();

    let (status, answer) = asked.await.unwrap();
    assert!(answer.contains("ping one"), "{status}: {answer}");
    let report = ecto
        .wait_for_status(|status| status["exposure"]["held"] == Value::Null)
        .await
        .unwrap();
    assert_eq!(report["exposure"]["since"], since, "it was opened anew");
    let (status, answer) = ask(&visitor, &key, "ping three").await;
    assert!(answer.contains("ping three"), "{status}: {answer}");
    ecto.done(&["disconnect"]).await.unwrap();
    assert_eq!(host.ended().await.unwrap(), Some(0));
}
