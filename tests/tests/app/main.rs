//! The real app on a private desktop, against the sandbox: icon, menu, popover, a second start, no tray.

#![cfg(target_os = "linux")]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "what is skipped is said")]

use std::time::Duration;

use ecto_tests::desktop::{
    App, Display, Driver, Entry, Item, LIMIT, Screen, Session, TrayHost, missing_programs, program,
};
use serde_json::{Value, json};

/// A desktop with the app prepared; `None` where this machine has none, or the app is not built.
async fn desktop() -> Option<(Display, App)> {
    let missing = missing_programs();
    if !missing.is_empty() {
        println!("skipped: {} missing on this machine", missing.join(", "));
        return None;
    }
    let Ok(program) = program("ecto-app") else {
        println!("skipped: the app is not built; `cargo xtask test` builds it");
        return None;
    };
    let display = Display::start().await.unwrap();
    let app = App::new(&display, &program, &["--sandbox"]).unwrap();
    Some((display, app))
}

/// Takes a picture for whoever wants to look: into the folder that this variable names.
fn picture(display: &Display, name: &str) {
    if let Some(folder) = std::env::var_os("ECTO_PICTURES") {
        let file = std::path::Path::new(&folder).join(name);
        display.screenshot(&file).unwrap();
    }
}

fn says(menu: &Entry, label: &str) -> bool {
    menu.find(label).is_some()
}

async fn wait_for(item: &Item, label: &str) {
    item.wait_for_menu(|menu| says(menu, label)).await.unwrap();
}

/// Presses Escape until the window is gone: a page that is still loading does not hear it.
async fn dismiss(display: &Display, screen: &Screen, pid: u32) {
    for _ in 0..100 {
        let mut key = display.run("xdotool", ["key", "Escape"]).unwrap();
        key.ended(LIMIT).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        if screen.window(pid).unwrap().is_none() {
            return;
        }
    }
    panic!("Escape does not hide the window");
}

