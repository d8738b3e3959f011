//! Who called, seen in the window as it happens; and what else is offered.

use std::time::{Duration, Instant};

use ecto_tests::desktop::LIMIT;
use serde_json::{Value, json};

use super::{Opened, ask, desktop_for, picture, wait_for};

#[tokio::test]
async fn a_request_is_seen_in_the_window_as_it_comes() {
    let Some((display, app)) = desktop_for(&["--sandbox"]).await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.connect().await;
    let key = ask(&opened.session, "reveal_key", json!({})).await.unwrap();
    opened.click("[data-key=open-requests]").await;
    opened.title("Requests").await;

    opened.call("ecto_not-a-key", "Anybody there?").await;
    opened
        .wait_for_text(|text| text.contains("POST /v1/chat/completions") && text.contains("401"))
        .await;
    opened
        .call(key.as_str().unwrap(), "The word is Rumpelstiltskin.")
        .await;
    let newest = "return document.querySelector('.record li')?.textContent ?? ''";
    let begun = Instant::now();
    loop {
        let newest = opened.session.execute(newest, &[]).await.unwrap();
        let newest = newest.as_str().unwrap();
        if newest.contains("POST /v1/chat/completions200") {
            assert!(newest.contains("default"), "{newest}");
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{newest}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    picture(&opened.display, "app-requests.png");
    let source = opened.session.source().await.unwrap();
    assert!(!source.contains("Rumpelstiltskin"), "what was said is kept");
}

#[tokio::test]
async fn a_route_is_allowed_in_the_window_and_forbidden_in_a_terminal() {
    let Some((display, app)) = desktop_for(&["--sandbox"]).await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.click("[data-key=open-settings]").await;
    opened.click("[data-key=open-routes]").await;
    opened.title("What else is offered").await;
    assert_eq!(opened.route(&["list"]).await["routes"], json!([]));
    opened.click("button[data-key=offer-hooks]").await;
    let switch = "button[data-key=offer-hooks]";
    let on = format!("{switch}[aria-checked=true]");
    opened.session.wait_for(&on).await.unwrap();
    picture(&opened.display, "app-routes.png");
    assert_eq!(opened.route(&["list"]).await["routes"], json!(["hooks"]));
    // The stand-in of OpenClaw runs without hooks, which is known once it runs.
    let has_no_hooks = "OpenClaw has no hooks right now";
    assert!(!opened.text().await.contains(has_no_hooks));
    opened.item.click("Connect").await.unwrap();
    opened
        .wait_for_text(|text| text.contains(has_no_hooks))
        .await;
    picture(&opened.display, "app-hooks-off.png");
    // The window may know it a moment before the door is open.
    wait_for(&opened.item, "Disconnect").await;
    opened.item.click("Disconnect").await.unwrap();
    // The window follows what is done elsewhere, although nothing is public.
    opened.route(&["forbid", "hooks"]).await;
    let off = format!("{switch}[aria-checked=false]");
    opened.session.wait_for(&off).await.unwrap();

    opened.click("[data-key=open-new-origin]").await;
    opened
        .type_into("input[name=origin]", "https://App.example/page")
        .await;
    opened.click("[type=submit]").await;
    opened
        .wait_for_text(|text| text.contains("That cannot be an origin"))
        .await;
    opened
        .type_into("input[name=origin]", "https://app.example")
        .await;
    opened.click("[type=submit]").await;
    opened.title("What else is offered").await;
    opened
        .wait_for_text(|text| text.contains("https://app.example"))
        .await;
    let listed = opened.route(&["list"]).await;
    assert_eq!(listed["origins"], json!(["https://app.example"]));
}

impl Opened {
    /// Calls from the internet with this key.
    async fn call(&self, key: &str, said: &str) {
        let view = ask(&self.session, "view", json!({})).await.unwrap();
        let report = &view["report"];
        let access = &report["client_access"];
        let body =
            json!({ "model": "openclaw", "messages": [{ "role": "user", "content": said }] });
        let arguments = [
            "-sS".to_owned(),
            "--connect-to".to_owned(),
            format!("::{}", access["edge"].as_str().unwrap()),
            "--cacert".to_owned(),
            access["root_certificate"].as_str().unwrap().to_owned(),
            "-H".to_owned(),
            format!("Authorization: Bearer {key}"),
            "-H".to_owned(),
            "Content-Type: application/json".to_owned(),
            "-d".to_owned(),
            body.to_string(),
            report["url"].as_str().unwrap().to_owned(),
        ];
        let mut curl = self.display.run("curl", arguments).unwrap();
        let status = curl.ended(LIMIT).await.unwrap();
        assert!(status.success(), "{}", curl.log());
    }

    /// What `ecto route` tells in a terminal.
    async fn route(&self, arguments: &[&str]) -> Value {
        self.told_in_terminal(&[&["route"], arguments].concat())
            .await
    }
}
