//! A stand-in for the OpenClaw gateway, version 2026.9.6, at protocol level: HTTP, WebSocket RPC, configuration file, restarts.
//!
//! What it answers was taken from the real gateway. It listens on loopback only and writes only in the folder it is given.
//!
//! ```no_run
//! use ecto_sandbox::gateway::Gateway;
//!
//! # async fn example(folder: &std::path::Path) -> Result<(), ecto_sandbox::gateway::StartError> {
//! let gateway = Gateway::builder()
//!     .config_json5(r#"{ gateway: { mode: "local", port: $PORT, auth: { mode: "token", token: "secret" } } }"#)
//!     .start(folder)
//!     .await?;
//! assert_ne!(gateway.port(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Fault points
//!
//! Asked of [`Gateway::faults`]:
//!
//! | point | when |
//! |---|---|
//! | `connect` | a TCP connection was accepted |
//! | `GET /readyz`, `POST /v1/responses`, … | a request with this method and normalised path, before it is answered |
//! | `rpc connect`, `rpc config.get`, `rpc config.patch`, … | an RPC request, before anything is done |
//! | `rpc config.patch answer` | a patch was written and applied, its answer is not sent yet |
//! | `start` | the process starts, also in a restart |
//! | `openclaw gateway restart`, … | the stand-in command; a [`Fault::Answer`](crate::faults::Fault::Answer)'s status is its exit code |

mod authentication;
mod command;
mod completion;
mod config;
mod connection;
mod handshake;
mod hooks;
mod http;
mod lockout;
mod patch;
mod path;
mod process;
mod record;
mod recovery;
mod response;
mod rpc;
mod schema;
mod state;
mod timing;
mod watching;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use self::authentication::Authentication;
pub use self::config::REDACTED;
pub use self::http::LARGEST_BODY;
pub use self::patch::VERSION;
pub use self::path::normalise;
pub use self::process::REFUSED;
pub use self::record::{Call, Outcome, Request};
use self::state::{Behaviour, Order, State};
pub use self::state::{Exit, Phase};
pub use self::timing::Timing;
use crate::faults::Faults;

/// A configuration with everything Ecto needs, for a gateway on a free port.
pub const READY_CONFIG: &str = r#"// A gateway that needs nothing.
{
  gateway: {
    mode: "local",
    port: $PORT,
    bind: "loopback",
    auth: { mode: "token", token: "stand-in-token-0123456789abcdef0123456789abcdef" },
    http: { endpoints: { chatCompletions: { enabled: true }, responses: { enabled: true } } },
  },
}
"#;

/// Why a stand-in gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder, the file or the port was not to be had.
    #[error("the stand-in gateway could not be set up: {0}")]
    Io(#[from] std::io::Error),
    /// The gateway refused to start, as the real one would.
    #[error(transparent)]
    Exited(#[from] Exit),
}

/// How a stand-in gateway is to be.
#[derive(Clone)]
pub struct Builder {
    config: Option<String>,
    file: PathBuf,
    environment: BTreeMap<String, String>,
    behaviour: Behaviour,
    faults: Faults,
}

/// Shows neither the configuration nor the environment: they may hold secrets.
impl fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Builder")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Sets the text of the configuration file. `$PORT` in it becomes a free port. Without `gateway.port` the gateway
    /// listens on a free port too, as if `OPENCLAW_GATEWAY_PORT` named it.
    #[must_use]
    pub fn config_json5(mut self, text: impl Into<String>) -> Self {
        self.config = Some(text.into());
        self
    }

    /// Leaves the configuration file as it is found, or missing.
    #[must_use]
    pub fn config_as_found(mut self) -> Self {
        self.config = None;
        self
    }

    /// Names the configuration file; relative to the folder. Default: `openclaw.json`.
    #[must_use]
    pub fn config_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.file = file.into();
        self
    }

    /// Sets a variable of the gateway's environment: for `${NAME}`, secret references, `OPENCLAW_GATEWAY_TOKEN`,
    /// `OPENCLAW_CONFIG_READONLY`.
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Sets the durations. Default: [`Timing::short`].
    #[must_use]
    pub const fn timing(mut self, timing: Timing) -> Self {
        self.behaviour.timing = timing;
        self
    }

    /// Says whether a service manager runs the gateway, so that `openclaw gateway start` works. Default: no.
    #[must_use]
    pub const fn service(mut self, installed: bool) -> Self {
        self.behaviour.service = installed;
        self
    }

    /// Shares a script of faults.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Writes the configuration into `folder` (which plays `~/.openclaw`) and starts the gateway.
    ///
    /// # Errors
    ///
    /// [`StartError::Io`] where the folder or a port is not to be had; [`StartError::Exited`] where the gateway refuses its
    /// configuration.
    pub async fn start(self, folder: impl AsRef<Path>) -> Result<Gateway, StartError> {
        let gateway = self.prepare(folder)?;
        gateway.start_again().await?;
        Ok(gateway)
    }

    /// Does what [`Builder::start`] does, but leaves the gateway stopped.
    ///
    /// # Errors
    ///
    /// The folder, the file or a port is not to be had.
    pub fn prepare(self, folder: impl AsRef<Path>) -> std::io::Result<Gateway> {
        let folder = folder.as_ref().to_path_buf();
        std::fs::create_dir_all(&folder)?;
        let config_path = folder.join(&self.file);
        let reserved = process::bind(0)?;
        let port = reserved.local_addr()?.port();
        if let Some(text) = &self.config {
            patch::write_privately(
                &config_path,
                text.replace("$PORT", &port.to_string()).as_bytes(),
            )?;
        }
        let (orders, received) = mpsc::unbounded_channel();
        let state = Arc::new(State::new(
            folder,
            config_path,
            self.environment,
            self.faults,
            self.behaviour,
            reserved,
            port,
            orders,
        ));
        let mut tasks = JoinSet::new();
        tasks.spawn(process::supervise(Arc::clone(&state), received));
        tasks.spawn(command::attend(Arc::clone(&state)));
        Ok(Gateway {
            state,
            _tasks: tasks,
        })
    }
}

