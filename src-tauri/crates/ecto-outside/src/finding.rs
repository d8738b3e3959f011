//! What each failure means.

use std::io;

use ecto_core::cause::ReachCause;
use ecto_core::foreign::ForeignText;
use ecto_core::ports::OutsideFinding;
use ecto_core::refusal::Refusal;
use rustls::AlertDescription;
use serde::Deserialize;

use crate::exchange::Reply;

/// Why there was no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody answers, or what answers goes silent.
    NotAnswering,
    /// The question was taken, and the answer did not come in time.
    TooSlow,
    /// The relay drops the connection.
    RelayRefuses,
    /// The node has no certificate yet.
    CertificatePending,
    /// The certificate is not valid, or what answers does not speak TLS.
    CertificateInvalid(String),
}

impl From<Trouble> for ReachCause {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::NotAnswering | Trouble::TooSlow => Self::NotAnswering,
            Trouble::RelayRefuses => Self::RelayRefuses,
            Trouble::CertificatePending => Self::CertificatePending,
            Trouble::CertificateInvalid(detail) => Self::CertificateInvalid {
                detail: ForeignText::new(detail),
            },
        }
    }
}

/// What a handshake that failed means. A relay that has nobody to hand the connection to closes it without a word of
/// TLS; tailscaled that has no certificate sends the alert `internal_error` (1.96.5, seen both ways).
pub(crate) fn judge_handshake(fault: &io::Error) -> Trouble {
    let tls = fault
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(tls) = tls {
        if *tls == rustls::Error::AlertReceived(AlertDescription::InternalError) {
            return Trouble::CertificatePending;
        }
        if *tls == rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) {
            return Trouble::RelayRefuses;
        }
        return Trouble::CertificateInvalid(tls.to_string());
    }
    let hung_up = matches!(
        fault.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    );
    if hung_up {
        Trouble::RelayRefuses
    } else {
        Trouble::NotAnswering
    }
}

#[derive(Deserialize)]
struct Body {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    code: Option<String>,
}

/// What the guard itself said, where it was the guard that answered.
fn refusal(reply: &Reply) -> Option<Refusal> {
    let body: Body = serde_json::from_slice(&reply.body).ok()?;
    Refusal::from_code(body.error.code.as_deref()?)
        .filter(|refusal| refusal.status() == reply.status)
}

/// Judges the answer to a question without a key: `Ok` when the guard said that one is missing.
pub(crate) fn judge_without_key(reply: &Reply) -> Result<(), OutsideFinding> {
    judge_refusal(reply, &[Refusal::MissingKey])
}

/// Judges the answer to a wrong key: `Ok` when the guard knew it for wrong. It says that there were too many only of one
/// that it has looked at, and somebody else behind the same router may have shown the others.
pub(crate) fn judge_wrong_key(reply: &Reply) -> Result<(), OutsideFinding> {
    judge_refusal(reply, &[Refusal::WrongKey, Refusal::TooManyWrongKeys])
}

fn judge_refusal(reply: &Reply, expected: &[Refusal]) -> Result<(), OutsideFinding> {
    if (200..300).contains(&reply.status) {
        return Err(OutsideFinding::OpenWithoutKey);
    }
    match refusal(reply) {
        Some(refusal) if expected.contains(&refusal) => Ok(()),
        refusal => Err(OutsideFinding::Unreachable(judge_status(
            reply.status,
            refusal,
        ))),
    }
}

/// Judges the answer to the right key.
pub(crate) fn judge_right_key(reply: &Reply) -> OutsideFinding {
    match (reply.status, refusal(reply)) {
        (200, _) => OutsideFinding::Reachable,
        (401, Some(Refusal::WrongKey | Refusal::MissingKey)) => {
            OutsideFinding::Unreachable(ReachCause::KeyRefused)
        }
        (status, refusal) => OutsideFinding::Unreachable(judge_status(status, refusal)),
    }
}

/// tailscaled answers 502 with an empty body when it does not reach the guard (1.96.5); what the guard says of the
/// gateway has the same status and names itself.
fn judge_status(status: u16, refusal: Option<Refusal>) -> ReachCause {
    match (status, refusal) {
        (502, None) => ReachCause::GuardAway,
        (503, Some(Refusal::TooBusy)) => ReachCause::GuardFull,
        (502..=504, _) => ReachCause::GatewayAway,
        (429, _) => ReachCause::LockedOut,
        (status, _) => ReachCause::NotTheGuard { status },
    }
}
