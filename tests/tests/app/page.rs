//! What the page shows of what it is told, and what it forgets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ecto_core::cause::Cause;
use ecto_core::exposure::{Closed, Exposure};
use ecto_core::gateway::GatewayView;
use ecto_core::tailnet::{Installer, Link, TailnetView};
use ecto_tests::desktop::{Clipboard, Display, OtherWindow, ScriptedHost};
use serde_json::json;

use super::{Opened, ask, desktop, desktop_for, dismiss, picture, until, wait_for};

#[tokio::test]
async fn it_forgets_key_and_panels_when_it_is_hidden_and_hears_nothing_until_it_is_seen() {
    // No click is the one that took its focus away.
    let Some((display, app)) = desktop_for(&["--sandbox", "--same-click", "0"]).await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.connect().await;
    let hold = "document.querySelector('[data-hold]').dispatchEvent(new PointerEvent('pointerdown', { bubbles: true, button: 0 }))";
    opened.session.execute(hold, &[]).await.unwrap();
    let key = ask(&opened.session, "reveal_key", json!({})).await.unwrap();
    let key = key.as_str().unwrap();
    opened.wait_for_text(|text| text.contains(key)).await;
    // Only what the host says counts here.
    let deaf = "window.heard = 0; for (const name of ['blur', 'visibilitychange']) for (const place of [window, document]) place.addEventListener(name, event => event.stopImmediatePropagation(), { capture: true }); return window.__TAURI__.event.listen('report', () => window.heard += 1).then(() => null)";
    opened.session.execute(deaf, &[]).await.unwrap();
    opened.wait_for_focus(true).await;
    let other = OtherWindow::open(&opened.display).unwrap();
    opened.screen.wait_for_no_window(opened.pid).await.unwrap();
    opened.wait_for_text(|text| !text.contains(key)).await;
    let source = opened.session.source().await.unwrap();
    assert!(!source.contains(key), "the key stays");
    drop(other);

    let heard = || async {
        opened
            .session
            .execute("return window.heard", &[])
            .await
            .unwrap()
    };
    // What was told while it was still there may come a moment later.
    let mut before = heard().await;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = heard().await;
        if now == before {
            break;
        }
        before = now;
    }
    opened.item.click("Disconnect").await.unwrap();
    wait_for(&opened.item, "Connect").await;
    assert_eq!(heard().await, before);
    opened.item.activate(900, 10).await.unwrap();
    opened.title("Private").await;
    assert_ne!(heard().await, before);

    opened.click("[data-key=open-settings]").await;
    opened.title("Settings").await;
    opened.wait_for_focus(true).await;
    let other = OtherWindow::open(&opened.display).unwrap();
    opened.screen.wait_for_no_window(opened.pid).await.unwrap();
    drop(other);
    opened.title("Private").await;
}

#[tokio::test]
async fn a_blocked_cause_gives_its_link_and_nothing_that_is_no_link() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let host = ScriptedHost::start(&app).unwrap();
    let opened = Opened::start(display, app).await;
    let clipboard = Clipboard::of(&opened.display).unwrap();
    let funnel = "https://login.tailscale.com/f/funnel?node=n1";
    let machines = "https://login.tailscale.com/admin/machines";
    let link = |text: &str| serde_json::from_value::<Link>(json!(text)).ok();
    for (cause, wanted) in [
        (
            Cause::FunnelNotAllowed {
                detail: String::new().into(),
                link: link(funnel),
            },
            funnel,
        ),
        (
            Cause::MachineNotApproved {
                link: link(machines),
            },
            machines,
        ),
    ] {
        let code = cause.code();
        host.report(Exposure::Blocked {
            cause,
            closed: Closed::Yes,
        });
        // The page looks the same as before where it told another cause.
        until(&format!("{code} is not shown"), async || {
            opened.report().await["exposure"]["cause"]["code"] == code
        })
        .await;
        opened.title("Needs you").await;
        let open = "[data-do=open_link]";
        opened.session.wait_for(open).await.unwrap();
        let is_it = |text: &str| text == wanted;
        opened.click("[data-do=copy][data-what=link]").await;
        clipboard.wait_for(is_it).await.unwrap();
    }
    picture(&opened.display, "app-blocked-link.png");
    host.report(Exposure::Private);
    opened.title("Private").await;
    for (command, argument) in [
        ("open_link", json!({ "what": "link" })),
        ("copy", json!({ "what": "link" })),
    ] {
        let refusal = ask(&opened.session, command, argument).await.unwrap_err();
        assert_eq!(refusal["code"], "nothing_there");
    }
}

