//! The host in the app, and one in another process.

use std::time::Duration;

use ecto_tests::desktop::{Child, LIMIT, Output, Screen, ScriptedHost, TrayHost};
use rustix::process::Signal;

use super::{Running, desktop, dismiss, picture, says, wait_for};

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
            wait_for(&running.item, "Not connected").await;
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

    let _last = running.app.start(&running.display).unwrap();
    let item = running.tray.item().await.unwrap();
    let menu = item.wait_for_menu(|menu| says(menu, "Quit")).await.unwrap();
    assert!(says(&menu, "Private"), "{:?}", menu.labels());
}

#[tokio::test]
async fn a_host_in_a_terminal_is_followed_and_taken_over_from_when_it_dies() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let mut command = Child::start(
        app.program(),
        ["connect", "--sandbox"],
        app.environment(&display),
        &display.folder().join("connect.txt"),
        Output::Logged,
    )
    .unwrap();
    let begun = std::time::Instant::now();
    while !app.sandbox().join("run/ecto.sock").exists() {
        assert!(begun.elapsed() < LIMIT, "{}", command.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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
