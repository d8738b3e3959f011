//! The choice of the next step: a pure function of what is seen.

use crate::cause::Cause;
use crate::gateway::{GatewayFingerprint, GatewayView};
use crate::step::Step;
use crate::tailnet::{FunnelPermission, Installer, TailnetView};

/// What is seen at one moment, while Public is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The node.
    pub tailnet: TailnetView,
    /// The gateway.
    pub gateway: GatewayView,
    /// The gateway in front of which the guard runs, where it runs.
    pub guard: Option<GatewayFingerprint>,
    /// The gateway for which the lock was proven and nothing has voided it.
    pub proven: Option<GatewayFingerprint>,
    /// Whether the door is open.
    pub open: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Everything is as wanted.
    Rest,
    /// Take this step, then look again.
    Take(Step),
    /// Leave the door open, and let nobody through until this is over.
    Hold(Cause),
    /// Close the door first, then look again.
    Close,
    /// It does not go on from here; the door has to be closed.
    Block(Cause),
}

/// Chooses what to do next.
pub fn next(seen: &Observation) -> Next {
    match &seen.gateway {
        GatewayView::Missing => return Next::Block(Cause::OpenClawMissing),
        GatewayView::Refused { cause } => return Next::Block(cause.clone()),
        GatewayView::NeedsSetUp { .. }
        | GatewayView::NotRunning { .. }
        | GatewayView::Starting { .. }
        | GatewayView::NeedsRestart { .. }
        | GatewayView::Ready(_) => {}
    }
    if seen.open {
        return next_while_open(seen);
    }
    if let Some(next) = next_of_tailnet(&seen.tailnet) {
        return next;
    }
    match &seen.gateway {
        GatewayView::Missing => Next::Block(Cause::OpenClawMissing),
        GatewayView::Refused { cause } => Next::Block(cause.clone()),
        GatewayView::NeedsSetUp { .. } => Next::Take(Step::SetUpOpenClaw),
        GatewayView::NotRunning { .. }
        | GatewayView::Starting { .. }
        | GatewayView::NeedsRestart { .. } => Next::Take(Step::StartOpenClaw),
        GatewayView::Ready(ready) => {
            next_of_lock(seen, &ready.fingerprint).unwrap_or(Next::Take(Step::Open))
        }
    }
}

fn next_while_open(seen: &Observation) -> Next {
    match &seen.gateway {
        GatewayView::Ready(ready) => next_of_lock(seen, &ready.fingerprint).unwrap_or(Next::Rest),
        GatewayView::NotRunning { .. }
        | GatewayView::Starting { .. }
        | GatewayView::NeedsRestart { .. } => Next::Hold(Cause::GatewayNotReady { log: None }),
        GatewayView::NeedsSetUp { .. } | GatewayView::Missing | GatewayView::Refused { .. } => {
            Next::Close
        }
    }
}

fn next_of_tailnet(tailnet: &TailnetView) -> Option<Next> {
    let next = match tailnet {
        TailnetView::Missing { installer } => match installer {
            Installer::Homebrew => Next::Take(Step::InstallTailscale),
            Installer::Download => Next::Block(Cause::TailscaleToDownload),
            Installer::Person { command } => Next::Block(Cause::TailscaleMissing {
                command: command.clone(),
            }),
        },
        TailnetView::NotRunning { .. } | TailnetView::Starting { .. } => {
            Next::Take(Step::StartTailscale)
        }
        TailnetView::NeedsSignIn { .. }
        | TailnetView::Stopped { .. }
        | TailnetView::NeedsApproval { .. } => Next::Take(Step::SignIn),
        TailnetView::Running(node) => match node.funnel {
            FunnelPermission::Allowed => return None,
            FunnelPermission::Missing => Next::Take(Step::AllowFunnel),
        },
        TailnetView::Refused { cause } => Next::Block(cause.clone()),
    };
    Some(next)
}

fn next_of_lock(seen: &Observation, gateway: &GatewayFingerprint) -> Option<Next> {
    if seen.guard.as_ref() != Some(gateway) {
        return Some(Next::Take(Step::StartGuard));
    }
    if seen.proven.as_ref() != Some(gateway) {
        return Some(Next::Take(Step::Prove));
    }
    None
}

