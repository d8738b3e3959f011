//! The icon and its menu.

use std::time::{Duration, Instant};

use ecto_core::Timestamp;
use ecto_core::exposure::Exposure;
use ecto_core::step::Step;
use ecto_host::request::Request;
use ecto_tests::desktop::{
    App, Display, Driver, Entry, LIMIT, Screen, ScriptedHost, TrayHost, processes,
};

use super::{Opened, Running, desktop, desktop_for, dismiss, picture, says, until, wait_for};

#[tokio::test]
async fn the_menu_connects_and_disconnects_and_quits() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let mut host = TrayHost::start(&display).await.unwrap();
    let mut process = app.start(&display).unwrap();
    let item = host.item().await.unwrap();
    wait_for(&item, "Private").await;
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
async fn what_is_under_way_can_be_cancelled_in_the_menu() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let host = ScriptedHost::start(&app).unwrap();
    let opened = Opened::start(display, app).await;
    host.report(Exposure::Preparing {
        step: Step::StartTailscale,
        since: Timestamp::now(),
        waiting: None,
        progress: None,
    });
    wait_for(&opened.item, "Cancel").await;
    opened.title("Getting ready").await;
    picture(&opened.display, "app-preparing.png");
    let is_asked = || host.asked().contains(&Request::DISCONNECT);
    assert!(!is_asked());
    opened.item.click("Cancel").await.unwrap();
    until("nothing is cancelled", async || is_asked()).await;
}

/// How long the app is told to wait for a tray: longer than starting one takes here.
const TRAY_COMES: Duration = Duration::from_secs(10);

/// A desktop on which the app waits that long.
async fn desktop_with_a_tray_to_come() -> Option<(Display, App)> {
    let seconds = TRAY_COMES.as_secs().to_string();
    desktop_for(&["--sandbox", "--tray-comes", &seconds]).await
}

/// Sees no window for longer than the app waits for a tray.
async fn no_window_comes(screen: &Screen, pid: u32) {
    let begun = Instant::now();
    while begun.elapsed() < TRAY_COMES + Duration::from_secs(1) {
        assert!(screen.window(pid).unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn at_login_it_waits_a_moment_for_the_tray_and_then_shows_no_window() {
    let Some((display, app)) = desktop_with_a_tray_to_come().await else {
        return;
    };
    std::fs::create_dir_all(app.sandbox()).unwrap();
    let settings =
        r#"{"version":1,"node":"auto","at_sleep":"stay","notifications":false,"minutes":null}"#;
    std::fs::write(app.sandbox().join("settings.json"), settings).unwrap();
    let mut process = app.start(&display).unwrap();
    // It began without a tray, and waits from then on.
    until("the app does not begin", async || {
        app.sandbox().join("run/host.lock").exists()
    })
    .await;
    let mut host = TrayHost::start(&display).await.unwrap();
    let item = host.item().await.unwrap();
    let screen = Screen::of(&display).unwrap();
    no_window_comes(&screen, process.pid()).await;
    item.click("Quit").await.unwrap();
    assert!(process.ended(LIMIT).await.unwrap().success());

    // Where none comes, there is a window. The item holds the tray's connection too.
    drop((item, host));
    let process = app.start(&display).unwrap();
    screen.wait_for_window(process.pid()).await.unwrap();
}

#[tokio::test]
async fn a_tray_that_goes_leaves_a_window_unless_it_comes_back_at_once() {
    let Some((display, app)) = desktop_with_a_tray_to_come().await else {
        return;
    };
    let running = Running::start(display, app).await;
    let Running {
        process,
        item,
        screen,
        tray,
        app: _app,
        display,
    } = running;
    drop((item, tray));
    let mut tray = TrayHost::start(&display).await.unwrap();
    let item = tray.item().await.unwrap();
    no_window_comes(&screen, process.pid()).await;
    drop((item, tray));
    screen.wait_for_text(process.pid()).await.unwrap();
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

#[tokio::test]
async fn without_a_tray_the_window_quits_the_app_and_closes_the_door() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let driver = Driver::start(&display, &app).await.unwrap();
    let session = driver.open(&app).await.unwrap();
    let is_told = |text: &str| {
        text == "This desktop has no place for the ghost. Closing this window leaves the door as it is; start Ecto again to see it."
    };
    let no_tray = "[data-key=no-tray]";
    session.wait_for_text(no_tray, is_told).await.unwrap();
    session.click("[data-do=connect]").await.unwrap();
    session.wait_for("[data-mood=public]").await.unwrap();
    session.wait_for_text(no_tray, is_told).await.unwrap();
    let runs = || {
        processes(driver.pid()).unwrap().into_iter().any(|process| {
            // One that ended and that nobody waits for has none.
            std::fs::read_to_string(format!("/proc/{process}/cmdline"))
                .is_ok_and(|command| command.contains("ecto-app"))
        })
    };
    assert!(runs());
    session.click("[data-do=quit]").await.unwrap();
    until("the app stays", async || !runs()).await;
    let wanted = std::fs::read_to_string(app.sandbox().join("wanted.json")).unwrap();
    assert!(!wanted.contains("public"), "{wanted}");
}

#[tokio::test]
async fn the_left_button_opens_the_popover_and_the_right_one_the_menu() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let running = Running::start(display, app).await;
    let (item, screen, pid) = (&running.item, &running.screen, running.process.pid());
    assert!(
        !item.is_menu().await.unwrap(),
        "the left button is not for it"
    );
    let menu = item.right_click(900, 10).await.unwrap();
    let menu = menu.expect("the icon shows no menu by itself");
    assert!(says(&menu, "Connect") && says(&menu, "Quit"), "{menu:?}");
    for _ in 0..50 {
        assert!(screen.window(pid).unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    item.activate(900, 10).await.unwrap();
    screen.wait_for_window(pid).await.unwrap();
    // The middle button is nobody's.
    dismiss(&running.display, screen, pid).await;
    item.secondary_activate(900, 10).await.unwrap();
    for _ in 0..50 {
        assert!(screen.window(pid).unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
