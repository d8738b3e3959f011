//! The popover: from Private to Public and back, and where it stands.

use std::time::{Duration, Instant};

use ecto_tests::desktop::{Driver, LIMIT, OtherWindow, Screen, TrayHost, Window};

use super::{Opened, Running, ask, desktop, desktop_for, dismiss, picture, until, wait_for};

#[tokio::test]
async fn the_popover_goes_from_private_to_public_and_back() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let mut host = TrayHost::start(&display).await.unwrap();
    let driver = Driver::start(&display, &app).await.unwrap();
    // The first run opens the page that the driver waits for.
    let (session, item) = tokio::join!(driver.open(&app), host.item());
    let (session, item) = (session.unwrap(), item.unwrap());
    let pid = item.pid().await.unwrap();
    let screen = Screen::of(&display).unwrap();
    screen.wait_for_text(pid).await.unwrap();
    session.wait_for("[data-do=connect]").await.unwrap();
    picture(&display, "app-private.png");

    // Only what the capability names can be called.
    for refused in [
        "plugin:window|close",
        "plugin:event|emit",
        "plugin:webview|create_webview_window",
        "plugin:shell|open",
        "shell",
    ] {
        let answer = ask(&session, refused, serde_json::json!({})).await;
        let answer = answer.unwrap_err().to_string();
        assert!(
            answer.contains("not allowed") || answer.contains("not found"),
            "{refused}: {answer}"
        );
    }

    // What the page is not made for is refused by the policy that it comes with, and by its own.
    let refused = "return new Promise(done => {
        const heard = new Set();
        document.addEventListener('securitypolicyviolation', event => {
            heard.add(`${event.effectiveDirective} ${event.originalPolicy.includes('frame-ancestors') ? 'comes' : 'own'}`);
            if (heard.size === 4) done([...heard].sort());
        });
        const add = (tag, set) => document.body.appendChild(Object.assign(document.createElement(tag), set));
        add('base', { href: 'https://elsewhere.example/' });
        add('form', { action: 'https://elsewhere.example/' }).submit();
    })";
    let refused = session.execute(refused, &[]).await.unwrap();
    let wanted = [
        "base-uri comes",
        "base-uri own",
        "form-action comes",
        "form-action own",
    ];
    assert_eq!(refused, serde_json::json!(wanted));

    session.click("[data-do=connect]").await.unwrap();
    wait_for(&item, "Copy URL").await;
    wait_for(&item, "Public").await;
    session
        .wait_for("[data-do=copy][data-what=url]")
        .await
        .unwrap();
    let shown = session
        .execute("return document.body.innerText", &[])
        .await
        .unwrap();
    assert!(shown.as_str().unwrap().contains("https://"), "{shown}");
    picture(&display, "app-public.png");

    // Hidden by Escape, opened by a click on the icon, hidden by a second one.
    dismiss(&display, &screen, pid).await;
    item.activate(900, 10).await.unwrap();
    let begun = Instant::now();
    loop {
        // It is put there a moment after it is shown.
        let window = screen.wait_for_window(pid).await.unwrap();
        if (window.x, window.y) == (720, 16) {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{window:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    screen.wait_for_text(pid).await.unwrap();
    item.activate(900, 10).await.unwrap();
    screen.wait_for_no_window(pid).await.unwrap();
    item.activate(900, 10).await.unwrap();
    screen.wait_for_window(pid).await.unwrap();

    session.click("[data-do=disconnect]").await.unwrap();
    wait_for(&item, "Connect").await;
    session.wait_for("[data-do=connect]").await.unwrap();
    session.close().await.unwrap();
}

#[tokio::test]
async fn it_follows_the_height_of_its_page_from_under_its_icon_and_from_above() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    let (screen, pid) = (&opened.screen, opened.pid);
    let page = || async {
        let script = "return document.querySelector('main').offsetHeight";
        opened
            .session
            .execute(script, &[])
            .await
            .unwrap()
            .as_u64()
            .unwrap()
    };
    let bottom = |window: Window| window.y + i32::from(window.height);
    // The same icon on a panel at the top, and one at the bottom: of its edges, that at the icon stays.
    for (y, is_above, edge) in [(10, true, 16), (790, false, 784)] {
        let fits = |selector: &'static str| {
            let (page, session) = (&page, &opened.session);
            async move {
                session.wait_for(selector).await.unwrap();
                let begun = Instant::now();
                loop {
                    // The page may still be getting more to show.
                    let wanted = page().await.clamp(120, 640);
                    let window = screen.window(pid).unwrap().unwrap();
                    let at_icon = if is_above { window.y } else { bottom(window) };
                    let is = (u64::from(window.height), window.x, at_icon);
                    if is == (wanted, 720, edge) {
                        return window;
                    }
                    assert!(
                        begun.elapsed() < LIMIT,
                        "{window:?} while the page takes {wanted}"
                    );
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        dismiss(&opened.display, screen, pid).await;
        opened.item.activate(900, y).await.unwrap();
        screen.wait_for_window(pid).await.unwrap();
        let door = fits("[data-do=connect]").await;
        opened.click("[data-key=open-settings]").await;
        let settings = fits("[data-key=launch]").await;
        assert!(settings.height > door.height, "{door:?} {settings:?}");
        picture(&opened.display, &format!("app-settings-{y}.png"));
        opened.click("[data-do=back]").await;
        fits("[data-do=connect]").await;
    }
    // Whatever the page says; GTK makes no window of this kind lower than 200.
    for (asked, given) in [(5.0, 120..=200), (9e99, 640..=640)] {
        let argument = serde_json::json!({ "height": asked });
        ask(&opened.session, "resize", argument).await.unwrap();
        let begun = Instant::now();
        loop {
            let height = screen.window(pid).unwrap().unwrap().height;
            if given.contains(&height) {
                break;
            }
            assert!(begun.elapsed() < LIMIT, "{asked}: {height}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn another_windows_focus_hides_it_and_the_menu_opens_its_settings() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.wait_for_focus(true).await;
    let other = OtherWindow::open(&opened.display).unwrap();
    opened.screen.wait_for_no_window(opened.pid).await.unwrap();
    drop(other);
    opened.item.click("Settings…").await.unwrap();
    opened.screen.wait_for_window(opened.pid).await.unwrap();
    opened.title("Settings").await;
    let address = opened.session.execute("return location.hash", &[]).await;
    assert_eq!(address.unwrap(), "");
    drop(opened.driver);
    drop(opened.app);
}

#[tokio::test]
async fn the_click_that_takes_its_focus_away_does_not_open_it_again() {
    // However long it is under way.
    let same_click = ["--sandbox", "--same-click", "60000"];
    let Some((display, app)) = desktop_for(&same_click).await else {
        return;
    };
    let running = Running::start(display, app).await;
    let (screen, pid) = (&running.screen, running.process.pid());
    running.item.activate(900, 10).await.unwrap();
    screen.wait_for_text(pid).await.unwrap();
    screen.wait_for_focus(Some(pid)).await.unwrap();
    // As a panel does that takes the focus when its icon is pressed.
    let panel = OtherWindow::open(&running.display).unwrap();
    screen.wait_for_no_window(pid).await.unwrap();
    running.item.activate(900, 10).await.unwrap();
    for _ in 0..50 {
        assert!(screen.window(pid).unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(panel);
    running.item.activate(900, 10).await.unwrap();
    screen.wait_for_window(pid).await.unwrap();
}

#[tokio::test]
async fn a_click_on_the_icon_brings_a_window_that_nobody_looks_at_to_the_front() {
    // No click is the one that took its focus away.
    let Some((display, app)) = desktop_for(&["--sandbox", "--same-click", "0"]).await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    let (item, screen, pid) = (&opened.item, &opened.screen, opened.pid);
    dismiss(&opened.display, screen, pid).await;
    let mut again = opened.app.start(&opened.display).unwrap();
    assert!(again.ended(LIMIT).await.unwrap().success());
    screen.wait_for_text(pid).await.unwrap();
    opened.wait_for_focus(true).await;

    let _other = OtherWindow::open(&opened.display).unwrap();
    opened.wait_for_focus(false).await;
    item.activate(900, 10).await.unwrap();
    opened.wait_for_focus(true).await;
    assert!(screen.window(pid).unwrap().is_some());

    // In front of everybody it is hidden.
    item.activate(900, 10).await.unwrap();
    screen.wait_for_no_window(pid).await.unwrap();
}

#[tokio::test]
async fn a_list_of_choices_leaves_it_open_until_the_focus_really_goes() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    let (screen, pid) = (&opened.screen, opened.pid);
    let by_hand = |arguments: Vec<String>| {
        let mut done = opened.display.run("xdotool", arguments).unwrap();
        async move { assert!(done.ended(LIMIT).await.unwrap().success()) }
    };
    let press = |key: &str| by_hand(vec!["key".to_owned(), key.to_owned()]);
    let open_list = || async {
        let list = "const box = document.querySelector('[data-choose=minutes]').getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2].map(Math.round)";
        opened.session.wait_until_it_fits().await.unwrap();
        let list = opened.session.execute(list, &[]).await.unwrap();
        let window = screen.window(pid).unwrap().unwrap();
        let at = |place: i32, index: usize| {
            (i64::from(place) + list[index].as_i64().unwrap()).to_string()
        };
        let (x, y) = (at(window.x, 0), at(window.y, 1));
        by_hand(
            ["mousemove", &x, &y, "click", "1"]
                .map(str::to_owned)
                .into(),
        )
        .await;
        screen.wait_for_windows(pid, 2).await.unwrap();
        // Longer than the focus takes to settle.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(screen.windows(pid).unwrap().len(), 2);
    };
    let chosen = || async {
        let view = ask(&opened.session, "view", serde_json::json!({})).await;
        view.unwrap()["preferences"]["minutes"].clone()
    };
    // Once what is on the machine is told, nothing moves any more.
    for shown in [
        "[data-key=Tailscale]",
        "[data-key=OpenClaw]",
        "[data-choose=minutes]",
    ] {
        opened.session.wait_for(shown).await.unwrap();
    }
    assert_eq!(chosen().await, 60);
    opened.wait_for_focus(true).await;

    open_list().await;
    picture(&opened.display, "app-list.png");
    press("Up").await;
    press("Return").await;
    until("nothing is chosen", async || chosen().await == 15).await;
    screen.wait_for_windows(pid, 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(screen.windows(pid).unwrap().len(), 1);

    // The focus goes while the list is open, and it closes later.
    open_list().await;
    let other = OtherWindow::open(&opened.display).unwrap();
    press("Escape").await;
    screen.wait_for_no_window(pid).await.unwrap();
    drop(other);
    opened.item.click("Open Ecto").await.unwrap();
    screen.wait_for_text(pid).await.unwrap();
    opened.wait_for_focus(true).await;
    let _other = OtherWindow::open(&opened.display).unwrap();
    screen.wait_for_no_window(pid).await.unwrap();
}

#[tokio::test]
async fn its_page_is_let_go_of_when_nobody_opens_it_and_made_anew_when_somebody_does() {
    let Some((display, app)) = desktop_for(&["--sandbox", "--page-kept", "1"]).await else {
        return;
    };
    let running = Running::start(display, app).await;
    let pid = running.process.pid();
    let pages = || {
        ecto_tests::desktop::processes(pid)
            .unwrap()
            .into_iter()
            .filter(|process| {
                std::fs::read_to_string(format!("/proc/{process}/comm"))
                    .is_ok_and(|name| name.starts_with("WebKitWebProces"))
            })
            .count()
    };
    for _ in 0..2 {
        until("the page stays", async || pages() == 0).await;
        running.item.activate(900, 10).await.unwrap();
        running.screen.wait_for_text(pid).await.unwrap();
        assert_eq!(pages(), 1);
        dismiss(&running.display, &running.screen, pid).await;
    }
    wait_for(&running.item, "Connect").await;
    drop((running.tray, running.app));
}
