//! What is worth a notification: public, closed unexpectedly, unreachable, needs you, many wrong keys. Nothing else.

use ecto_core::Timestamp;
use ecto_core::cause::{Cause, ReachCause, Remedy, Severity};
use ecto_core::exposure::{Closed, Exposure, Reach};
use ecto_core::snapshot::Notice;
use ecto_core::step::Waiting;
use ecto_core::words;
use ecto_host::report::Report;

use crate::view::{LINK_IS_INSIDE, needs_person, without_link};

/// What the desktop is asked to show. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// In a few words.
    pub title: String,
    /// In a sentence.
    pub body: String,
    /// Whether it says that the door is open, which is wrong once it is closed.
    pub says_open: bool,
}

impl Notification {
    /// Whether it is still so, by what is known now.
    pub fn holds(&self, now: &Report) -> bool {
        !self.says_open || matches!(now.snapshot.exposure, Exposure::Public { .. })
    }
}

/// Decides what to tell, from one report to the next.
#[derive(Debug)]
pub struct Teller {
    before: Report,
    /// Whether it was decided that the door is open is to be told, for this opening.
    is_open_told: bool,
    failures: Failures,
}

/// How often the check from outside failed in a row. A connection that is away for a moment fails once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failures {
    /// Never.
    None,
    /// Once, at that time.
    One(Timestamp),
    /// More than once.
    Many,
}

impl Teller {
    /// Begins with what is known already.
    pub fn new(before: Report) -> Self {
        let is_open = matches!(
            before.snapshot.exposure,
            Exposure::Public { held: None, .. }
        );
        Self {
            before,
            is_open_told: is_open,
            failures: Failures::None,
        }
    }

    /// What to tell of this report, after those before.
    pub fn next(&mut self, after: &Report) -> Option<Notification> {
        let opened = self.opened(after);
        let unreachable = self.stays_unreachable(after);
        let before = &std::mem::replace(&mut self.before, after.clone());
        closed_unexpectedly(before, after)
            .or_else(|| danger(before, after))
            .or_else(|| needs_you(before, after))
            .or(unreachable)
            .or_else(|| strangers(before, after))
            .or(opened)
    }

    fn opened(&mut self, after: &Report) -> Option<Notification> {
        let was_told = self.is_open_told;
        match &after.snapshot.exposure {
            Exposure::Public {
                held: None,
                address,
                ..
            } => {
                self.is_open_told = true;
                let url = address.chat_completions();
                let told = Notification {
                    title: "Public".to_owned(),
                    body: format!("The door is open: {url}"),
                    says_open: true,
                };
                Some(told).filter(|_| !was_told)
            }
            // Nobody gets through.
            Exposure::Public { held: Some(_), .. } => None,
            Exposure::Private
            | Exposure::Preparing { .. }
            | Exposure::Closing
            | Exposure::Blocked { .. } => {
                self.is_open_told = false;
                None
            }
        }
    }

    fn stays_unreachable(&mut self, after: &Report) -> Option<Notification> {
        let Some((cause, at)) = unreachable(after) else {
            self.failures = Failures::None;
            return None;
        };
        match self.failures {
            Failures::None => self.failures = Failures::One(at),
            Failures::One(first) if first != at => {
                self.failures = Failures::Many;
                return notification(
                    "Not reachable from the internet",
                    words::app::reach(cause).to_string(),
                );
            }
            Failures::One(_) | Failures::Many => {}
        }
        None
    }
}

/// Tells why Ecto did not end as it should, when it has ended.
pub fn at_the_end(cause: &Cause) -> Notification {
    let mut message = words::app::cause(cause);
    if let Cause::CouldNotClose { .. } = cause {
        // Nobody goes on trying.
        message.next = Some("Open Ecto again to see whether it is closed.".to_owned());
    }
    Notification {
        title: "Ecto needs you".to_owned(),
        body: without_link(message, cause),
        says_open: false,
    }
}