/// Calls something from the page and gives what it is answered, or why it is refused.
async fn call(session: &Session, command: &str) -> String {
    let begin = "window.answer = null; window.__TAURI_INTERNALS__.invoke(arguments[0]).then(() => window.answer = 'done', error => window.answer = String(error))";
    session.execute(begin, &[json!(command)]).await.unwrap();
    for _ in 0..200 {
        if let Value::String(answer) = session.execute("return window.answer", &[]).await.unwrap() {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{command} is not answered");
}

#[tokio::test]
async fn the_menu_connects_and_disconnects_and_quits() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let mut host = TrayHost::start(&display).await.unwrap();
    let mut process = app.start(&display).unwrap();
    let item = host.item().await.unwrap();
    assert!(
        item.tooltip()
            .await
            .unwrap()
            .text
            .starts_with("Ecto: Private")
    );
    assert_eq!(
        item.menu().await.unwrap().labels(),
        [
            "Private",
            "--",
            "Connect",
            "--",
            "Open Ecto",
            "Open at Login",
            "Settings…",
            "--",
            "Quit"
        ]
    );
    let private = item.icon().await.unwrap();

    // The first run shows itself.
    let screen = Screen::of(&display).unwrap();
    screen.wait_for_window(process.pid()).await.unwrap();
    dismiss(&display, &screen, process.pid()).await;

    item.click("Connect").await.unwrap();
    wait_for(&item, "Cancel").await;
    wait_for(&item, "Copy URL").await;
    let menu = item
        .wait_for_menu(|menu| says(menu, "Public"))
        .await
        .unwrap();
    assert!(
        says(&menu, "Quit and Close the Door"),
        "{:?}",
        menu.labels()
    );
    assert_ne!(item.icon().await.unwrap(), private);

    item.click("Open at Login").await.unwrap();
    let ticked = |menu: &Entry| {
        menu.find("Open at Login")
            .is_some_and(|line| line.ticked == Some(true))
    };
    item.wait_for_menu(ticked).await.unwrap();

    item.click("Disconnect").await.unwrap();
    wait_for(&item, "Connect").await;
    assert_eq!(item.icon().await.unwrap(), private);
    item.click("Quit").await.unwrap();
    assert!(process.ended(LIMIT).await.unwrap().success());
}

#[tokio::test]
async fn the_popover_goes_from_private_to_public_and_back() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let mut host = TrayHost::start(&display).await.unwrap();
    let driver = Driver::start(&display, &app).await.unwrap();
    // The first run opens the page that the driver waits for.
    let (session, item) = tokio::join!(driver.open(&app), host.item());
    let (session, item) = (session.unwrap(), item.unwrap());
    let pid = item.pid().await.unwrap();
    let screen = Screen::of(&display).unwrap();
    screen.wait_for_text(pid).await.unwrap();
    session.wait_for("[data-do=connect]").await.unwrap();
    picture(&display, "app-private.png");

    // Only what the capability names can be called.
    for refused in [
        "plugin:window|close",
        "plugin:event|emit",
        "plugin:webview|create_webview_window",
        "plugin:shell|open",
        "shell",
    ] {
        let answer = call(&session, refused).await;
        assert!(
            answer.contains("not allowed") || answer.contains("not found"),
            "{refused}: {answer}"
        );
    }

    session
        .wait_for("[data-do=connect]")
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    wait_for(&item, "Cancel").await;
    picture(&display, "app-preparing.png");
    wait_for(&item, "Copy URL").await;
    wait_for(&item, "Public").await;
    session
        .wait_for("[data-do=copy][data-what=url]")
        .await
        .unwrap();
    let shown = session
        .execute("return document.body.innerText", &[])
        .await
        .unwrap();
    assert!(shown.as_str().unwrap().contains("https://"), "{shown}");
    picture(&display, "app-public.png");

    // Hidden by Escape, opened by a click on the icon, hidden by a second one.
    dismiss(&display, &screen, pid).await;
    item.activate(900, 10).await.unwrap();
    let window = screen.wait_for_window(pid).await.unwrap();
    assert_eq!((window.x, window.y), (720, 16));
    screen.wait_for_text(pid).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    item.activate(900, 10).await.unwrap();
    screen.wait_for_no_window(pid).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    item.activate(900, 10).await.unwrap();
    screen.wait_for_window(pid).await.unwrap();

    session
        .wait_for("[data-do=disconnect]")
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    wait_for(&item, "Connect").await;
    session.wait_for("[data-do=connect]").await.unwrap();
    session.close().await.unwrap();
}

#[tokio::test]
async fn a_second_start_shows_the_first_as_a_window() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let mut host = TrayHost::start(&display).await.unwrap();
    let mut process = app.start(&display).unwrap();
    let item = host.item().await.unwrap();
    let screen = Screen::of(&display).unwrap();
    screen.wait_for_window(process.pid()).await.unwrap();
    dismiss(&display, &screen, process.pid()).await;

    let mut again = app.start(&display).unwrap();
    assert!(again.ended(LIMIT).await.unwrap().success());
    screen.wait_for_window(process.pid()).await.unwrap();
    picture(&display, "app-window.png");
    item.click("Quit").await.unwrap();
    assert!(process.ended(LIMIT).await.unwrap().success());
}

#[tokio::test]
async fn without_a_tray_there_is_a_window_and_the_icon_comes_when_there_is_one() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let mut process = app.start(&display).unwrap();
    let screen = Screen::of(&display).unwrap();
    screen.wait_for_text(process.pid()).await.unwrap();
    picture(&display, "app-no-tray.png");
    let mut host = TrayHost::start(&display).await.unwrap();
    let item = host.item().await.unwrap();
    item.click("Quit").await.unwrap();
    assert!(process.ended(LIMIT).await.unwrap().success());
}
