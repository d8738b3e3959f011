//! The icon and its menu.

use ecto_tests::desktop::{Entry, LIMIT, Screen, TrayHost};

use super::{desktop, dismiss, picture, says, wait_for};

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
