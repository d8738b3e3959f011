//! What the menu and the page can ask for.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecto_cli::client_example;
use ecto_core::Timestamp;
use ecto_core::cause::Cause;
use ecto_core::gateway::RestoredKey;
use ecto_core::ports::RequestLine;
use ecto_core::snapshot::{KeyState, KeyView};
use ecto_core::tailnet::Link;
use ecto_core::wanted::NewDeadline;
use ecto_core::words;
use ecto_host::preferences::{AtSleep, Found, OpenFor, Preferences, PreferencesFile};
use ecto_host::report::Report;
use ecto_host::request::Request;
use ecto_platform::System;
use ecto_platform::clipboard::Board;
use ecto_platform::desktop::{SettingsPane, SystemDesktop};
use ecto_platform::vault::VaultNotice;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use crate::copied::Copied;
use crate::diagnostics;
use crate::hosting::{Hosting, Noticed, Quit};
use crate::keys::{NewKey, key_name};
use crate::launch::Launch;
use crate::login::Login;
use crate::qr;
use crate::refusal::Refusal;
use crate::view::{self, AppView, LoginItem, NotificationStanding, SystemName, report_at_start};

/// How long a host that was asked to end may take to be seen to end.
const HOST_ENDS: Duration = Duration::from_secs(1);

/// What leads to the page on which Tailscale is to be had.
const GET_TAILSCALE: Cause = Cause::TailscaleToDownload;

/// What leads to the page on which OpenClaw is to be had.
const GET_OPENCLAW: Cause = Cause::OpenClawMissing;

/// How many of the last requests are shown.
const REQUESTS_SHOWN: usize = 50;

/// What may be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum CopyWhat {
    /// The address of chat completions.
    Url,
    /// The key.
    Key,
    /// A curl with the key.
    Curl,
    /// A Python program with the key.
    Python,
    /// A JavaScript program with the key.
    Javascript,
    /// The variables that client libraries read, with the key.
    Environment,
    /// The link that a person is asked to open.
    Link,
    /// What a person is asked to type.
    Command,
    /// Where Tailscale is to be had.
    Tailscale,
    /// Where OpenClaw is to be had.
    Openclaw,
    /// What a person types to have Tailscale.
    Install,
}

impl CopyWhat {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Self; 11] = [
        Self::Url,
        Self::Key,
        Self::Curl,
        Self::Python,
        Self::Javascript,
        Self::Environment,
        Self::Link,
        Self::Command,
        Self::Tailscale,
        Self::Openclaw,
        Self::Install,
    ];
}

/// What may be opened outside of Ecto.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum OpenWhat {
    /// The page that a person is asked to open now.
    Link,
    /// Where Tailscale is to be had.
    Tailscale,
    /// Where OpenClaw is to be had.
    Openclaw,
    /// Where the system lets Ecto show notifications.
    NotificationSettings,
    /// Where the system lets Ecto open at login.
    LoginSettings,
}

impl OpenWhat {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Self; 5] = [
        Self::Link,
        Self::Tailscale,
        Self::Openclaw,
        Self::NotificationSettings,
        Self::LoginSettings,
    ];
}

/// What may be made into a code to scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum CodeWhat {
    /// The address of chat completions.
    Url,
    /// The same, and in a second line the key.
    UrlAndKey,
}

impl CodeWhat {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Self; 2] = [Self::Url, Self::UrlAndKey];
}

/// Whether Ecto is being taken off this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Uninstall {
    /// It is not.
    #[default]
    No,
    /// It is.
    UnderWay,
    /// It was, and what was done has still to be read.
    Done,
    /// It could not be, and the host had ended for it.
    Failed,
}

