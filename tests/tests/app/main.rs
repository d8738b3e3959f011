//! The real app on a private desktop, against the sandbox or a host that reports what a test wants.

#![cfg(target_os = "linux")]
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "what is skipped is said")]

mod clipboard;
mod host;
mod keys;
mod menu;
mod notifications;
mod page;
mod popover;
mod requests;
mod settings;
mod sleep;
mod uninstall;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ecto_core::exposure::Exposure;
use ecto_core::snapshot::Snapshot;
use ecto_host::client::{Client, ClientFault};
use ecto_host::request::Request;
use ecto_sandbox::Sandbox;
use ecto_tests::desktop::{
    App, Child, Display, Driver, Entry, Item, LIMIT, Output, Screen, Session, TrayHost,
    missing_programs, program,
};
use serde_json::{Value, json};

/// Stand-ins that the app takes for the lab, so that its secrets are kept as everywhere but in the sandbox; and the file
/// that names them.
async fn stand_ins_for_the_lab(folder: &Path) -> (Sandbox, PathBuf) {
    let stand_ins = Sandbox::builder().start(folder).await.unwrap();
    let places = folder.join("lab.json");
    let text = json!({
        "tailscaled_socket": stand_ins.tailnet().socket(),
        "resolvers": stand_ins.edge().resolvers(),
        "root_certificate": stand_ins.root_certificate(),
        "edge": stand_ins.edge().address(),
    });
    std::fs::write(&places, text.to_string()).unwrap();
    (stand_ins, places)
}

/// A desktop with the app prepared; `None` where this machine has none, or the app is not built.
async fn desktop() -> Option<(Display, App)> {
    desktop_for(&["--sandbox"]).await
}

async fn desktop_for(arguments: &[&str]) -> Option<(Display, App)> {
    let missing = missing_programs();
    if !missing.is_empty() {
        println!("skipped: {} missing on this machine", missing.join(", "));
        return None;
    }
    let Ok(program) = program("ecto-app") else {
        println!("skipped: the app is not built; `cargo xtask test` builds it");
        return None;
    };
    let display = Display::start().await.unwrap();
    let app = App::new(&display, &program, arguments).unwrap();
    Some((display, app))
}

/// Takes a picture for whoever wants to look: into the folder that this variable names.
fn picture(display: &Display, name: &str) {
    if let Some(folder) = std::env::var_os("ECTO_PICTURES") {
        let file = std::path::Path::new(&folder).join(name);
        display.screenshot(&file).unwrap();
    }
}

fn says(menu: &Entry, label: &str) -> bool {
    menu.find(label).is_some()
}

async fn wait_for(item: &Item, label: &str) {
    item.wait_for_menu(|menu| says(menu, label)).await.unwrap();
}