fn notification(title: &str, body: impl Into<String>) -> Option<Notification> {
    Some(Notification {
        title: title.to_owned(),
        body: body.into(),
        says_open: false,
    })
}

fn closed_unexpectedly(before: &Report, after: &Report) -> Option<Notification> {
    match &after.snapshot.notice {
        Some(notice @ Notice::ClosedUnexpectedly { cause, .. })
            if before.snapshot.notice.as_ref() != Some(notice) =>
        {
            notification(
                "The door closed unexpectedly",
                without_link(words::app::notice(notice), cause),
            )
        }
        Some(
            Notice::ClosedUnexpectedly { .. }
            | Notice::WantedUnreadable
            | Notice::DeadlinePassed
            | Notice::EndedBySleep,
        )
        | None => None,
    }
}

fn blocked(report: &Report) -> Option<&Cause> {
    match &report.snapshot.exposure {
        Exposure::Blocked { cause, .. } => Some(cause),
        Exposure::Private
        | Exposure::Preparing { .. }
        | Exposure::Public { .. }
        | Exposure::Closing => None,
    }
}

/// What keeps callers out although Public is wanted.
fn hindrance(report: &Report) -> Option<&Cause> {
    match &report.snapshot.exposure {
        Exposure::Public { held, .. } => held.as_ref(),
        Exposure::Private
        | Exposure::Preparing { .. }
        | Exposure::Closing
        | Exposure::Blocked { .. } => blocked(report),
    }
}

fn danger(before: &Report, after: &Report) -> Option<Notification> {
    let cause = blocked(after)?;
    let is_known = blocked(before).is_some_and(|known| known.code() == cause.code());
    let is_new = cause.severity() == Severity::Danger && !is_known;
    if !is_new && (!may_be_open(after) || may_be_open(before)) {
        return None;
    }
    notification("Ecto needs you", said(after, cause))
}

fn may_be_open(report: &Report) -> bool {
    matches!(
        report.snapshot.exposure,
        Exposure::Blocked {
            closed: Closed::Unconfirmed,
            ..
        }
    )
}

fn said(report: &Report, cause: &Cause) -> String {
    without_link(words::app::exposure(&report.snapshot.exposure), cause)
}

/// What a person is asked for. A link to sign in stays out of what the desktop keeps and shows on a locked screen.
fn asked(waiting: &Waiting) -> String {
    let asked = match waiting {
        Waiting::SignIn { .. } => "Sign in to Tailscale.",
        Waiting::Approval { .. } => {
            "An administrator of your Tailscale network has to approve this machine."
        }
        Waiting::FunnelPermission { .. } => {
            "Tailscale asks once whether this machine may be reached from the internet."
        }
        Waiting::AdministratorPrompt | Waiting::Tailscale | Waiting::Gateway => {
            return words::waiting(waiting);
        }
    };
    format!("{asked} {LINK_IS_INSIDE}")
}

fn waiting_for_person(report: &Report) -> Option<&Waiting> {
    match &report.snapshot.exposure {
        Exposure::Preparing {
            waiting: Some(waiting),
            ..
        } if needs_person(waiting) => Some(waiting),
        Exposure::Private
        | Exposure::Preparing { .. }
        | Exposure::Public { .. }
        | Exposure::Closing
        | Exposure::Blocked { .. } => None,
    }
}

fn needs_you(before: &Report, after: &Report) -> Option<Notification> {
    if let Some(waiting) = waiting_for_person(after) {
        if waiting_for_person(before) == Some(waiting) {
            return None;
        }
        return notification("Ecto needs you", asked(waiting));
    }
    let cause = hindrance(after).filter(|cause| waits_for_deed(after, cause))?;
    let known = hindrance(before).is_some_and(|known| known.code() == cause.code());
    if known {
        return None;
    }
    notification("Ecto needs you", said(after, cause))
}

