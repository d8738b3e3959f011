//! The menu as data: made from what is shown, compared before anything is redrawn.

use ecto_core::cause::{Cause, Remedy, Severity};
use ecto_core::exposure::{Closed, Exposure, Reach};
use ecto_core::step::Step;
use ecto_core::words;
use serde::Serialize;

use crate::refusal::HOST_SILENT;
use crate::view::{AppView, LINK_IS_INSIDE, LoginItem, Mood, without_link};

const CONNECT: &str = "Connect";
const DISCONNECT: &str = "Disconnect";
const CANCEL: &str = "Cancel";
const CONNECT_AGAIN: &str = "Connect Again";
const COPY_URL: &str = "Copy URL";
const COPY_KEY: &str = "Copy Key";
const COPY_CURL: &str = "Copy as curl";
const OPEN: &str = "Open Ecto";
const OPEN_AT_LOGIN: &str = "Open at Login";
const SETTINGS: &str = "Settings…";
const QUIT: &str = "Quit";
const QUIT_AND_CLOSE: &str = "Quit and Close the Door";
const QUIT_BESIDE: &str = "Quit (Ecto in the Terminal Goes On)";

/// What choosing an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Opens the door.
    Connect,
    /// Closes it, or gives up opening it.
    Disconnect,
    /// Copies the address.
    CopyUrl,
    /// Copies the key.
    CopyKey,
    /// Copies an example with address and key.
    CopyCurl,
    /// Shows the popover.
    Open,
    /// Has Ecto opened at login, or no longer.
    OpenAtLogin,
    /// Shows the popover with its settings.
    Settings,
    /// Closes the door and ends the app.
    Quit,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Connect,
        Self::Disconnect,
        Self::CopyUrl,
        Self::CopyKey,
        Self::CopyCurl,
        Self::Open,
        Self::OpenAtLogin,
        Self::Settings,
        Self::Quit,
    ];

    /// The name by which the system gives it back.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Disconnect => "disconnect",
            Self::CopyUrl => "copy_url",
            Self::CopyKey => "copy_key",
            Self::CopyCurl => "copy_curl",
            Self::Open => "open",
            Self::OpenAtLogin => "open_at_login",
            Self::Settings => "settings",
            Self::Quit => "quit",
        }
    }

    /// The action of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// One line of the menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Tells something and cannot be chosen.
    State(String),
    /// Can be chosen.
    Item {
        /// What it does.
        action: Action,
        /// What it says.
        label: String,
    },
    /// Can be turned on and off.
    Check {
        /// What it does.
        action: Action,
        /// What it says.
        label: String,
        /// Whether it is on.
        on: bool,
        /// Whether it can be chosen.
        enabled: bool,
    },
    /// A line between groups.
    Separator,
}

/// The menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Menu(pub Vec<Entry>);

impl Menu {
    /// Makes the menu. `process` is this process's own, to tell a host in it from one in a terminal.
    pub fn of(view: &AppView, process: u32) -> Self {
        let item = |action, label: &str| Entry::Item {
            action,
            label: label.to_owned(),
        };
        let exposure = &view.report.snapshot.exposure;
        let mut entries = vec![Entry::State(title(view)), Entry::Separator];
        let trouble = view.report.trouble.as_ref();
        let waits_for_connect = trouble.is_some_and(|trouble| trouble.remedy == Remedy::Ask);
        if view.report.snapshot.wanted.is_public() && waits_for_connect {
            entries.push(item(Action::Connect, CONNECT_AGAIN));
        }
        entries.push(match exposure {
            _ if view.silent => item(Action::Disconnect, DISCONNECT),
            Exposure::Private => item(Action::Connect, CONNECT),
            Exposure::Preparing { .. } => item(Action::Disconnect, CANCEL),
            Exposure::Public { .. } | Exposure::Closing => item(Action::Disconnect, DISCONNECT),
            Exposure::Blocked { .. } if view.report.snapshot.wanted.is_public() => {
                item(Action::Disconnect, CANCEL)
            }
            Exposure::Blocked {
                closed: Closed::Unconfirmed,
                ..
            } => item(Action::Disconnect, DISCONNECT),
            Exposure::Blocked {
                closed: Closed::Yes,
                ..
            } => item(Action::Connect, CONNECT),
        });
        if view.report.url.is_some() {
            entries.push(Entry::Separator);
            entries.push(item(Action::CopyUrl, COPY_URL));
            entries.push(item(Action::CopyKey, COPY_KEY));
            entries.push(item(Action::CopyCurl, COPY_CURL));
        }
        entries.push(Entry::Separator);
        entries.push(item(Action::Open, OPEN));
        entries.push(Entry::Check {
            action: Action::OpenAtLogin,
            label: OPEN_AT_LOGIN.to_owned(),
            on: view.launch_at_login == LoginItem::On,
            enabled: view.launch_at_login != LoginItem::Unavailable,
        });
        entries.push(item(Action::Settings, SETTINGS));
        entries.push(Entry::Separator);
        entries.push(item(Action::Quit, quit(view, process)));
        Self(entries)
    }
}

