//! Signs a node in, or switches it on: shows the link and waits until a person used it.

use std::time::Duration;

use ecto_core::cause::Cause;
use ecto_core::step::{Reporter, Waiting};
use ecto_core::tailnet::NodeKind;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::bus::{Bus, INITIAL_PREFS, INITIAL_STATE};
use crate::cause;
use crate::find::Node;
use crate::link;
use crate::local_api::{ApiError, LocalApi};
use crate::places::Places;
use crate::status::{State, Status};

/// How long a daemon that went away may take to come back.
const RESTART_LIMIT: Duration = Duration::from_secs(30);
const REDIAL: Duration = Duration::from_millis(250);
/// The link goes to the bus sessions of the process that asked for it; where tailscaled cannot tell processes apart
/// (the macOS apps), only `status` has it.
const LINK_RECHECK: Duration = Duration::from_millis(500);
/// A link that was shown is gone for a moment once somebody signed in by it; gone for longer, it ran out.
const LINK_GONE_LIMIT: Duration = Duration::from_secs(3);
/// While a person is busy elsewhere everything comes by the bus; this is for a notification that was lost.
const SLOW_RECHECK: Duration = Duration::from_secs(20);

/// Why one attempt ended.
enum Ended {
    /// The daemon went away.
    Interrupted(ApiError),
    Blocked(Cause),
}

impl From<ApiError> for Ended {
    fn from(error: ApiError) -> Self {
        if error.is_interruption() {
            return Self::Interrupted(error);
        }
        Self::Blocked(match error {
            ApiError::Refused { detail, .. } => Cause::SignInFailed {
                detail: detail.into(),
            },
            other @ (ApiError::Absent
            | ApiError::Unreachable { .. }
            | ApiError::Cut
            | ApiError::Denied { .. }
            | ApiError::Changed
            | ApiError::Protocol { .. }) => cause::of(&other),
        })
    }
}

/// Signs the node in or switches it on, tells the link through `reporter`, and returns when the node runs. A daemon that
/// restarts meanwhile is waited for.
pub(crate) async fn sign_in(
    node: &Node,
    places: &Places,
    reporter: &Reporter,
) -> Result<(), Cause> {
    let mut away_since: Option<Instant> = None;
    loop {
        let attempt = Attempt {
            api: &node.api,
            kind: node.kind,
            places,
            reporter,
            shown: None,
        };
        let mut connected = false;
        let error = match attempt.run(&mut connected).await {
            Ok(()) => return Ok(()),
            Err(Ended::Blocked(cause)) => return Err(cause),
            Err(Ended::Interrupted(error)) => error,
        };
        if connected {
            away_since = None;
        }
        let since = *away_since.get_or_insert_with(Instant::now);
        if since.elapsed() > RESTART_LIMIT {
            return Err(cause::of(&error));
        }
        tracing::debug!(%error, "tailscaled went away while signing in");
        sleep(REDIAL).await;
    }
}

struct Attempt<'a> {
    api: &'a LocalApi,
    kind: NodeKind,
    places: &'a Places,
    reporter: &'a Reporter,
    shown: Option<Waiting>,
}

