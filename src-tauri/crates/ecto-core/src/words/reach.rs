//! What the check from outside found.

use super::{Message, clause};
use crate::cause::ReachCause;

/// Why the check from outside did not succeed.
pub fn reach(cause: &ReachCause) -> Message {
    match cause {
        ReachCause::Offline { detail } => Message::new(
            format!(
                "The check from outside could not be made: {}.",
                clause(detail)
            ),
            "Look at this machine's internet connection. Ecto checks again by itself.",
        ),
        ReachCause::NotPublished => Message::new(
            "The address is not known to the internet yet; that can take some minutes after the first time.",
            "Ecto checks again by itself.",
        ),
        ReachCause::PrivateAddress { address } => Message::new(
            format!("The name leads to {address}, which is not a public address."),
            "Ecto checks again by itself.",
        ),
        ReachCause::NotAnswering => Message::new(
            "Tailscale's relays do not answer at the public address.",
            "Ecto checks again by itself.",
        ),
        ReachCause::RelayRefuses => Message::new(
            "Tailscale's relays take the connection and drop it, so Funnel is not in force for this machine.",
            "Ecto checks again by itself. If it stays so, disconnect, wait a minute, and connect again; with a Tailscale app, try `ecto connect --node own`.",
        ),
        ReachCause::CertificatePending => Message::new(
            "The certificate is still being issued; the first time takes up to a minute.",
            "Ecto checks again by itself.",
        ),
        ReachCause::CertificateInvalid { detail } => Message::new(
            format!(
                "The certificate at the public address is not valid: {}.",
                clause(detail)
            ),
            "Ecto checks again by itself; do not use the key until it is.",
        ),
        ReachCause::NotTheGuard { status } => Message::new(
            format!(
                "Something else than the guard answers at the public address (status {status})."
            ),
            "Disconnect and connect again.",
        ),
        ReachCause::GuardAway => Message::new(
            "Tailscale does not reach the guard on this machine.",
            "Disconnect and connect again.",
        ),
        ReachCause::GuardFull => Message::new(
            "The guard has no room for one more connection.",
            "Ecto checks again by itself.",
        ),
        ReachCause::GatewayAway => Message::new(
            "The guard does not reach the OpenClaw gateway.",
            "Ecto checks again by itself.",
        ),
        ReachCause::KeyRefused => Message::new(
            "The right key was refused at the public address.",
            "Disconnect and connect again.",
        ),
        ReachCause::LockedOut => Message::new(
            "Too many wrong keys came from this machine's own address.",
            "Ecto checks again by itself.",
        ),
    }
}