/// The steps that lie ahead, as far as they can be foreseen, in the order of the journey.
pub fn steps_ahead(seen: &Observation) -> Vec<Step> {
    let tailnet = match &seen.tailnet {
        TailnetView::Missing { .. } => 4,
        TailnetView::NotRunning { .. }
        | TailnetView::Starting { .. }
        | TailnetView::Refused { .. } => 3,
        TailnetView::NeedsSignIn { .. }
        | TailnetView::Stopped { .. }
        | TailnetView::NeedsApproval { .. } => 2,
        TailnetView::Running(node) => usize::from(node.funnel == FunnelPermission::Missing),
    };
    let gateway = match &seen.gateway {
        GatewayView::NeedsSetUp { running, .. } => {
            if *running {
                &[Step::SetUpOpenClaw][..]
            } else {
                &[Step::SetUpOpenClaw, Step::StartOpenClaw][..]
            }
        }
        GatewayView::NotRunning { .. }
        | GatewayView::Starting { .. }
        | GatewayView::NeedsRestart { .. } => &[Step::StartOpenClaw][..],
        GatewayView::Ready(_) | GatewayView::Missing | GatewayView::Refused { .. } => &[][..],
    };
    let journey = [
        Step::InstallTailscale,
        Step::StartTailscale,
        Step::SignIn,
        Step::AllowFunnel,
    ];
    let mut ahead: Vec<Step> = journey[journey.len() - tailnet..].to_vec();
    ahead.extend_from_slice(gateway);
    ahead.extend([
        Step::StartGuard,
        Step::Prove,
        Step::Open,
        Step::CheckOutside,
    ]);
    ahead
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gateway::ReadyGateway;
    use crate::tailnet::{HostName, NodeKind, RunningNode};

    fn fingerprint(name: &str) -> GatewayFingerprint {
        GatewayFingerprint(name.to_owned())
    }

    fn ready(name: &str) -> GatewayView {
        GatewayView::Ready(ReadyGateway {
            address: "127.0.0.1:18789".parse().unwrap(),
            version: None,
            config: "/openclaw.json".into(),
            hooks: false,
            fingerprint: fingerprint(name),
        })
    }

    fn running(funnel: FunnelPermission) -> TailnetView {
        TailnetView::Running(RunningNode {
            kind: NodeKind::System,
            host: HostName::new("mac.tail1234.ts.net").unwrap(),
            version: "1.104.5".into(),
            funnel,
        })
    }

    fn tailnets() -> impl Strategy<Value = TailnetView> {
        let kind = NodeKind::Own;
        prop_oneof![
            Just(TailnetView::Missing {
                installer: Installer::Homebrew
            }),
            Just(TailnetView::Missing {
                installer: Installer::Download
            }),
            Just(TailnetView::Missing {
                installer: Installer::Person {
                    command: "apt".into()
                }
            }),
            Just(TailnetView::NotRunning { kind }),
            Just(TailnetView::Starting { kind }),
            Just(TailnetView::NeedsSignIn { kind }),
            Just(TailnetView::Stopped { kind }),
            Just(TailnetView::NeedsApproval { kind }),
            Just(running(FunnelPermission::Missing)),
            Just(running(FunnelPermission::Allowed)),
            Just(TailnetView::Refused {
                cause: Cause::ShieldsUp
            }),
        ]
    }

    fn gateways() -> impl Strategy<Value = GatewayView> {
        let config = || std::path::PathBuf::from("/openclaw.json");
        prop_oneof![
            Just(GatewayView::Missing),
            Just(GatewayView::Refused {
                cause: Cause::HooksTokenShared
            }),
            Just(GatewayView::NeedsSetUp {
                config: config(),
                keys: vec![],
                running: true
            }),
            Just(GatewayView::NeedsSetUp {
                config: config(),
                keys: vec![],
                running: false
            }),
            Just(GatewayView::NotRunning { config: config() }),
            Just(GatewayView::Starting { config: config() }),
            Just(GatewayView::NeedsRestart { config: config() }),
            Just(ready("a")),
            Just(ready("b")),
        ]
    }

    fn observations() -> impl Strategy<Value = Observation> {
        let mark =
            || proptest::option::of(prop_oneof![Just(fingerprint("a")), Just(fingerprint("b"))]);
        (tailnets(), gateways(), mark(), mark(), any::<bool>()).prop_map(
            |(tailnet, gateway, guard, proven, open)| Observation {
                tailnet,
                gateway,
                guard,
                proven,
                open,
            },
        )
    }

    proptest! {
        #[test]
        fn the_door_opens_only_with_a_proof_for_this_very_gateway(seen in observations()) {
            if next(&seen) == Next::Take(Step::Open) {
                prop_assert_eq!(&seen.tailnet, &running(FunnelPermission::Allowed));
                let GatewayView::Ready(gateway) = &seen.gateway else { panic!("not ready") };
                prop_assert_eq!(seen.guard.as_ref(), Some(&gateway.fingerprint));
                prop_assert_eq!(seen.proven.as_ref(), Some(&gateway.fingerprint));
                prop_assert!(!seen.open);
            }
        }

        #[test]
        fn an_open_door_in_front_of_an_unproven_gateway_never_rests(seen in observations()) {
            if seen.open && next(&seen) == Next::Rest {
                let GatewayView::Ready(gateway) = &seen.gateway else { panic!("not ready") };
                prop_assert_eq!(seen.proven.as_ref(), Some(&gateway.fingerprint));
            }
        }

        #[test]
        fn nothing_is_installed_or_changed_for_a_gateway_that_must_not_be_fought(mut seen in observations()) {
            seen.gateway = GatewayView::Refused { cause: Cause::HooksTokenShared };
            prop_assert_eq!(next(&seen), Next::Block(Cause::HooksTokenShared));
        }

        #[test]
        fn the_next_step_is_among_those_foreseen(seen in observations()) {
            if let (false, Next::Take(step)) = (seen.open, next(&seen)) {
                prop_assert!(steps_ahead(&seen).contains(&step));
            }
        }
    }
}
