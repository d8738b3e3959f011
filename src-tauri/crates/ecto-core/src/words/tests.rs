//! Every sentence in a snapshot, and the rules that all of them keep.

use std::collections::BTreeSet;
use std::fmt::Write;

use jiff::Timestamp;

use super::*;
use crate::cause::every::{every_cause, every_config_problem, every_reach_cause};
use crate::cause::{ReachCause, Severity};
use crate::step::{Step, Waiting};
use crate::tailnet::{FunnelPort, HostName, Link, PublicAddress};

fn link() -> Link {
    Link::new("https://login.tailscale.com/a/1").unwrap()
}

fn every_waiting() -> Vec<Waiting> {
    let every = vec![
        Waiting::SignIn { link: link() },
        Waiting::Approval { link: link() },
        Waiting::FunnelPermission { link: link() },
        Waiting::AdministratorPrompt,
        Waiting::Tailscale,
        Waiting::Gateway,
    ];
    for waiting in &every {
        match waiting {
            Waiting::SignIn { .. }
            | Waiting::Approval { .. }
            | Waiting::FunnelPermission { .. }
            | Waiting::AdministratorPrompt
            | Waiting::Tailscale
            | Waiting::Gateway => {}
        }
    }
    every
}

fn every_notice() -> Vec<Notice> {
    let every = vec![
        Notice::WantedUnreadable,
        Notice::DeadlinePassed,
        Notice::EndedBySleep,
        Notice::ClosedUnexpectedly {
            cause: Cause::TailscaleLost,
            at: Timestamp::UNIX_EPOCH,
        },
    ];
    for notice in &every {
        match notice {
            Notice::WantedUnreadable
            | Notice::DeadlinePassed
            | Notice::EndedBySleep
            | Notice::ClosedUnexpectedly { .. } => {}
        }
    }
    every
}

fn public(reach: Reach, held: Option<Cause>) -> Exposure {
    Exposure::Public {
        address: PublicAddress {
            host: HostName::new("mac.tail1.ts.net").unwrap(),
            port: FunnelPort::Alternative,
        },
        since: Timestamp::UNIX_EPOCH,
        until: None,
        reach,
        held,
    }
}

fn every_exposure() -> Vec<Exposure> {
    let at = Timestamp::UNIX_EPOCH;
    let mut every = vec![
        Exposure::Private,
        public(Reach::Unchecked, None),
        public(Reach::Reachable { at }, None),
        public(
            Reach::Unreachable {
                cause: ReachCause::NotPublished,
                at,
            },
            None,
        ),
        public(Reach::Unchecked, Some(Cause::GatewayNotReady { log: None })),
        public(Reach::Unchecked, Some(Cause::LockUnproven)),
        Exposure::Closing,
        Exposure::Blocked {
            cause: Cause::ShieldsUp,
            closed: Closed::Yes,
        },
        Exposure::Blocked {
            cause: Cause::OpenClawMissing,
            closed: Closed::Unconfirmed,
        },
        Exposure::Blocked {
            cause: Cause::OpenWithoutKey,
            closed: Closed::Unconfirmed,
        },
        Exposure::Blocked {
            cause: Cause::CouldNotClose {
                detail: "Tailscale did not answer in time".into(),
                node: None,
            },
            closed: Closed::Unconfirmed,
        },
    ];
    for step in Step::ALL {
        every.push(Exposure::Preparing {
            step,
            since: at,
            waiting: None,
            progress: None,
        });
    }
    every.push(Exposure::Preparing {
        step: Step::SignIn,
        since: at,
        waiting: Some(Waiting::SignIn { link: link() }),
        progress: None,
    });
    for exposure in &every {
        match exposure {
            Exposure::Private
            | Exposure::Preparing { .. }
            | Exposure::Public { .. }
            | Exposure::Closing
            | Exposure::Blocked { .. } => {}
        }
    }
    every
}

fn every_message() -> Vec<Message> {
    let config = |problem| Cause::ConfigUnusable {
        path: "/home/person/.openclaw/openclaw.json".into(),
        problem,
    };
    let problems = every_config_problem().into_iter().map(config);
    let causes = every_cause().into_iter().chain(problems);
    causes
        .map(|each| cause(&each))
        .chain(every_reach_cause().iter().map(reach))
        .chain(every_exposure().iter().map(exposure))
        .chain(every_notice().iter().map(notice))
        .chain(
            every_waiting()
                .iter()
                .map(|each| Message::plain(waiting(each))),
        )
        .collect()
}

#[test]
fn causes_in_words() {
    let mut page = String::new();
    for each in every_cause() {
        let (severity, remedy) = (each.severity(), each.remedy());
        writeln!(
            page,
            "{} [{severity:?}, {remedy:?}]\n    {}",
            each.code(),
            cause(&each)
        )
        .unwrap();
    }
    for problem in every_config_problem() {
        let each = Cause::ConfigUnusable {
            path: "/home/person/.openclaw/openclaw.json".into(),
            problem,
        };
        writeln!(page, "config_unusable\n    {}", cause(&each)).unwrap();
    }
    insta::assert_snapshot!(page);
}

#[test]
fn the_check_from_outside_in_words() {
    let mut page = String::new();
    for each in every_reach_cause() {
        writeln!(page, "{}\n    {}", each.code(), reach(&each)).unwrap();
    }
    insta::assert_snapshot!(page);
}

