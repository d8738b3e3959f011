//! The same sentences where the app shows them: what a person does next there is a button or a setting and not `ecto`, which
//! somebody with the app alone may not have in a terminal.

use super::{CONTINUES, Message, RETRIED, until_ready};
use crate::cause::{Cause, ReachCause};
use crate::exposure::{Exposure, Reach};
use crate::snapshot::Notice;

/// What is.
pub fn exposure(exposure: &Exposure) -> Message {
    let message = super::exposure(exposure);
    match exposure {
        Exposure::Blocked { cause, .. } => with_own_next(message, cause),
        Exposure::Public {
            held: Some(held), ..
        } => Message::new(message.what, cause(held).to_string()),
        Exposure::Public {
            reach: Reach::Unreachable { cause, .. },
            held: None,
            ..
        } => Message::new(message.what, reach(cause).to_string()),
        Exposure::Public { held: None, .. }
        | Exposure::Private
        | Exposure::Preparing { .. }
        | Exposure::Closing => message,
    }
}

/// Something that happened.
pub fn notice(notice: &Notice) -> Message {
    let message = super::notice(notice);
    match notice {
        Notice::ClosedUnexpectedly { cause, .. } => with_own_next(message, cause),
        Notice::EndedBySleep => Message::new(
            message.what,
            "Connect again to open the door. Under \u{201c}At sleep\u{201d} in the settings you can have it opened again at wake.",
        ),
        Notice::WantedUnreadable | Notice::DeadlinePassed => message,
    }
}

/// Why it is blocked.
pub fn cause(cause: &Cause) -> Message {
    with_own_next(super::cause(cause), cause)
}

/// Why the check from outside did not succeed.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a new cause is said as everywhere unless it is listed"
)]
pub fn reach(cause: &ReachCause) -> Message {
    let message = super::reach(cause);
    match cause {
        ReachCause::RelayRefuses => Message::new(
            message.what,
            "Ecto checks again by itself. If it stays so, disconnect, wait a minute, and connect again; with a Tailscale app, choose \u{201c}For Ecto alone\u{201d} in the settings.",
        ),
        _ => message,
    }
}

fn with_own_next(message: Message, cause: &Cause) -> Message {
    match next(cause) {
        Some(next) => Message::new(message.what, next),
        None => message,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a new cause is said as everywhere unless it is listed"
)]
fn next(cause: &Cause) -> Option<String> {
    let next = match cause {
        Cause::GatewayNotAnswering
        | Cause::GatewayStaysAway
        | Cause::GatewayTokenRefused
        | Cause::GatewayRejectsProxy => {
            return Some(format!("Restart OpenClaw in Ecto. {CONTINUES}"));
        }
        Cause::GatewayNotReady { log } => {
            return Some(until_ready(
                "restart OpenClaw in the settings",
                log.as_ref(),
            ));
        }
        Cause::VaultUnreachable { .. } => RETRIED,
        Cause::ProofFailed { .. } => {
            "Connect again to retry; Diagnostics in the settings shows more."
        }
        Cause::VaultDamaged { .. } => {
            "Make a new default key in Ecto. That gives up every key that was stored, and whatever uses one needs a new one."
        }
        Cause::KeyNotFound { .. } => "See which there are under Keys in the settings.",
        Cause::KeyNotRevoked { .. } => {
            "Revoke it again under Keys in the settings, and keep the door closed until that worked."
        }
        Cause::KeyExpired { .. } => "Choose when the new one expires.",
        Cause::TooManyKeys { .. } => {
            "Revoke one that nobody uses; each tells when it was last used."
        }
        Cause::DefaultKeyStays => "To make the present one useless, replace it.",
        Cause::RouteAlwaysOffered { .. } => {
            "To keep somebody from it, make a key without it, under Keys in the settings."
        }
        Cause::TooManyOrigins { .. } => {
            "Forbid one whose pages do not call any more, in the settings."
        }
        Cause::OpenWithoutKey => {
            "Look at Diagnostics and tell us what it says before you connect again."
        }
        Cause::Internal { .. } => "Diagnostics in the settings shows more.",
        _ => return None,
    };
    Some(next.to_owned())
}
