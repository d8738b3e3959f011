//! The test desktop itself: a tray that sees an icon, a driver that drives a page, and children that end with the test.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what is skipped is said")]
#![expect(
    missing_docs,
    reason = "the bus asks for methods that nobody else sees"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ecto_tests::desktop::{
    Child, Display, Driver, Icon, Kind, LIMIT, OtherWindow, Output, Screen, ToolTip, TrayHost,
    missing_programs, processes,
};
use serde_json::json;
use tokio::sync::mpsc;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{ObjectPath, OwnedValue, Value};

/// Says so where this machine has no desktop to test on.
fn is_skipped() -> bool {
    let missing = missing_programs();
    if !missing.is_empty() {
        println!("skipped: {} missing on this machine", missing.join(", "));
    }
    !missing.is_empty()
}

/// What was done to the stand-in.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    Activated(i32, i32),
    Clicked(i32),
}

struct StandInItem {
    done: mpsc::UnboundedSender<Done>,
}

type ToolTipOnTheBus = (
    &'static str,
    Vec<(i32, i32, Vec<u8>)>,
    &'static str,
    &'static str,
);

#[zbus::interface(name = "org.kde.StatusNotifierItem")]
impl StandInItem {
    fn activate(&self, x: i32, y: i32) {
        let _ = self.done.send(Done::Activated(x, y));
    }

    #[zbus(property)]
    fn id(&self) -> &'static str {
        "stand-in"
    }

    #[zbus(property)]
    fn title(&self) -> &'static str {
        "The stand-in"
    }

    #[zbus(property)]
    fn status(&self) -> &'static str {
        "Active"
    }

    #[zbus(property)]
    fn tool_tip(&self) -> ToolTipOnTheBus {
        ("", Vec::new(), "Stand-in", "It is Private.")
    }

    #[zbus(property)]
    fn icon_name(&self) -> &'static str {
        ""
    }

    #[zbus(property)]
    fn icon_pixmap(&self) -> Vec<(i32, i32, Vec<u8>)> {
        vec![(1, 1, vec![255; 4]), (2, 1, vec![7; 8])]
    }

    #[zbus(property)]
    fn menu(&self) -> ObjectPath<'static> {
        ObjectPath::from_static_str_unchecked("/Menu")
    }
}

struct StandInMenu {
    public: bool,
    done: mpsc::UnboundedSender<Done>,
}

type Layout = (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>);

fn line(id: i32, properties: &[(&str, Value<'_>)]) -> OwnedValue {
    let properties: HashMap<String, OwnedValue> = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.try_to_owned().unwrap()))
        .collect();
    Value::from((id, properties, Vec::<OwnedValue>::new()))
        .try_to_owned()
        .unwrap()
}

#[zbus::interface(name = "com.canonical.dbusmenu")]
impl StandInMenu {
    fn get_layout(&self, _parent: i32, _depth: i32, _names: Vec<String>) -> (u32, Layout) {
        let switch = if self.public {
            "_Disconnect"
        } else {
            "_Connect"
        };
        let lines = vec![
            line(1, &[("label", "Private".into()), ("enabled", false.into())]),
            line(2, &[("type", "separator".into())]),
            line(3, &[("label", switch.into())]),
            line(
                4,
                &[
                    ("label", "Open at login".into()),
                    ("toggle-type", "checkmark".into()),
                    ("toggle-state", 1_i32.into()),
                ],
            ),
            line(5, &[("label", "Hidden".into()), ("visible", false.into())]),
        ];
        (1, (0, HashMap::new(), lines))
    }

    async fn event(
        &mut self,
        id: i32,
        kind: String,
        _data: Value<'_>,
        _time: u32,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) {
        assert_eq!(kind, "clicked");
        self.public = !self.public;
        let _ = self.done.send(Done::Clicked(id));
        let _ = Self::layout_updated(&emitter, 2, 0).await;
    }

    #[zbus(signal)]
    async fn layout_updated(
        emitter: &SignalEmitter<'_>,
        revision: u32,
        parent: i32,
    ) -> zbus::Result<()>;
}

