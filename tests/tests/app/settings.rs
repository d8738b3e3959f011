//! What a person chose, and a file that cannot be read.

use serde_json::json;

use super::{Opened, ask, desktop};

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
        let opened = Opened::start(display, app).await;
        let view = ask(&opened.session, "view", json!({})).await.unwrap();
        let safe = json!({ "node": "auto", "at_sleep": "close", "notifications": true, "minutes": 60, "metrics": false });
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