#[test]
fn what_is_in_words() {
    let exposures = every_exposure();
    let notices = every_notice();
    let waitings = every_waiting();
    let lines = exposures
        .iter()
        .map(|each| exposure(each).to_string())
        .chain(notices.iter().map(|each| notice(each).to_string()))
        .chain(waitings.iter().map(waiting))
        .collect::<Vec<_>>();
    insta::assert_snapshot!(lines.join("\n"));
}

/// Whether it ends so that it can be read, clicked or typed: a full stop, a link or a command after a colon.
fn ends_well(text: &str) -> bool {
    let after_colon = text.rsplit_once(": ").map(|(_, rest)| rest);
    let command =
        after_colon.is_some_and(|rest| rest.starts_with("ecto ") || rest == "tailscale down");
    let link = text
        .rsplit(' ')
        .next()
        .is_some_and(|word| word.starts_with("https://"));
    text.ends_with('.') || link || command
}

#[test]
fn every_text_is_a_sentence() {
    for message in every_message() {
        for text in std::iter::once(&message.what).chain(&message.next) {
            assert!(ends_well(text), "{text}");
            assert!(text.contains(' '), "only a code: {text}");
            assert!(
                text.starts_with(|first: char| first.is_uppercase() || first == '`'),
                "{text}"
            );
            for wrong in [
                "Error:", "error:", "..", "  ", ": .", "null", "None", "Some(",
            ] {
                assert!(!text.contains(wrong), "{wrong:?} in: {text}");
            }
        }
    }
}

#[test]
fn what_is_to_be_opened_or_typed_is_what_the_sentence_names() {
    let mut named = 0;
    for each in every_cause() {
        let text = cause(&each).to_string();
        if let Some(address) = lead::address(&each) {
            assert!(super::link(&each).is_some(), "{each:?}");
            assert!(text.contains(address), "{text}");
            named += 1;
        } else {
            assert!(!text.contains("https://"), "{text}");
        }
        if let Some(typed) = command(&each) {
            assert!(text.contains(&format!("`{typed}`")), "{text}");
            named += 1;
        }
    }
    assert_eq!(named, 9);
}

#[test]
fn nobody_is_sent_to_a_file_of_the_source() {
    for message in every_message() {
        assert!(!message.to_string().contains("docs/"), "{message}");
    }
}

#[test]
fn the_app_sends_nobody_to_the_command() {
    let blocked = |cause: Cause| {
        app::exposure(&Exposure::Blocked {
            cause,
            closed: Closed::Yes,
        })
    };
    let at = Timestamp::UNIX_EPOCH;
    let unreachable = |cause| app::exposure(&public(Reach::Unreachable { cause, at }, None));
    let noticed = |cause| app::notice(&Notice::ClosedUnexpectedly { cause, at });
    let messages = every_cause()
        .into_iter()
        .flat_map(|each| {
            let held = app::exposure(&public(Reach::Unchecked, Some(each.clone())));
            [
                app::cause(&each),
                noticed(each.clone()),
                held,
                blocked(each),
            ]
        })
        .chain(every_reach_cause().into_iter().map(unreachable));
    for message in messages {
        let text = message.to_string();
        assert!(!text.contains("`ecto "), "{text}");
        assert!(!text.contains("--vault"), "{text}");
        assert!(ends_well(&text), "{text}");
    }
}

#[test]
fn whatever_stops_it_says_what_to_do_next() {
    for each in every_cause() {
        assert!(cause(&each).next.is_some(), "{each:?}");
    }
}

#[test]
fn what_tries_again_by_itself_does_not_ask_for_connect_and_the_other_way_round() {
    for each in every_cause() {
        let text = cause(&each).to_string();
        match each.remedy() {
            Remedy::Ask => assert!(
                !text.contains(RETRIED) && !text.contains(CONTINUES),
                "{text}"
            ),
            Remedy::Act => assert!(!text.contains(CONNECT_AGAIN), "{text}"),
            Remedy::Wait if matches!(each, Cause::WantedNotStored { .. }) => {}
            Remedy::Wait => assert!(!text.contains(CONNECT_AGAIN), "{text}"),
        }
    }
}

#[test]
fn every_code_is_its_own_and_the_word_in_json() {
    let causes = every_cause();
    let codes: BTreeSet<String> = causes.iter().map(Cause::code).collect();
    assert_eq!(codes.len(), causes.len());
    for each in &causes {
        let json = serde_json::to_value(each).unwrap();
        assert_eq!(json["code"], each.code());
        assert_eq!(serde_json::from_value::<Cause>(json).unwrap(), *each);
        if !matches!(each, Cause::Internal { .. }) {
            assert_ne!(each.code(), "internal");
        }
    }
    let reaches = every_reach_cause();
    let codes: BTreeSet<String> = reaches.iter().map(ReachCause::code).collect();
    assert_eq!(codes.len(), reaches.len());
}

#[test]
fn danger_is_what_may_be_open() {
    let dangers = every_cause()
        .into_iter()
        .filter(|each| each.severity() == Severity::Danger)
        .map(|each| each.code())
        .collect::<Vec<_>>();
    assert_eq!(
        dangers,
        [
            "could_not_close",
            "gateway_open",
            "proof_failed",
            "open_without_key"
        ]
    );
}