#[tokio::test]
async fn an_icon_registers_and_is_read_and_clicked() {
    if is_skipped() {
        return;
    }
    let display = Display::start().await.unwrap();
    let mut tray = TrayHost::start(&display).await.unwrap();

    let (tell, mut done) = mpsc::unbounded_channel();
    let stand_in = zbus::connection::Builder::address(display.bus())
        .unwrap()
        .serve_at("/StatusNotifierItem", StandInItem { done: tell.clone() })
        .unwrap()
        .serve_at(
            "/Menu",
            StandInMenu {
                public: false,
                done: tell,
            },
        )
        .unwrap()
        .build()
        .await
        .unwrap();
    let name = stand_in.unique_name().unwrap().to_string();
    stand_in
        .call_method(
            Some("org.kde.StatusNotifierWatcher"),
            "/StatusNotifierWatcher",
            Some("org.kde.StatusNotifierWatcher"),
            "RegisterStatusNotifierItem",
            &name,
        )
        .await
        .unwrap();

    let item = tray.item().await.unwrap();
    assert_eq!(item.pid().await.unwrap(), std::process::id());
    assert_eq!(item.id().await.unwrap(), "stand-in");
    assert_eq!(item.title().await.unwrap(), "The stand-in");
    assert_eq!(item.status().await.unwrap(), "Active");
    assert_eq!(
        item.tooltip().await.unwrap(),
        ToolTip {
            title: "Stand-in".to_owned(),
            text: "It is Private.".to_owned()
        }
    );
    assert_eq!(
        item.icon().await.unwrap(),
        Icon::Pixels {
            width: 2,
            height: 1,
            argb: vec![7; 8]
        }
    );

    let menu = item.menu().await.unwrap();
    assert_eq!(menu.labels(), ["Private", "--", "Connect", "Open at login"]);
    let [state, separator, connect, at_login, hidden] = menu.children.as_slice() else {
        panic!("{menu:?}");
    };
    assert!(!state.enabled && connect.enabled && !hidden.visible);
    assert_eq!(
        (separator.kind, connect.kind),
        (Kind::Separator, Kind::Standard)
    );
    assert_eq!((connect.ticked, at_login.ticked), (None, Some(true)));

    item.click("Connect").await.unwrap();
    assert_eq!(done.recv().await, Some(Done::Clicked(3)));
    item.wait_for_menu(|menu| menu.find("Disconnect").is_some())
        .await
        .unwrap();
    assert!(item.click("Private").await.is_err(), "it is disabled");
    assert!(item.click("Hidden").await.is_err(), "nobody sees it");
    assert!(item.click("Connect").await.is_err(), "it has gone");
    item.activate(900, 10).await.unwrap();
    assert_eq!(done.recv().await, Some(Done::Activated(900, 10)));
    let menu = item.right_click(0, 0).await.unwrap();
    assert!(menu.is_some(), "the panel shows the menu");

    stand_in.close().await.unwrap();
    item.gone().await.unwrap();
}

/// A browser around the same engine that the app's window has.
fn small_browser() -> Option<PathBuf> {
    std::fs::read_dir("/usr/lib")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path().join("webkit2gtk-4.1/MiniBrowser")))
        .find(|program| program.is_file())
}

#[tokio::test]
async fn a_page_is_driven_and_its_window_is_seen() {
    if is_skipped() {
        return;
    }
    let Some(browser) = small_browser() else {
        println!("skipped: WebKit's small browser is missing on this machine");
        return;
    };
    let display = Display::start().await.unwrap();
    let driver = Driver::start_with(&display, display.environment().to_vec())
        .await
        .unwrap();
    let session = driver
        .open_program(&browser, &["--automation".into()])
        .await
        .unwrap();
    let made = session
        .execute(
            "document.body.innerHTML = '<p id=told role=status>Private</p><input><button>Connect</button>'; \
             document.querySelector('button').onclick = () => { \
                 document.querySelector('#told').textContent = 'Public for ' + document.querySelector('input').value; }; \
             return arguments[0] + 1;",
            &[json!(41)],
        )
        .await
        .unwrap();
    assert_eq!(made, 42);

    let told = session.wait_for("#told").await.unwrap();
    assert_eq!(told.text().await.unwrap(), "Private");
    assert_eq!(
        told.attribute("role").await.unwrap().as_deref(),
        Some("status")
    );
    assert!(session.find("#missing").await.is_err());
    let name = session.find("input").await.unwrap();
    name.type_text("an hour").await.unwrap();
    session.find("button").await.unwrap().click().await.unwrap();
    let text = session
        .wait_for_text("#told", |text| text.starts_with("Public"))
        .await
        .unwrap();
    assert_eq!(text, "Public for an hour");
    session.press('\u{e004}').await.unwrap();
    assert_eq!(session.windows().await.unwrap().len(), 1);

    let pid = processes(driver.pid()).unwrap().get(1).copied().unwrap();
    let screen = Screen::of(&display).unwrap();
    let window = screen.wait_for_window(pid).await.unwrap();
    assert!(window.width > 100 && window.height > 100, "{window:?}");
    screen.wait_for_text(pid).await.unwrap();
    assert_eq!(screen.window(1).unwrap(), None);
    let other = OtherWindow::open(&display).unwrap();
    drop(other);

    session.close().await.unwrap();
    screen.wait_for_no_window(pid).await.unwrap();
}

#[tokio::test]
async fn the_secret_store_of_the_desktop_answers() {
    if is_skipped() {
        return;
    }
    if which::which("gnome-keyring-daemon").is_err() {
        println!("skipped: gnome-keyring is missing on this machine");
        return;
    }
    let mut display = Display::start().await.unwrap();
    display.unlock_secret_store().await.unwrap();
}

#[tokio::test]
async fn what_is_started_ends_with_who_started_it() {
    if which::which("setpriv").is_err() {
        println!("skipped: setpriv is missing on this machine");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("told.txt");
    let sleep = || {
        Child::start(
            Path::new("/bin/sleep"),
            ["600"],
            [("PATH", "/usr/bin:/bin")],
            &log,
            Output::Logged,
        )
        .unwrap()
    };
    let runs = |pid: u32| Path::new(&format!("/proc/{pid}")).exists();

    let child = sleep();
    let pid = child.pid();
    assert!(runs(pid));
    drop(child);
    assert!(!runs(pid));

    // A killed test drops nothing.
    let mut child = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let child = sleep();
                // The kernel is told by `setpriv`, which has done so once it has become `sleep`.
                let name = format!("/proc/{}/comm", child.pid());
                while std::fs::read_to_string(&name).unwrap().trim() != "sleep" {
                    std::thread::sleep(Duration::from_millis(1));
                }
                child
            })
            .join()
            .unwrap()
    });
    let status = child.ended(LIMIT).await.unwrap();
    assert!(!status.success());
}
