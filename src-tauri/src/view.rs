//! What the app shows: the one source for icon, menu, popover and notifications.

use ecto_core::cause::{Cause, Remedy, Severity};
use ecto_core::exposure::{Closed, Exposure, Reach};
use ecto_core::ports::VaultPlace;
use ecto_core::snapshot::Snapshot;
use ecto_core::step::Waiting;
use ecto_core::tailnet::{Installer, Link, TailnetView};
use ecto_core::words::{self, Message};
use ecto_host::preferences::Preferences;
use ecto_host::report::{Report, WorldKind};
use ecto_platform::System;
use serde::Serialize;

use crate::refusal::Refusal;

/// What the app shows. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AppView {
    /// Grows with every change, so that an older one is never taken for news.
    pub order: u64,
    /// The host's report.
    #[cfg_attr(test, ts(type = "Report"))]
    pub report: Report,
    /// What the person chose.
    #[cfg_attr(test, ts(type = "Preferences"))]
    pub preferences: Preferences,
    /// Which system's manners the page follows.
    pub system: SystemName,
    /// Whether Ecto opens at login.
    pub launch_at_login: LoginItem,
    /// Whether the desktop shows what Ecto tells.
    pub notifications: NotificationStanding,
    /// Whether there is an icon to click.
    pub tray: bool,
    /// Whether the machine tells when it goes to sleep, and waits for the door to close.
    pub sleep_is_told: bool,
    /// Whether no host has reported yet.
    pub starting: bool,
    /// Whether a host in a terminal does not answer: the report may no longer be so.
    pub silent: bool,
    /// Whether nobody has chosen anything yet.
    pub first_run: bool,
    /// What was chosen in the menu and refused, where the desktop could not be told.
    pub refusal: Option<Refusal>,
    /// Where settings that could not be read were put aside.
    pub settings_aside: Option<String>,
    /// What is to be known about where the secrets are, in sentences.
    pub vault_notices: Vec<String>,
    /// The page that a person is asked to open now.
    pub link: Option<String>,
    /// What a person is asked to type in a terminal now.
    pub command: Option<String>,
}

impl AppView {
    /// The mood of what is known.
    pub fn mood(&self) -> Mood {
        match (self.silent, self.starting) {
            (true, _) => Mood::Failed,
            (false, true) => Mood::Working,
            (false, false) => Mood::of(&self.report.snapshot.exposure),
        }
    }

    /// Takes over a report, in the words of the app.
    pub fn take_report(&mut self, report: Report) {
        let exposure = &report.snapshot.exposure;
        self.link = link(exposure).map(|link| link.as_str().to_owned());
        self.command = command(exposure).map(str::to_owned);
        self.report = in_words_of_the_app(report);
    }
}

fn in_words_of_the_app(mut report: Report) -> Report {
    if report.host.is_none() && report.snapshot.wanted.is_public() {
        report.message.next = Some("Public was asked for; switch on to open it again.".to_owned());
    } else {
        report.message = words::app::exposure(&report.snapshot.exposure);
    }
    report.notice_message = report.snapshot.notice.as_ref().map(words::app::notice);
    report
}

/// A system, as the page knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS), ts(rename = "System"))]
#[serde(rename_all = "snake_case")]
pub enum SystemName {
    /// macOS.
    Mac,
    /// Linux.
    Linux,
}

impl From<System> for SystemName {
    fn from(system: System) -> Self {
        match system {
            System::MacOs => Self::Mac,
            System::Linux => Self::Linux,
        }
    }
}

/// Whether Ecto opens at login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum LoginItem {
    /// It does.
    On,
    /// It does not.
    Off,
    /// The person or an administrator forbade it in the system's settings.
    #[cfg_attr(
        all(target_os = "linux", not(test)),
        expect(dead_code, reason = "nobody forbids it there")
    )]
    Refused,
    /// This system has no such thing.
    Unavailable,
}

/// Whether the desktop shows what Ecto tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum NotificationStanding {
    /// It does, as far as it says; macOS asks the person at the first one.
    Shown,
    /// The person or an administrator switched them off in the system's settings.
    #[cfg_attr(
        all(target_os = "linux", not(test)),
        expect(dead_code, reason = "nobody forbids it there")
    )]
    Refused,
    /// Nothing here shows any.
    Unavailable,
}

/// The report before a host was started.
pub fn report_at_start(world: WorldKind) -> Report {
    let vault = match (world, System::current()) {
        (WorldKind::Sandbox, _) => VaultPlace::Memory,
        (WorldKind::Real | WorldKind::Lab, System::MacOs) => VaultPlace::Keychain,
        (WorldKind::Real | WorldKind::Lab, System::Linux) => VaultPlace::SecretService,
    };
    Report::without_host(Snapshot::new(vault), world)
}

