//! The port: OpenClaw as the engine sees it.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use ecto_core::cause::Cause;
use ecto_core::gateway::{
    GatewayAccess, GatewayFingerprint, GatewayView, HooksAccess, ReadyGateway, RestoredKey,
};
use ecto_core::key::{AgentId, NoRandomness, Route};
use ecto_core::offer::Offer;
use ecto_core::ports::Gateway;
use ecto_core::step::Reporter;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::agents;
use crate::change::Plan;
use crate::config::shown;
use crate::environment::Environment;
use crate::file::{Disk, RealDisk};
use crate::hooks;
use crate::probe::{self, Fault, NoAnswer, Presence};
use crate::reading::{Reading, Usable};
use crate::rpc::{RpcFault, Session};
use crate::token::{self, ProviderAnswers};
use crate::watching::{Seen, Watching};

/// Makes a token for a gateway that has none.
pub type TokenMaker = dyn Fn() -> Result<SecretString, NoRandomness> + Send + Sync;

/// How long a change of the file is given to reach the running gateway before the gateway counts as one that has to be
/// restarted: its watcher takes about a second (tried with OpenClaw 2026.9.6).
pub(crate) const SETTLING: Duration = Duration::from_secs(3);

/// How long a refused token is not presented again to the same process, so that nobody is locked out by looking.
const REFUSAL_HOLDS: Duration = Duration::from_secs(10);

/// The usual limit for getting ready: about 20 s on a slow machine (tried with OpenClaw 2026.9.6), a migration longer.
const READY_LIMIT: Duration = Duration::from_secs(150);

/// The usual limit for being busy before a restart: the first answer after a start keeps a gateway busy for about 10 s on a
/// slow machine (tried with OpenClaw 2026.9.6).
const BUSY_LIMIT: Duration = Duration::from_secs(15);

/// What the adapter is made of.
#[derive(Clone)]
pub struct Options {
    /// Where OpenClaw is looked for.
    pub environment: Environment,
    /// Ecto's own state folder, in which the journal is.
    pub state: PathBuf,
    /// Makes a token where there is none.
    pub make_token: Arc<TokenMaker>,
    /// Through which files are replaced.
    pub disk: Arc<dyn Disk>,
    /// The `launchctl` of macOS.
    pub launchctl: PathBuf,
    /// How long the gateway may take to get ready after it was started.
    pub ready_limit: Duration,
    /// How long one that is busy has to answer before a person's restart ends it in the middle of what it is doing.
    pub busy_limit: Duration,
}

