//! One of each cause. A new variant does not compile before it has a line here.

use super::{Cause, ConfigProblem, ReachCause};
use crate::key::{KeyName, Route};
use crate::step::Step;
use crate::tailnet::{Link, NodeKind};

macro_rules! one_of_each {
    ($name:ident, $kind:ty, { $($pattern:pat => $example:expr,)* }) => {
        pub(crate) fn $name() -> Vec<$kind> {
            fn _every_variant_has_a_line(cause: &$kind) {
                match cause {
                    $($pattern => {})*
                }
            }
            let examples = vec![$({
                let example = $example;
                assert!(matches!(example, $pattern), "{example:?} stands in the wrong line");
                example
            }),*];
            examples
        }
    };
}

const CONFIG: &str = "/home/person/.openclaw/openclaw.json";

fn link() -> Option<Link> {
    Link::new("https://login.tailscale.com/f/funnel?node=n1")
}

one_of_each!(every_config_problem, ConfigProblem, {
    ConfigProblem::Unreadable { .. } => ConfigProblem::Unreadable { detail: "permission denied".into() },
    ConfigProblem::NotText => ConfigProblem::NotText,
    ConfigProblem::Syntax { .. } => ConfigProblem::Syntax { detail: "line 3: a comma is missing".into() },
    ConfigProblem::NotAnObject { .. } => ConfigProblem::NotAnObject { key: "gateway".into() },
    ConfigProblem::TooLarge => ConfigProblem::TooLarge,
    ConfigProblem::DuplicateKey { .. } => ConfigProblem::DuplicateKey { key: "gateway.auth".into() },
    ConfigProblem::Included { .. } => ConfigProblem::Included { key: "gateway.auth".into() },
    ConfigProblem::WrongType { .. } => ConfigProblem::WrongType { key: "gateway.port".into() },
});

