//! The sentences: everything that a person reads about the engine, in one place.
//!
//! The edges call this (`ecto`, the popover, the skill), and the engine only to tell one cause as the detail of another.
//! Each text says what happened, and, where there is something to do, what to do next. No secret ever comes in here.

pub mod app;
mod configuration;
mod keys;
mod lead;
mod offer;
mod reach;
mod steps;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cause::{Cause, Remedy};
use crate::exposure::{Closed, Exposure, Reach};
use crate::foreign::ForeignText;
use crate::gateway::RestoreOutcome;
use crate::key::{AgentId, KeyName};
use crate::ports::VaultPlace;
use crate::snapshot::Notice;
use crate::tailnet::NodeKind;

use configuration::config_problem;

pub use keys::grant;
pub use lead::{command, link};
pub use offer::{ORIGIN_WARNING, hooks_off, not_offered, route_warning};
pub use reach::reach;
pub use steps::{step, waiting};

/// What happened, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Message {
    /// What happened.
    pub what: String,
    /// What to do next; `None` where there is nothing to do.
    pub next: Option<String>,
}

impl Message {
    fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            next: Some(next.into()),
        }
    }

    fn plain(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            next: None,
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)?;
        match &self.next {
            Some(next) => write!(formatter, " {next}"),
            None => Ok(()),
        }
    }
}

/// Text from outside as a part of a sentence, which has its own full stop.
fn clause(detail: &ForeignText) -> &str {
    detail.as_str().trim_end_matches('.')
}

/// What a person sets where Ecto leaves the configuration alone.
const SET_YOURSELF: &str = "set gateway.auth.mode to \"token\", gateway.auth.token to at least 43 random characters, and gateway.http.endpoints.chatCompletions.enabled and gateway.http.endpoints.responses.enabled to true.";
const RETRIED: &str = "Ecto tries again by itself.";
const CONNECT_AGAIN: &str = "Connect again to retry.";
const CONTINUES: &str = "Ecto goes on by itself after that.";

/// Which tailscaled it is.
pub fn node(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Own => "Ecto's own node",
        NodeKind::System => "Tailscale on this machine",
        NodeKind::AppStore => "the Tailscale app (App Store)",
        NodeKind::Standalone => "the Tailscale app",
    }
}

/// Where the secrets are.
pub fn vault(place: &VaultPlace) -> String {
    match place {
        VaultPlace::Keychain => "in the Keychain".to_owned(),
        VaultPlace::SecretService => "in the secret store of this desktop".to_owned(),
        VaultPlace::File { path } => format!("in the file {path}, readable by you alone"),
        VaultPlace::Memory => "in memory alone, until the sandbox ends".to_owned(),
    }
}

/// What became of a key that was to be restored.
pub fn restored(outcome: RestoreOutcome) -> &'static str {
    match outcome {
        RestoreOutcome::Restored => "as it was before",
        RestoreOutcome::LeftAlone => "changed by somebody else since, so left as it is",
    }
}

/// What is.
pub fn exposure(exposure: &Exposure) -> Message {
    match exposure {
        Exposure::Private => Message::plain("Private: nothing is reachable from the internet."),
        Exposure::Preparing {
            step: now,
            waiting: waits,
            ..
        } => {
            let what = format!("Getting ready: {}.", step(*now).to_lowercase_first());
            match waits {
                Some(waits) => Message::new(what, waiting(waits)),
                None => Message::plain(what),
            }
        }
        Exposure::Public {
            address,
            held: Some(cause),
            ..
        } => Message::new(
            format!(
                "Public at {}, but nobody gets through right now.",
                address.chat_completions()
            ),
            self::cause(cause).to_string(),
        ),
        Exposure::Public {
            address,
            reach: seen,
            held: None,
            ..
        } => {
            let what = format!(
                "Public at {}, to holders of a key.",
                address.chat_completions()
            );
            match seen {
                Reach::Unchecked => Message::new(what, "The check from outside is still to come."),
                Reach::Reachable { .. } => Message::plain(what),
                Reach::Unreachable { cause, .. } => Message::new(what, reach(cause).to_string()),
            }
        }
        Exposure::Closing => Message::plain("Closing the door."),
        Exposure::Blocked { cause, closed } => {
            let message = self::cause(cause);
            match closed {
                Closed::Yes => message,
                Closed::Unconfirmed => Message {
                    what: format!("{} {}", message.what, may_be_open(cause)),
                    next: message.next,
                },
            }
        }
    }
}

