//! The seams: what the engine asks of the world, in the person's verbs. Each has a real adapter and a stand-in.
//!
//! Every `async` method may be dropped at any await point; the next `observe` finds out how far it came.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::cause::{Cause, ReachCause};
use crate::foreign::ForeignText;
use crate::gateway::{GatewayAccess, GatewayView, RestoredKey};
use crate::key::{AgentId, GuardKey, KeyName, KeyRing};
use crate::offer::Offer;
use crate::proof::{Opening, ProofAnswer, ProofQuestion};
use crate::step::Reporter;
use crate::tailnet::{Link, NodeChoice, PublicAddress, TailnetView};

/// The tailscaled that holds the claim.
#[async_trait]
pub trait Tailnet: Send + Sync {
    /// A counter that moves whenever what [`Tailnet::observe`] returns may be different.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Looks at what is. Never fails: what cannot be used is a view too.
    async fn observe(&self, node: NodeChoice) -> TailnetView;

    /// Brings Tailscale onto the machine, with live progress.
    async fn install(&self, node: NodeChoice, reporter: Reporter) -> Result<(), Cause>;

    /// Starts tailscaled and waits until it answers.
    async fn start(&self, node: NodeChoice, reporter: Reporter) -> Result<(), Cause>;

    /// Signs in or switches on, tells the link through `reporter`, and continues by itself until the node runs.
    async fn sign_in(&self, node: NodeChoice, reporter: Reporter) -> Result<(), Cause>;

    /// Asks for HTTPS and Funnel, tells the link through `reporter`, and continues by itself until both are allowed.
    async fn allow_funnel(&self, node: NodeChoice, reporter: Reporter) -> Result<(), Cause>;

    /// Opens the door: a foreground claim on the first free Funnel port, pointing at the guard, read back afterwards.
    async fn open(&self, node: NodeChoice, opening: Opening) -> Result<Box<dyn Claim>, Cause>;

    /// Reads back from tailscaled that no handler leads to `guard` any more, in any session and on any port. Where no
    /// tailscaled runs at all, nothing is served, and that is confirmation too. Asked when closing could not be seen to
    /// have worked; changes nothing.
    async fn confirm_closed(&self, node: NodeChoice, guard: SocketAddr) -> Result<(), Cause>;
}

/// A door that is open. Dropping it ends the connection it is tied to, so tailscaled closes the door by itself.
#[async_trait]
pub trait Claim: Send + Sync {
    /// Where the world finds the guard.
    fn address(&self) -> &PublicAddress;

    /// Waits until the claim is gone without anybody having asked for it, and says why. Safe to drop and call again.
    async fn lost(&self) -> Cause;

    /// Looks whether tailscaled still has the claim as it was made.
    async fn verify(&self) -> Result<(), Cause>;

    /// Removes the claim and reads back from tailscaled that it is gone. On an error the connection is ended all the same.
    async fn close(self: Box<Self>) -> Result<(), Cause>;
}

/// The OpenClaw gateway on this machine.
#[async_trait]
pub trait Gateway: Send + Sync {
    /// A counter that moves whenever what [`Gateway::observe`] returns may be different.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Looks at what is. Never fails: what cannot be used is a view too.
    async fn observe(&self) -> GatewayView;

    /// Sets the keys that Ecto needs, remembering what each was, and waits until a running gateway has taken them.
    async fn set_up(&self, reporter: Reporter) -> Result<(), Cause>;

    /// Gets the gateway ready: starts it where it does not run, waits for it where it is on its way or busy, and restarts it
    /// only where it has to, to be as it is configured.
    async fn start(&self, reporter: Reporter) -> Result<(), Cause>;

    /// Restarts the gateway because a person asked for it, whatever it looks like, and waits until it is ready. One that
    /// does not answer is restarted by what runs it. `Ok` says that it is another process by now;
    /// [`Cause::GatewayRestartDeferred`] is told soon, and the gateway goes on as it is until it restarts by itself.
    async fn restart(&self, reporter: Reporter) -> Result<(), Cause>;

    /// How the guard reaches it, token included. Its hooks and their token are looked for only where they are offered:
    /// a program may have to be asked for it.
    async fn access(&self, offer: &Offer) -> Result<GatewayAccess, Cause>;

    /// Asks the gateway itself for the models without a token. `Ok` when it refuses as it should.
    async fn refuses_without_token(&self, access: &GatewayAccess) -> Result<(), Cause>;

    /// The agents that it has; `None` where that cannot be known.
    async fn agents(&self) -> Option<Vec<AgentId>>;

    /// Undoes what Ecto changed and nobody else changed since.
    async fn restore(&self, reporter: Reporter) -> Result<Vec<RestoredKey>, Cause>;
}

/// The lock in front of the gateway.
#[async_trait]
pub trait Guard: Send + Sync {
    /// Starts the listener on loopback where it does not run, in front of `access`, letting in the holders of `keys`.
    /// Where it runs, takes over the new gateway and keys without dropping anybody who still has a key.
    /// Leaves it held (see [`Guard::hold`]).
    async fn start(&self, access: GatewayAccess, keys: Vec<GuardKey>) -> Result<SocketAddr, Cause>;