/// A running, or stopped, stand-in gateway. Dropping it ends everything at once.
pub struct Gateway {
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Gateway")
            .field("port", &self.port())
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

impl Gateway {
    /// Begins with a configuration in which everything Ecto needs is set, see [`READY_CONFIG`].
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            config: Some(READY_CONFIG.to_owned()),
            file: PathBuf::from("openclaw.json"),
            environment: BTreeMap::new(),
            behaviour: Behaviour {
                timing: Timing::short(),
                stall: None,
                answers_everything: false,
                crash_after: None,
                service: false,
            },
            faults: Faults::new(),
        }
    }

    /// Returns the port it listens on, or would.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.state.port()
    }

    /// Returns `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Returns the path of the configuration file.
    #[must_use]
    pub fn config_path(&self) -> &Path {
        &self.state.config_path
    }

    /// Returns the token or password the running gateway takes now; `None` where it takes none.
    #[must_use]
    pub fn token(&self) -> Option<SecretString> {
        match &self.state.active()?.authentication {
            Authentication::Token { secret, .. } | Authentication::Password(secret) => {
                Some(secret.clone())
            }
            Authentication::Open | Authentication::TrustedProxy => None,
        }
    }

    /// Returns the latest HTTP requests, oldest first: a thousand at most.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state.record.requests()
    }

    /// Returns the latest RPC requests, oldest first: a thousand at most.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state.record.calls()
    }

    /// Returns the lines of the log.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.state.record.lines()
    }

    /// Waits until `wanted` holds; it is asked again after every request, call and line of the log.
    pub async fn wait_until(&self, wanted: impl Fn(&Self) -> bool) {
        let mut changes = self.state.record.watch();
        let mut phases = self.state.phase.subscribe();
        while !wanted(self) {
            // Both senders live as long as `self`.
            tokio::select! {
                _ = changes.changed() => {}
                _ = phases.changed() => {}
            }
        }
    }

    /// Returns where the process is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state.phase()
    }

    /// Returns how often the process was started, the first time included.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.state.starts.load(Ordering::Relaxed)
    }

    /// Returns how often the process restarted itself, asked to or by a change of its configuration.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.state.restarts.load(Ordering::Relaxed)
    }

    /// Returns the script of faults.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// Stops the process in an orderly way and waits until the port is closed.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        self.state.order(Order::Stop(done));
        // It fails only where the tasks are gone, and then it is stopped too.
        let _ = stopped.await;
    }

    /// Kills the process: every connection is cut without a farewell. With `back_after` it comes back by itself.
    pub async fn kill(&self, back_after: Option<Duration>) {
        let mut phase = self.state.phase.subscribe();
        self.state.order(Order::Die(back_after));
        let _ = phase
            .wait_for(|phase| matches!(phase, Phase::Stopped | Phase::Down | Phase::Exited(_)))
            .await;
    }

    /// Starts the process again and waits until it is ready.
    ///
    /// # Errors
    ///
    /// The gateway exited by itself.
    pub async fn start_again(&self) -> Result<(), Exit> {
        let (accepted, started) = oneshot::channel();
        self.state.order(Order::Start(accepted));
        let _ = started.await;
        self.ready().await
    }

    /// Restarts the process as a signal does, which drains at once, without waiting for it.
    pub fn restart(&self) {
        self.state.order(Order::Restart);
    }

    /// Waits until the process is ready.
    ///
    /// # Errors
    ///
    /// The gateway exited by itself.
    pub async fn ready(&self) -> Result<(), Exit> {
        let mut phase = self.state.phase.subscribe();
        let settled = phase
            .wait_for(|phase| matches!(phase, Phase::Ready | Phase::Exited(_)))
            .await;
        match settled.as_deref() {
            Ok(Phase::Exited(exit)) => Err(exit.clone()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Makes every completion keep silent for this long: a stream after its first event, anything else before its answer.
    /// `Duration::ZERO` ends it for new requests.
    pub fn stall(&self, time: Duration) {
        self.state
            .behave(|behaviour| behaviour.stall = (!time.is_zero()).then_some(time));
    }

    /// Makes the port answer 200 to everything, as another program could.
    pub fn answer_everything(&self, everything: bool) {
        self.state
            .behave(|behaviour| behaviour.answers_everything = everything);
    }

    /// Makes the process crash this long after it is ready, and come back, again and again; `None` ends it with the next start.
    pub fn crash_after(&self, time: Option<Duration>) {
        self.state.behave(|behaviour| behaviour.crash_after = time);
    }

    /// Changes the durations.
    pub fn set_timing(&self, timing: Timing) {
        self.state.behave(|behaviour| behaviour.timing = timing);
    }

    /// Writes a stand-in `openclaw` command into `folder` and returns its path. It knows `--version`,
    /// `gateway status|restart|start|stop` and `config file`.
    ///
    /// # Errors
    ///
    /// The folder cannot be written.
    pub fn write_command(&self, folder: impl AsRef<Path>) -> std::io::Result<PathBuf> {
        command::write(&self.state, folder.as_ref())
    }
}
