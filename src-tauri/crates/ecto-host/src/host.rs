//! The one process that runs the engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ecto_core::cause::Cause;
use ecto_core::engine::command::Handle;
use ecto_core::engine::{Engine, Ports};
use ecto_core::settings::Settings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::control::{ControlSocket, Desk, Surroundings};
use crate::lock::HostLock;

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum HostFault {
    /// The control socket cannot be made.
    #[error("the control socket {} cannot be made: {source}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A running host. The door is closed and the lock free once [`Host::end`] or [`Host::wait`] returns.
#[derive(Debug)]
pub struct Host {
    desk: Desk,
    engine: JoinHandle<()>,
    control: Option<JoinHandle<()>>,
    // Let go of last.
    _lock: HostLock,
}

/// The most files that are asked for: macOS refuses more than `OPEN_MAX` (`sys/syslimits.h`), which is 10240.
const FILES: u64 = 10_240;

/// Every stream through the guard takes two files, and systems start programs with as few as 256.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if limit.current.is_some_and(|current| current < most) {
        let raised = Rlimit {
            current: Some(most),
            ..limit
        };
        if let Err(fault) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%fault, "the limit on open files could not be raised");
        }
    }
}

impl Host {
    /// Starts the engine, and the control socket where others may ask this host. The lock is taken before the world of
    /// `ports` is opened, so that no two hosts ever share one.
    pub fn start(
        lock: HostLock,
        socket: Option<&Path>,
        ports: Ports,
        settings: Settings,
        surroundings: Surroundings,
    ) -> Result<Self, HostFault> {
        raise_file_limit();
        let bind = |path: &Path| {
            ControlSocket::bind(path).map_err(|source| HostFault::Socket {
                path: path.to_owned(),
                source,
            })
        };
        let control = socket.map(bind).transpose()?;
        ports.guard.set_offer(surroundings.offers.present());
        let (engine, handle) = Engine::new(ports, settings);
        let desk = Desk {
            engine: handle,
            surroundings: Arc::new(surroundings),
            quit: CancellationToken::new(),
            errands: Arc::default(),
        };
        let (quit, surroundings) = (desk.quit.clone(), Arc::clone(&desk.surroundings));
        tokio::spawn(async move {
            let storing = surroundings.offers.keep_storing();
            quit.run_until_cancelled(storing).await;
        });
        let quit = desk.quit.clone();
        let engine = tokio::spawn(async move {
            engine.run().await;
            quit.cancel();
        });
        let control = control.map(|control| tokio::spawn(control.serve(desk.clone())));
        Ok(Self {
            desk,
            engine,
            control,
            _lock: lock,
        })
    }

    /// What answers requests.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// The engine.
    pub fn engine(&self) -> &Handle {
        &self.desk.engine
    }

    /// Waits until a client asked the host to end.
    pub async fn wait(&self) {
        self.desk.quit.cancelled().await;
    }

    /// Waits until no errand is run that ending would break off: somebody who has OpenClaw restored sees to it that it
    /// is Private, and still needs the host after that.
    pub async fn finish_errands(&self) {
        drop(self.desk.errands.write().await);
    }

    /// Closes the door and ends. What is wanted stays wanted. Says whether the door was seen to close.
    pub async fn end(self) -> Result<(), Cause> {
        let closed = match self.desk.engine.quit().await {
            // It ended before it heard this, and told whoever had asked for that.
            Err(Cause::Internal { .. }) if self.desk.engine.has_ended() => Ok(()),
            closed => closed,
        };
        self.desk.quit.cancel();
        // Both end by themselves now; a panic in one of them has been printed already.
        let _ = self.engine.await;
        if let Some(control) = self.control {
            let _ = control.await;
        }
        closed
    }
}
