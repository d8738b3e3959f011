//! A stand-in for tailscaled and the tailnet behind it.
//!
//! It speaks the LocalAPI on a unix socket, and on the TCP port of the macOS apps where it is told to. The person at the other end
//! (who signs in, approves, allows Funnel) is played by the methods of [`Tailnet`], or by delays of the [`TailnetBuilder`].
//!
//! Faults: each endpoint is a point named by its method and name, such as `GET status`, `POST serve-config`, `GET watch-ipn-bus`,
//! `GET cert`; further points are [`POINT_CONNECT`], [`POINT_BUS_LINE`] and [`POINT_PROXY`].

mod backend;
mod builder;
mod bus;
mod local_api;
mod node;
mod person;
mod prefs;
mod proxy;
mod serve_config;
mod status;
mod version;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authority::{Authority, CertificateError};
use crate::faults::Faults;
use crate::latest::Latest;
use crate::life::Life;
use backend::Backend;
pub use builder::TailnetBuilder;
pub use node::{BackendState, CertificateState, Warning};
pub use proxy::Visitor;
pub(crate) use proxy::{Site, serve as serve_public};

/// The point of faults at which a connection to the LocalAPI was accepted and nothing was read yet.
pub const POINT_CONNECT: &str = "connect";
/// The point of faults before each line on the bus.
pub const POINT_BUS_LINE: &str = "bus line";
/// The point of faults at which a public request was let in and is about to be proxied.
pub const POINT_PROXY: &str = "proxy";

/// The longest path of a unix socket in bytes, on macOS, without its terminator.
const LONGEST_SOCKET_PATH: usize = 103;

/// A stand-in could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener or file could not be made.
    #[error("the sandbox could not listen: {0}")]
    Listen(#[from] io::Error),
    /// The path of the socket is longer than macOS takes; the sandbox needs a folder with a shorter path.
    #[error(
        "the path of the sandbox's socket has {length} bytes and may have {LONGEST_SOCKET_PATH}: choose a folder with a shorter path"
    )]
    SocketPath {
        /// Bytes of the path.
        length: usize,
    },
    /// A certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A serve configuration to begin with is none.
    #[error("the serve configuration to begin with cannot be read: {0}")]
    ServeConfig(String),
}

/// What the client of the LocalAPI may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Access {
    /// Everything: root, the operator, the daemon's own user.
    #[default]
    ReadWrite,
    /// Reading: any other user.
    ReadOnly,
    /// Nothing.
    Denied,
}

/// A request that the LocalAPI was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// HTTP method.
    pub method: String,
    /// Path with query, such as `/localapi/v0/status?peers=false`.
    pub path: String,
    /// Body, empty where there was none.
    pub body: String,
}

/// How long the person and the daemon take; `None`: only when told.
#[derive(Clone, Debug, Default)]
struct Pace {
    approves_sign_in: Option<Duration>,
    approves_machine: Option<Duration>,
    allows_funnel: Option<Duration>,
    /// Time in Starting before Running.
    starts_within: Option<Duration>,
}

/// Acts that happen after a while, unless the stand-in ends before.
#[derive(Default)]
struct Delays {
    ended: CancellationToken,
    tasks: TaskTracker,
}

impl Delays {
    fn end(&self) {
        self.ended.cancel();
        self.tasks.close();
    }
}

pub(crate) struct Inner {
    backend: Mutex<Backend>,
    pub(crate) faults: Faults,
    pub(crate) life: Life,
    pub(crate) authority: Authority,
    pace: Mutex<Pace>,
    upstream: Mutex<proxy::Upstream>,
    /// What the person is about to do; it outlives a death of the daemon.
    delays: Delays,
}

