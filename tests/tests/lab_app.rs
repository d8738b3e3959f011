//! The app once against the real things: tailscaled, OpenClaw, and the secret store of the desktop.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what is skipped is said")]

use std::time::{Duration, Instant};

use ecto_tests::command::Ecto;
use ecto_tests::desktop::{
    App, Clipboard, Display, Driver, LIMIT, Session, TrayHost, missing_programs, program,
};
use ecto_tests::lab::{Lab, Visitor};
use http::{Method, StatusCode};
use serde_json::json;

/// The lab, and a desktop with the app prepared for it and its secret store unlocked.
struct Prepared {
    lab: Lab,
    display: Display,
    app: App,
    /// Keeps the folder in which the app finds the lab.
    ecto: Ecto,
}

/// `None` where the app is not built, or the machine has no desktop to offer.
async fn prepare() -> Option<Prepared> {
    let missing = missing_programs();
    let (true, Ok(program)) = (missing.is_empty(), program("ecto-app")) else {
        println!("skipped: the app or what a desktop needs is not there: {missing:?}");
        return None;
    };
    let lab = Lab::start().await.unwrap();
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
    Some(Prepared {
        lab,
        ecto,
        // The folders are the desktop's own then, and so is the secret store.
        app: app.with("ECTO_HOME", ""),
        display,
    })
}

/// Asks the assistant through the public address.
async fn ask(visitor: &Visitor, key: &str) -> (StatusCode, String) {
    let question =
        json!({ "model": "openclaw", "messages": [{ "role": "user", "content": "ping one" }] });
    let answer = visitor
        .request(Method::POST, "/v1/chat/completions")
        .bearer_auth(key)
        .json(&question)
        .send()
        .await
        .unwrap();
    (answer.status(), answer.text().await.unwrap())
}

async fn copied_key(display: &Display) -> String {
    let clipboard = Clipboard::of(display).unwrap();
    clipboard
        .wait_for(|text| text.starts_with("ecto_"))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_menu_opens_the_real_door_and_quitting_closes_it() {
    let Some(Prepared {
        lab,
        display,
        app,
        ecto: _ecto,
    }) = prepare().await
    else {
        return;
    };
    let visitor = lab.visitor().unwrap();
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
    let key = copied_key(&display).await;
    let (status, answer) = ask(&visitor, &key).await;
    assert!(answer.contains("ping one"), "{status}: {answer}");
    let (status, _) = ask(&visitor, "ecto_wrong").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    // The key is in the secret store and in no file.
    let kept = std::fs::read_to_string(display.folder().join("state/ecto/vault.json")).unwrap();
    assert!(kept.contains("system"), "{kept}");

    item.click("Quit and Close the Door").await.unwrap();
    closes(&visitor).await;
    assert!(process.ended(LIMIT).await.unwrap().success());
}

async fn closes(visitor: &Visitor) {
    let begun = Instant::now();
    while visitor.connect().await.is_ok() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the door stays open"
        );
    }
}

/// Waits until the page tells it; the driver does not read lines that are cut off when they are too long.
async fn tell(session: &Session, wanted: &str) {
    let script = "return document.getElementById('popover').textContent";
    let begun = Instant::now();
    loop {
        let text = session.execute(script, &[]).await.unwrap();
        if text.as_str().unwrap().contains(wanted) {
            return;
        }
        assert!(begun.elapsed() < LIMIT, "{wanted} is not in {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_popover_opens_the_real_door_shows_who_came_and_closes_it() {
    let Some(Prepared {
        lab,
        display,
        app,
        ecto: _ecto,
    }) = prepare().await
    else {
        return;
    };
    let visitor = lab.visitor().unwrap();
    let mut tray = TrayHost::start(&display).await.unwrap();
    let driver = Driver::start(&display, &app).await.unwrap();
    // The first run opens the page that the driver waits for.
    let (session, item) = tokio::join!(driver.open(&app), tray.item());
    let (session, item) = (session.unwrap(), item.unwrap());
    // What there is on this machine is said before anything happens.
    let is_signed_in = |text: &str| text.starts_with("Ready.") || text.starts_with("Signed in.");
    session
        .wait_for_text("[data-key=Tailscale] .detail", is_signed_in)
        .await
        .unwrap();
    session.wait_for("[data-key=OpenClaw]").await.unwrap();
    assert!(
        visitor.connect().await.is_err(),
        "open before it was asked for"
    );

    session.click("[data-do=connect]").await.unwrap();
    session.wait_for("[data-key=journey]").await.unwrap();
    session
        .wait_for("[data-mood=public] [data-what=key]")
        .await
        .unwrap();
    let address = session
        .wait_for_text("[data-key=address] .detail", |text| !text.is_empty())
        .await
        .unwrap();
    assert_eq!(address, visitor.url("/v1/chat/completions"));
    // The check from outside goes through the real relay.
    session
        .wait_for("[data-key=reach] [data-key=globe]")
        .await
        .unwrap();
    let copy = "[data-do=copy][data-what=key]";
    session.click(copy).await.unwrap();
    let key = copied_key(&display).await;
    let (status, answer) = ask(&visitor, &key).await;
    assert!(answer.contains("ping one"), "{status}: {answer}");
    tell(&session, "/v1/chat/completions · 200").await;
    let (status, _) = ask(&visitor, "ecto_wrong").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    tell(&session, "/v1/chat/completions · 401 · no known key").await;
    if let Some(folder) = std::env::var_os("ECTO_PICTURES") {
        let file = std::path::Path::new(&folder).join("app-lab.png");
        display.screenshot(&file).unwrap();
    }

    session.click("[data-do=disconnect]").await.unwrap();
    session
        .wait_for_text("h1", |title| title == "Private")
        .await
        .unwrap();
    assert!(visitor.connect().await.is_err(), "the door stays open");
    item.click("Quit").await.unwrap();
    item.gone().await.unwrap();
}