/// What the menu and the page can ask for.
#[derive(Debug)]
pub struct Application {
    /// How the app was started.
    pub launch: Launch,
    /// The host, in this process or another.
    pub hosting: Arc<Hosting>,
    view: watch::Sender<AppView>,
    preferences: PreferencesFile,
    login: Login,
    board: Board,
    copied: Arc<Copied>,
    /// The diagnostics as they were shown, so that just these are saved.
    diagnosed: Mutex<Option<String>>,
    uninstall: watch::Sender<Uninstall>,
    /// Is told that the files by which another start finds this app may be gone.
    unsettled: Notify,
    leaving: watch::Sender<bool>,
}

impl Application {
    /// Puts it together; no host runs yet.
    pub fn new(launch: Launch, login: Login) -> (Arc<Self>, watch::Receiver<Report>) {
        let preferences = PreferencesFile::in_folder(launch.folders.state());
        let found = preferences.read();
        let reports = watch::Sender::new(report_at_start(launch.world.kind()));
        let received = reports.subscribe();
        let view = AppView {
            order: 0,
            report: reports.borrow().clone(),
            preferences: found.preferences(),
            system: SystemName::from(System::current()),
            launch_at_login: login.state(),
            notifications: NotificationStanding::Shown,
            tray: true,
            sleep_is_told: false,
            starting: true,
            silent: false,
            first_run: found == Found::Nothing,
            refusal: None,
            settings_aside: (found == Found::Unreadable)
                .then(|| preferences.aside().display().to_string()),
            vault_notices: Vec::new(),
            link: None,
            command: None,
        };
        let application = Self {
            hosting: Arc::new(Hosting::new(launch.clone(), reports)),
            view: watch::Sender::new(view),
            preferences,
            login,
            board: Board::default(),
            copied: Arc::default(),
            diagnosed: Mutex::default(),
            uninstall: watch::Sender::default(),
            unsettled: Notify::new(),
            leaving: watch::Sender::default(),
            launch,
        };
        (Arc::new(application), received)
    }

    /// What is shown, now and from now on.
    pub fn views(&self) -> watch::Receiver<AppView> {
        self.view.subscribe()
    }

    /// What is shown now.
    pub fn view(&self) -> AppView {
        self.view.borrow().clone()
    }

    /// Takes over a report of the host.
    pub fn take_report(&self, report: Report) {
        let notices = self.hosting.notices();
        self.change(|view| {
            view.take_report(report);
            let keys = &view.report.snapshot.keys;
            let in_force = notices.iter().filter(|noticed| !is_over(noticed, keys));
            view.vault_notices = in_force
                .map(|noticed| in_words_of_the_app(&noticed.notice))
                .collect();
            view.starting = false;
        });
    }

    /// Takes over whether a host in a terminal does not answer.
    pub fn take_silence(&self, silent: bool) {
        self.change(|view| view.silent = silent);
    }

    /// Takes over whether there is an icon to click.
    pub fn take_tray(&self, there: bool) {
        self.change(|view| view.tray = there);
    }

    /// Takes over whether the machine tells when it goes to sleep, and waits for the door to close.
    pub fn take_sleep(&self, told: bool) {
        self.change(|view| view.sleep_is_told = told);
    }

    /// Takes over what the menu was refused and nobody has been told, or that it was read.
    pub fn take_refusal(&self, refusal: Option<Refusal>) {
        self.change(|view| view.refusal = refusal);
    }

    /// Takes over whether the desktop shows what Ecto tells.
    pub fn take_notifications(&self, notifications: NotificationStanding) {
        self.change(|view| view.notifications = notifications);
    }

    /// Looks again at what others may have changed.
    pub fn look_again(&self) {
        let launch_at_login = self.login.state();
        self.change(|view| view.launch_at_login = launch_at_login);
    }

    /// Has what is shown be shown once more, although nothing changed.
    pub fn show_again(&self) {
        self.view.send_modify(|_| {});
    }

    fn change(&self, change: impl FnOnce(&mut AppView)) {
        self.view.send_if_modified(|view| {
            let before = view.clone();
            change(view);
            let changed = *view != before;
            view.order += u64::from(changed);
            changed
        });
    }

