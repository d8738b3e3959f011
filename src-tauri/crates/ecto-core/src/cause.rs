//! Why something is blocked: a stable code, a severity, and what the person can do.

#[cfg(test)]
pub(crate) mod every;

use serde::{Deserialize, Serialize};

use crate::foreign::ForeignText;
use crate::key::{AgentId, KeyName, Route};
use crate::step::Step;
use crate::tailnet::{Link, NodeKind};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The person decided so; nothing is wrong.
    Quiet,
    /// It does not work; nothing is at risk.
    Problem,
    /// Something may be reachable that should not be.
    Danger,
}

/// What brings the engine on from a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// It is tried again by itself, and at once when something changes.
    Wait,
    /// The person does something elsewhere; it continues by itself when it sees that.
    Act,
    /// The person does something elsewhere or not, and says Connect again.
    Ask,
}

/// What is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum ConfigProblem {
    /// It cannot be opened or read.
    Unreadable {
        /// What the system said.
        detail: ForeignText,
    },
    /// It is not UTF-8.
    NotText,
    /// It is not JSON5; says where.
    Syntax {
        /// What the parser said.
        detail: ForeignText,
    },
    /// It, or the part that Ecto needs, is not an object.
    NotAnObject {
        /// Dotted name of the part; empty for the whole file.
        key: String,
    },
    /// It is larger than Ecto reads.
    TooLarge,
    /// The same key stands in it twice, so that an edit may not take effect.
    DuplicateKey {
        /// Dotted name.
        key: String,
    },
    /// The keys that Ecto needs come from another file in a way that Ecto does not edit.
    Included {
        /// Dotted name of the part.
        key: String,
    },
    /// A value has a type that OpenClaw does not take.
    WrongType {
        /// Dotted name.
        key: String,
    },
}

