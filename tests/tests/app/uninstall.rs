//! Taking Ecto off, undoing what it changed, and diagnostics.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use ecto_core::exposure::Exposure;
use ecto_tests::desktop::LIMIT;
use serde_json::json;

use super::{
    Opened, ask, desktop, desktop_for, dismiss, picture, stand_ins_for_the_lab, until, wait_for,
};

#[tokio::test]
async fn uninstall_closes_the_door_leaves_nothing_behind_and_ends_when_it_was_read() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.connect().await;
    let login = opened
        .display
        .folder()
        .join("config/autostart/ecto.desktop");
    ask(
        &opened.session,
        "set_launch_at_login",
        json!({ "on": true }),
    )
    .await
    .unwrap();
    let chosen = json!({ "preferences": { "node": "auto", "at_sleep": "stay", "notifications": false, "minutes": 15 } });
    ask(&opened.session, "set_preferences", chosen)
        .await
        .unwrap();
    assert!(login.exists() && opened.app.sandbox().join("settings.json").exists());

    opened.click("[data-key=open-settings]").await;
    opened.click("[data-key=open-uninstall]").await;
    picture(&opened.display, "app-uninstall.png");
    opened.click("button[data-do=uninstall]").await;
    opened.title("Ecto is uninstalled").await;
    picture(&opened.display, "app-uninstalled.png");
    let said = opened
        .session
        .find("main")
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        said.contains("The key, the logs and the settings are removed."),
        "{said}"
    );
    assert!(!login.exists());
    let left: Vec<_> = std::fs::read_dir(opened.app.sandbox())
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(Path::new(&format!("/proc/{}", opened.pid)).exists());
    dismiss(&opened.display, &opened.screen, opened.pid).await;
    until("the app stays", async || opened.item.pid().await.is_err()).await;
}

#[tokio::test]
async fn with_its_last_words_unread_the_app_still_ends_when_the_system_asks() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.click("[data-key=open-settings]").await;
    opened.click("[data-key=open-uninstall]").await;
    opened.click("button[data-do=uninstall]").await;
    opened.title("Ecto is uninstalled").await;
    let pid = rustix::process::Pid::from_raw(opened.pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    until("the app stays", async || opened.item.pid().await.is_err()).await;
}

#[tokio::test]
async fn restore_closes_the_door_and_says_what_became_of_each_key() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.connect().await;
    opened.click("[data-key=open-settings]").await;
    opened.click("[data-key=open-restore]").await;
    opened.click("button[data-do=restore]").await;
    opened.title("Ecto’s changes are undone").await;
    let said = opened.text().await;
    assert!(said.contains("gateway.http.endpoints"), "{said}");
    assert!(said.contains("As it was before"), "{said}");
    picture(&opened.display, "app-restored.png");
    assert_eq!(opened.exposure().await, Exposure::Private);
}

#[tokio::test]
async fn diagnostics_are_shown_and_what_was_shown_is_saved_for_its_owner_alone() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    std::fs::create_dir(display.folder().join("home/Downloads")).unwrap();
    let opened = Opened::start(display, app).await;
    opened.connect().await;
    let key = ask(&opened.session, "reveal_key", json!({})).await.unwrap();
    opened.click("[data-key=open-settings]").await;
    opened.click("[data-key=open-diagnostics]").await;
    let has_all = |text: &str| text.contains("exposure") && text.contains("Log");
    let shown = opened.session.wait_for_text("pre", has_all).await.unwrap();
    assert!(!shown.contains(key.as_str().unwrap()), "a key is shown");
    assert!(!shown.contains("ecto-sandbox.sandbox.ts.net"), "{shown}");
    picture(&opened.display, "app-diagnostics.png");
    opened.click("[data-do=save_diagnostics]").await;
    let is_saved = |text: &str| text.starts_with("Saved as ");
    let saved = opened
        .session
        .wait_for_text(".saved", is_saved)
        .await
        .unwrap();
    let path = Path::new(saved.trim_start_matches("Saved as ").trim());
    assert!(
        path.starts_with(opened.display.folder().join("home/Downloads")),
        "{saved}"
    );
    assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("exposure") && !text.contains(key.as_str().unwrap()));
    let script = "return document.querySelector('pre').textContent";
    let shown = opened.session.execute(script, &[]).await.unwrap();
    assert_eq!(shown.as_str(), Some(text.as_str()));
}

#[tokio::test]
async fn where_the_key_cannot_be_removed_it_says_so_and_the_app_goes_on_until_it_is_quit() {
    let folder = tempfile::Builder::new().prefix("e").tempdir().unwrap();
    let (stand_ins, places) = stand_ins_for_the_lab(folder.path()).await;
    let Some((display, app)) = desktop_for(&["--lab", places.to_str().unwrap()]).await else {
        return;
    };
    let app = app.with("OPENCLAW_CONFIG_PATH", stand_ins.gateway().config_path());
    let opened = Opened::start(display, app).await;
    opened.connect().await;
    let kept = opened.app.home().join("ecto-credentials.json");
    let aside = kept.with_extension("aside");
    std::fs::rename(&kept, &aside).unwrap();
    std::fs::create_dir(&kept).unwrap();

    let at_login = json!({ "on": true });
    ask(&opened.session, "set_launch_at_login", at_login)
        .await
        .unwrap();
    opened.click("[data-key=open-settings]").await;
    opened.click("[data-key=open-uninstall]").await;
    // As a removal does that fails after it removed them.
    for name in ["app.lock", "app.sock"] {
        std::fs::remove_file(opened.app.home().join("run").join(name)).unwrap();
    }
    opened.click("button[data-do=uninstall]").await;
    let is_told = |text: &str| text.contains("Ecto could not be taken off");
    opened.wait_for_text(is_told).await;
    picture(&opened.display, "app-not-uninstalled.png");
    assert!(
        opened
            .text()
            .await
            .contains("The secret store does not answer")
    );
    let view = ask(&opened.session, "view", json!({})).await.unwrap();
    assert_eq!(view["report"]["wanted"]["wanted"], "private", "{view}");
    assert_eq!(view["launch_at_login"], "on", "as it was before");
    // Started once more, it is this one that shows itself, although its files were gone meanwhile.
    dismiss(&opened.display, &opened.screen, opened.pid).await;
    let mut again = opened.app.start(&opened.display).unwrap();
    assert!(again.ended(LIMIT).await.unwrap().success());
    opened.screen.wait_for_text(opened.pid).await.unwrap();

    std::fs::remove_dir_all(&kept).unwrap();
    std::fs::rename(&aside, &kept).unwrap();
    wait_for(&opened.item, "Private").await;
    opened.item.click("Quit").await.unwrap();
    opened.item.gone().await.unwrap();
}
