//! The app once against the real things: tailscaled, OpenClaw, and the secret store of the desktop.

#![cfg(target_os = "linux")]
use std::time::{Duration, Instant};

use ecto_tests::command::Ecto;
use ecto_tests::desktop::{App, Clipboard, Display, LIMIT, TrayHost, missing_programs, program};
use ecto_tests::lab::Lab;
use http::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_menu_opens_the_real_door_and_quitting_closes_it() {
    let missing = missing_programs();
    let (true, Ok(program)) = (missing.is_empty(), program("ecto-app")) else {
        println!("skipped: the app or what a desktop needs is not there: {missing:?}");
        return;
    };
    let lab = Lab::start().await.unwrap();
    let visitor = lab.visitor().unwrap();
    let ecto = Ecto::new(&lab).unwrap();
    let mut display = Display::start().await.unwrap();
    display.unlock_secret_store().await.unwrap();
    let command = ecto.command(&[]);
    let arguments: Vec<&str> = command
        .as_std()
        .get_args()
        .map(|argument| argument.to_str().unwrap())
        .collect();
    let mut app = App::new(&display, &program, &arguments).unwrap();
    for (name, value) in lab.gateway.environment().unwrap() {
        app = app.with(name, value);
    }
    // The folders are the desktop's own then, and so is the secret store.
    let app = app.with("ECTO_HOME", "");
    let mut tray = TrayHost::start(&display).await.unwrap();
    let mut process = app.start(&display).unwrap();
    let item = tray.item().await.unwrap();
    assert!(
        visitor.connect().await.is_err(),
        "open before it was asked for"
    );

    item.click("Connect").await.unwrap();
    item.wait_for_menu(|menu| menu.find("Public").is_some())
        .await
        .unwrap_or_else(|fault| panic!("{fault}: {}", process.log()));
    item.click("Copy Key").await.unwrap();
    let clipboard = Clipboard::of(&display).unwrap();
    let key = clipboard
        .wait_for(|text| text.starts_with("ecto_"))
        .await
        .unwrap();
    let question =
        json!({ "model": "openclaw", "messages": [{ "role": "user", "content": "ping one" }] });
    let ask = |key: String| {
        visitor
            .request(Method::POST, "/v1/chat/completions")
            .bearer_auth(key)
            .json(&question)
            .send()
    };
    let answer = ask(key.clone()).await.unwrap().text().await.unwrap();
    assert!(answer.contains("ping one"), "{answer}");
    assert_eq!(ask("ecto_wrong".to_owned()).await.unwrap().status(), 401);
    // The key is in the secret store and in no file.
    let kept = std::fs::read_to_string(display.folder().join("state/ecto/vault.json")).unwrap();
    assert!(kept.contains("system"), "{kept}");

    item.click("Quit and Close the Door").await.unwrap();
    let begun = Instant::now();
    while visitor.connect().await.is_ok() {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "the door stays open"
        );
    }
    assert!(process.ended(LIMIT).await.unwrap().success());
}