    /// Takes over the keys at once. Whoever has a key that is not among them is cut off; nobody else notices, and nothing
    /// is held. What was used of a key stays used for as long as it is among them, also while the guard does not run: a
    /// key without a secret lets nobody in, and goes on where it was when it is given its secret again.
    fn set_keys(&self, keys: Vec<GuardKey>);

    /// Takes over what is offered beside what always is, at once. What is in flight for a route that is not offered any
    /// more is cut; everything else goes on.
    fn set_offer(&self, offer: Offer);

    /// What is offered beside what always is.
    fn offer(&self) -> Offer;

    /// When each key was last used, as far as the guard has seen.
    fn key_uses(&self) -> Vec<(KeyName, Timestamp)>;

    /// Lets nobody through but the prover: requests with a valid key get 503 with `Retry-After`. Streams in flight go on.
    fn hold(&self);

    /// Lets key holders through again.
    fn release(&self);

    /// Cuts every stream in flight, and ends the listener. Returns once both are done.
    async fn stop(&self);

    /// Asks the guard one question over its real listener, as a client would.
    async fn ask(&self, question: ProofQuestion) -> Result<ProofAnswer, Cause>;

    /// What went through.
    fn activity(&self) -> watch::Receiver<Activity>;
}

/// What went through the guard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Activity {
    /// Requests that were answered by the gateway.
    pub passed: u64,
    /// Requests that the guard refused.
    pub refused: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// The last request.
    pub last: Option<RequestLine>,
}

/// One request, as it is remembered: never a body, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct RequestLine {
    /// When it came.
    pub at: Timestamp,
    /// Name of the key, where one was given and known.
    pub key: Option<String>,
    /// The caller, as tailscaled told it, or words in place of it.
    pub address: ForeignText,
    /// The route, as the guard knows it, or what was asked for.
    pub route: ForeignText,
    /// The status that was answered.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// How long it took.
    pub milliseconds: u64,
}

/// Keeps the lines of requests.
pub trait Recorder: Send + Sync {
    /// Takes one line. Returns at once, whatever becomes of it.
    fn keep(&self, line: &RequestLine);
}

/// The check from outside.
#[async_trait]
pub trait Outside: Send + Sync {
    /// Asks through the public address: no key, a wrong key, the right key.
    async fn check(&self, address: &PublicAddress, key: &SecretString) -> OutsideFinding;
}

/// What the check from outside found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutsideFinding {
    /// Reachable, and only with the key.
    Reachable,
    /// Not reachable as it should be.
    Unreachable(ReachCause),
    /// Something answered without a key, or to a wrong one. The door must be closed at once.
    OpenWithoutKey,
}

/// Where Ecto's own secrets live.
#[async_trait]
pub trait Vault: Send + Sync {
    /// Reads the secrets. `Ok(None)` means there are none yet; an error never means that.
    async fn load(&self) -> Result<Option<KeyRing>, VaultFault>;

    /// Reads the secrets and changes nothing, not even what [`load`](Self::load) mends on the way.
    async fn look(&self) -> Result<Option<KeyRing>, VaultFault> {
        self.load().await
    }

    /// Writes the secrets, if they differ from what is there.
    async fn store(&self, secrets: &KeyRing) -> Result<(), VaultFault>;

    /// Removes the secrets. Nothing to remove is fine.
    async fn erase(&self) -> Result<(), VaultFault>;

    /// Where it is, for a person.
    fn place(&self) -> VaultPlace;
}

/// Why the vault could not be used. Missing is not among them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultFault {
    /// The store is there and refused: locked, or the person said no.
    #[error("the secret store refused access")]
    Denied,
    /// The store does not answer or cannot be read or written.
    #[error("the secret store cannot be reached: {detail}")]
    Unreachable {
        /// What it said.
        detail: ForeignText,
    },
    /// What is stored cannot be understood; it was left as it is.
    #[error("the stored secrets cannot be read: {detail}")]
    Damaged {
        /// What is wrong.
        detail: ForeignText,
    },
}

/// Where Ecto's secrets are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum VaultPlace {
    /// The Keychain of macOS.
    Keychain,
    /// The Secret Service of the desktop.
    SecretService,
    /// A file that only the owner can read.
    File {
        /// Which.
        path: String,
    },
    /// Memory alone: the sandbox.
    Memory,
}

/// What the engine asks of the desktop.
#[async_trait]
pub trait Desktop: Send + Sync {
    /// Opens a link in the browser. Failing is no reason to stop: the link is shown as well.
    async fn open_link(&self, link: &Link);
}

/// Time, so that tests and sleeping machines can be reasoned about.
pub trait Clock: Send + Sync {
    /// The wall clock, which may jump.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment, which never jumps and goes on while the machine sleeps.
    fn uptime(&self) -> Duration;
}

/// Where what is wanted is kept across restarts.
#[async_trait]
pub trait WantedStore: Send + Sync {
    /// The stored bytes; `None` where nothing was stored.
    async fn load(&self) -> Result<Option<Vec<u8>>, Cause>;

    /// Stores the bytes so that a crash leaves the old or the new ones.
    async fn store(&self, record: &[u8]) -> Result<(), Cause>;
}