/// What is said of a claim that may still be there, besides why the door was shut.
fn may_be_open(cause: &Cause) -> &'static str {
    if let Cause::CouldNotClose { .. } = cause {
        return "Whoever comes finds nobody: the guard has ended.";
    }
    "The door could not be seen to close, and Ecto goes on trying. Whoever comes finds nobody: the guard has ended."
}

trait LowercaseFirst {
    fn to_lowercase_first(&self) -> String;
}

impl LowercaseFirst for str {
    fn to_lowercase_first(&self) -> String {
        let mut characters = self.chars();
        match characters.next() {
            Some(first) => first.to_lowercase().chain(characters).collect(),
            None => String::new(),
        }
    }
}

/// Something that happened.
pub fn notice(notice: &Notice) -> Message {
    match notice {
        Notice::WantedUnreadable => Message::new(
            "What you had asked for could not be read, so everything stays Private.",
            CONNECT_AGAIN,
        ),
        Notice::DeadlinePassed => Message::new(
            "The time you had set is over, so the door is closed.",
            "Connect again to open it.",
        ),
        Notice::EndedBySleep => Message::new(
            "Public ended because this machine went to sleep.",
            "Connect again to open the door.",
        ),
        Notice::ClosedUnexpectedly { cause, .. } => {
            let message = self::cause(cause);
            Message {
                what: format!("The door closed unexpectedly. {}", message.what),
                next: message.next,
            }
        }
    }
}

fn see_log(log: Option<&String>) -> String {
    match log {
        Some(log) => format!("Its log tells why: {log}"),
        None => "Its log tells why; `openclaw logs` shows it.".to_owned(),
    }
}

fn until_ready(how: &str, log: Option<&String>) -> String {
    let place = log.map_or_else(String::new, |log| format!(" Its log: {log}"));
    format!("Ecto goes on by itself when it is. If it stays like this, {how}.{place}")
}