    /// Opens the door for this long.
    pub async fn connect(&self, open_for: OpenFor) -> Result<(), Refusal> {
        let now = Timestamp::now();
        let until = open_for.minutes().and_then(|minutes| {
            now.checked_add(Duration::from_secs(u64::from(minutes) * 60))
                .ok()
        });
        let until = until.map_or(NewDeadline::Unlimited, NewDeadline::At);
        let mut preferences = self.view().preferences;
        let node = Some(preferences.node);
        preferences.minutes = open_for;
        // A door is not kept shut because its settings cannot be written.
        if let Err(refusal) = self.keep_preferences(preferences) {
            tracing::warn!(%refusal, "the chosen time was not kept");
        }
        self.hosting.ask(Request::Connect { until, node }).await?;
        Ok(())
    }

    /// Opens the door for as long as the person chose last.
    pub async fn connect_as_before(&self) -> Result<(), Refusal> {
        self.connect(self.view().preferences.minutes).await
    }

    /// Closes the door.
    pub async fn disconnect(&self) -> Result<(), Refusal> {
        self.hosting.ask(Request::DISCONNECT).await?;
        Ok(())
    }

    /// The key itself.
    pub async fn reveal_key(&self) -> Result<SecretString, Refusal> {
        Ok(self.hosting.ask(Request::RevealKey).await?.into_key()?)
    }

    /// Copies; what holds the key is kept out of clipboard histories and cleared after a minute.
    pub async fn copy(&self, what: CopyWhat) -> Result<(), Refusal> {
        let report = self.view().report;
        match what {
            CopyWhat::Url => self.copy_text(public_url(&report)?).await,
            CopyWhat::Link => {
                let link = view::link(&report.snapshot.exposure).ok_or_else(no_link)?;
                self.copy_text(link.as_str().to_owned()).await
            }
            CopyWhat::Command => {
                let command = view::command(&report.snapshot.exposure)
                    .ok_or_else(|| Refusal::nothing("There is nothing to type right now."))?;
                self.copy_text(command.to_owned()).await
            }
            CopyWhat::Tailscale => {
                self.copy_text(page(&GET_TAILSCALE)?.as_str().to_owned())
                    .await
            }
            CopyWhat::Openclaw => {
                self.copy_text(page(&GET_OPENCLAW)?.as_str().to_owned())
                    .await
            }
            CopyWhat::Install => {
                let command = view::install_command(&report.snapshot)
                    .ok_or_else(|| Refusal::nothing("There is nothing to install right now."))?;
                self.copy_text(command.to_owned()).await
            }
            CopyWhat::Key => {
                let key = self.reveal_key().await?;
                self.copy_secret(key).await
            }
            CopyWhat::Curl | CopyWhat::Python | CopyWhat::Javascript | CopyWhat::Environment => {
                let url = public_url(&report)?;
                let key = self.reveal_key().await?;
                let key = key.expose_secret();
                let text = match what {
                    CopyWhat::Python => client_example::python(&report, key),
                    CopyWhat::Javascript => client_example::javascript(&report, key),
                    CopyWhat::Environment => client_example::environment(&report, key),
                    CopyWhat::Curl
                    | CopyWhat::Url
                    | CopyWhat::Key
                    | CopyWhat::Link
                    | CopyWhat::Command
                    | CopyWhat::Tailscale
                    | CopyWhat::Openclaw
                    | CopyWhat::Install => client_example::curl(&report, &url, Some(key)),
                };
                self.copy_secret(text.into()).await
            }
        }
    }

    /// Makes another key. The key itself stays here; what may be shown of it is given.
    pub async fn add_key(&self, key: NewKey) -> Result<KeyView, Refusal> {
        let (name, grant) = key.read(Timestamp::now())?;
        let (_, view) = self.named_key(Request::AddKey { name, grant }).await?;
        Ok(view)
    }