/// Whether nothing comes of what is wanted until a person has done something.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a new cause that passes by itself is told by the icon alone unless it is listed"
)]
fn waits_for_deed(report: &Report, cause: &Cause) -> bool {
    let is_wanted = report.snapshot.wanted.is_public() && cause.severity() == Severity::Problem;
    match cause.remedy() {
        Remedy::Act => cause.severity() == Severity::Problem,
        Remedy::Ask => is_wanted,
        // Ecto tries again by itself, and in vain until then.
        Remedy::Wait => match cause {
            Cause::PortsTaken | Cause::DiskFull { .. } | Cause::ConfigNotWritable { .. } => {
                is_wanted
            }
            _ => false,
        },
    }
}

/// Why it is not reachable, and since when that is known.
fn unreachable(report: &Report) -> Option<(&ReachCause, Timestamp)> {
    match &report.snapshot.exposure {
        Exposure::Public {
            reach: Reach::Unreachable { cause, at },
            ..
        } => (!cause.is_settling()).then_some((cause, *at)),
        Exposure::Private
        | Exposure::Preparing { .. }
        | Exposure::Public { .. }
        | Exposure::Closing
        | Exposure::Blocked { .. } => None,
    }
}

fn strangers(before: &Report, after: &Report) -> Option<Notification> {
    let (None, Some(strangers)) = (&before.strangers, &after.strangers) else {
        return None;
    };
    let from = match strangers.addresses {
        1 => "one address".to_owned(),
        many => format!("{many} addresses"),
    };
    notification(
        "Somebody is trying keys",
        format!(
            "{} requests with a wrong key or none came from {from}. None of them got in.",
            strangers.attempts
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ecto_core::exposure::Closed;

    use super::*;
    use crate::view::{
        self,
        tests::{EVERY_STATE, view_of},
    };

    fn between(before: &Report, after: &Report) -> Option<Notification> {
        let mut teller = Teller::new(view_of("private").report);
        teller.next(before);
        teller.next(after)
    }

    fn told(before: &str, after: &str) -> Option<String> {
        between(&view_of(before).report, &view_of(after).report).map(|told| line(&told))
    }

    fn line(told: &Notification) -> String {
        format!("{}: {}", told.title, told.body)
    }

    /// What is told of these states in turn, each a second after the one before.
    fn story(states: &[&str]) -> Vec<String> {
        let mut teller = Teller::new(view_of("private").report);
        let told = states.iter().enumerate().filter_map(|(second, state)| {
            let mut report = view_of(state).report;
            if let Exposure::Public {
                reach: Reach::Unreachable { at, .. },
                ..
            } = &mut report.snapshot.exposure
            {
                *at += Duration::from_secs(second as u64);
            }
            Some(format!("{second} {}", line(&teller.next(&report)?)))
        });
        told.collect()
    }

    #[test]
    fn what_matters_is_told_and_nothing_else() {
        let lines: Vec<String> = EVERY_STATE
            .iter()
            .map(|after| {
                let told = told("private", after);
                format!("private -> {after}: {}", told.as_deref().unwrap_or("-"))
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn no_link_that_a_person_is_asked_to_open_leaves_the_popover() {
        for state in EVERY_STATE {
            let after = view_of(state).report;
            if let (Some(link), Some(told)) =
                (view::link(&after.snapshot.exposure), told("private", state))
            {
                assert!(!told.contains(link.as_str()), "{state}: {told}");
            }
        }
    }

    #[test]
    fn the_same_is_not_told_twice() {
        for state in EVERY_STATE {
            assert_eq!(told(state, state), None, "{state}");
        }
        assert_eq!(told("away", "held"), None);
        assert!(told("held", "away").is_some());
    }

    #[test]
    fn a_door_found_open_that_cannot_be_seen_to_close_is_told_again() {
        let found = |closed| {
            let mut report = view_of("private").report;
            report.snapshot.exposure = Exposure::Blocked {
                cause: Cause::OpenWithoutKey,
                closed,
            };
            report
        };
        let mut teller = Teller::new(view_of("public").report);
        let mut told = |closed| teller.next(&found(closed)).map(|told| told.body);
        assert!(told(Closed::Yes).is_some());
        let doubt = told(Closed::Unconfirmed).unwrap();
        assert!(
            doubt.contains("The door could not be seen to close"),
            "{doubt}"
        );
        assert_eq!(told(Closed::Unconfirmed), None);
        assert_eq!(told(Closed::Yes), None);
    }

    #[test]
    fn that_the_door_is_open_is_told_once_an_opening_and_not_while_nobody_gets_through() {
        let open = "Public: The door is open: https://ecto.example.ts.net/v1/chat/completions";
        let states = ["preparing", "held", "held", "public", "held", "public"];
        assert_eq!(story(&states), [format!("3 {open}")]);
        let states = ["public", "closing", "private", "preparing", "public"];
        assert_eq!(story(&states), [format!("0 {open}"), format!("4 {open}")]);
    }

    #[test]
    fn that_the_door_is_open_holds_no_longer_once_it_is_closed() {
        let mut teller = Teller::new(view_of("private").report);
        let open = teller.next(&view_of("public").report).unwrap();
        for (now, holds) in [
            ("public", true),
            ("unreachable", true),
            ("private", false),
            ("closing", false),
        ] {
            assert_eq!(open.holds(&view_of(now).report), holds, "{now}");
        }
        let needs = Teller::new(view_of("private").report).next(&view_of("sign in").report);
        assert!(needs.unwrap().holds(&view_of("private").report));
    }

    #[test]
    fn one_check_that_fails_is_no_news_and_a_second_in_a_row_is_told_once() {
        let told = |states: &[&str]| {
            let lines = story(states);
            let told = lines.iter().filter(|line| line.contains("Not reachable"));
            told.cloned().collect::<Vec<_>>()
        };
        let unreachable = "unreachable";
        let blip = [
            "public",
            unreachable,
            "public",
            unreachable,
            "settling",
            unreachable,
        ];
        assert_eq!(told(&blip), [""; 0]);
        let lasting = [
            "public",
            unreachable,
            unreachable,
            unreachable,
            "public",
            unreachable,
            unreachable,
        ];
        let said = "Not reachable from the internet: Tailscale's relays do not answer at the public address. Ecto checks again by itself.";
        assert_eq!(told(&lasting), [format!("2 {said}"), format!("6 {said}")]);
    }

    #[test]
    fn a_check_that_failed_once_is_not_counted_again_with_every_report() {
        let mut teller = Teller::new(view_of("public").report);
        let failed = view_of("unreachable").report;
        let mut busier = failed.clone();
        busier.snapshot.activity.passed += 1;
        for report in [&failed, &busier, &failed] {
            let told = teller.next(report).map(|told| told.title);
            assert_ne!(told.as_deref(), Some("Not reachable from the internet"));
        }
    }

    #[test]
    fn what_waits_for_a_deed_is_told_once_where_public_is_wanted() {
        let blocked = |cause: &Cause, wanted: &str| {
            let mut report = view_of(wanted).report;
            report.snapshot.exposure = Exposure::Blocked {
                cause: cause.clone(),
                closed: Closed::Yes,
            };
            report
        };
        let detail = || "no room".into();
        let path = || "openclaw.json".to_owned();
        let causes = [
            Cause::VaultDenied,
            Cause::SignInTimedOut,
            Cause::SignInFailed { detail: detail() },
            Cause::ClaimRefused { detail: detail() },
            Cause::InstallFailed { detail: detail() },
            Cause::PortsTaken,
            Cause::DiskFull { path: path() },
            Cause::ConfigNotWritable {
                path: path(),
                detail: detail(),
            },
            // Nobody has to do anything.
            Cause::TailscaleLost,
            Cause::AdministratorCancelled,
        ];
        let lines = causes.map(|cause| {
            let before = view_of("preparing").report;
            let after = blocked(&cause, "missing");
            assert_eq!(between(&after, &after), None, "{cause:?}");
            // The person took it back meanwhile.
            assert_eq!(between(&before, &blocked(&cause, "private")), None);
            let told = between(&before, &after);
            let told = told.as_ref().map_or("-".to_owned(), line);
            format!("{}: {told}", cause.code())
        });
        insta::assert_snapshot!(lines.join("\n"), @r"
        vault_denied: Ecto needs you: The secret store refused to let Ecto in, so there is no key to open with. Unlock it and allow Ecto, then connect again.
        sign_in_timed_out: Ecto needs you: Nobody signed in to Tailscale in time. Connect again for a new link.
        sign_in_failed: Ecto needs you: Tailscale refused to sign in: no room. Connect again to retry.
        claim_refused: Ecto needs you: Tailscale refused to open the door: no room. Connect again to retry.
        install_failed: Ecto needs you: Tailscale could not be installed: no room. Connect again to retry.
        ports_taken: Ecto needs you: Something else on this machine uses all three Funnel ports (443, 8443 and 10000). Free one of them; `tailscale serve status` shows what uses them. Ecto tries again by itself.
        disk_full: Ecto needs you: The disk is full: openclaw.json could not be written. Nothing was changed. Free some space. Ecto tries again by itself.
        config_not_writable: Ecto needs you: OpenClaw's configuration openclaw.json cannot be written: no room. Nothing was changed. Make it writable for your user. Ecto tries again by itself.
        tailscale_lost: -
        administrator_cancelled: -
        ");
    }

    #[test]
    fn a_door_that_closed_by_itself_is_told_once() {
        let before = view_of("public").report;
        let mut after = view_of("preparing").report;
        after.snapshot.notice = serde_json::from_value(serde_json::json!({
            "notice": "closed_unexpectedly",
            "cause": { "code": "tailscale_lost" },
            "at": "2026-11-22T10:00:00Z",
        }))
        .unwrap();
        let told = between(&before, &after).unwrap();
        assert_eq!(told.title, "The door closed unexpectedly");
        assert_eq!(between(&after, &after), None);
    }

    #[test]
    fn a_burst_of_wrong_keys_is_told_once() {
        let with = |strangers: serde_json::Value| {
            let mut report = view_of("public").report;
            report.strangers = serde_json::from_value(strangers).unwrap();
            report
        };
        let strangers = |attempts: u64, addresses: u64| {
            with(serde_json::json!({
                "since": "2026-11-22T10:00:00Z", "attempts": attempts, "addresses": addresses,
            }))
        };
        let none = with(serde_json::Value::Null);
        let told = |addresses| {
            let told = between(&none, &strangers(20, addresses)).unwrap();
            format!("{}: {}", told.title, told.body)
        };
        insta::assert_snapshot!(format!("{}\n{}", told(1), told(7)), @r"
        Somebody is trying keys: 20 requests with a wrong key or none came from one address. None of them got in.
        Somebody is trying keys: 20 requests with a wrong key or none came from 7 addresses. None of them got in.
        ");
        // It goes on, and it ends.
        assert_eq!(between(&strangers(20, 1), &strangers(400, 3)), None);
        assert_eq!(between(&strangers(400, 3), &none), None);
    }

    #[test]
    fn what_is_left_undone_at_the_end_is_told_with_what_to_do() {
        let told = |cause: &Cause| {
            let told = at_the_end(cause);
            format!("{}: {}", told.title, told.body)
        };
        let detail = "the secret store did not answer in time";
        let stays = told(&Cause::KeyNotRevoked {
            name: "phone".parse().unwrap(),
            detail: detail.into(),
        });
        let open = told(&Cause::CouldNotClose {
            detail: "Tailscale did not answer in time".into(),
            node: None,
        });
        insta::assert_snapshot!(format!("{stays}\n{open}"), @r#"
        Ecto needs you: The key "phone" was NOT revoked: the secret store did not answer in time. It is still good. Revoke it again under Keys in the settings, and keep the door closed until that worked.
        Ecto needs you: The door could not be seen to close: Tailscale did not answer in time. Open Ecto again to see whether it is closed.
        "#);
    }
}
