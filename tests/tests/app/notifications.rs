//! What the desktop is told.

use std::time::Duration;

use ecto_core::cause::{Cause, ReachCause};
use ecto_core::exposure::{Exposure, Reach};
use ecto_core::snapshot::Notice;
use ecto_tests::desktop::{App, Display, Item, LIMIT, Notifications, OtherWindow, ScriptedHost};
use serde_json::json;

use super::{Opened, Running, ask, desktop, dismiss, picture, until, wait_for};

#[tokio::test]
async fn what_needs_a_person_and_what_is_reached_is_told() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let mut notifications = Notifications::start(&display).await.unwrap();
    let running = Running::start(display, app).await;
    running.item.click("Connect").await.unwrap();
    let mut titles = Vec::new();
    loop {
        let shown = notifications.next().await.unwrap();
        assert_eq!(shown.program, "Ecto");
        assert_eq!(shown.icon, "dev.ecto.app");
        assert_eq!(shown.entry.as_deref(), Some("dev.ecto.app"));
        assert!(!shown.body.contains("ecto_"), "a key is told");
        assert!(!shown.body.contains("login.tailscale"), "{}", shown.body);
        titles.push(shown.title);
        if titles.last().is_some_and(|title| title == "Public") {
            break;
        }
    }
    assert_eq!(titles, ["Ecto needs you", "Ecto needs you", "Public"]);
    wait_for(&running.item, "Public").await;

    // A click on it opens the popover.
    let pid = running.process.pid();
    assert!(running.screen.window(pid).unwrap().is_none());
    notifications.click().await.unwrap();
    running.screen.wait_for_text(pid).await.unwrap();
    dismiss(&running.display, &running.screen, pid).await;
    running.item.click("Disconnect").await.unwrap();
    wait_for(&running.item, "Connect").await;
    assert_eq!(notifications.rest(), []);
}

fn public(reach: &serde_json::Value) -> Exposure {
    serde_json::from_value(json!({
        "state": "public", "address": { "host": "ecto.example.ts.net", "port": 443 },
        "since": "2026-11-22T10:00:00Z", "until": null, "reach": reach, "held": null,
    }))
    .unwrap()
}

/// Brings a scripted host to Public, unreachable, and closed by itself.
async fn go_wrong(host: &ScriptedHost, running: &Item) {
    host.report(public(&json!({ "reach": "unchecked" })));
    wait_for(running, "Public").await;
    let failures = [
        (ReachCause::NotAnswering, "do not answer"),
        (ReachCause::RelayRefuses, "drop it"),
    ];
    for (second, (cause, said)) in failures.into_iter().enumerate() {
        host.change(|snapshot| {
            if let Exposure::Public { reach, since, .. } = &mut snapshot.exposure {
                let at = *since + Duration::from_secs(second as u64);
                *reach = Reach::Unreachable { cause, at };
            }
        });
        until(&format!("{said} is not told"), async || {
            running.tooltip().await.unwrap().text.contains(said)
        })
        .await;
    }
    host.change(|snapshot| {
        if let Exposure::Public { since, .. } = &snapshot.exposure {
            snapshot.notice = Some(Notice::ClosedUnexpectedly {
                cause: Cause::TailscaleLost,
                at: *since,
            });
        }
        snapshot.exposure = Exposure::Private;
    });
    wait_for(running, "Private").await;
}

/// Reads what is told of that.
async fn told_in_turn(notifications: &mut Notifications) {
    for title in [
        "Public",
        "Not reachable from the internet",
        "The door closed unexpectedly",
    ] {
        assert_eq!(notifications.next().await.unwrap().title, title);
    }
}

fn scripted(desktop: Option<(Display, App)>) -> Option<(Display, App, ScriptedHost)> {
    let (display, app) = desktop?;
    let host = ScriptedHost::start(&app).unwrap();
    Some((display, app, host))
}

#[tokio::test]
async fn what_goes_wrong_is_told_to_those_who_do_not_look() {
    let Some((display, app, host)) = scripted(desktop().await) else {
        return;
    };
    let mut notifications = Notifications::start(&display).await.unwrap();
    let running = Running::start(display, app).await;
    go_wrong(&host, &running.item).await;
    told_in_turn(&mut notifications).await;
    assert_eq!(notifications.rest(), []);
}

#[tokio::test]
async fn what_comes_later_is_told_later_however_long_the_desktop_takes() {
    let Some((display, app, host)) = scripted(desktop().await) else {
        return;
    };
    let mut notifications = Notifications::start(&display).await.unwrap();
    let running = Running::start(display, app).await;
    let first_waits = notifications.hold_next();
    go_wrong(&host, &running.item).await;
    drop(first_waits);
    told_in_turn(&mut notifications).await;
    assert_eq!(notifications.rest(), []);
}

#[tokio::test]
async fn what_the_desktop_never_takes_holds_up_nothing_that_comes_later() {
    let Some((display, app, host)) = scripted(desktop().await) else {
        return;
    };
    let mut notifications = Notifications::start(&display).await.unwrap();
    let running = Running::start(display, app).await;
    let _first_waits = notifications.hold_next();
    go_wrong(&host, &running.item).await;
    let next = notifications.next().await.unwrap();
    assert_eq!(next.title, "Not reachable from the internet");
}

