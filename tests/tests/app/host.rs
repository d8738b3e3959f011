//! The host in the app, and one in another process.

use std::time::{Duration, Instant};

use ecto_core::exposure::Exposure;
use ecto_core::wanted::Wanted;
use ecto_tests::desktop::{App, Child, Display, LIMIT, Output, Screen, ScriptedHost, TrayHost};
use rustix::process::Signal;
use serde_json::json;

use super::{
    Opened, Running, ask, ask_for_snapshot, desktop, dismiss, picture, says, snapshot, until,
    wait_for,
};

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
async fn a_second_start_shows_the_first_one_beside_a_terminal_and_where_no_host_could_be_started() {
    for is_beside_terminal in [true, false] {
        let Some((display, app)) = desktop().await else {
            return;
        };
        let _terminal = if is_beside_terminal {
            Some(ScriptedHost::start(&app).unwrap())
        } else {
            // Something in the way of the control socket.
            std::fs::create_dir_all(app.sandbox().join("run/ecto.sock/in-the-way")).unwrap();
            None
        };
        let mut running = Running::start(display, app).await;
        if !is_beside_terminal {
            wait_for(&running.item, "Not running").await;
        }
        let mut again = running.app.start(&running.display).unwrap();
        assert!(again.ended(LIMIT).await.unwrap().success());
        let pid = running.process.pid();
        running.screen.wait_for_window(pid).await.unwrap();
        assert!(
            running
                .tray
                .item_within(Duration::from_millis(500))
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn quit_closes_the_door_and_it_stays_so_while_a_kill_does_not_change_what_is_wanted() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let mut running = Running::start(display, app).await;
    running.item.click("Connect").await.unwrap();
    wait_for(&running.item, "Public").await;
    running.process.signal(Signal::KILL).unwrap();
    running.process.ended(LIMIT).await.unwrap();

    // What was wanted is opened again, without anybody asking.
    let mut again = running.app.start(&running.display).unwrap();
    let item = running.tray.item().await.unwrap();
    wait_for(&item, "Public").await;
    item.click("Quit and Close the Door").await.unwrap();
    assert!(again.ended(LIMIT).await.unwrap().success());
    item.gone().await.unwrap();

    // A host that begins says Private until it has read what is wanted.
    let wanted = std::fs::read_to_string(running.app.sandbox().join("wanted.json")).unwrap();
    assert!(wanted.contains("\"private\""), "{wanted}");
    let _last = running.app.start(&running.display).unwrap();
    let item = running.tray.item().await.unwrap();
    let first = item
        .wait_for_menu(|menu| says(menu, "Quit") && !says(menu, "Starting"))
        .await
        .unwrap();
    assert!(says(&first, "Private"), "{:?}", first.labels());
    // A door that is to be opened again is private at first too.
    assert_eq!(snapshot(&running.app).await.wanted, Wanted::Private);
}

#[tokio::test]
async fn a_host_in_a_terminal_is_followed_and_taken_over_from_when_it_dies() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let mut command = in_terminal(&display, &app).await;
    let running = Running::start(display, app).await;
    let menu = running
        .item
        .wait_for_menu(|menu| says(menu, "Public"))
        .await
        .unwrap();
    assert!(
        says(&menu, "Quit (Ecto in the Terminal Goes On)"),
        "{:?}",
        menu.labels()
    );
    command.signal(Signal::KILL).unwrap();
    command.ended(LIMIT).await.unwrap();
    let is_own = |menu: &ecto_tests::desktop::Entry| {
        says(menu, "Public") && says(menu, "Quit and Close the Door")
    };
    running.item.wait_for_menu(is_own).await.unwrap();
}

#[tokio::test]
async fn a_stopped_host_in_a_terminal_is_said_not_to_answer_until_it_goes_on() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let command = in_terminal(&display, &app).await;
    let opened = Opened::start(display, app).await;
    wait_for(&opened.item, "Public").await;
    opened.title("Public").await;

    command.signal(Signal::STOP).unwrap();
    let asked = Instant::now();
    let refused = ask(&opened.session, "disconnect", json!({}))
        .await
        .unwrap_err();
    assert_eq!(refused["code"], "host_silent");
    assert!(asked.elapsed() < LIMIT / 2);
    opened.title("No answer").await;
    let menu = opened
        .item
        .wait_for_menu(|menu| says(menu, "No answer"))
        .await
        .unwrap();
    assert!(!says(&menu, "Private") && !says(&menu, "Public"));
    assert!(says(&menu, "Disconnect"), "{:?}", menu.labels());
    for (name, argument) in [("look", json!({})), ("connect", json!({ "minutes": 15 }))] {
        let refused = ask(&opened.session, name, argument).await.unwrap_err();
        assert_eq!(refused["code"], "host_silent", "{name}");
    }

    // It still finds what would close it, and nothing that would open it.
    command.signal(Signal::CONT).unwrap();
    opened.title("Private").await;
    wait_for(&opened.item, "Private").await;
}

#[tokio::test]
async fn beside_a_stopped_host_the_app_claims_nothing_from_its_start() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let command = in_terminal(&display, &app).await;
    // In the middle of opening, what it waits for would be over when it goes on.
    until("the host is not there", async || {
        matches!(snapshot(&app).await.exposure, Exposure::Public { .. })
    })
    .await;
    command.signal(Signal::STOP).unwrap();
    let mut tray = TrayHost::start(&display).await.unwrap();
    let process = app.start(&display).unwrap();
    let item = tray.item().await.unwrap();
    let begun = Instant::now();
    loop {
        let menu = item.menu().await.unwrap();
        assert!(!says(&menu, "Private"), "{:?}", menu.labels());
        let tooltip = item.tooltip().await.unwrap().text;
        assert!(!tooltip.contains("Private"), "{tooltip}");
        if says(&menu, "No answer") {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{:?}", menu.labels());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    command.signal(Signal::CONT).unwrap();
    wait_for(&item, "Public").await;
    drop(process);
}

/// A host in a terminal, as soon as it can be asked.
async fn in_terminal(display: &Display, app: &App) -> Child {
    let command = Child::start(
        app.program(),
        ["connect", "--sandbox"],
        app.environment(display),
        &display.folder().join("connect.txt"),
        Output::Logged,
    )
    .unwrap();
    until("the host is not there", async || {
        ask_for_snapshot(app).await.is_ok()
    })
    .await;
    command
}
