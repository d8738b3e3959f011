//! The machine goes to sleep and wakes up.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ecto_core::exposure::Exposure;
use ecto_host::preferences::{AtSleep, OpenFor, Preferences, PreferencesFile};
use ecto_host::request::Request;
use ecto_sandbox::Sandbox;
use ecto_tests::desktop::{App, LIMIT, ScriptedHost, SleepService};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{
    Opened, Running, ask, desktop, desktop_for, dismiss, picture, stand_ins_for_the_lab, until,
    wait_for,
};

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
        let ends_then = opened
            .text()
            .await
            .contains("Closes earlier if this machine sleeps");
        assert_eq!(ends_then, !stays);
        service.tell(true).await.unwrap();
        delay.released().await.unwrap();
        // At that moment, and not later.
        let exposure = opened.exposure().await;
        let is_as_wanted = match at_sleep {
            AtSleep::Close => exposure == Exposure::Private,
            AtSleep::Stay => matches!(exposure, Exposure::Public { .. }),
        };
        assert!(is_as_wanted, "{at_sleep:?}: {exposure:?}");
        service.tell(false).await.unwrap();
        service.delay().await.unwrap();
        wait_for(&opened.item, if stays { "Public" } else { "Private" }).await;
        let why = "Public ended because this machine went to sleep.";
        if !stays {
            opened.wait_for_text(|text| text.contains(why)).await;
            // It stays for whoever comes back later.
            dismiss(&opened.display, &opened.screen, opened.pid).await;
            opened.item.click("Open Ecto").await.unwrap();
            opened.screen.wait_for_text(opened.pid).await.unwrap();
        }
        assert_eq!(opened.text().await.contains(why), !stays);
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
    let for_sleep = Request::Disconnect { for_sleep: true };
    assert!(!host.asked().contains(&for_sleep));
    service.tell(true).await.unwrap();
    delay.released().await.unwrap();
    assert!(host.asked().contains(&for_sleep));
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
    assert!(matches!(opened.exposure().await, Exposure::Public { .. }));
    // What the door was opened for ended in sleep.
    std::fs::write(&clock, "+2h").unwrap();
    let woken = Instant::now();
    service.tell(false).await.unwrap();
    wait_for(&opened.item, "Private").await;
    // Without having been told of the wake, it would look at the clock within fifteen seconds.
    assert!(
        woken.elapsed() < Duration::from_secs(10),
        "{:?}",
        woken.elapsed()
    );
}

/// How often somebody with the right key got through the guard, as a proof does and the check from outside.
fn proofs(stand_ins: &Sandbox) -> usize {
    let requests = stand_ins.gateway().requests();
    // Only the guard has the gateway's token.
    let passed = requests
        .iter()
        .filter(|request| request.header("authorization").is_some());
    passed.count()
}

#[tokio::test]
async fn a_claim_that_was_lost_in_sleep_is_opened_again_at_wake_with_a_new_proof() {
    let folder = tempfile::Builder::new().prefix("e").tempdir().unwrap();
    let (stand_ins, places) = stand_ins_for_the_lab(folder.path()).await;
    let Some((display, app)) = desktop_for(&["--lab", places.to_str().unwrap()]).await else {
        return;
    };
    let app = app
        .with("ECTO_HOME", "")
        .with("OPENCLAW_CONFIG_PATH", stand_ins.gateway().config_path())
        .with("DBUS_SYSTEM_BUS_ADDRESS", display.bus());
    let mut service = SleepService::start(&display).await.unwrap();
    let opened = Opened::start(display, app).await;
    let delay = service.delay().await.unwrap();
    let mut view = ask(&opened.session, "view", json!({})).await.unwrap();
    let mut preferences = view["preferences"].take();
    preferences["at_sleep"] = json!("stay");
    let chosen = json!({ "preferences": preferences });
    ask(&opened.session, "set_preferences", chosen)
        .await
        .unwrap();
    opened.connect().await;
    let is_reached = |text: &str| text.contains("Reachable from the internet");
    opened.wait_for_text(is_reached).await;
    let before = opened.report().await;
    let titles = "const titleNow = () => document.querySelector('h1').textContent; window.titles = [titleNow()]; new MutationObserver(() => { const title = titleNow(); if (window.titles.at(-1) !== title) window.titles.push(title); }).observe(document.getElementById('popover'), { childList: true, subtree: true, characterData: true })";
    opened.session.execute(titles, &[]).await.unwrap();

    service.tell(true).await.unwrap();
    delay.released().await.unwrap();
    // Asleep nothing goes on. Later nobody comes from outside, so that what reaches the gateway is the proof alone.
    let process = i32::try_from(opened.pid).ok().and_then(Pid::from_raw);
    let process = process.unwrap();
    kill_process(process, Signal::STOP).unwrap();
    stand_ins.edge().die().await;
    let proven = proofs(&stand_ins);
    stand_ins.tailnet().cut_watchers();
    until("the claim stays", async || {
        !stand_ins.tailnet().is_funnel_on()
    })
    .await;
    kill_process(process, Signal::CONT).unwrap();
    service.tell(false).await.unwrap();

    let begun = Instant::now();
    loop {
        let now = opened.report().await["exposure"].take();
        if now["state"] == "public" && now["since"] != before["exposure"]["since"] {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{now}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(stand_ins.tailnet().is_funnel_on());
    // The wake may come while that proof is under way, and it is made once more then.
    assert!(proofs(&stand_ins) > proven);
    // Nobody comes from outside any more.
    opened.title("Not reachable").await;
    picture(&opened.display, "app-woken.png");
    let titles = opened.session.execute("return window.titles", &[]).await;
    let titles = titles.unwrap();
    // Whether the page is told of every step on the way depends on how long each takes.
    let is_on_the_way = |title: &Value| {
        let expected = ["Public", "Getting ready", "Not reachable"];
        expected.iter().any(|expected| title == expected)
    };
    let seen = titles.as_array().unwrap();
    assert!(seen.iter().all(is_on_the_way), "{titles}");
    assert_eq!(seen.first().unwrap(), "Public");
    assert_eq!(seen.last().unwrap(), "Not reachable");
}