#[tokio::test]
async fn a_window_behind_another_does_not_count_as_looked_at() {
    let Some((display, app, host)) = scripted(desktop().await) else {
        return;
    };
    let mut notifications = Notifications::start(&display).await.unwrap();
    let opened = Opened::start(display, app).await;
    let pid = opened.pid;
    dismiss(&opened.display, &opened.screen, pid).await;
    let mut again = opened.app.start(&opened.display).unwrap();
    assert!(again.ended(LIMIT).await.unwrap().success());
    opened.screen.wait_for_text(pid).await.unwrap();
    opened.wait_for_focus(true).await;
    let _other = OtherWindow::open(&opened.display).unwrap();
    opened.wait_for_focus(false).await;
    assert!(opened.screen.window(pid).unwrap().is_some());
    go_wrong(&host, &opened.item).await;
    told_in_turn(&mut notifications).await;
}

#[tokio::test]
async fn nothing_is_told_to_those_who_look_or_do_not_want_it() {
    let Some((display, app, host)) = scripted(desktop().await) else {
        return;
    };
    let mut notifications = Notifications::start(&display).await.unwrap();
    let opened = Opened::start(display, app).await;
    go_wrong(&host, &opened.item).await;
    assert_eq!(notifications.rest(), []);

    let Some((display, app, host)) = scripted(desktop().await) else {
        return;
    };
    let settings = json!({ "version": 1, "node": "auto", "at_sleep": "stay", "notifications": false, "minutes": null });
    std::fs::write(app.sandbox().join("settings.json"), settings.to_string()).unwrap();
    let mut notifications = Notifications::start(&display).await.unwrap();
    let opened = Opened::start(display, app).await;
    super::dismiss(&opened.display, &opened.screen, opened.pid).await;
    go_wrong(&host, &opened.item).await;
    assert_eq!(notifications.rest(), []);
}

#[tokio::test]
async fn what_the_menu_is_refused_is_told_and_in_the_popover_where_no_notification_is_taken() {
    for takes_notifications in [true, false] {
        let Some((display, app, host)) = scripted(desktop().await) else {
            return;
        };
        let mut notifications = None;
        if takes_notifications {
            notifications = Some(Notifications::start(&display).await.unwrap());
        }
        let opened = Opened::start(display, app).await;
        dismiss(&opened.display, &opened.screen, opened.pid).await;
        host.refuse(Cause::TailscaleLost);
        opened.item.click("Connect").await.unwrap();
        let refusal = ecto_core::words::cause(&Cause::TailscaleLost).what;
        if let Some(notifications) = &mut notifications {
            assert_eq!(notifications.next().await.unwrap().title, refusal);
            assert!(opened.screen.window(opened.pid).unwrap().is_none());
            continue;
        }
        opened.screen.wait_for_text(opened.pid).await.unwrap();
        opened.wait_for_text(|text| text.contains(&refusal)).await;
        picture(&opened.display, "app-refused.png");
        // It was read.
        dismiss(&opened.display, &opened.screen, opened.pid).await;
        opened.item.click("Open Ecto").await.unwrap();
        opened.screen.wait_for_text(opened.pid).await.unwrap();
        opened.wait_for_text(|text| !text.contains(&refusal)).await;
    }
}

#[tokio::test]
async fn a_desktop_that_takes_no_notifications_loses_nothing() {
    let Some((display, app, host)) = scripted(desktop().await) else {
        return;
    };
    let running = Running::start(display, app).await;
    go_wrong(&host, &running.item).await;
    running.item.activate(900, 10).await.unwrap();
    running
        .screen
        .wait_for_text(running.process.pid())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_settings_tell_whether_the_desktop_shows_any() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.click("[data-key=open-settings]").await;
    let shows_none = |text: &str| text.contains("Nothing here shows notifications");
    opened.wait_for_text(shows_none).await;
    let switch = |rest: &str| format!("button[data-do=notifications]{rest}");
    let off = switch("[aria-checked=false]:disabled");
    opened.session.wait_for(&off).await.unwrap();
    dismiss(&opened.display, &opened.screen, opened.pid).await;
    let _notifications = Notifications::start(&opened.display).await.unwrap();
    opened.item.click("Settings…").await.unwrap();
    opened
        .wait_for_text(|text| text.contains("Notifications") && !shows_none(text))
        .await;
    let on = switch("[aria-checked=true]:enabled");
    opened.session.wait_for(&on).await.unwrap();
}

#[tokio::test]
async fn what_the_page_is_refused_when_nobody_looks_any_more_is_told_and_stands_there_next_time() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let host = ScriptedHost::start(&app).unwrap();
    let mut notifications = Notifications::start(&display).await.unwrap();
    let opened = Opened::start(display, app).await;
    let stays = Cause::KeyNotRevoked {
        name: "phone".parse().unwrap(),
        detail: "the secret store did not answer in time".into(),
    };
    let said = ecto_core::words::cause(&stays).what;
    host.refuse(stays);
    dismiss(&opened.display, &opened.screen, opened.pid).await;
    let refused = ask(&opened.session, "revoke_key", json!({ "name": "phone" })).await;
    assert_eq!(refused.unwrap_err()["code"], "key_not_revoked");
    assert_eq!(notifications.next().await.unwrap().title, said);
    notifications.click().await.unwrap();
    opened.screen.wait_for_text(opened.pid).await.unwrap();
    opened.wait_for_text(|text| text.contains(&said)).await;

    // Whoever looks at it reads it there.
    let refused = ask(&opened.session, "revoke_key", json!({ "name": "phone" })).await;
    assert_eq!(refused.unwrap_err()["code"], "key_not_revoked");
    assert_eq!(notifications.rest(), []);
}