impl Inner {
    fn backend(&self) -> MutexGuard<'_, Backend> {
        self.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> Pace {
        self.pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn upstream(&self) -> proxy::Upstream {
        self.upstream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn die_soon(&self, back_after: Option<Duration>) {
        self.life.die_soon(back_after);
    }

    fn come_back(&self) -> Result<(), StartError> {
        self.life.come_back()?;
        Ok(())
    }

    /// The public name of the node.
    pub(crate) fn host(&self) -> String {
        self.backend().node.host()
    }

    pub(crate) fn is_name_published(&self) -> bool {
        self.backend().name_published
    }

    /// Tells whether a public connection to this host and port is let in, and how its certificate stands.
    pub(crate) fn admission(&self, host: &str, port: u16) -> Option<CertificateState> {
        let backend = self.backend();
        (self.life.is_alive() && backend.admits(host, port))
            .then(|| backend.node.certificate.clone())
    }

    /// Runs a change that may bring the node up, at the daemon's pace.
    fn moving<T>(self: &Arc<Self>, change: impl FnOnce(&mut Backend) -> T) -> T {
        let pace = self.pace();
        let mut backend = self.backend();
        let was_up = matches!(
            backend.node.state(),
            BackendState::Running | BackendState::Starting
        );
        if !was_up {
            backend.node.starting = pace.starts_within.is_some();
        }
        let result = change(&mut backend);
        let state = backend.node.state();
        drop(backend);
        if let (BackendState::Starting, false, Some(time)) = (state, was_up, pace.starts_within) {
            self.later(time, |inner| {
                inner
                    .backend()
                    .change(|backend| backend.node.starting = false);
            });
        }
        if let (BackendState::NeedsMachineAuth, Some(time)) = (state, pace.approves_machine) {
            self.later(time, |inner| inner.approve_machine());
        }
        result
    }

    fn later(self: &Arc<Self>, time: Duration, act: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let inner = Arc::downgrade(self);
        let ended = self.delays.ended.clone();
        self.delays.tasks.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = tokio::time::sleep(time) => {
                    if let Some(inner) = inner.upgrade() {
                        act(&inner);
                    }
                }
            }
        });
    }

    fn sign_in_interactively(self: &Arc<Self>) {
        self.backend().sign_in_interactively();
        if let Some(time) = self.pace().approves_sign_in {
            self.later(time, |inner| {
                if inner.backend().node.sign_in_url.is_some() {
                    inner.moving(Backend::finish_sign_in);
                }
            });
        }
    }

    fn approve_machine(self: &Arc<Self>) {
        self.moving(|backend| {
            backend.change(|backend| {
                backend.node.machine_approved = true;
                backend.notify_self();
            });
        });
    }

    fn allow_funnel(&self) {
        let mut backend = self.backend();
        backend.node.grants.https = true;
        backend.node.grants.funnel = true;
        backend.notify_self();
    }

    fn query_feature(self: &Arc<Self>, feature: &str) -> Value {
        let (complete, waits) = {
            let backend = self.backend();
            let complete = match feature {
                "funnel" => backend.node.grants.funnel && backend.node.grants.https,
                "serve" => backend.node.grants.https,
                _ => true,
            };
            (complete, backend.feature_waits)
        };
        if complete {
            return json!({"Complete": true});
        }
        if let Some(time) = self.pace().allows_funnel {
            self.later(time, |inner| inner.allow_funnel());
        }
        let name = if feature == "serve" {
            "Serve"
        } else {
            "Funnel"
        };
        json!({
            "Text": format!("{name} is not enabled on your tailnet.\nTo enable, visit:"),
            "URL": format!("https://login.tailscale.com/f/{feature}?node=nTESTCTRL"),
            "ShouldWait": waits
        })
    }
}

/// A running stand-in. It ends when it is dropped.
pub struct Tailnet {
    inner: Arc<Inner>,
    socket: PathBuf,
    app: Option<AppDoor>,
}

/// The TCP door of a macOS app.
#[derive(Clone, Debug)]
struct AppDoor {
    port: u16,
    token: String,
}

impl Tailnet {
    /// Begins to describe a stand-in: nobody signed in, Funnel not allowed.
    pub fn builder() -> TailnetBuilder {
        TailnetBuilder::new()
    }

    /// The path of the LocalAPI's unix socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The TCP port of the LocalAPI, where it speaks as a macOS app.
    pub fn app_port(&self) -> Option<u16> {
        self.app.as_ref().map(|door| door.port)
    }

    /// The token of the TCP port, where it speaks as a macOS app.
    pub fn app_token(&self) -> Option<&str> {
        self.app.as_ref().map(|door| door.token.as_str())
    }

    /// The public name of the node, without a dot at its end.
    pub fn host(&self) -> String {
        self.inner.host()
    }

    /// The state that the daemon is in.
    pub fn state(&self) -> BackendState {
        self.inner.backend().node.state()
    }

    /// The serve configuration now; `null` if none was ever set.
    pub fn serve_config(&self) -> Value {
        self.inner.backend().serve.document().clone()
    }

    /// Tells whether any Funnel claim is there now, in the background or the foreground.
    pub fn is_funnel_on(&self) -> bool {
        self.inner.backend().serve.is_funnel_on()
    }

    /// The preferences now.
    pub fn prefs(&self) -> Value {
        self.inner.backend().node.prefs.document()
    }

    /// How many clients watch the bus.
    pub fn watchers(&self) -> usize {
        self.inner.backend().bus.count()
    }

    /// What the LocalAPI was asked lately, oldest first: a thousand requests at most.
    pub fn requests(&self) -> Vec<Request> {
        self.inner.backend().requests.iter().cloned().collect()
    }

    /// Empties the list of requests.
    pub fn forget_requests(&self) {
        self.inner.backend().requests = Latest::default();
    }

    /// The script of faults.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// The authority that signs the certificates of the node's name.
    pub fn authority(&self) -> &Authority {
        &self.inner.authority
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Ends everything and waits until it has ended. The socket file is removed.
    pub async fn shutdown(self) {
        self.inner.delays.end();
        self.inner.delays.tasks.wait().await;
        self.inner.life.end_and_wait().await;
    }
}

impl Drop for Tailnet {
    fn drop(&mut self) {
        self.inner.delays.end();
        self.inner.backend().bus.close_all();
        self.inner.life.end();
        // It may be gone already; nobody is left to be told.
        let _ = std::fs::remove_file(&self.socket);
    }
}