/// Why it is blocked. The code of each is stable: see [`Cause::code`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Cause {
    /// Tailscale is missing, and the person has to install it from its page: there is no Homebrew with which Ecto would, or the
    /// Linux distribution does not have it.
    TailscaleToDownload,
    /// Tailscale is missing, and the person has to install it.
    TailscaleMissing {
        /// What to type.
        command: String,
    },
    /// The installation did not work.
    InstallFailed {
        /// The last thing the installer said.
        detail: ForeignText,
    },
    /// The person closed the administrator prompt.
    AdministratorCancelled,
    /// An administrator is needed and cannot be asked from here.
    AdministratorNeeded {
        /// What to type.
        command: String,
    },
    /// Tailscale did not start.
    TailscaleNotStarted {
        /// What it said.
        detail: ForeignText,
    },
    /// Tailscale does not answer, or not as Tailscale does.
    TailscaleUnreachable {
        /// What happened.
        detail: ForeignText,
    },
    /// Tailscale went away in the middle of something.
    TailscaleLost,
    /// This user may not change Tailscale.
    TailscaleDenied {
        /// What to type.
        command: String,
    },
    /// This version of Tailscale has a Funnel that does not work.
    TailscaleBroken {
        /// Which.
        version: ForeignText,
    },
    /// This version of Tailscale is too old for what Ecto needs.
    TailscaleTooOld {
        /// Which.
        version: ForeignText,
    },
    /// Tailscale is in use by another user of this machine.
    TailscaleOtherUser,
    /// Nobody signed in while the link was good.
    SignInTimedOut,
    /// Tailscale refused to sign in.
    SignInFailed {
        /// What it said.
        detail: ForeignText,
    },
    /// The tailnet's administrator has not approved this machine.
    MachineNotApproved {
        /// Where it is done.
        link: Option<Link>,
    },
    /// The tailnet does not allow Funnel for this machine.
    FunnelNotAllowed {
        /// What Tailscale said.
        detail: ForeignText,
        /// Where it is done.
        link: Option<Link>,
    },
    /// The node blocks incoming connections.
    ShieldsUp,
    /// The node has no name that could stand in an address.
    NoHostName,
    /// All Funnel ports are in use by somebody else.
    PortsTaken,
    /// Somebody else kept changing the serve configuration at the same moment.
    ServeConfigContended,
    /// Tailscale refused the claim.
    ClaimRefused {
        /// What it said.
        detail: ForeignText,
    },
    /// The claim was made and is not there.
    ClaimLost,
    /// The name of this machine in the tailnet changed, so the address is another.
    HostRenamed,
    /// The door could not be closed, or not be seen to be.
    CouldNotClose {
        /// What happened.
        detail: ForeignText,
        /// Which tailscaled holds it, where that is known: Ecto's own ends with Ecto.
        node: Option<NodeKind>,
    },

    /// OpenClaw is not on this machine.
    #[serde(rename = "openclaw_missing")]
    OpenClawMissing,
    /// OpenClaw's configuration cannot be used.
    ConfigUnusable {
        /// Which file.
        path: String,
        /// What is wrong with it.
        #[serde(flatten)]
        problem: ConfigProblem,
    },
    /// OpenClaw's configuration cannot be written.
    ConfigNotWritable {
        /// Which file.
        path: String,
        /// What the system said.
        detail: ForeignText,
    },
    /// OpenClaw's configuration is managed by something else (Nix, or set read-only).
    ConfigManaged {
        /// By what: the name of the setting.
        by: String,
    },
    /// Somebody else kept changing OpenClaw's configuration at the same moment.
    ConfigContended {
        /// Which file.
        path: String,
    },
    /// The gateway refused the change.
    ConfigRejected {
        /// What it said.
        detail: ForeignText,
    },
    /// The disk is full.
    DiskFull {
        /// Which file could not be written.
        path: String,
    },
    /// The gateway is configured for another machine.
    GatewayMode {
        /// `gateway.mode`.
        mode: ForeignText,
    },
    /// The gateway listens to more than this machine.
    GatewayBind {
        /// `gateway.bind`.
        bind: ForeignText,
    },
    /// The gateway uses another way to sign in than a token.
    GatewayAuth {
        /// `gateway.auth.mode`.
        mode: ForeignText,
    },
    /// OpenClaw runs Tailscale by itself.
    GatewayTailscale {
        /// `gateway.tailscale.mode`.
        mode: ForeignText,
    },
    /// `hooks.token` is the same as the gateway's.
    HooksTokenShared,
    /// The token is a reference that Ecto cannot follow.
    TokenUnresolvable {
        /// Which: the name of the variable or provider, never a value.
        reference: ForeignText,
    },
    /// The gateway did not start.
    GatewayNotStarted {
        /// What was said.
        detail: ForeignText,
        /// Where its log is.
        log: Option<String>,
    },
    /// The gateway was told to restart and first finishes what it is doing, for up to five minutes (OpenClaw 2026.9.6,
    /// `src/infra/restart-budget.ts`).
    GatewayRestartDeferred,
    /// The gateway is up and does not get ready.
    GatewayNotReady {
        /// Where its log is.
        log: Option<String>,
    },
    /// The gateway was ready, is still there, and has not answered for a minute.
    GatewayNotAnswering,
    /// The gateway behind the open door has not been ready for a minute.
    GatewayStaysAway,
    /// Another program has the gateway's port.
    GatewayPortTaken {
        /// Which port.
        port: u16,
    },
    /// The gateway does not take its own token.
    GatewayTokenRefused,
    /// The gateway answers without a token.
    GatewayOpen,
    /// The gateway takes Ecto for a foreign proxy.
    GatewayRejectsProxy,
    /// The gateway locked its callers out after too many wrong tokens.
    GatewayLockedOut {
        /// How many seconds it says to wait.
        seconds: u64,
    },
    /// The gateway does not offer an endpoint that it should.
    GatewayEndpointMissing {
        /// Which.
        route: String,
    },
    /// The gateway answers with something that is not OpenClaw's.
    GatewayUnexpected {
        /// What.
        detail: ForeignText,
    },

    /// The guard has no room for one more connection, so that the lock cannot be proven.
    GuardFull,
    /// The guard could not be started or asked.
    GuardFailed {
        /// What happened.
        detail: ForeignText,
    },
    /// The lock does not hold.
    ProofFailed {
        /// What was asked, in words.
        question: String,
        /// The status that was expected.
        expected: String,
        /// The status that came.
        got: u16,
    },
    /// The lock is being proven anew.
    LockUnproven,
    /// The secret store refused.
    VaultDenied,
    /// The secret store does not answer.
    VaultUnreachable {
        /// What happened.
        detail: ForeignText,
    },
    /// What is in the secret store cannot be understood.
    VaultDamaged {
        /// What is wrong.
        detail: ForeignText,
    },
    /// There is no key with this name.
    KeyNotFound {
        /// The name.
        name: KeyName,
    },
    /// The vault did not let go of a key, or not in time, so it was not revoked.
    KeyNotRevoked {
        /// The name.
        name: KeyName,
        /// What happened.
        detail: ForeignText,
    },
    /// There is a key with this name already.
    KeyNameTaken {
        /// The name.
        name: KeyName,
    },
    /// The key has run out, or would have at once.
    KeyExpired {
        /// The name.
        name: KeyName,
    },
    /// OpenClaw has no such agent.
    AgentUnknown {
        /// Which.
        agent: AgentId,
        /// Those that it has.
        known: Vec<AgentId>,
    },
    /// A key for one agent was to open hooks, which name their agents themselves.
    AgentWithHooks,
    /// There are as many keys as there may be.
    TooManyKeys {
        /// How many.
        limit: u64,
    },
    /// The key that is there from the start can be rotated, and neither revoked nor renamed.
    DefaultKeyStays,
    /// The check from outside came in without a key.
    OpenWithoutKey,
    /// What is wanted could not be remembered.
    WantedNotStored {
        /// What happened.
        detail: ForeignText,
    },
    /// What is offered beside what always is could not be remembered. Nothing more is allowed; what was forbidden is.
    OfferNotStored {
        /// Where.
        path: String,
        /// What happened.
        detail: ForeignText,
    },
    /// This route is offered whatever a person allows.
    RouteAlwaysOffered {
        /// Which.
        route: Route,
    },
    /// There are as many origins as there may be.
    TooManyOrigins {
        /// How many.
        limit: u64,
    },
    /// That Private is wanted could not be remembered.
    PrivateNotStored {
        /// What happened.
        detail: ForeignText,
    },
    /// A step took longer than it may.
    StepTimedOut {
        /// Which.
        step: Step,
    },
    /// A step said it was done, again and again, and nothing changed.
    StepWithoutEffect {
        /// Which.
        step: Step,
    },
    /// What was asked for was given up, because something that goes first was asked for.
    BrokenOff,
    /// Something that should not happen.
    Internal {
        /// What.
        detail: ForeignText,
    },
}

