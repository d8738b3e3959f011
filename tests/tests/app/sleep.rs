//! The machine goes to sleep and wakes up.

use ecto_tests::desktop::SleepService;
use serde_json::json;

use super::{Opened, desktop, wait_for};

#[tokio::test]
async fn sleep_waits_for_the_door_to_close_or_leaves_it_as_the_person_chose() {
    for (at_sleep, stays) in [("close", false), ("stay", true)] {
        let Some((display, app)) = desktop().await else {
            return;
        };
        let app = app.with("DBUS_SYSTEM_BUS_ADDRESS", display.bus());
        std::fs::create_dir_all(app.sandbox()).unwrap();
        let settings = json!({ "version": 1, "node": "auto", "at_sleep": at_sleep, "notifications": false, "minutes": null });
        std::fs::write(app.sandbox().join("settings.json"), settings.to_string()).unwrap();
        let mut service = SleepService::start(&display).await.unwrap();
        let opened = Opened::start(display, app).await;
        let delay = service.delay().await.unwrap();
        opened.connect().await;
        service.tell(true).await.unwrap();
        delay.released().await.unwrap();
        // At that moment, and not later.
        let report = opened.report().await;
        let wanted = if stays { "public" } else { "private" };
        assert_eq!(report["exposure"]["state"], wanted, "{at_sleep}");
        service.tell(false).await.unwrap();
        service.delay().await.unwrap();
        wait_for(&opened.item, if stays { "Public" } else { "Private" }).await;
    }
}
