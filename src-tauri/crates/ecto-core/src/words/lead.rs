//! Where a cause is mended: the page to open, the command to type. The sentences name the same ones.

use crate::cause::Cause;
use crate::tailnet::{Link, NodeKind};

/// The page on which a person mends the cause, where there is one.
pub fn link(cause: &Cause) -> Option<Link> {
    address(cause).and_then(Link::new)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a new cause has no link unless it is listed"
)]
pub(super) fn address(cause: &Cause) -> Option<&str> {
    match cause {
        Cause::MachineNotApproved { link: Some(link) }
        | Cause::FunnelNotAllowed {
            link: Some(link), ..
        } => Some(link.as_str()),
        Cause::MachineNotApproved { link: None } => {
            Some("https://login.tailscale.com/admin/machines")
        }
        Cause::FunnelNotAllowed { link: None, .. } => Some("https://tailscale.com/s/no-funnel"),
        Cause::TailscaleToDownload => Some("https://tailscale.com/download"),
        Cause::NoHostName => Some("https://login.tailscale.com/admin/dns"),
        Cause::OpenClawMissing => Some("https://openclaw.ai"),
        _ => None,
    }
}

/// What a person types in a terminal to mend the cause, where that is what helps.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a new cause has no command unless it is listed"
)]
pub fn command(cause: &Cause) -> Option<&str> {
    match cause {
        Cause::TailscaleMissing { command }
        | Cause::AdministratorNeeded { command }
        | Cause::TailscaleDenied { command } => Some(command),
        Cause::ShieldsUp => Some("tailscale set --shields-up=false"),
        // Ecto's own node ends with Ecto, and `tailscale` does not reach it; the apps bring none that is found.
        Cause::CouldNotClose {
            node: Some(NodeKind::Own | NodeKind::AppStore | NodeKind::Standalone),
            ..
        } => None,
        Cause::CouldNotClose { .. } => Some("tailscale down"),
        _ => None,
    }
}