fn quit(view: &AppView, process: u32) -> &'static str {
    let elsewhere = view.silent || view.report.host.is_some_and(|host| host != process);
    let closed = match view.report.snapshot.exposure {
        Exposure::Private
        | Exposure::Blocked {
            closed: Closed::Yes,
            ..
        } => true,
        Exposure::Preparing { .. }
        | Exposure::Public { .. }
        | Exposure::Closing
        | Exposure::Blocked {
            closed: Closed::Unconfirmed,
            ..
        } => false,
    };
    match (elsewhere, closed) {
        (true, _) => QUIT_BESIDE,
        (false, true) => QUIT,
        (false, false) => QUIT_AND_CLOSE,
    }
}

/// What is known, in a few words.
fn title(view: &AppView) -> String {
    match (view.silent, view.starting) {
        (true, _) => "No answer".to_owned(),
        (false, true) => "Starting".to_owned(),
        (false, false) if view.report.host.is_none() => "Not running".to_owned(),
        (false, false) => state(&view.report.snapshot.exposure),
    }
}

/// How it is, in a few words.
fn state(exposure: &Exposure) -> String {
    let doing = |step: &Step| {
        let line = words::step(*step);
        let mut characters = line.chars();
        let first: String = characters
            .next()
            .into_iter()
            .flat_map(char::to_lowercase)
            .collect();
        first + characters.as_str()
    };
    match (exposure, Mood::of(exposure)) {
        (Exposure::Private, _) => "Private".to_owned(),
        (Exposure::Preparing { step, .. }, Mood::NeedsYou) => format!("Needs you: {}", doing(step)),
        (Exposure::Preparing { step, .. }, _) => format!("Getting ready: {}", doing(step)),
        (Exposure::Public { .. }, Mood::Failed) => "Public, but not reachable".to_owned(),
        (Exposure::Public { .. }, Mood::NeedsYou) => {
            "Needs you: nobody gets through right now".to_owned()
        }
        (Exposure::Public { .. }, Mood::Working) => {
            "Public, but nobody gets through right now".to_owned()
        }
        (Exposure::Public { .. }, _) => "Public".to_owned(),
        (Exposure::Closing, _) => "Closing the door".to_owned(),
        (
            Exposure::Blocked {
                closed: Closed::Unconfirmed,
                ..
            },
            _,
        ) => "Could not close".to_owned(),
        (Exposure::Blocked { cause, .. }, _) => not_open(cause).to_owned(),
    }
}

/// The same as the popover's title.
fn not_open(cause: &Cause) -> &'static str {
    match (cause.severity(), cause.remedy()) {
        (Severity::Danger, _) => "Not safe to open",
        (Severity::Quiet, _) => "Private",
        (Severity::Problem, Remedy::Act) => "Needs you",
        (Severity::Problem, Remedy::Ask) => "Did not open",
        (Severity::Problem, Remedy::Wait) => "Not open yet",
    }
}