    /// Copies one of the keys, as [`copy`](Self::copy) does with the first.
    pub async fn copy_key(&self, name: &str) -> Result<(), Refusal> {
        let name = key_name(name)?;
        let (key, _) = self.named_key(Request::ShowKey { name }).await?;
        self.copy_secret(key).await
    }

    async fn named_key(&self, request: Request) -> Result<(SecretString, KeyView), Refusal> {
        Ok(self.hosting.ask(request).await?.into_named_key()?)
    }

    async fn copy_text(&self, text: String) -> Result<(), Refusal> {
        Ok(self
            .board
            .copy(System::current(), environment, text)
            .await?)
    }

    async fn copy_secret(&self, secret: SecretString) -> Result<(), Refusal> {
        self.board
            .copy_secret(System::current(), environment, secret.clone())
            .await?;
        let number = self.copied.remember(secret.clone());
        let (board, copied) = (self.board.clone(), Arc::clone(&self.copied));
        let kept = Duration::from_secs(self.launch.options.secret_kept);
        tokio::spawn(async move {
            tokio::time::sleep(kept).await;
            if copied.is_copied_again(number, &secret) {
                return;
            }
            if let Err(fault) = board.clear_secret(secret).await {
                tracing::warn!(%fault, "the clipboard was not cleared");
            }
        });
        Ok(())
    }

    /// Empties the clipboard of a secret that is still in it, since nobody does that once the app has ended.
    pub async fn clear_copied(&self) {
        let Some(secret) = self.copied.take() else {
            return;
        };
        if let Err(fault) = self.board.clear_secret(secret).await {
            tracing::warn!(%fault, "the clipboard was not cleared");
        }
    }

    /// A code to scan, as SVG.
    pub async fn qr(&self, what: CodeWhat) -> Result<String, Refusal> {
        let url = public_url(&self.view().report)?;
        match what {
            CodeWhat::Url => qr::svg(&url),
            CodeWhat::UrlAndKey => {
                let key = self.reveal_key().await?;
                qr::svg(&format!("{url}\n{}", key.expose_secret()))
            }
        }
    }

    /// Opens what a person has to look at outside of Ecto. The page says which of these, and never an address.
    pub async fn open_link(&self, what: OpenWhat) -> Result<(), Refusal> {
        let desktop = SystemDesktop::find(System::current(), environment);
        let opened = match what {
            OpenWhat::Link => {
                let report = self.view().report;
                let link = view::link(&report.snapshot.exposure).ok_or_else(no_link)?;
                desktop.open(&link).await
            }
            OpenWhat::Tailscale => desktop.open(&page(&GET_TAILSCALE)?).await,
            OpenWhat::Openclaw => desktop.open(&page(&GET_OPENCLAW)?).await,
            OpenWhat::NotificationSettings => {
                desktop.open_settings(SettingsPane::Notifications).await
            }
            OpenWhat::LoginSettings => desktop.open_settings(SettingsPane::LoginItems).await,
        };
        opened.map_err(|fault| Refusal {
            code: "link_not_opened".to_owned(),
            what: fault.to_string(),
            next: None,
        })
    }

    /// Asks for something that is simply done.
    pub async fn ask(&self, request: Request) -> Result<(), Refusal> {
        self.hosting.ask(request).await?;
        Ok(())
    }

    /// Private, and OpenClaw as it was.
    pub async fn restore(&self) -> Result<Vec<RestoredKey>, Refusal> {
        Ok(self.hosting.ask(Request::Restore).await?.into_restored()?)
    }

    /// The last requests through the guard, oldest first.
    pub async fn requests(&self) -> Result<Vec<RequestLine>, Refusal> {
        let limit = REQUESTS_SHOWN;
        let answer = self.hosting.ask(Request::Requests { limit }).await?;
        Ok(answer.into_requests()?)
    }