one_of_each!(every_cause, Cause, {
    Cause::TailscaleToDownload => Cause::TailscaleToDownload,
    Cause::TailscaleMissing { .. } => Cause::TailscaleMissing { command: "sudo apt install tailscale".into() },
    Cause::InstallFailed { .. } => Cause::InstallFailed { detail: "no bottle available".into() },
    Cause::AdministratorCancelled => Cause::AdministratorCancelled,
    Cause::AdministratorNeeded { .. } => Cause::AdministratorNeeded { command: "sudo tailscaled install-system-daemon".into() },
    Cause::TailscaleNotStarted { .. } => Cause::TailscaleNotStarted { detail: "the socket is in use".into() },
    Cause::TailscaleUnreachable { .. } => Cause::TailscaleUnreachable { detail: "connection refused".into() },
    Cause::TailscaleLost => Cause::TailscaleLost,
    Cause::TailscaleDenied { .. } => Cause::TailscaleDenied { command: "sudo tailscale set --operator=person".into() },
    Cause::TailscaleBroken { .. } => Cause::TailscaleBroken { version: "1.102.0".into() },
    Cause::TailscaleTooOld { .. } => Cause::TailscaleTooOld { version: "1.50.1".into() },
    Cause::TailscaleOtherUser => Cause::TailscaleOtherUser,
    Cause::SignInTimedOut => Cause::SignInTimedOut,
    Cause::SignInFailed { .. } => Cause::SignInFailed { detail: "the tailnet is locked".into() },
    Cause::MachineNotApproved { .. } => Cause::MachineNotApproved { link: None },
    Cause::FunnelNotAllowed { .. } => Cause::FunnelNotAllowed { detail: "the policy has no funnel attribute".into(), link: link() },
    Cause::ShieldsUp => Cause::ShieldsUp,
    Cause::NoHostName => Cause::NoHostName,
    Cause::PortsTaken => Cause::PortsTaken,
    Cause::ServeConfigContended => Cause::ServeConfigContended,
    Cause::ClaimRefused { .. } => Cause::ClaimRefused { detail: "access denied".into() },
    Cause::ClaimLost => Cause::ClaimLost,
    Cause::HostRenamed => Cause::HostRenamed,
    Cause::CouldNotClose { .. } => Cause::CouldNotClose { detail: "Tailscale did not answer in time".into(), node: Some(NodeKind::Own) },
    Cause::OpenClawMissing => Cause::OpenClawMissing,
    Cause::ConfigUnusable { .. } => Cause::ConfigUnusable { path: CONFIG.into(), problem: ConfigProblem::NotText },
    Cause::ConfigNotWritable { .. } => Cause::ConfigNotWritable { path: CONFIG.into(), detail: "read-only file system".into() },
    Cause::ConfigManaged { .. } => Cause::ConfigManaged { by: "OPENCLAW_NIX_MODE".into() },
    Cause::ConfigContended { .. } => Cause::ConfigContended { path: CONFIG.into() },
    Cause::ConfigRejected { .. } => Cause::ConfigRejected { detail: "unknown key".into() },
    Cause::DiskFull { .. } => Cause::DiskFull { path: CONFIG.into() },
    Cause::GatewayMode { .. } => Cause::GatewayMode { mode: "remote".into() },
    Cause::GatewayBind { .. } => Cause::GatewayBind { bind: "lan".into() },
    Cause::GatewayAuth { .. } => Cause::GatewayAuth { mode: "none".into() },
    Cause::GatewayTailscale { .. } => Cause::GatewayTailscale { mode: "funnel".into() },
    Cause::HooksTokenShared => Cause::HooksTokenShared,
    Cause::TokenUnresolvable { .. } => Cause::TokenUnresolvable { reference: "OPENCLAW_TOKEN".into() },
    Cause::GatewayNotStarted { .. } => Cause::GatewayNotStarted { detail: "exit code 78".into(), log: None },
    Cause::GatewayRestartDeferred => Cause::GatewayRestartDeferred,
    Cause::GatewayNotReady { .. } => Cause::GatewayNotReady { log: None },
    Cause::GatewayNotAnswering => Cause::GatewayNotAnswering,
    Cause::GatewayStaysAway => Cause::GatewayStaysAway,
    Cause::GatewayPortTaken { .. } => Cause::GatewayPortTaken { port: 18_789 },
    Cause::GatewayTokenRefused => Cause::GatewayTokenRefused,
    Cause::GatewayOpen => Cause::GatewayOpen,
    Cause::GatewayRejectsProxy => Cause::GatewayRejectsProxy,
    Cause::GatewayLockedOut { .. } => Cause::GatewayLockedOut { seconds: 300 },
    Cause::GatewayEndpointMissing { .. } => Cause::GatewayEndpointMissing { route: "/v1/models".into() },
    Cause::GatewayUnexpected { .. } => Cause::GatewayUnexpected { detail: "the list of models is not OpenClaw's".into() },
    Cause::GuardFull => Cause::GuardFull,
    Cause::GuardFailed { .. } => Cause::GuardFailed { detail: "no port is free".into() },
    Cause::ProofFailed { .. } => Cause::ProofFailed {
        question: "a request without a key".into(),
        expected: "401 missing_api_key".into(),
        got: 200,
    },
    Cause::LockUnproven => Cause::LockUnproven,
    Cause::VaultDenied => Cause::VaultDenied,
    Cause::VaultUnreachable { .. } => Cause::VaultUnreachable { detail: "no session".into() },
    Cause::VaultDamaged { .. } => Cause::VaultDamaged { detail: "not JSON".into() },
    Cause::KeyNotFound { .. } => Cause::KeyNotFound { name: KeyName::default() },
    Cause::KeyNotRevoked { .. } => Cause::KeyNotRevoked {
        name: "Anna phone".parse().unwrap(),
        detail: "the secret store did not answer in time".into(),
    },
    Cause::KeyNameTaken { .. } => Cause::KeyNameTaken { name: "phone".parse().unwrap() },
    Cause::KeyExpired { .. } => Cause::KeyExpired { name: "Anna phone".parse().unwrap() },
    Cause::AgentUnknown { .. } => Cause::AgentUnknown {
        agent: "notes".parse().unwrap(),
        known: vec!["main".parse().unwrap(), "public".parse().unwrap()],
    },
    Cause::AgentWithHooks => Cause::AgentWithHooks,
    Cause::TooManyKeys { .. } => Cause::TooManyKeys { limit: 100 },
    Cause::DefaultKeyStays => Cause::DefaultKeyStays,
    Cause::OpenWithoutKey => Cause::OpenWithoutKey,
    Cause::WantedNotStored { .. } => Cause::WantedNotStored { detail: "the disk is full".into() },
    Cause::OfferNotStored { .. } => Cause::OfferNotStored {
        path: "/home/ada/.openclaw/ecto/routes.json".into(),
        detail: "the disk is full".into(),
    },
    Cause::RouteAlwaysOffered { .. } => Cause::RouteAlwaysOffered { route: Route::Chat },
    Cause::TooManyOrigins { .. } => Cause::TooManyOrigins { limit: 32 },
    Cause::PrivateNotStored { .. } => Cause::PrivateNotStored { detail: "the disk is full".into() },
    Cause::StepTimedOut { .. } => Cause::StepTimedOut { step: Step::SignIn },
    Cause::StepWithoutEffect { .. } => Cause::StepWithoutEffect { step: Step::StartTailscale },
    Cause::BrokenOff => Cause::BrokenOff,
    Cause::Internal { .. } => Cause::Internal { detail: "the engine has ended".into() },
});

one_of_each!(every_reach_cause, ReachCause, {
    ReachCause::Offline { .. } => ReachCause::Offline { detail: "no resolver answers".into() },
    ReachCause::NotPublished => ReachCause::NotPublished,
    ReachCause::PrivateAddress { .. } => ReachCause::PrivateAddress { address: "100.64.0.7".into() },
    ReachCause::NotAnswering => ReachCause::NotAnswering,
    ReachCause::RelayRefuses => ReachCause::RelayRefuses,
    ReachCause::CertificatePending => ReachCause::CertificatePending,
    ReachCause::CertificateInvalid { .. } => ReachCause::CertificateInvalid { detail: "it has expired".into() },
    ReachCause::NotTheGuard { .. } => ReachCause::NotTheGuard { status: 502 },
    ReachCause::GuardAway => ReachCause::GuardAway,
    ReachCause::GuardFull => ReachCause::GuardFull,
    ReachCause::GatewayAway => ReachCause::GatewayAway,
    ReachCause::KeyRefused => ReachCause::KeyRefused,
    ReachCause::LockedOut => ReachCause::LockedOut,
});