/// Makes a program that writes links down what this desktop opens them with, and tells where it writes them.
fn write_down_links(display: &Display) -> PathBuf {
    let folder = display.folder();
    let (written, browser) = (folder.join("opened"), folder.join("browser"));
    let script = format!("#!/bin/sh\nprintf %s \"$1\" > '{}'\n", written.display());
    std::fs::write(&browser, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&browser, executable).unwrap();
    let entry = format!(
        "[Desktop Entry]\nType=Application\nName=Links\nExec={} %u\n",
        browser.display()
    );
    let entries = folder.join("data/applications");
    std::fs::create_dir_all(&entries).unwrap();
    std::fs::write(entries.join("links.desktop"), entry).unwrap();
    let chosen = "[Default Applications]\nx-scheme-handler/https=links.desktop\n";
    std::fs::write(folder.join("config/mimeapps.list"), chosen).unwrap();
    written
}

#[tokio::test]
async fn what_is_missing_on_this_machine_leads_to_where_it_is_to_be_had() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let opened_link = write_down_links(&display);
    let host = ScriptedHost::start(&app).unwrap();
    let opened = Opened::start(display, app).await;
    let clipboard = Clipboard::of(&opened.display).unwrap();
    let missing = |installer| {
        host.change(|snapshot| {
            snapshot.tailnet = Some(TailnetView::Missing { installer });
            snapshot.gateway = Some(GatewayView::Missing);
        });
    };
    missing(Installer::Download);
    for (part, wanted) in [
        ("tailscale", "https://tailscale.com/download"),
        ("openclaw", "https://openclaw.ai/"),
    ] {
        let copy = format!("[data-do=copy][data-what={part}]");
        opened.click(&copy).await;
        clipboard.wait_for(|text| text == wanted).await.unwrap();
        if !Path::new("/usr/bin/xdg-open").is_file() {
            continue;
        }
        opened.click(&format!("button[data-key=get-{part}]")).await;
        until(&format!("{part} is not opened"), async || {
            std::fs::read_to_string(&opened_link).unwrap_or_default() == wanted
        })
        .await;
    }
    picture(&opened.display, "app-missing.png");
    let command = "sudo apt-get install tailscale".to_owned();
    missing(Installer::Person { command });
    opened.click("[data-do=copy][data-what=install]").await;
    clipboard
        .wait_for(|text| text == "sudo apt-get install tailscale")
        .await
        .unwrap();
    // An address is never the page's to choose.
    let link = json!({ "what": "https://example.com" });
    let refusal = ask(&opened.session, "open_link", link).await.unwrap_err();
    assert!(refusal.to_string().contains("unknown variant"), "{refusal}");
}

#[tokio::test]
async fn hostile_texts_stay_text() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let hostile = format!(
        "<img src=x onerror=\"window.reached=1\"><b>bold</b> \"quotes\" 'single' &amp; \u{202e}gnp.exe\u{202c} {}",
        "long".repeat(2500)
    );
    let host = ScriptedHost::start(&app).unwrap();
    let opened = Opened::start(display, app).await;
    let detail = hostile.clone();
    host.report(Exposure::Blocked {
        cause: Cause::CouldNotClose {
            detail: detail.into(),
            node: None,
        },
        closed: Closed::Unconfirmed,
    });
    opened.title("Could not close").await;
    let seen = "return { markup: document.querySelectorAll('#popover img, #popover b, #popover a').length, reached: 'reached' in window, text: document.body.innerText, wide: document.documentElement.scrollWidth }";
    let seen = opened.session.execute(seen, &[]).await.unwrap();
    let text = seen["text"].as_str().unwrap();
    assert_eq!(
        (&seen["markup"], &seen["reached"]),
        (&json!(0), &json!(false))
    );
    assert!(text.contains("<b>bold</b>"), "{text}");
    assert!(
        !text.contains('\u{202e}'),
        "a mark that reorders text is shown"
    );
    assert!(text.len() < 5000, "{} bytes are shown", text.len());
    assert_eq!(seen["wide"], 360);
    picture(&opened.display, "app-hostile.png");
    // The tray and the menu hold it too.
    let tooltip = opened.item.tooltip().await.unwrap().text;
    assert!(
        tooltip.starts_with("Ecto: The door could not be seen to close"),
        "{tooltip}"
    );
    assert!(!tooltip.contains('\u{202e}'), "{tooltip}");
    // A tray may take it for markup.
    assert!(!tooltip.contains('<'), "{tooltip}");
    assert!(tooltip.contains("&lt;b&gt;bold&lt;/b&gt;"), "{tooltip}");
    host.report(Exposure::Private);
    dismiss(&opened.display, &opened.screen, opened.pid).await;
    assert!(host.asked().len() > 1);
}