    /// Keeps what the person chose.
    pub fn keep_preferences(&self, preferences: Preferences) -> Result<AppView, Refusal> {
        self.preferences.write(&preferences).map_err(|fault| {
            Refusal::new(
                "settings_not_stored",
                format!("The settings could not be stored: {fault}. Nothing was changed."),
                "Free some space or make the folder writable, then choose again.",
            )
        })?;
        self.change(|view| {
            view.preferences = preferences;
            view.first_run = false;
            view.settings_aside = None;
        });
        Ok(self.view())
    }

    /// Has Ecto opened at login, or no longer.
    pub fn set_launch_at_login(&self, on: bool) -> Result<AppView, Refusal> {
        let set = self.login.set(on);
        self.look_again();
        set?;
        Ok(self.view())
    }

    /// What helps to find a fault, without a secret and without names of this person's.
    pub async fn diagnostics(&self) -> String {
        let findings = diagnostics::doctor(&self.launch).await;
        let text = diagnostics::text(
            &self.view(),
            &findings,
            &self.launch.folders,
            environment("HOME"),
        );
        *locked(&self.diagnosed) = Some(text.clone());
        text
    }

    /// Puts the diagnostics where a person finds them, as they were shown.
    pub async fn save_diagnostics(&self) -> Result<String, Refusal> {
        let shown = locked(&self.diagnosed).clone();
        let text = match shown {
            Some(text) => text,
            None => self.diagnostics().await,
        };
        diagnostics::save(
            &text,
            &diagnostics::folder(&self.launch.folders, environment),
        )
    }

    /// What the machine is about to do. The door of a host in a terminal is closed too.
    pub async fn sleep(&self) {
        if self.view().preferences.at_sleep == AtSleep::Stay || !self.hosting.is_there() {
            return;
        }
        let request = Request::Disconnect { for_sleep: true };
        if let Err(refusal) = self.hosting.ask(request).await {
            tracing::error!(%refusal, "the door was not seen to close before sleep");
        }
    }

    /// Takes Ecto off this machine, by the command that does the same in a terminal; the app ends afterwards.
    ///
    /// Its login item goes first: whoever quits meanwhile ends the app, while the command goes on by itself.
    pub async fn uninstall(&self) -> Result<Vec<String>, Refusal> {
        self.uninstall.send_replace(Uninstall::UnderWay);
        let opened_at_login = self.login.state() == LoginItem::On;
        let login = self.login.set(false);
        let mut done = self.take_off().await;
        if let (Ok(lines), Err(refusal)) = (&mut done, login) {
            lines.push(refusal.to_string());
        }
        if done.is_err() {
            if opened_at_login && let Err(refusal) = self.login.set(true) {
                tracing::warn!(%refusal, "Ecto no longer opens at login");
            }
            // How far it came is not known.
            self.unsettled.notify_one();
            if let Err(fault) = self.launch.folders.create() {
                tracing::warn!(%fault, "the folders were not made again");
            }
        }
        self.uninstall.send_replace(match done {
            Ok(_) => Uninstall::Done,
            Err(_) if self.hosting.ends_within(HOST_ENDS).await => Uninstall::Failed,
            Err(_) => Uninstall::No,
        });
        done
    }

