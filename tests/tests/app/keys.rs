//! Keys for others, made and taken away in the window.

use ecto_tests::desktop::Clipboard;
use serde_json::{Value, json};

use super::{Opened, ask, desktop_for, picture};

#[tokio::test]
async fn a_key_is_made_in_the_window_copied_seen_by_the_command_and_revoked() {
    let Some((display, app)) = desktop_for(&["--sandbox", "--secret-kept", "10"]).await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.connect().await;
    opened.click("[data-key=open-keys]").await;
    opened.click("[data-key=open-new-key]").await;
    // What cannot be a name is said in words, and what was typed stays.
    opened.type_into("input[name=name]", "-").await;
    opened.click("[type=submit]").await;
    opened
        .wait_for_text(|text| text.contains("That cannot be the name of a key"))
        .await;
    opened.type_into("input[name=name]", "Tablet").await;
    opened.type_into("input[name=from]", "at home").await;
    opened.click("[type=submit]").await;
    opened
        .wait_for_text(|text| text.contains("addresses are written as 203.0.113.7"))
        .await;
    let ranges = "203.0.113.7, 2001:db8::/32";
    opened.type_into("input[name=from]", ranges).await;
    opened.type_into("input[name=agent]", "notes").await;
    opened.click("button[data-do=route-models]").await;
    picture(&opened.display, "app-key-add.png");
    opened.click("[type=submit]").await;
    // OpenClaw is asked, and what was typed stays.
    let is_told = |text: &str| {
        text.contains("OpenClaw has no agent named notes")
            && text.contains("Name one that it has, or none for any: main.")
    };
    opened.wait_for_text(is_told).await;
    opened.type_into("input[name=agent]", "Main").await;
    opened.click("[type=submit]").await;
    opened
        .wait_for_text(|text| text.contains("The key is ready"))
        .await;

    let clipboard = Clipboard::of(&opened.display).unwrap();
    opened.click("button[data-do=copy_key]").await;
    let secret = clipboard
        .wait_for(|text| text.starts_with("ecto_"))
        .await
        .unwrap();
    let first = ask(&opened.session, "reveal_key", json!({})).await.unwrap();
    assert!(first != json!(secret), "the first key was copied");
    picture(&opened.display, "app-key-added.png");
    let source = opened.session.source().await.unwrap();
    assert!(!source.contains(&secret), "the key is in the page");
    clipboard.wait_for(str::is_empty).await.unwrap();

    let listed = opened.listed_keys().await;
    assert_eq!(names(&listed), ["default", "Tablet"]);
    let summary = "chat and responses; agent main alone; from 203.0.113.7, 2001:db8::/32";
    assert_eq!(listed[1]["summary"], summary);
    opened.wait_for_text(|text| text.contains(summary)).await;

    opened.click("[data-key=open-revoke]").await;
    picture(&opened.display, "app-key-revoke.png");
    assert_eq!(names(&opened.listed_keys().await).len(), 2);
    opened.click("button[data-do=revoke_key]").await;
    opened.title("Keys").await;
    opened.wait_for_text(|text| !text.contains("Tablet")).await;
    assert_eq!(names(&opened.listed_keys().await), ["default"]);
    picture(&opened.display, "app-keys.png");
}

fn names(keys: &[Value]) -> Vec<&str> {
    keys.iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect()
}

impl Opened {
    /// Types in place of what stands there.
    pub(super) async fn type_into(&self, selector: &str, text: &str) {
        let clear = "document.querySelector(arguments[0]).value = ''";
        self.session
            .execute(clear, &[json!(selector)])
            .await
            .unwrap();
        let field = self.session.wait_for(selector).await.unwrap();
        field.type_text(text).await.unwrap();
    }

    /// What `ecto key list` tells in a terminal.
    async fn listed_keys(&self) -> Vec<Value> {
        let told = self.told_in_terminal(&["key", "list"]).await;
        told["keys"].as_array().unwrap().clone()
    }
}