/// What the icon says when it is pointed at: how it is, and after that only what is new. No link to sign in, since others may
/// look on.
pub fn tooltip(view: &AppView) -> String {
    let exposure = &view.report.snapshot.exposure;
    let title = title(view);
    if view.silent {
        return format!("Ecto: {title}. {HOST_SILENT}");
    }
    if view.starting {
        return format!("Ecto: {title}");
    }
    let detail = match exposure {
        Exposure::Preparing {
            waiting: Some(waiting),
            ..
        } => match waiting.link() {
            Some(_) => LINK_IS_INSIDE.to_owned(),
            None => words::waiting(waiting),
        },
        Exposure::Public {
            held: Some(cause), ..
        } => without_link(words::app::cause(cause), cause),
        Exposure::Public {
            reach: Reach::Unreachable { cause, .. },
            ..
        } => words::app::reach(cause).to_string(),
        Exposure::Blocked { cause, closed } => {
            let said = without_link(words::app::exposure(exposure), cause);
            match closed {
                Closed::Yes => said,
                // It says so itself.
                Closed::Unconfirmed => return format!("Ecto: {said}"),
            }
        }
        Exposure::Preparing { waiting: None, .. }
        | Exposure::Private
        | Exposure::Public { .. }
        | Exposure::Closing => return format!("Ecto: {title}"),
    };
    format!("Ecto: {title}. {detail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{EVERY_STATE, view_of};

    /// The menu as it would be read aloud.
    fn lines(menu: &Menu) -> String {
        let line = |entry: &Entry| match entry {
            Entry::State(text) => format!("({text})"),
            Entry::Item { label, .. } => label.clone(),
            Entry::Check {
                label, on, enabled, ..
            } => {
                let mark = if *on { "[x]" } else { "[ ]" };
                let away = if *enabled { "" } else { " (not here)" };
                format!("{mark} {label}{away}")
            }
            Entry::Separator => "-".to_owned(),
        };
        menu.0.iter().map(line).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn every_state_has_its_menu_and_its_tooltip() {
        let told: Vec<String> = EVERY_STATE
            .iter()
            .map(|name| {
                let view = view_of(name);
                format!(
                    "{name}\n  {}\n  {}",
                    lines(&Menu::of(&view, 7)),
                    tooltip(&view)
                )
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn what_is_not_known_is_not_said_to_be_private() {
        let mut view = view_of("private");
        let mut told = Vec::new();
        for (silent, starting) in [(true, true), (true, false), (false, true)] {
            (view.silent, view.starting) = (silent, starting);
            assert_ne!(view.mood(), Mood::Private);
            let (menu, tooltip) = (lines(&Menu::of(&view, 7)), tooltip(&view));
            told.push(format!("{menu}\n  {tooltip}"));
        }
        insta::assert_snapshot!(told.join("\n"), @r"
        (No answer) | - | Disconnect | - | Open Ecto | [ ] Open at Login | Settings… | - | Quit (Ecto in the Terminal Goes On)
          Ecto: No answer. The Ecto that runs in a terminal does not answer, so nobody knows whether the door is open.
        (No answer) | - | Disconnect | - | Open Ecto | [ ] Open at Login | Settings… | - | Quit (Ecto in the Terminal Goes On)
          Ecto: No answer. The Ecto that runs in a terminal does not answer, so nobody knows whether the door is open.
        (Starting) | - | Connect | - | Open Ecto | [ ] Open at Login | Settings… | - | Quit
          Ecto: Starting
        ");
    }

    #[test]
    fn a_tooltip_says_nothing_twice_and_shows_no_link() {
        for name in EVERY_STATE {
            let told = tooltip(&view_of(name));
            assert!(!told.contains("://"), "{told}");
            let told = told.strip_prefix("Ecto: ").unwrap().to_lowercase();
            let (title, rest) = told.split_once(". ").unwrap_or((&told, ""));
            assert!(!rest.contains(title), "{told}");
        }
    }

    #[test]
    fn a_host_in_a_terminal_is_not_said_to_be_closed() {
        let menu = Menu::of(&view_of("public"), 8);
        assert!(lines(&menu).ends_with(QUIT_BESIDE));
    }

    #[test]
    fn every_action_is_found_by_its_name() {
        for action in Action::ALL {
            assert_eq!(Action::named(action.name()), Some(action));
        }
        assert_eq!(Action::named("shell"), None);
    }
}
