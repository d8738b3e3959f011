//! What is worth a notification: public, closed unexpectedly, unreachable, needs you, many wrong keys. Nothing else.

use ecto_core::cause::{Cause, Severity};
use ecto_core::exposure::{Exposure, Reach};
use ecto_core::snapshot::Notice;
use ecto_core::step::Waiting;
use ecto_core::words;
use ecto_host::report::Report;

use crate::view::{LINK_IS_INSIDE, Mood, needs_person, without_link};

/// What the desktop is asked to show. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// In a few words.
    pub title: String,
    /// In a sentence.
    pub body: String,
}

/// Decides from one report to the next.
pub fn between(before: &Report, after: &Report) -> Option<Notification> {
    closed_unexpectedly(before, after)
        .or_else(|| danger(before, after))
        .or_else(|| needs_you(before, after))
        .or_else(|| unreachable(before, after))
        .or_else(|| strangers(before, after))
        .or_else(|| public(before, after))
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
    }
}

fn notification(title: &str, body: impl Into<String>) -> Option<Notification> {
    Some(Notification {
        title: title.to_owned(),
        body: body.into(),
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
            Notice::ClosedUnexpectedly { .. } | Notice::WantedUnreadable | Notice::DeadlinePassed,
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

fn danger(before: &Report, after: &Report) -> Option<Notification> {
    let cause = blocked(after).filter(|cause| cause.severity() == Severity::Danger)?;
    let known = blocked(before).is_some_and(|known| known.code() == cause.code());
    if known {
        return None;
    }
    notification("Ecto needs you", said(after, cause))
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
    let cause = blocked(after)?;
    let known = blocked(before).is_some_and(|known| known.code() == cause.code());
    if known || Mood::of(&after.snapshot.exposure) != Mood::NeedsYou {
        return None;
    }
    notification("Ecto needs you", said(after, cause))
}

fn unreachable(before: &Report, after: &Report) -> Option<Notification> {
    if is_unreachable(before) || !is_unreachable(after) {
        return None;
    }
    notification(
        "Not reachable from the internet",
        words::app::exposure(&after.snapshot.exposure).to_string(),
    )
}

fn is_unreachable(report: &Report) -> bool {
    match &report.snapshot.exposure {
        Exposure::Public {
            reach: Reach::Unreachable { cause, .. },
            ..
        } => !cause.is_settling(),
        Exposure::Private
        | Exposure::Preparing { .. }
        | Exposure::Public { .. }
        | Exposure::Closing
        | Exposure::Blocked { .. } => false,
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

fn public(before: &Report, after: &Report) -> Option<Notification> {
    let (None, Some(url)) = (&before.url, &after.url) else {
        return None;
    };
    notification(
        "Public",
        format!("OpenClaw is reachable for holders of a key: {url}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{
        self,
        tests::{EVERY_STATE, view_of},
    };

    fn told(before: &str, after: &str) -> Option<String> {
        let notification = between(&view_of(before).report, &view_of(after).report)?;
        Some(format!("{}: {}", notification.title, notification.body))
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
        assert_eq!(told("unreachable", "public"), None);
        assert_eq!(told("public", "held"), None);
        assert!(told("public", "unreachable").is_some());
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