    async fn take_off(&self) -> Result<Vec<String>, Refusal> {
        let not_done = |detail: String| {
            Refusal::new(
                "not_uninstalled",
                format!("Ecto could not be taken off: {detail}."),
                "Try again; Diagnostics in the settings shows more.",
            )
        };
        let program = std::env::current_exe().map_err(|fault| not_done(fault.to_string()))?;
        let output = tokio::process::Command::new(program)
            .args(["uninstall", "--yes"])
            .args(self.launch.options.to_arguments())
            .stdin(std::process::Stdio::null())
            .output()
            .await
            .map_err(|fault| not_done(fault.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            // In brackets it says first which world this is, where that is not the real one.
            let first = said.lines().find(|line| !line.starts_with('['));
            let first = first.unwrap_or("it said nothing");
            return Err(not_done(first.trim_end_matches('.').to_owned()));
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// Whether Ecto is being taken off this machine. Its host ends on the way, and the app does not.
    pub fn uninstall_state(&self) -> Uninstall {
        *self.uninstall.borrow()
    }

    /// Waits until the app is to end (`true`) or to begin again, now that its host has ended. While it is being taken off
    /// there is something to be read, unless somebody wants it to end; where that failed, a person still has an app.
    pub async fn ends_after_host(&self) -> bool {
        let mut leaving = self.leaving.subscribe();
        let mut uninstall = self.uninstall.subscribe();
        let is_over = |state: &Uninstall| matches!(state, Uninstall::No | Uninstall::Failed);
        let failed = tokio::select! {
            biased;
            _ = leaving.wait_for(|leaving| *leaving) => false,
            state = uninstall.wait_for(is_over) => state.is_ok_and(|state| *state == Uninstall::Failed),
        };
        if failed {
            self.uninstall.send_replace(Uninstall::No);
        }
        !failed
    }

    /// Waits until the files by which another start finds this app may be gone.
    pub async fn is_unsettled(&self) {
        self.unsettled.notified().await;
    }

    /// Waits until the app begins to end.
    pub async fn leaves(&self) {
        let mut leaving = self.leaving.subscribe();
        // It is kept as long as this is.
        let _ = leaving.wait_for(|leaving| *leaving).await;
    }

    /// Closes the door and ends the app, also where its host has ended already.
    pub fn quit(&self, quit: Quit) {
        self.leaving.send_replace(true);
        self.hosting.ask_to_quit(quit);
    }
}

/// What a person should know about where the secrets are, and where that is mended.
fn in_words_of_the_app(notice: &VaultNotice) -> String {
    match notice {
        // What the store said is in the log.
        VaultNotice::FileInstead { path, .. } => format!(
            "No secret store answers here, so the key is kept in {}, which only you can read.",
            path.display()
        ),
        VaultNotice::OpenToOthers { .. } => {
            format!("{notice} They are under Keys in the settings.")
        }
    }
}

/// Whether nobody has to know it any more. What others may have read is of no use to them once no key is good that was there.
fn is_over(noticed: &Noticed, keys: &[KeyView]) -> bool {
    let is_of_no_use = |key: &KeyView| match key.state {
        KeyState::Expired => true,
        KeyState::Good => {
            key.made.is_some_and(|made| made > noticed.at) && key.earlier_until.is_none()
        }
    };
    match noticed.notice {
        VaultNotice::FileInstead { .. } => false,
        VaultNotice::OpenToOthers { .. } => !keys.is_empty() && keys.iter().all(is_of_no_use),
    }
}

fn locked<Value>(value: &Mutex<Value>) -> MutexGuard<'_, Value> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn public_url(report: &Report) -> Result<String, Refusal> {
    report.url.clone().ok_or_else(not_public)
}

fn not_public() -> Refusal {
    Refusal::new(
        "not_public",
        "There is no address while it is Private.",
        "Connect first.",
    )
}

/// The page that mends this cause.
fn page(cause: &Cause) -> Result<Link, Refusal> {
    words::link(cause).ok_or_else(no_link)
}

fn no_link() -> Refusal {
    Refusal::nothing("There is no link to open right now.")
}

#[cfg(test)]
mod tests {
    use ecto_core::key::Key;

    use super::*;

    fn application(home: &std::path::Path) -> Arc<Application> {
        let options = crate::launch::Options {
            sandbox: true,
            ..crate::launch::Options::of_app(["ecto".into()]).unwrap()
        };
        let of_home = |name: &str| (name == "HOME").then(|| home.into());
        let login = Login::find(&options, |_| None);
        let launch = Launch::prepare(options, of_home).unwrap();
        Application::new(launch, login).0
    }

    #[tokio::test]
    async fn the_app_ends_with_its_host_but_while_it_is_taken_off_only_when_somebody_wants_it_to() {
        let home = tempfile::tempdir().unwrap();
        let app = application(home.path());
        assert!(app.ends_after_host().await);

        app.uninstall.send_replace(Uninstall::UnderWay);
        let waiting = tokio::spawn({
            let app = Arc::clone(&app);
            async move { app.ends_after_host().await }
        });
        app.uninstall.send_replace(Uninstall::Failed);
        assert!(!waiting.await.unwrap());
        assert_eq!(app.uninstall_state(), Uninstall::No);

        for state in [Uninstall::UnderWay, Uninstall::Done, Uninstall::Failed] {
            let app = application(home.path());
            app.uninstall.send_replace(state);
            app.quit(Quit::System);
            assert!(app.ends_after_host().await, "{state:?}");
        }
    }

    #[test]
    fn where_the_key_is_is_told_without_sending_anybody_to_the_command() {
        let path = std::path::PathBuf::from("/home/ada/.openclaw/ecto-credentials.json");
        let detail = "org.freedesktop.DBus.Error.ServiceUnknown".into();
        let told = [
            VaultNotice::FileInstead {
                path: path.clone(),
                detail,
            },
            VaultNotice::OpenToOthers { path },
        ]
        .map(|notice| in_words_of_the_app(&notice));
        insta::assert_snapshot!(told.join("\n"), @r"
        No secret store answers here, so the key is kept in /home/ada/.openclaw/ecto-credentials.json, which only you can read.
        Other users can read /home/ada/.openclaw/ecto-credentials.json until Ecto next uses it, which closes it to them. If somebody else uses this machine, replace every key. They are under Keys in the settings.
        ");
    }

    #[test]
    fn a_later_view_has_a_higher_order_and_no_change_is_none() {
        let home = tempfile::tempdir().unwrap();
        let app = application(home.path());
        let first = app.view();
        app.take_tray(true);
        assert_eq!(app.view(), first);
        let answered = app.keep_preferences(Preferences::default()).unwrap();
        app.take_tray(false);
        assert!(first.order < answered.order && answered.order < app.view().order);
    }

    #[test]
    fn that_others_could_read_the_keys_is_told_until_each_was_replaced() {
        let at = "2026-11-22T10:00:00Z".parse().unwrap();
        let later = "2026-11-22T10:00:01Z".parse().unwrap();
        let noticed = |notice| Noticed { at, notice };
        let path = std::path::PathBuf::from("/home/ada/.openclaw/ecto-credentials.json");
        let open = noticed(VaultNotice::OpenToOthers { path: path.clone() });
        let key = |made| Key::first("ecto_made-up".into(), made).view(later, None);
        assert!(!is_over(&open, &[]), "the keys are not read");
        assert!(!is_over(&open, &[key(Some(later)), key(Some(at))]));
        assert!(!is_over(&open, &[key(Some(later)), key(None)]));
        assert!(is_over(&open, &[key(Some(later)), key(Some(later))]));
        let mut key_before_is_good = key(Some(later));
        key_before_is_good.earlier_until = Some(later);
        assert!(!is_over(&open, &[key_before_is_good]));
        let mut expired = key(Some(at));
        expired.state = KeyState::Expired;
        assert!(is_over(&open, &[key(Some(later)), expired]));
        let detail = "nobody answers".into();
        let file = noticed(VaultNotice::FileInstead { path, detail });
        assert!(!is_over(&file, &[key(Some(later))]));
    }

    #[test]
    fn settings_that_cannot_be_read_are_told_until_something_is_chosen() {
        let home = tempfile::tempdir().unwrap();
        let state = application(home.path()).launch.folders.state().to_owned();
        assert_eq!(application(home.path()).view().settings_aside, None);
        std::fs::write(state.join("settings.json"), "{ no settings").unwrap();
        let app = application(home.path());
        let aside = app.view().settings_aside.unwrap();
        assert_eq!(std::fs::read_to_string(aside).unwrap(), "{ no settings");
        let chosen = app.keep_preferences(Preferences::default()).unwrap();
        assert_eq!(chosen.settings_aside, None);
    }
}