/// The report where no host can be started.
pub fn report_of_failure(cause: Cause, world: WorldKind) -> Report {
    let mut snapshot = report_at_start(world).snapshot;
    snapshot.exposure = Exposure::Blocked {
        cause,
        closed: Closed::Yes,
    };
    Report::without_host(snapshot, world)
}

/// How it is, in a word: each has an icon of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Nothing is reachable.
    Private,
    /// On the way, there or back.
    Working,
    /// Reachable.
    Public,
    /// Waits for a person.
    NeedsYou,
    /// Not as it should be.
    Failed,
}

impl Mood {
    /// The mood of what is.
    pub fn of(exposure: &Exposure) -> Self {
        match exposure {
            Exposure::Private => Self::Private,
            Exposure::Preparing {
                waiting: Some(waiting),
                ..
            } if needs_person(waiting) => Self::NeedsYou,
            Exposure::Preparing { .. } | Exposure::Closing => Self::Working,
            Exposure::Public {
                held: Some(cause), ..
            } if cause.remedy() == Remedy::Act => Self::NeedsYou,
            Exposure::Public { held: Some(_), .. } => Self::Working,
            Exposure::Public {
                reach: Reach::Unreachable { cause, .. },
                ..
            } if !cause.is_settling() => Self::Failed,
            Exposure::Public { .. } => Self::Public,
            Exposure::Blocked { cause, closed } => Self::of_blocked(cause, *closed),
        }
    }

    fn of_blocked(cause: &Cause, closed: Closed) -> Self {
        match (closed, cause.severity(), cause.remedy()) {
            (Closed::Unconfirmed, _, _) | (Closed::Yes, Severity::Danger, _) => Self::Failed,
            (Closed::Yes, Severity::Quiet, _) => Self::Private,
            (Closed::Yes, Severity::Problem, Remedy::Act) => Self::NeedsYou,
            (Closed::Yes, Severity::Problem, Remedy::Wait | Remedy::Ask) => Self::Failed,
        }
    }
}

/// Whether a person has to do something before it goes on.
pub fn needs_person(waiting: &Waiting) -> bool {
    match waiting {
        Waiting::SignIn { .. }
        | Waiting::Approval { .. }
        | Waiting::FunnelPermission { .. }
        | Waiting::AdministratorPrompt => true,
        Waiting::Tailscale | Waiting::Gateway => false,
    }
}

/// The link a person is asked to open now.
pub fn link(exposure: &Exposure) -> Option<Link> {
    match exposure {
        Exposure::Preparing { waiting, .. } => waiting.as_ref()?.link().cloned(),
        Exposure::Blocked { cause, .. } => words::link(cause),
        Exposure::Private | Exposure::Public { .. } | Exposure::Closing => None,
    }
}

/// What a person types to have Tailscale, where that is how it comes.
pub fn install_command(snapshot: &Snapshot) -> Option<&str> {
    match &snapshot.tailnet {
        Some(TailnetView::Missing {
            installer: Installer::Person { command },
        }) => Some(command),
        Some(
            TailnetView::Missing {
                installer: Installer::Homebrew | Installer::Download,
            }
            | TailnetView::NotRunning { .. }
            | TailnetView::Starting { .. }
            | TailnetView::NeedsSignIn { .. }
            | TailnetView::Stopped { .. }
            | TailnetView::NeedsApproval { .. }
            | TailnetView::Running(_)
            | TailnetView::Refused { .. },
        )
        | None => None,
    }
}

/// What a person is asked to type in a terminal now.
pub fn command(exposure: &Exposure) -> Option<&str> {
    match exposure {
        Exposure::Blocked { cause, .. } => words::command(cause),
        Exposure::Private
        | Exposure::Preparing { .. }
        | Exposure::Public { .. }
        | Exposure::Closing => None,
    }
}

/// Said where a link belongs that others could use: an icon's tooltip and a notification are read by whoever is there.
pub const LINK_IS_INSIDE: &str = "Open Ecto for the link.";

/// A cause's message for where everybody can read it, so without its link.
pub fn without_link(message: Message, cause: &Cause) -> String {
    match words::link(cause) {
        Some(_) => format!("{} {LINK_IS_INSIDE}", message.what),
        None => message.to_string(),
    }
}

#[cfg(test)]
pub mod tests {
    use ecto_core::wanted::Wanted;
    use serde_json::json;

    use super::*;

    /// The names that [`view_of`] knows.
    pub const EVERY_STATE: [&str; 19] = [
        "private",
        "preparing",
        "sign in",
        "allow funnel",
        "public",
        "settling",
        "unreachable",
        "held",
        "away",
        "closing",
        "cancelled",
        "missing",
        "not started",
        "could not close",
        "funnel not allowed",
        "not approved",
        "no homebrew",
        "no openclaw",
        "shields up",
    ];

