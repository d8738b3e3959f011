//! What a person chose, and a file that cannot be read.

use ecto_tests::desktop::{Entry, Notifications};
use serde_json::json;

use super::{Opened, ask, desktop, desktop_for, picture, stand_ins_for_the_lab};

#[tokio::test]
async fn a_settings_file_that_is_damaged_or_newer_is_kept_aside_and_the_safe_choices_hold() {
    for file in [
        "{ this is no settings file",
        r#"{"version":7,"node":"own","at_sleep":"stay","notifications":false,"minutes":null}"#,
    ] {
        let Some((display, app)) = desktop().await else {
            return;
        };
        std::fs::create_dir_all(app.sandbox()).unwrap();
        let path = app.sandbox().join("settings.json");
        std::fs::write(&path, file).unwrap();
        let _notifications = Notifications::start(&display).await.unwrap();
        let opened = Opened::start(display, app).await;
        let view = ask(&opened.session, "view", json!({})).await.unwrap();
        let safe = json!({ "node": "auto", "at_sleep": "close", "notifications": true, "minutes": 60, "text": "usual", "metrics": false });
        assert_eq!(view["preferences"], safe);
        let aside = std::fs::read_to_string(path.with_extension("json.bad")).unwrap();
        assert_eq!(aside, file);

        opened.click("[data-key=open-settings]").await;
        opened.click("button[data-do=notifications]").await;
        opened
            .session
            .wait_for("button[data-do=notifications][aria-checked=false]")
            .await
            .unwrap();
        let kept = std::fs::read_to_string(&path).unwrap();
        let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
        assert_eq!(
            (&kept["version"], &kept["notifications"]),
            (&json!(1), &json!(false))
        );
    }
}

#[tokio::test]
async fn a_login_item_that_is_refused_says_so_and_nothing_is_lost() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    // Where the entry belongs, nothing can be written.
    let in_the_way = display.folder().join("config/autostart");
    std::fs::write(&in_the_way, "in the way").unwrap();
    let mut notifications = Notifications::start(&display).await.unwrap();
    let opened = Opened::start(display, app).await;
    opened.click("[data-key=open-settings]").await;
    opened.click("button[data-do=notifications]").await;
    let off = "button[data-do=notifications][aria-checked=false]";
    opened.session.wait_for(off).await.unwrap();
    opened.click("button[data-do=launch]").await;
    let is_told = |text: &str| {
        text.contains("ecto.desktop could not be changed")
            && text.contains("Make the folder writable for your user, then try again.")
    };
    opened.wait_for_text(is_told).await;
    picture(&opened.display, "app-login-refused.png");
    let still_off = "button[data-do=launch][aria-checked=false]";
    opened.session.wait_for(still_off).await.unwrap();
    let view = ask(&opened.session, "view", json!({})).await.unwrap();
    assert_eq!(view["launch_at_login"], "off");
    assert_eq!(view["preferences"]["notifications"], false);
    assert_eq!(std::fs::read_to_string(&in_the_way).unwrap(), "in the way");

    // In the menu it is refused too, and the desktop is told.
    opened.item.click("Open at Login").await.unwrap();
    let told = notifications.next().await.unwrap();
    assert!(told.title.contains("could not be changed"), "{told:?}");
    // The click turned its tick over, and it is turned back.
    let ticked = |menu: &Entry| menu.find("Open at Login").and_then(|entry| entry.ticked);
    let is_off = |menu: &Entry| ticked(menu) == Some(false);
    opened.item.wait_for_menu(is_off).await.unwrap();

    std::fs::remove_file(&in_the_way).unwrap();
    opened.click("button[data-do=launch]").await;
    let on = "button[data-do=launch][aria-checked=true]";
    opened.session.wait_for(on).await.unwrap();
    assert!(in_the_way.join("ecto.desktop").exists());
}

#[tokio::test]
async fn without_a_secret_store_the_app_says_where_the_key_is() {
    let folder = tempfile::Builder::new().prefix("e").tempdir().unwrap();
    let (stand_ins, places) = stand_ins_for_the_lab(folder.path()).await;
    let Some((display, app)) = desktop_for(&["--lab", places.to_str().unwrap()]).await else {
        return;
    };
    // The folders are the desktop's own; nobody on its bus keeps secrets.
    let app = app
        .with("ECTO_HOME", "")
        .with("OPENCLAW_CONFIG_PATH", stand_ins.gateway().config_path());
    let opened = Opened::start(display, app).await;
    let is_told = |text: &str| {
        text.contains("No secret store answers here")
            && text.contains("ecto-credentials.json, which only you can read")
    };
    opened.wait_for_text(is_told).await;
    picture(&opened.display, "app-no-secret-store.png");
    opened.connect().await;
    let kept = opened
        .display
        .folder()
        .join("home/.openclaw/ecto-credentials.json");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&kept).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    opened.click("[data-key=open-settings]").await;
    opened.title("Settings").await;
    let is_the_file = |text: &str| text.contains("ecto-credentials.json, readable by you alone");
    opened.wait_for_text(is_the_file).await;
}

#[tokio::test]
async fn a_secret_store_that_is_locked_is_told_nothing_is_made_elsewhere_and_it_goes_on_once_unlocked()
 {
    let folder = tempfile::Builder::new().prefix("e").tempdir().unwrap();
    let (stand_ins, places) = stand_ins_for_the_lab(folder.path()).await;
    let Some((mut display, app)) = desktop_for(&["--lab", places.to_str().unwrap()]).await else {
        return;
    };
    let app = app
        .with("ECTO_HOME", "")
        .with("OPENCLAW_CONFIG_PATH", stand_ins.gateway().config_path());
    display.unlock_secret_store().await.unwrap();
    display.lock_secret_store().await.unwrap();
    let opened = Opened::start(display, app).await;
    opened.click("[data-do=connect]").await;
    let is_told = |text: &str| {
        text.contains("The secret store refused to let Ecto in")
            && text.contains("Unlock it and allow Ecto, then connect again.")
    };
    opened.wait_for_text(is_told).await;
    opened.title("Did not open").await;
    picture(&opened.display, "app-secret-store-locked.png");
    assert!(!stand_ins.tailnet().is_funnel_on());
    let file = opened
        .display
        .folder()
        .join("home/.openclaw/ecto-credentials.json");
    assert!(!file.exists(), "a key was made elsewhere");

    opened.display.unlock_secret_store_again().await.unwrap();
    opened.click("[data-key=single-connect]").await;
    opened.title("Public").await;
    assert!(!file.exists(), "the key is elsewhere");
}