impl Options {
    /// The usual parts.
    pub fn new(environment: Environment, state: PathBuf, make_token: Arc<TokenMaker>) -> Self {
        Self {
            environment,
            state,
            make_token,
            disk: Arc::new(RealDisk),
            launchctl: PathBuf::from("/bin/launchctl"),
            ready_limit: READY_LIMIT,
            busy_limit: BUSY_LIMIT,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("home", &self.environment.home)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// The OpenClaw gateway on this machine. Clones are the same gateway.
#[derive(Debug, Clone)]
pub struct OpenClaw {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub options: Options,
    pub watching: Watching,
    session: tokio::sync::Mutex<Option<Held>>,
    refusal: Mutex<Option<Refusal>>,
    sessions: AtomicU64,
    pub restarted: Mutex<Option<Instant>>,
    pub failed: Mutex<Option<(Instant, Cause)>>,
    /// The configuration that the gateway was started anew with.
    pub started_with: Mutex<Option<[u8; 32]>>,
    /// Where the gateway was ready when something last answered there.
    was_ready_at: Mutex<Option<SocketAddr>>,
    answers: Arc<ProviderAnswers>,
}

/// A session that is kept open.
#[derive(Clone)]
struct Held {
    session: Arc<Session>,
    address: SocketAddr,
    token: [u8; 32],
    instance: String,
}

impl fmt::Debug for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Held")
            .field("session", &self.session)
            .field("address", &self.address)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// A token that was refused.
#[derive(Clone, Copy)]
struct Refusal {
    address: SocketAddr,
    token: [u8; 32],
    started: Option<Instant>,
    at: Instant,
}

impl fmt::Debug for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Refusal")
            .field("address", &self.address)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl OpenClaw {
    /// Makes the adapter. Nothing is read or asked yet.
    pub fn new(options: Options) -> Self {
        Self {
            inner: Arc::new(Inner {
                options,
                watching: Watching::new(),
                session: tokio::sync::Mutex::new(None),
                refusal: Mutex::new(None),
                sessions: AtomicU64::new(0),
                restarted: Mutex::new(None),
                failed: Mutex::new(None),
                started_with: Mutex::new(None),
                was_ready_at: Mutex::new(None),
                answers: Arc::default(),
            }),
        }
    }

    /// The file in which a person finds what the gateway said.
    pub async fn log(&self) -> Option<PathBuf> {
        let environment = self.inner.options.environment.clone();
        tokio::task::spawn_blocking(move || crate::place::Place::find(&environment).log())
            .await
            .ok()
            .flatten()
    }

    pub(crate) async fn read(&self) -> Result<Reading, Cause> {
        let environment = self.inner.options.environment.clone();
        let answers = self.inner.answers.clone();
        let reading = tokio::task::spawn_blocking(move || Reading::take(&environment, &answers))
            .await
            .map_err(|error| Cause::Internal {
                detail: error.to_string().into(),
            })?;
        self.inner.watching.watch_files(reading.files());
        Ok(reading)
    }

    /// Reads a configuration that can be used, or says why it cannot.
    pub(crate) async fn usable(&self) -> Result<Box<Usable>, Cause> {
        match self.read().await? {
            Reading::Missing { .. } => Err(Cause::OpenClawMissing),
            Reading::Refused { cause, .. } => Err(cause),
            Reading::Usable(usable) => Ok(usable),
        }
    }

    /// The session with the running gateway, opened anew where there is none. A token that was refused a moment ago by the
    /// same process is not presented again.
    pub(crate) async fn session(
        &self,
        address: SocketAddr,
        token: &SecretString,
        uptime: Option<Duration>,
    ) -> Result<(Arc<Session>, String), RpcFault> {
        let digest = token::digest(token, b"session");
        let mut held = self.inner.session.lock().await;
        if let Some(held) = held.as_ref()
            && !held.session.is_over()
            && held.address == address
            && held.token == digest
        {
            return Ok((held.session.clone(), held.instance.clone()));
        }
        *held = None;
        let started = uptime.and_then(|uptime| Instant::now().checked_sub(uptime));
        if self.was_refused(address, digest, started) {
            return Err(RpcFault::Refused {
                code: String::new(),
                message: "it refused the same token a moment ago".to_owned(),
            });
        }
        let session = match Session::connect(address, token).await {
            Ok(session) => Arc::new(session),
            Err(fault) => {
                if matches!(fault, RpcFault::Refused { .. }) {
                    *lock(&self.inner.refusal) = Some(Refusal {
                        address,
                        token: digest,
                        started,
                        at: Instant::now(),
                    });
                }
                return Err(fault);
            }
        };
        let count = self.inner.sessions.fetch_add(1, Ordering::Relaxed);
        let instance = session
            .boot
            .clone()
            .unwrap_or_else(|| format!("session {count}"));
        self.inner.watching.watch_session(session.ended());
        *held = Some(Held {
            session: session.clone(),
            address,
            token: digest,
            instance: instance.clone(),
        });
        Ok((session, instance))
    }

    fn was_refused(&self, address: SocketAddr, token: [u8; 32], started: Option<Instant>) -> bool {
        lock(&self.inner.refusal).is_some_and(|refusal| {
            let same_process = match (refusal.started, started) {
                (Some(then), Some(now)) => {
                    let apart =
                        now.saturating_duration_since(then) + then.saturating_duration_since(now);
                    apart < Duration::from_secs(2)
                }
                (None, _) | (_, None) => true,
            };
            refusal.address == address
                && refusal.token == token
                && same_process
                && refusal.at.elapsed() < REFUSAL_HOLDS
        })
    }

    /// Forgets that a token was refused: something happened that may have changed that.
    pub(crate) fn forget_refusal(&self) {
        *lock(&self.inner.refusal) = None;
    }

    /// Looks what is on the port, and remembers it as far as it tells who is there when nobody answers.
    pub(crate) async fn presence(&self, address: SocketAddr) -> Presence {
        let presence = probe::presence(address).await;
        let mut was_ready_at = lock(&self.inner.was_ready_at);
        match presence {
            Presence::Ready { .. } => *was_ready_at = Some(address),
            Presence::Away | Presence::Foreign => *was_ready_at = None,
            Presence::Starting | Presence::Silent => {}
        }
        presence
    }

    /// Whether whoever is on the port and does not answer is the gateway: it was ready there, and nobody else came since.
    pub(crate) fn was_ready_at(&self, address: SocketAddr) -> bool {
        *lock(&self.inner.was_ready_at) == Some(address)
    }

    /// Looks whether the gateway can be put behind the guard, and as what it is seen otherwise.
    pub(crate) async fn look(&self) -> Result<(ReadyGateway, SecretString), GatewayView> {
        let usable = match self.read().await {
            Ok(Reading::Missing { .. }) => {
                self.inner.watching.saw(Seen::Nothing);
                return Err(GatewayView::Missing);
            }
            Ok(Reading::Refused { cause, .. }) | Err(cause) => {
                self.inner.watching.saw(Seen::Nothing);
                return Err(GatewayView::Refused { cause });
            }
            Ok(Reading::Usable(usable)) => usable,
        };
        let address = address(&usable);
        let presence = self.presence(address).await;
        if !matches!(presence, Presence::Ready { .. }) {
            self.forget_refusal();
        }
        let view = self.stand(&usable, address, presence).await;
        self.inner.watching.saw(Seen::Gateway {
            address,
            presence: presence.into(),
            settling: matches!(presence, Presence::Ready { .. })
                && matches!(
                    view,
                    Err(GatewayView::Starting { .. } | GatewayView::NeedsRestart { .. })
                ),
        });
        view
    }

    async fn stand(
        &self,
        usable: &Usable,
        address: SocketAddr,
        presence: Presence,
    ) -> Result<(ReadyGateway, SecretString), GatewayView> {
        let config = usable.place.config.clone();
        if !usable.effective.needs.is_empty() {
            if let Some(by) = usable.place.managed_by {
                return Err(refused(Cause::ConfigManaged { by: by.to_owned() }));
            }
            Plan::to_set(&usable.config, &trial(usable)).map_err(refused)?;
            return Err(GatewayView::NeedsSetUp {
                config,
                keys: usable
                    .effective
                    .needs
                    .iter()
                    .map(|need| need.key.join("."))
                    .collect(),
                running: presence.is_gateway(),
            });
        }
        let uptime = match presence {
            Presence::Away => return Err(GatewayView::NotRunning { config }),
            Presence::Starting | Presence::Silent => {
                return Err(GatewayView::Starting { config });
            }
            Presence::Foreign => {
                return Err(refused(Cause::GatewayPortTaken {
                    port: address.port(),
                }));
            }
            Presence::Ready { uptime } => uptime,
        };
        let Some(token) = usable.effective.token.clone() else {
            return Err(refused(Cause::GatewayTokenRefused));
        };
        match behaves(address).await {
            Ok(()) => {}
            Err(fault) if is_passing(&fault, address).await => {
                return Err(GatewayView::Starting { config });
            }
            Err(Fault::Wrong(cause @ Cause::GatewayEndpointMissing { .. })) => {
                return Err(if was_just_written(usable) {
                    GatewayView::Starting { config }
                } else {
                    self.needs_restart(usable, cause)
                });
            }
            Err(fault) => return Err(refused(fault.into())),
        }
        let (version, instance) = match self.session(address, &token, uptime).await {
            Ok((session, instance)) => (session.version.clone(), instance),
            Err(RpcFault::Refused { .. }) if was_just_written(usable) => {
                return Err(GatewayView::Starting { config });
            }
            Err(RpcFault::Refused { .. }) => {
                return Err(self.needs_restart(usable, Cause::GatewayTokenRefused));
            }
            Err(RpcFault::Away | RpcFault::TimedOut) => {
                return Err(GatewayView::Starting { config });
            }
            // An RPC that Ecto does not know is no obstacle: what counts is that the token is taken.
            Err(RpcFault::Failed { .. } | RpcFault::Unexpected) => {
                match probe::accepts(address, &token).await {
                    Ok(()) => {}
                    Err(fault) if is_passing(&fault, address).await => {
                        return Err(GatewayView::Starting { config });
                    }
                    Err(Fault::Wrong(cause @ Cause::GatewayTokenRefused)) => {
                        return Err(self.needs_restart(usable, cause));
                    }
                    Err(fault) => return Err(refused(fault.into())),
                }
                (None, self.inner.watching.instance(uptime))
            }
        };
        let mut hasher = Sha256::new();
        hasher.update(address.to_string());
        hasher.update([0]);
        hasher.update(&instance);
        hasher.update([0]);
        hasher.update(usable.digest());
        hasher.update(token::digest(&token, b"fingerprint"));
        let gateway = ReadyGateway {
            address,
            version: version.map(Into::into),
            config,
            hooks: hooks::are_there(&usable.config),
            fingerprint: GatewayFingerprint(HEXLOWER.encode(&hasher.finalize()[..16])),
        };
        Ok((gateway, token))
    }
}

impl OpenClaw {
    /// A restart takes over the configuration; where one with the same configuration has not helped, it is a cause.
    fn needs_restart(&self, usable: &Usable, cause: Cause) -> GatewayView {
        if *lock(&self.inner.started_with) == Some(usable.config.digest) {
            return refused(cause);
        }
        GatewayView::NeedsRestart {
            config: usable.place.config.clone(),
        }
    }
}

/// Looks whether the gateway asks for its token and has both endpoints.
pub(crate) async fn behaves(address: SocketAddr) -> Result<(), Fault> {
    probe::refuses_without_token(address).await?;
    probe::has_endpoints(address).await
}

/// Whether a fault of a gateway that was ready a moment ago is that of one that is busy, or on its way down or up. One
/// that ends connections without an answer is so only where it is not ready any more.
async fn is_passing(fault: &Fault, address: SocketAddr) -> bool {
    match fault {
        Fault::NotNow | Fault::Silent(NoAnswer::Late | NoAnswer::Away) => true,
        Fault::Silent(NoAnswer::Closed) => {
            !matches!(probe::presence(address).await, Presence::Ready { .. })
        }
        Fault::Silent(NoAnswer::Foreign) | Fault::Wrong(_) => false,
    }
}

fn refused(cause: Cause) -> GatewayView {
    GatewayView::Refused { cause }
}

/// The settings that would be made, with a stand-in for the token: to see whether they can be made at all.
fn trial(usable: &Usable) -> Vec<crate::change::Setting<'static>> {
    usable
        .effective
        .needs
        .iter()
        .map(|need| crate::change::Setting {
            key: need.key,
            value: match &need.value {
                crate::needs::Needed::Value(value) => value.clone(),
                crate::needs::Needed::NewToken => serde_json::Value::String(String::new()),
            },
            mark: crate::journal::Mark::Value(serde_json::Value::Null),
        })
        .collect()
}

fn was_just_written(usable: &Usable) -> bool {
    usable.config.files().any(|file| {
        std::fs::metadata(&file.real)
            .and_then(|data| data.modified())
            .is_ok_and(|at| {
                SystemTime::now()
                    .duration_since(at)
                    .is_ok_and(|age| age < SETTLING)
            })
    })
}

pub(crate) fn address(usable: &Usable) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, usable.effective.port))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Gateway for OpenClaw {
    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.watching.subscribe(&self.inner)
    }

    async fn observe(&self) -> GatewayView {
        match self.look().await {
            Ok((gateway, _)) => GatewayView::Ready(gateway),
            Err(view) => view,
        }
    }

    async fn set_up(&self, reporter: Reporter) -> Result<(), Cause> {
        self.set_keys(&reporter).await
    }

    async fn start(&self, reporter: Reporter) -> Result<(), Cause> {
        self.get_ready(&reporter).await
    }

    async fn restart(&self, reporter: Reporter) -> Result<(), Cause> {
        self.restart_as_asked(&reporter).await
    }

    async fn access(&self, offer: &Offer) -> Result<GatewayAccess, Cause> {
        let (gateway, token) = match self.look().await {
            Ok(found) => found,
            Err(view) => return Err(self.why_no_access(view).await),
        };
        if token::is_weak(&token) {
            tracing::warn!("the gateway's own token is shorter than OpenClaw advises");
        }
        // Read after the fingerprint was taken: where the configuration changed meanwhile, the next look tells.
        let hooks = if offer.has(Route::Hooks) {
            self.hooks().await?
        } else {
            None
        };
        Ok(GatewayAccess {
            address: gateway.address,
            token,
            hooks,
            fingerprint: gateway.fingerprint,
        })
    }

    async fn refuses_without_token(&self, access: &GatewayAccess) -> Result<(), Cause> {
        Ok(probe::refuses_without_token(access.address).await?)
    }

    async fn agents(&self) -> Option<Vec<AgentId>> {
        let usable = self.usable().await.ok()?;
        agents::find(&usable.config)
    }

    async fn restore(&self, reporter: Reporter) -> Result<Vec<RestoredKey>, Cause> {
        self.restore_keys(&reporter).await
    }
}

impl OpenClaw {
    async fn hooks(&self) -> Result<Option<HooksAccess>, Cause> {
        let usable = self.usable().await?;
        // A provider's program may have to be asked.
        tokio::task::spawn_blocking(move || hooks::find(&usable.place, &usable.config))
            .await
            .map_err(|error| Cause::Internal {
                detail: error.to_string().into(),
            })
    }

    async fn why_no_access(&self, view: GatewayView) -> Cause {
        let log = self.log().await.map(|log| shown(&log));
        match view {
            GatewayView::Missing => Cause::OpenClawMissing,
            GatewayView::Refused { cause } => cause,
            GatewayView::NotRunning { .. } => Cause::GatewayNotStarted {
                detail: "it does not run".into(),
                log,
            },
            GatewayView::NeedsRestart { .. } => Cause::GatewayTokenRefused,
            GatewayView::NeedsSetUp { .. }
            | GatewayView::Starting { .. }
            | GatewayView::Ready(_) => Cause::GatewayNotReady { log },
        }
    }
}