/// Why it is blocked.
pub fn cause(cause: &Cause) -> Message {
    let place = lead::address(cause).unwrap_or_default();
    let typed = command(cause).unwrap_or_default();
    match cause {
        Cause::TailscaleToDownload => Message::new(
            "Tailscale is not installed, and this system has nothing to install it with.",
            format!("Install Tailscale from {place}. {CONTINUES}"),
        ),
        Cause::TailscaleMissing { .. } => Message::new(
            "Tailscale is not installed.",
            format!("Install it with `{typed}`. {CONTINUES}"),
        ),
        Cause::InstallFailed { detail } => Message::new(
            format!("Tailscale could not be installed: {}.", clause(detail)),
            CONNECT_AGAIN,
        ),
        Cause::AdministratorCancelled => Message::new(
            "Nothing was changed: the administrator prompt was closed.",
            "Connect again when you want to go on.",
        ),
        Cause::AdministratorNeeded { .. } => Message::new(
            "An administrator of this machine is needed for the next step.",
            format!("Run `{typed}` in a terminal. {CONTINUES}"),
        ),
        Cause::TailscaleNotStarted { detail } => Message::new(
            format!("Tailscale did not start: {}.", clause(detail)),
            CONNECT_AGAIN,
        ),
        Cause::TailscaleUnreachable { detail } => Message::new(
            format!("Tailscale does not answer: {}.", clause(detail)),
            RETRIED,
        ),
        Cause::TailscaleLost => {
            Message::new("Tailscale went away, and the door closed with it.", RETRIED)
        }
        Cause::TailscaleDenied { .. } => Message::new(
            "Your user may not change Tailscale on this machine.",
            format!("Run `{typed}` once in a terminal. {CONTINUES}"),
        ),
        Cause::TailscaleBroken { version } => Message::new(
            format!("Funnel does not work in Tailscale {version}."),
            "Update Tailscale to 1.102.2 or newer. Ecto goes on by itself after that.",
        ),
        Cause::TailscaleTooOld { version } => Message::new(
            format!("Tailscale {version} is too old for Funnel as Ecto uses it."),
            format!("Update Tailscale. {CONTINUES}"),
        ),
        Cause::TailscaleOtherUser => Message::new(
            "Tailscale is in use by another user of this machine.",
            format!("Have them sign out of Tailscale. {CONTINUES}"),
        ),
        Cause::SignInTimedOut => Message::new(
            "Nobody signed in to Tailscale in time.",
            "Connect again for a new link.",
        ),
        Cause::SignInFailed { detail } => Message::new(
            format!("Tailscale refused to sign in: {}.", clause(detail)),
            CONNECT_AGAIN,
        ),
        Cause::MachineNotApproved { .. } => Message::new(
            "This machine is signed in and waits for approval by an administrator of your Tailscale network.",
            format!("Approve it at {place}. {CONTINUES}"),
        ),
        Cause::FunnelNotAllowed { detail, .. } => {
            let what = if detail.is_empty() {
                "Your Tailscale network does not allow Funnel for this machine.".to_owned()
            } else {
                format!(
                    "Your Tailscale network does not allow Funnel for this machine: {}.",
                    clause(detail)
                )
            };
            Message::new(what, format!("Allow it at {place}. {CONTINUES}"))
        }
        Cause::ShieldsUp => Message::new(
            "Tailscale blocks incoming connections on this machine, and with them Funnel.",
            format!("Allow them in the Tailscale app, or with `{typed}`. {CONTINUES}"),
        ),
        Cause::NoHostName => Message::new(
            "This machine has no name in your Tailscale network.",
            format!("Turn on MagicDNS at {place}. {CONTINUES}"),
        ),
        Cause::PortsTaken => Message::new(
            "Something else on this machine uses all three Funnel ports (443, 8443 and 10000).",
            "Free one of them; `tailscale serve status` shows what uses them. Ecto tries again by itself.",
        ),
        Cause::ServeConfigContended => Message::new(
            "Something else kept changing Tailscale's serve configuration at the same moment.",
            RETRIED,
        ),
        Cause::ClaimRefused { detail } => Message::new(
            format!("Tailscale refused to open the door: {}.", clause(detail)),
            CONNECT_AGAIN,
        ),
        Cause::ClaimLost => Message::new("Tailscale closed the door.", RETRIED),
        Cause::HostRenamed => Message::new(
            "This machine has a new name in your Tailscale network, so its address changes.",
            "Ecto opens again under the new address by itself.",
        ),
        Cause::CouldNotClose { detail, node } => Message::new(
            format!("The door could not be seen to close: {}.", clause(detail)),
            match node {
                Some(NodeKind::Own) => {
                    "Ecto goes on trying. To be sure at once, quit Ecto: its own node ends with it."
                        .to_owned()
                }
                Some(NodeKind::AppStore | NodeKind::Standalone) => {
                    "Ecto goes on trying. To be sure at once, quit the Tailscale app, which takes this machine out of your Tailscale network."
                        .to_owned()
                }
                Some(NodeKind::System) | None => format!(
                    "Ecto goes on trying. To be sure at once, run `{typed}`, which takes this machine out of your Tailscale network."
                ),
            },
        ),

        Cause::OpenClawMissing => Message::new(
            "OpenClaw is not installed for this user.",
            format!("Install it from {place}. {CONTINUES}"),
        ),
        Cause::ConfigUnusable { path, problem } => config_problem(path, problem),
        Cause::ConfigNotWritable { path, detail } => Message::new(
            format!(
                "OpenClaw's configuration {path} cannot be written: {}. Nothing was changed.",
                clause(detail)
            ),
            "Make it writable for your user. Ecto tries again by itself.",
        ),
        Cause::ConfigManaged { by } => Message::new(
            format!(
                "OpenClaw's configuration is managed by something else ({by}), so Ecto leaves it alone."
            ),
            format!("There, {SET_YOURSELF} {CONTINUES}"),
        ),
        Cause::ConfigContended { path } => Message::new(
            format!("Something else keeps changing OpenClaw's configuration {path}."),
            RETRIED,
        ),
        Cause::ConfigRejected { detail } => Message::new(
            format!(
                "OpenClaw refused the change to its configuration: {}. Nothing was changed.",
                clause(detail)
            ),
            CONNECT_AGAIN,
        ),
        Cause::DiskFull { path } => Message::new(
            format!("The disk is full: {path} could not be written. Nothing was changed."),
            "Free some space. Ecto tries again by itself.",
        ),
        Cause::GatewayMode { mode } => Message::new(
            format!(
                "OpenClaw is set to use a gateway on another machine (gateway.mode is \"{mode}\")."
            ),
            format!("Run Ecto on that machine, or set gateway.mode to \"local\". {CONTINUES}"),
        ),
        Cause::GatewayBind { bind } => Message::new(
            format!(
                "The OpenClaw gateway listens to more than this machine (gateway.bind is \"{bind}\")."
            ),
            format!("Set gateway.bind to \"loopback\". {CONTINUES}"),
        ),
        Cause::GatewayAuth { mode } => Message::new(
            format!(
                "The OpenClaw gateway signs callers in another way (gateway.auth.mode is \"{mode}\")."
            ),
            format!("Set gateway.auth.mode to \"token\". {CONTINUES}"),
        ),
        Cause::GatewayTailscale { mode } => Message::new(
            format!("OpenClaw runs Tailscale by itself (gateway.tailscale.mode is \"{mode}\")."),
            format!("Set gateway.tailscale.mode to \"off\". {CONTINUES}"),
        ),
        Cause::HooksTokenShared => Message::new(
            "OpenClaw's hooks.token is the same as the gateway's token, so whoever has one has both.",
            format!("Give hooks.token another value. {CONTINUES}"),
        ),
        Cause::TokenUnresolvable { reference } => Message::new(
            format!(
                "The gateway's token is kept elsewhere ({reference}), and Ecto cannot read it there."
            ),
            format!(
                "Make it readable for your user, or put the token into gateway.auth.token. {CONTINUES}"
            ),
        ),
        Cause::GatewayNotStarted { detail, log } => Message::new(
            format!("The OpenClaw gateway did not start: {}.", clause(detail)),
            format!(
                "Ecto goes on by itself when it runs. {}",
                see_log(log.as_ref())
            ),
        ),
        Cause::GatewayRestartDeferred => Message::new(
            "The OpenClaw gateway has not restarted yet: it first finishes what it is doing.",
            "It restarts by itself, five minutes after it was told to at the latest.",
        ),
        Cause::GatewayNotReady { log } => Message::new(
            "The OpenClaw gateway is not ready.",
            until_ready("restart it with `ecto restart`", log.as_ref()),
        ),
        Cause::GatewayNotAnswering => Message::new(
            "The OpenClaw gateway runs and does not answer.",
            format!("Restart it with `ecto restart`. {CONTINUES}"),
        ),
        Cause::GatewayStaysAway => Message::new(
            "The OpenClaw gateway has not been ready for over a minute.",
            format!("Restart it with `ecto restart`. {CONTINUES}"),
        ),
        Cause::GatewayPortTaken { port } => Message::new(
            format!("Another program has port {port}, which is the OpenClaw gateway's."),
            format!("End that program, or set gateway.port to a free one. {CONTINUES}"),
        ),
        Cause::GatewayTokenRefused => Message::new(
            "The OpenClaw gateway refuses the token in its own configuration.",
            format!("Restart the gateway with `ecto restart`. {CONTINUES}"),
        ),
        Cause::GatewayOpen => Message::new(
            "The OpenClaw gateway answers without a token, so Ecto does not open the door.",
            "Set gateway.auth.mode to \"token\" and restart the gateway. Then connect again.",
        ),
        Cause::GatewayRejectsProxy => Message::new(
            "The OpenClaw gateway takes Ecto for a foreign proxy (proxy_attribution_required).",
            "Restart the gateway with `ecto restart`. Ecto goes on by itself after that.",
        ),
        Cause::GatewayLockedOut { seconds } => Message::new(
            format!(
                "The OpenClaw gateway refuses everybody for {seconds} seconds after too many wrong tokens."
            ),
            RETRIED,
        ),
        Cause::GatewayEndpointMissing { route } => Message::new(
            format!("The OpenClaw gateway does not offer {route}."),
            format!("Update OpenClaw to 2026.8.1 or newer. {CONTINUES}"),
        ),
        Cause::GatewayUnexpected { detail } => Message::new(
            format!(
                "What answers on the OpenClaw gateway's port does not answer as OpenClaw does: {}.",
                clause(detail)
            ),
            RETRIED,
        ),

        Cause::GuardFailed { detail } => Message::new(
            format!("The guard does not work: {}.", clause(detail)),
            RETRIED,
        ),
        Cause::GuardFull => Message::new(
            "The guard has no room for one more connection, so its lock cannot be proven.",
            "Ecto tries again by itself, as connections end.",
        ),
        Cause::ProofFailed {
            question,
            expected,
            got,
        } => Message::new(
            format!(
                "The lock does not hold: {question} was answered with {got} instead of {expected}. The door stays closed."
            ),
            "Connect again to retry; `ecto doctor` shows more.",
        ),
        Cause::LockUnproven => Message::new(
            "The lock is being proven anew.",
            "That takes a moment, and Ecto goes on by itself.",
        ),
        Cause::VaultDenied => Message::new(
            "The secret store refused to let Ecto in, so there is no key to open with.",
            "Unlock it and allow Ecto, then connect again.",
        ),
        Cause::VaultUnreachable { detail } => Message::new(
            format!(
                "The secret store does not answer: {}. No new key was made.",
                clause(detail)
            ),
            "Ecto tries again by itself; `--vault file` keeps the key in a file that only you can read.",
        ),
        Cause::VaultDamaged { detail } => Message::new(
            format!(
                "What is in the secret store cannot be read: {}. It was left as it is.",
                clause(detail)
            ),
            "Make a new default key with `ecto token --regenerate`. That gives up every key that was stored, and whatever uses one needs a new one.",
        ),
        Cause::KeyNotFound { name } => Message::new(
            format!("There is no key named \"{name}\"."),
            "See which there are with `ecto key list`.",
        ),
        Cause::KeyNotRevoked { name, detail } => Message::new(
            format!(
                "The key \"{name}\" was NOT revoked: {}. It is still good.",
                clause(detail)
            ),
            format!(
                "Revoke it again with `ecto key revoke {}`, and keep the door closed until that worked.",
                typed_name(name)
            ),
        ),
        Cause::KeyNameTaken { name } => Message::new(
            format!("There is a key named \"{name}\" already. Nothing was changed."),
            if name.is_default() {
                "Choose another name."
            } else {
                "Choose another name, or revoke that key first."
            },
        ),
        Cause::KeyExpired { name } => Message::new(
            format!(
                "The key \"{name}\" has expired, and what took its place would have as well. Nothing was changed."
            ),
            format!(
                "Say when the new one ends: `ecto key rotate {} --expires 30d`.",
                typed_name(name)
            ),
        ),
        Cause::AgentUnknown { agent, known } => Message::new(
            format!("OpenClaw has no agent named {agent}, so no key was made."),
            match agents(known) {
                Some(known) => format!("Name one that it has, or none for any: {known}."),
                None => "Make that agent in OpenClaw first.".to_owned(),
            },
        ),
        Cause::AgentWithHooks => Message::new(
            "A key for one agent cannot open hooks, because a hook names the agent that it starts itself. No key was made.",
            "Make one key for the agent, without hooks, and one for hooks, without an agent.",
        ),
        Cause::TooManyKeys { limit } => Message::new(
            format!("There are {limit} keys already, and there can be no more."),
            "Revoke one that nobody uses; `ecto key list` tells when each was last used.",
        ),
        Cause::DefaultKeyStays => Message::new(
            "The key named \"default\" stays, under its name and without an end: Ecto proves its lock with it.",
            "To make the present one useless, run `ecto key rotate default`.",
        ),
        Cause::OpenWithoutKey => Message::new(
            "The check from outside got in without a key, so Ecto shut the door at once.",
            "Run `ecto doctor` and tell us what it prints before you connect again.",
        ),
        Cause::WantedNotStored { detail } => Message::new(
            format!(
                "What you asked for could not be remembered: {}. Nothing was changed.",
                clause(detail)
            ),
            CONNECT_AGAIN,
        ),
        Cause::OfferNotStored { path, detail } => Message::new(
            format!(
                "What you chose could not be stored in {path}: {}. Nothing more is allowed, and what you forbade is forbidden for as long as Ecto runs.",
                clause(detail)
            ),
            "Make its folder writable and free some room there: Ecto goes on trying to store what you forbade. What you wanted to allow, allow again.",
        ),
        Cause::RouteAlwaysOffered { route } => Message::new(
            format!("The route {route} is always offered. Nothing was changed."),
            "To keep somebody from it, make a key without it: `ecto key add NAME --routes …`.",
        ),
        Cause::TooManyOrigins { limit } => Message::new(
            format!("There are {limit} origins already, and there can be no more."),
            "Forbid one whose pages do not call any more; `ecto route list` names them.",
        ),
        Cause::PrivateNotStored { detail } => Message::new(
            format!(
                "The door is closed, but that could not be remembered: {}.",
                clause(detail)
            ),
            "Ecto goes on trying; until then it would open again after a restart.",
        ),
        Cause::StepTimedOut { step: late } => Message::new(
            format!("It took too long: {}.", step(*late).to_lowercase_first()),
            match cause.remedy() {
                Remedy::Wait => RETRIED,
                Remedy::Act | Remedy::Ask => CONNECT_AGAIN,
            },
        ),
        Cause::StepWithoutEffect { step: idle } => Message::new(
            format!(
                "It was tried several times without effect: {}.",
                step(*idle).to_lowercase_first()
            ),
            RETRIED,
        ),
        Cause::BrokenOff => Message::new(
            "That was broken off, because something else was asked for that goes first.",
            "It may have been done all the same: look, and ask again where it was not.",
        ),
        Cause::Internal { detail } => Message::new(
            format!("Something went wrong inside Ecto: {}.", clause(detail)),
            "`ecto logs` shows more.",
        ),
    }
}

/// The name of a key as it is typed in a shell: of all that a name may have, a space alone is special there.
pub fn typed_name(name: &KeyName) -> String {
    if name.as_str().contains(' ') {
        format!("\"{name}\"")
    } else {
        name.to_string()
    }
}

/// Some agents, as a list that stays readable.
fn agents(known: &[AgentId]) -> Option<String> {
    const SAID: usize = 12;
    let mut names: Vec<&str> = known.iter().take(SAID).map(AgentId::as_str).collect();
    if known.len() > SAID {
        names.push("and others");
    }
    (!names.is_empty()).then(|| names.join(", "))
}
