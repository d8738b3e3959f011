//! What is copied, and the codes to scan.

use std::time::Duration;

use ecto_tests::desktop::{Clipboard, LIMIT};
use serde_json::json;

use super::{Opened, ask, desktop, desktop_for, picture};

#[tokio::test]
async fn every_copy_reaches_the_clipboard_and_is_ready_to_be_used() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.connect().await;
    let clipboard = Clipboard::of(&opened.display).unwrap();
    let report = opened.report().await;
    let url = report["url"].as_str().unwrap();
    let base = report["base_url"].as_str().unwrap();
    let key = ask(&opened.session, "reveal_key", json!({})).await.unwrap();
    let key = key.as_str().unwrap();
    for (what, begin, address) in [
        ("url", "https://", url),
        ("key", "ecto_", key),
        ("curl", "curl ", url),
        ("python", "", base),
        ("javascript", "", base),
        ("environment", "", base),
    ] {
        let before = clipboard.text().unwrap();
        opened
            .click(&format!("[data-do=copy][data-what={what}]"))
            .await;
        let copied = clipboard
            .wait_for(|text| text != before && text.contains(address))
            .await
            .unwrap_or_else(|fault| panic!("{what}: {fault}"));
        assert!(copied.starts_with(begin), "{what}");
        assert_eq!(copied.contains(key), what != "url", "{what}");
        // Whatever holds the key is kept out of clipboard histories.
        let hint = if what == "url" { "" } else { "secret" };
        assert_eq!(clipboard.history_hint().unwrap(), hint, "{what}");
    }
    opened.item.click("Copy URL").await.unwrap();
    clipboard.wait_for(|text| text == url).await.unwrap();
    assert_eq!(clipboard.history_hint().unwrap(), "");
    opened.item.click("Copy Key").await.unwrap();
    clipboard.wait_for(|text| text == key).await.unwrap();
    assert_eq!(clipboard.history_hint().unwrap(), "secret");
}

#[tokio::test]
async fn a_copied_key_goes_from_the_clipboard_by_itself_and_nothing_else_does() {
    /// Longer than it takes to see what was copied.
    const KEPT: Duration = Duration::from_secs(10);
    let seconds = KEPT.as_secs().to_string();
    let kept = ["--sandbox", "--secret-kept", &seconds];
    let Some((display, app)) = desktop_for(&kept).await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.connect().await;
    let clipboard = Clipboard::of(&opened.display).unwrap();
    opened.click("[data-do=copy][data-what=key]").await;
    clipboard
        .wait_for(|text| text.starts_with("ecto_"))
        .await
        .unwrap();
    clipboard.wait_for(str::is_empty).await.unwrap();

    opened.click("[data-do=copy][data-what=key]").await;
    clipboard
        .wait_for(|text| text.starts_with("ecto_"))
        .await
        .unwrap();
    opened.click("[data-do=copy][data-what=url]").await;
    clipboard
        .wait_for(|text| text.starts_with("https://"))
        .await
        .unwrap();
    // Longer than the key would have stayed.
    tokio::time::sleep(KEPT + Duration::from_secs(2)).await;
    assert!(clipboard.text().unwrap().starts_with("https://"));

    // What somebody copies in another program is theirs too.
    opened.click("[data-do=copy][data-what=key]").await;
    clipboard
        .wait_for(|text| text.starts_with("ecto_"))
        .await
        .unwrap();
    let other = Clipboard::of(&opened.display).unwrap();
    other.copy("a shopping list").unwrap();
    clipboard
        .wait_for(|text| text == "a shopping list")
        .await
        .unwrap();
    tokio::time::sleep(KEPT + Duration::from_secs(2)).await;
    assert_eq!(clipboard.text().unwrap(), "a shopping list");
}

#[tokio::test]
async fn a_key_that_is_copied_again_stays_as_long_as_the_first_time() {
    const KEPT: Duration = Duration::from_secs(4);
    let Some((display, app)) = desktop_for(&["--sandbox", "--secret-kept", "4"]).await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.connect().await;
    let clipboard = Clipboard::of(&opened.display).unwrap();
    let what = json!({ "what": "key" });
    ask(&opened.session, "copy", what.clone()).await.unwrap();
    tokio::time::sleep(KEPT / 4).await;
    let again = std::time::Instant::now();
    ask(&opened.session, "copy", what).await.unwrap();
    clipboard.wait_for(str::is_empty).await.unwrap();
    assert!(again.elapsed() >= KEPT, "{:?}", again.elapsed());
}

#[tokio::test]
async fn the_codes_in_the_page_are_read_as_address_and_key() {
    let Some((display, app)) = desktop().await else {
        return;
    };
    let opened = Opened::start(display, app).await;
    opened.connect().await;
    let report = opened.report().await;
    let address = report["url"].as_str().unwrap();
    let shown = opened.text().await;
    assert!(shown.contains(address), "{shown}");
    let key = ask(&opened.session, "reveal_key", json!({})).await.unwrap();
    let key = key.as_str().unwrap();
    opened.click("[data-key=code]").await;
    opened.session.wait_for(".plate img").await.unwrap();
    picture(&opened.display, "app-code.png");
    scan(&opened, |text| text == address).await;
    opened.click("button[data-do=code_with_key]").await;
    let both = format!("{address}\n{key}");
    scan(&opened, |text| text == both).await;
}

/// Reads the code that the page shows, until it says what is wanted. While another one is made there is none.
async fn scan(opened: &Opened, wanted: impl Fn(&str) -> bool) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < LIMIT {
        let script = "return decodeURIComponent(document.querySelector('.plate img')?.src ?? '')";
        let shown = opened.session.execute(script, &[]).await.unwrap();
        if let Some(text) = read(shown.as_str().unwrap())
            && wanted(&text)
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("there is no such code in the page");
}

/// Paints the squares of the picture and reads them as a camera would.
fn read(svg: &str) -> Option<String> {
    const ZOOM: usize = 8;
    let side = svg.split("viewBox=\"0 0 ").nth(1)?.split(' ').next()?;
    let side: usize = side.parse().ok()?;
    let squares: std::collections::HashSet<(usize, usize)> = svg
        .split('M')
        .filter_map(|square| {
            let (x, rest) = square.split_once(',')?;
            let (y, _) = rest.split_once('h')?;
            Some((x.parse().ok()?, y.parse().ok()?))
        })
        .collect();
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(side * ZOOM, side * ZOOM, |x, y| {
            if squares.contains(&(x / ZOOM, y / ZOOM)) {
                0
            } else {
                255
            }
        });
    let grid = image.detect_grids().into_iter().next()?;
    grid.decode().ok().map(|(_, text)| text)
}