impl Attempt<'_> {
    async fn run(mut self, connected: &mut bool) -> Result<(), Ended> {
        // First the bus, so that nothing is missed of what the requests below set off.
        let mut bus = self.api.watch(INITIAL_STATE | INITIAL_PREFS).await?;
        let prefs = self.api.prefs().await?;
        *connected = true;
        let control = self.control(&prefs);
        let mut asked = false;
        let mut switched_on = false;
        let mut told_link = None;
        let mut gone_since: Option<Instant> = None;
        loop {
            let status = self.api.status().await?;
            let mut recheck = SLOW_RECHECK;
            match &status.state {
                State::Running if !status.expired() => return Ok(()),
                State::Stopped if status.have_node_key => {
                    if !switched_on {
                        self.api.switch_on().await?;
                        switched_on = true;
                    }
                    self.show(Waiting::Tailscale);
                }
                State::NeedsLogin | State::Stopped | State::Running => {
                    if !asked {
                        self.ask(&prefs, &status).await?;
                        asked = true;
                        gone_since = None;
                        // An answer to what was asked before is no longer the answer.
                        told_link = None;
                        continue;
                    }
                    let link = told_link
                        .clone()
                        .unwrap_or_else(|| status.sign_in_link.clone());
                    if !link.is_empty() {
                        gone_since = None;
                        self.show_link(&control, &link)?;
                    } else {
                        recheck = LINK_RECHECK;
                        if self.shows_link() {
                            let since = *gone_since.get_or_insert_with(Instant::now);
                            asked = since.elapsed() < LINK_GONE_LIMIT;
                        }
                    }
                }
                State::NeedsMachineAuth => match link::approval(&control) {
                    Some(link) => self.show(Waiting::Approval { link }),
                    None => {
                        return Err(Ended::Blocked(Cause::MachineNotApproved { link: None }));
                    }
                },
                State::Starting | State::Unset => self.show(Waiting::Tailscale),
                State::InUseOtherUser => return Err(Ended::Blocked(Cause::TailscaleOtherUser)),
                State::Unknown(state) => return Err(Ended::Blocked(cause::unknown_state(state))),
            }
            told_link = self.wait(&mut bus, recheck).await?;
        }
    }

    /// Waits until something changed or it is time to look again, and returns the link that was told meanwhile.
    async fn wait(&self, bus: &mut Bus, recheck: Duration) -> Result<Option<String>, Ended> {
        let Ok(change) = timeout(recheck, bus.changed(Duration::ZERO)).await else {
            return Ok(None);
        };
        let change = change?;
        match change.error {
            Some(detail) => Err(Ended::Blocked(Cause::SignInFailed {
                detail: detail.into(),
            })),
            None => Ok(change.browse_to),
        }
    }

    /// Asks for a link, unless there is one that a person may already have open.
    async fn ask(&self, prefs: &Value, status: &Status) -> Result<(), ApiError> {
        if !status.sign_in_link.is_empty() && !self.changes_control(prefs) {
            return self.api.log_in().await;
        }
        self.api.start(&self.wanted_prefs(prefs)).await?;
        self.api.log_in().await
    }

    fn wanted_prefs(&self, prefs: &Value) -> Value {
        let mut wanted = prefs.clone();
        let Some(fields) = wanted.as_object_mut() else {
            return wanted;
        };
        fields.insert("WantRunning".to_owned(), Value::Bool(true));
        fields.insert("LoggedOut".to_owned(), Value::Bool(false));
        // tailscaled keeps its own keys (tailscale 1.104, `ipn/ipnlocal/local.go`, `startLocked`); these are blanks.
        fields.insert("Config".to_owned(), Value::Null);
        if let Some(control) = &self.places.control {
            fields.insert("ControlURL".to_owned(), control_text(control).into());
        }
        let unnamed = fields
            .get("Hostname")
            .and_then(Value::as_str)
            .is_none_or(str::is_empty);
        if self.kind == NodeKind::Own && unnamed {
            let name = own_host_name(&self.places.host_name);
            fields.insert("Hostname".to_owned(), name.into());
        }
        wanted
    }

    fn changes_control(&self, prefs: &Value) -> bool {
        let current = text(prefs, "ControlURL").trim_end_matches('/').to_owned();
        self.places
            .control
            .as_ref()
            .is_some_and(|control| control_text(control) != current)
    }

    fn control(&self, prefs: &Value) -> String {
        match &self.places.control {
            Some(control) => control_text(control),
            None => text(prefs, "ControlURL").to_owned(),
        }
    }

    fn show_link(&mut self, control: &str, address: &str) -> Result<(), Ended> {
        match link::allow(control, address) {
            Some(link) => self.show(Waiting::SignIn { link }),
            None => {
                return Err(Ended::Blocked(Cause::SignInFailed {
                    detail: "the link to sign in does not lead to Tailscale".into(),
                }));
            }
        }
        Ok(())
    }

    fn shows_link(&self) -> bool {
        matches!(self.shown, Some(Waiting::SignIn { .. }))
    }

    fn show(&mut self, waiting: Waiting) {
        if self.shown.as_ref() == Some(&waiting) {
            return;
        }
        self.reporter.waiting(waiting.clone());
        self.shown = Some(waiting);
    }
}

fn text<'a>(prefs: &'a Value, name: &str) -> &'a str {
    prefs.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn control_text(control: &url::Url) -> String {
    control.as_str().trim_end_matches('/').to_owned()
}

/// `ecto-<name>`, as one label of a DNS name.
fn own_host_name(machine: &str) -> String {
    let first = machine.split('.').next().unwrap_or_default();
    let mut name = String::from("ecto");
    let mut gap = true;
    for character in first.chars() {
        if !character.is_ascii_alphanumeric() {
            gap = true;
            continue;
        }
        if gap {
            name.push('-');
            gap = false;
        }
        name.push(character.to_ascii_lowercase());
    }
    name.truncate(63);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_node_is_named_for_the_machine() {
        assert_eq!(
            own_host_name("Sams-MacBook-Pro.local"),
            "ecto-sams-macbook-pro"
        );
        assert_eq!(own_host_name("Zoë's  Mac"), "ecto-zo-s-mac");
        assert_eq!(own_host_name(""), "ecto");
        assert_eq!(own_host_name(&"x".repeat(80)).len(), 63);
    }
}