impl Cause {
    /// The stable code: the same word as in JSON.
    pub fn code(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(fields)) => match fields.get("code") {
                Some(serde_json::Value::String(code)) => code.clone(),
                Some(_) | None => "internal".to_owned(),
            },
            Ok(_) | Err(_) => "internal".to_owned(),
        }
    }

    /// How bad it is.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a new cause is an ordinary problem unless it is listed"
    )]
    pub fn severity(&self) -> Severity {
        match self {
            Self::AdministratorCancelled | Self::LockUnproven | Self::BrokenOff => Severity::Quiet,
            Self::CouldNotClose { .. }
            | Self::OpenWithoutKey
            | Self::GatewayOpen
            | Self::ProofFailed { .. } => Severity::Danger,
            _ => Severity::Problem,
        }
    }

    /// What brings it on.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::TailscaleLost
            | Self::TailscaleUnreachable { .. }
            | Self::ServeConfigContended
            | Self::ClaimLost
            | Self::HostRenamed
            | Self::CouldNotClose { .. }
            | Self::ConfigContended { .. }
            | Self::GatewayRestartDeferred
            | Self::GatewayNotReady { .. }
            | Self::GatewayLockedOut { .. }
            | Self::GatewayUnexpected { .. }
            | Self::GuardFailed { .. }
            | Self::GuardFull
            | Self::WantedNotStored { .. }
            | Self::PortsTaken
            | Self::DiskFull { .. }
            | Self::ConfigNotWritable { .. }
            | Self::VaultUnreachable { .. }
            | Self::PrivateNotStored { .. }
            | Self::LockUnproven
            | Self::StepTimedOut {
                step: Step::StartGuard | Step::Prove | Step::Open,
            }
            | Self::StepWithoutEffect { .. }
            | Self::Internal { .. } => Remedy::Wait,

            Self::TailscaleMissing { .. }
            | Self::TailscaleToDownload
            | Self::TailscaleDenied { .. }
            | Self::TailscaleBroken { .. }
            | Self::TailscaleTooOld { .. }
            | Self::TailscaleOtherUser
            | Self::AdministratorNeeded { .. }
            | Self::MachineNotApproved { .. }
            | Self::FunnelNotAllowed { .. }
            | Self::ShieldsUp
            | Self::NoHostName
            | Self::OpenClawMissing
            | Self::ConfigUnusable { .. }
            | Self::ConfigManaged { .. }
            | Self::GatewayMode { .. }
            | Self::GatewayBind { .. }
            | Self::GatewayAuth { .. }
            | Self::GatewayTailscale { .. }
            | Self::HooksTokenShared
            | Self::TokenUnresolvable { .. }
            | Self::GatewayNotStarted { .. }
            | Self::GatewayNotAnswering
            | Self::GatewayStaysAway
            | Self::GatewayPortTaken { .. }
            | Self::GatewayTokenRefused
            | Self::GatewayRejectsProxy
            | Self::GatewayEndpointMissing { .. } => Remedy::Act,

            Self::InstallFailed { .. }
            | Self::AdministratorCancelled
            | Self::TailscaleNotStarted { .. }
            | Self::SignInTimedOut
            | Self::SignInFailed { .. }
            | Self::ClaimRefused { .. }
            | Self::ConfigRejected { .. }
            | Self::GatewayOpen
            | Self::ProofFailed { .. }
            | Self::VaultDenied
            | Self::VaultDamaged { .. }
            | Self::KeyNotFound { .. }
            | Self::KeyNotRevoked { .. }
            | Self::KeyNameTaken { .. }
            | Self::KeyExpired { .. }
            | Self::AgentUnknown { .. }
            | Self::AgentWithHooks
            | Self::TooManyKeys { .. }
            | Self::DefaultKeyStays
            | Self::OfferNotStored { .. }
            | Self::RouteAlwaysOffered { .. }
            | Self::TooManyOrigins { .. }
            | Self::OpenWithoutKey
            | Self::BrokenOff
            | Self::StepTimedOut { .. } => Remedy::Ask,
        }
    }
}