    /// A view in a state, of a host in process 7.
    pub fn view_of(name: &str) -> AppView {
        let at = "2026-11-22T10:00:00Z";
        let public = |reach, held| {
            json!({
                "state": "public", "address": { "host": "ecto.example.ts.net", "port": 443 },
                "since": at, "until": null, "reach": reach, "held": held,
            })
        };
        let preparing = |step, waiting| json!({ "state": "preparing", "step": step, "since": at, "waiting": waiting, "progress": null });
        let blocked =
            |cause, closed: &str| json!({ "state": "blocked", "cause": cause, "closed": closed });
        let reachable = json!({ "reach": "reachable", "at": at });
        let unreachable =
            |cause: &str| json!({ "reach": "unreachable", "cause": { "code": cause }, "at": at });
        let none = serde_json::Value::Null;
        let exposure = match name {
            "private" => json!({ "state": "private" }),
            "preparing" => preparing("start_open_claw", json!({ "for": "gateway" })),
            "sign in" => preparing(
                "sign_in",
                json!({ "for": "sign_in", "link": "https://login.tailscale.com/a/1" }),
            ),
            "allow funnel" => preparing(
                "allow_funnel",
                json!({ "for": "funnel_permission", "link": "https://login.tailscale.com/f/1" }),
            ),
            "public" => public(reachable, none),
            "settling" => public(unreachable("not_published"), none),
            "unreachable" => public(unreachable("not_answering"), none),
            "held" => public(reachable, json!({ "code": "tailscale_lost" })),
            "away" => public(reachable, json!({ "code": "gateway_stays_away" })),
            "closing" => json!({ "state": "closing" }),
            "cancelled" => blocked(json!({ "code": "administrator_cancelled" }), "yes"),
            "missing" => blocked(
                json!({ "code": "tailscale_missing", "command": "apt-get install tailscale" }),
                "yes",
            ),
            "not started" => blocked(
                json!({ "code": "tailscale_not_started", "detail": "no room" }),
                "yes",
            ),
            "could not close" => blocked(
                json!({ "code": "could_not_close", "detail": "no answer", "node": "system" }),
                "unconfirmed",
            ),
            "funnel not allowed" => blocked(
                json!({ "code": "funnel_not_allowed", "detail": "", "link": "https://login.tailscale.com/f/2" }),
                "yes",
            ),
            "not approved" => blocked(
                json!({ "code": "machine_not_approved", "link": "https://login.tailscale.com/admin/machines" }),
                "yes",
            ),
            "no homebrew" => blocked(json!({ "code": "tailscale_to_download" }), "yes"),
            "no openclaw" => blocked(json!({ "code": "openclaw_missing" }), "yes"),
            "shields up" => blocked(json!({ "code": "shields_up" }), "yes"),
            other => panic!("there is no state {other}"),
        };
        let exposure: Exposure = serde_json::from_value(exposure).unwrap();
        let mut snapshot = report_at_start(WorldKind::Sandbox).snapshot;
        snapshot.wanted = match name {
            "private" | "closing" | "cancelled" | "could not close" => Wanted::Private,
            _ => Wanted::Public {
                until: None,
                node: Default::default(),
            },
        };
        snapshot.exposure = exposure;
        let mut view = AppView {
            order: 0,
            report: report_at_start(WorldKind::Sandbox),
            preferences: Preferences::default(),
            system: SystemName::Linux,
            launch_at_login: LoginItem::Off,
            notifications: NotificationStanding::Shown,
            tray: true,
            sleep_is_told: true,
            starting: false,
            silent: false,
            first_run: false,
            refusal: None,
            settings_aside: None,
            vault_notices: Vec::new(),
            link: None,
            command: None,
        };
        view.take_report(Report::of_host(snapshot, WorldKind::Sandbox, 7));
        view
    }

    #[test]
    fn every_state_has_a_mood_and_only_those_that_wait_for_a_person_a_link() {
        let told: Vec<String> = EVERY_STATE
            .iter()
            .map(|name| {
                let view = view_of(name);
                format!(
                    "{name}: {:?}, link {:?}, command {:?}",
                    Mood::of(&view.report.snapshot.exposure),
                    view.link,
                    view.command
                )
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn what_is_shown_is_said_as_the_app_says_it() {
        let mut view = view_of("private");
        let mut snapshot = view_of("public").report.snapshot;
        view.take_report(Report::without_host(snapshot.clone(), WorldKind::Sandbox));
        assert!(view.report.message.to_string().contains("switch on"));
        snapshot.exposure = Exposure::Blocked {
            cause: Cause::OpenWithoutKey,
            closed: Closed::Yes,
        };
        view.take_report(Report::of_host(snapshot, WorldKind::Sandbox, 7));
        let said = view.report.message.to_string();
        assert!(
            said.contains("Diagnostics") && !said.contains('`'),
            "{said}"
        );
    }
}
