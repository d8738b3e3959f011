//! The machine goes to sleep and wakes up.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ecto_host::preferences::{AtSleep, OpenFor, Preferences, PreferencesFile};
use ecto_host::request::Request;
use ecto_tests::desktop::{App, ScriptedHost, SleepService};

use super::{Opened, Running, desktop, wait_for};

/// Debian's `libfaketime`: moves the wall clock of a program on while it runs, as it has moved on after sleep.
fn moved_clock() -> Option<PathBuf> {
    let mut folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    folders.find_map(|folder| {
        let library = folder.path().join("faketime/libfaketimeMT.so.1");
        library.exists().then_some(library)
    })
}

/// Chooses for the app what the person did before.
fn choose(app: &App, at_sleep: AtSleep, minutes: OpenFor) {
    std::fs::create_dir_all(app.sandbox()).unwrap();
    let chosen = Preferences {
        at_sleep,
        minutes,
        notifications: false,
        ..Preferences::default()
    };
    let file = PreferencesFile::in_folder(&app.sandbox());
    file.write(&chosen).unwrap();
}

#[tokio::test]
async fn sleep_waits_for_the_door_to_close_or_leaves_it_as_the_person_chose() {
    for at_sleep in [AtSleep::Close, AtSleep::Stay] {
        let stays = at_sleep == AtSleep::Stay;
        let Some((display, app)) = desktop().await else {
            return;
        };
        let app = app.with("DBUS_SYSTEM_BUS_ADDRESS", display.bus());
        choose(&app, at_sleep, OpenFor::Ever);
        let mut service = SleepService::start(&display).await.unwrap();
        let opened = Opened::start(display, app).await;
        let delay = service.delay().await.unwrap();
        opened.connect().await;
        service.tell(true).await.unwrap();
        delay.released().await.unwrap();
        // At that moment, and not later.
        let report = opened.report().await;
        let wanted = if stays { "public" } else { "private" };
        assert_eq!(report["exposure"]["state"], wanted, "{at_sleep:?}");
        service.tell(false).await.unwrap();
        service.delay().await.unwrap();
        wait_for(&opened.item, if stays { "Public" } else { "Private" }).await;
    }
}

#[tokio::test]
async fn the_door_of_a_host_in_a_terminal_is_closed_before_sleep_too() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let app = app.with("DBUS_SYSTEM_BUS_ADDRESS", display.bus());
    let host = ScriptedHost::start(&app).unwrap();
    let mut service = SleepService::start(&display).await.unwrap();
    let running = Running::start(display, app).await;
    wait_for(&running.item, "Quit (Ecto in the Terminal Goes On)").await;
    let delay = service.delay().await.unwrap();
    assert!(!host.asked().contains(&Request::Disconnect));
    service.tell(true).await.unwrap();
    delay.released().await.unwrap();
    assert!(host.asked().contains(&Request::Disconnect));
}

#[tokio::test]
async fn at_wake_the_deadline_is_looked_at_before_anything_else() {
    let Some(moved_clock) = moved_clock() else {
        println!("skipped: libfaketime is not there");
        return;
    };
    let Some((display, app)) = desktop().await else {
        return;
    };
    let clock = display.folder().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let app = app
        .with("DBUS_SYSTEM_BUS_ADDRESS", display.bus())
        .with("LD_PRELOAD", &moved_clock)
        .with("FAKETIME_TIMESTAMP_FILE", &clock)
        .with("FAKETIME_NO_CACHE", "1")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    choose(&app, AtSleep::Stay, OpenFor::Hour);
    let mut service = SleepService::start(&display).await.unwrap();
    let opened = Opened::start(display, app).await;
    let delay = service.delay().await.unwrap();
    opened.connect().await;
    service.tell(true).await.unwrap();
    delay.released().await.unwrap();
    assert_eq!(opened.report().await["exposure"]["state"], "public");
    // What the door was opened for ended in sleep.
    std::fs::write(&clock, "+2h").unwrap();
    let woken = Instant::now();
    service.tell(false).await.unwrap();
    wait_for(&opened.item, "Private").await;
    // Without having been told of the wake, it would look at the clock within fifteen seconds.
    assert!(
        woken.elapsed() < Duration::from_secs(5),
        "{:?}",
        woken.elapsed()
    );
}