/// Why the check from outside did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum ReachCause {
    /// This machine has no way out, or the resolvers do not answer.
    Offline {
        /// What happened.
        detail: ForeignText,
    },
    /// The name is not in public DNS yet.
    NotPublished,
    /// The name leads to an address that is not public.
    PrivateAddress {
        /// Which.
        address: String,
    },
    /// Nobody answers at the public addresses.
    NotAnswering,
    /// The relays take the connection and drop it: Funnel is not in force for this node.
    RelayRefuses,
    /// The certificate is still being issued.
    CertificatePending,
    /// The certificate is not valid.
    CertificateInvalid {
        /// What is wrong.
        detail: ForeignText,
    },
    /// The connection works, and the guard is not behind it.
    NotTheGuard {
        /// The status that came.
        status: u16,
    },
    /// Tailscale does not reach the guard.
    GuardAway,
    /// The guard has no room for one more connection.
    GuardFull,
    /// The guard does not reach the gateway.
    GatewayAway,
    /// The right key was refused.
    KeyRefused,
    /// Too many wrong keys came from the checker's address.
    LockedOut,
}

impl ReachCause {
    /// Whether it only tells that the first minutes are not over: the name has to become known and the first certificate
    /// has to be issued.
    pub fn is_settling(&self) -> bool {
        match self {
            Self::NotPublished | Self::CertificatePending => true,
            Self::Offline { .. }
            | Self::PrivateAddress { .. }
            | Self::NotAnswering
            | Self::RelayRefuses
            | Self::CertificateInvalid { .. }
            | Self::NotTheGuard { .. }
            | Self::GuardAway
            | Self::GuardFull
            | Self::GatewayAway
            | Self::KeyRefused
            | Self::LockedOut => false,
        }
    }

    /// The stable code: the same word as in JSON.
    pub fn code(&self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(fields)) => match fields.get("code") {
                Some(serde_json::Value::String(code)) => code.clone(),
                Some(_) | None => "internal".to_owned(),
            },
            Ok(_) | Err(_) => "internal".to_owned(),
        }
    }
}