/// Waits until it is so; `otherwise` says what is wrong where it never is.
async fn until(otherwise: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < LIMIT, "{otherwise}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Presses Escape until the window is gone: a page that is still loading does not hear it. One that is slow has a while to do
/// so, since a press that is still under way would hide what is opened next.
async fn dismiss(display: &Display, screen: &Screen, pid: u32) {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        let mut key = display.run("xdotool", ["key", "Escape"]).unwrap();
        key.ended(LIMIT).await.unwrap();
        let pressed = Instant::now();
        while pressed.elapsed() < Duration::from_secs(2) {
            if screen.window(pid).unwrap().is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    panic!("Escape does not hide the window");
}

/// Asks from the page and gives what is answered, or what is refused.
async fn ask(session: &Session, command: &str, argument: Value) -> Result<Value, Value> {
    let begin = "window.answer = null; window.__TAURI_INTERNALS__.invoke(arguments[0], arguments[1]).then(answer => window.answer = { done: answer }, error => window.answer = { refused: error })";
    session
        .execute(begin, &[json!(command), argument])
        .await
        .unwrap();
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        let answer = session.execute("return window.answer", &[]).await.unwrap();
        if let Value::Object(mut answer) = answer {
            return match answer.remove("refused") {
                Some(refused) => Err(refused),
                None => Ok(answer.remove("done").unwrap_or_default()),
            };
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{command} is not answered");
}

/// What the host says at this moment.
async fn snapshot(app: &App) -> Snapshot {
    ask_for_snapshot(app).await.unwrap()
}

/// The same where it may not be there yet.
async fn ask_for_snapshot(app: &App) -> Result<Snapshot, ClientFault> {
    let socket = app.sandbox().join("run/ecto.sock");
    let mut client = Client::connect(&socket).await?;
    let answer = client.ask(&Request::Status).await?;
    Ok(answer.into_report().unwrap().snapshot)
}

/// The app with its page open and driven.
struct Opened {
    session: Session,
    driver: Driver,
    item: Item,
    pid: u32,
    screen: Screen,
    _tray: TrayHost,
    app: App,
    display: Display,
}

impl Opened {
    async fn start(display: Display, app: App) -> Self {
        let mut tray = TrayHost::start(&display).await.unwrap();
        let driver = Driver::start(&display, &app).await.unwrap();
        // The driver waits for the page, and the page for a click where it is not the first run.
        let (session, item) = tokio::join!(driver.open(&app), async {
            let item = tray.item().await.unwrap();
            item.click("Open Ecto").await.unwrap();
            item
        });
        let pid = item.pid().await.unwrap();
        let screen = Screen::of(&display).unwrap();
        screen.wait_for_text(pid).await.unwrap();
        Self {
            session: session.unwrap(),
            driver,
            item,
            pid,
            screen,
            _tray: tray,
            app,
            display,
        }
    }

    async fn click(&self, selector: &str) {
        self.session.click(selector).await.unwrap();
    }

    /// Waits until it has the focus, as its page knows it, or until others have it.
    async fn wait_for_focus(&self, is_its: bool) {
        let holder = is_its.then_some(self.pid);
        self.screen.wait_for_focus(holder).await.unwrap();
        let script = "return document.hasFocus()";
        until("the page knows nothing of its focus", async || {
            self.session.execute(script, &[]).await.unwrap() == is_its
        })
        .await;
    }

    async fn connect(&self) {
        self.click("[data-do=connect]").await;
        self.session
            .wait_for("[data-mood=public] [data-what=key]")
            .await
            .unwrap();
    }

    async fn title(&self, title: &str) {
        let is_title = |text: &str| text == title;
        self.session.wait_for_text("h1", is_title).await.unwrap();
    }

    /// All text in the page; the driver does not read text in lines that are limited in number.
    async fn text(&self) -> String {
        let script = "return document.getElementById('popover').textContent";
        let text = self.session.execute(script, &[]).await.unwrap();
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the text in the page is as wanted.
    async fn wait_for_text(&self, wanted: impl Fn(&str) -> bool) {
        until("the page stays", async || wanted(&self.text().await)).await;
    }

    /// What this command tells in a terminal, as JSON.
    async fn told_in_terminal(&self, arguments: &[&str]) -> Value {
        let log = self.display.folder().join("terminal.txt");
        let mut command = Child::start(
            self.app.program(),
            [arguments, &["--json", "--sandbox"]].concat(),
            self.app.environment(&self.display),
            &log,
            Output::Piped,
        )
        .unwrap();
        let status = command.ended(LIMIT).await.unwrap();
        assert!(status.success(), "{}", command.log());
        serde_json::from_reader(command.output().unwrap()).unwrap()
    }

    /// What becomes of the door, as the host says it at this moment.
    async fn exposure(&self) -> Exposure {
        snapshot(&self.app).await.exposure
    }

    /// What the app shows, which comes a moment after what the host says.
    async fn report(&self) -> Value {
        let mut view = ask(&self.session, "view", json!({})).await.unwrap();
        view["report"].take()
    }
}

/// The app with its icon in the tray and its page hidden.
struct Running {
    process: Child,
    item: Item,
    screen: Screen,
    tray: TrayHost,
    app: App,
    display: Display,
}

impl Running {
    async fn start(display: Display, app: App) -> Self {
        let mut tray = TrayHost::start(&display).await.unwrap();
        let process = app.start(&display).unwrap();
        let item = tray.item().await.unwrap();
        let screen = Screen::of(&display).unwrap();
        screen.wait_for_window(process.pid()).await.unwrap();
        dismiss(&display, &screen, process.pid()).await;
        Self {
            process,
            item,
            screen,
            tray,
            app,
            display,
        }
    }
}
