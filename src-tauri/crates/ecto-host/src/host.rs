//! The one process that runs the engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ecto_core::cause::Cause;
use ecto_core::engine::command::Handle;
use ecto_core::engine::{Engine, Ports};
use ecto_core::settings::Settings;
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

/// How long a host that goes because it is Private waits for errands.
const ERRANDS_LIMIT: Duration = Duration::from_secs(3);

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
            restoring: Arc::default(),
            recalled: Arc::default(),
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

    /// Waits until no errand is run that ending would break off, or somebody wants it to end at once. Whoever has OpenClaw
    /// restored sees to it that it is Private, and still needs the host after that; anything else may be waiting for a
    /// vault that hangs, and is waited for no longer than three seconds.
    pub async fn finish_errands(&self, signalled: impl Future<Output = ()>) {
        let finished = async {
            let done = async { drop(self.desk.errands.write().await) };
            if tokio::time::timeout(ERRANDS_LIMIT, done).await.is_err() {
                tracing::warn!("an errand is broken off, because the host ends");
            }
            drop(self.desk.restoring.write().await);
        };
        tokio::select! {
            () = finished => {}
            () = signalled => {}
        }
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

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use async_trait::async_trait;
    use ecto_core::key::{Key, KeyName, KeyRing};
    use ecto_core::ports::{Vault, VaultFault, VaultPlace};
    use ecto_platform::vault::VaultChoice;
    use tempfile::TempDir;
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;
    use crate::offers::Offers;
    use crate::request::{Answer, Request};
    use crate::world::{self, WorldChoice};

    /// A vault with a key for a phone, which does not let go of it.
    #[derive(Default)]
    struct HangingVault {
        asked: Arc<Notify>,
    }

    fn phone() -> KeyName {
        "phone".parse().unwrap()
    }

    #[async_trait]
    impl Vault for HangingVault {
        async fn load(&self) -> Result<Option<KeyRing>, VaultFault> {
            let first = Key::first("ecto_first".to_owned().into(), None);
            let other = Key {
                name: phone(),
                ..Key::first("ecto_other".to_owned().into(), None)
            };
            Ok(Some(KeyRing {
                keys: vec![first, other],
            }))
        }

        async fn store(&self, _: &KeyRing) -> Result<(), VaultFault> {
            self.asked.notify_one();
            pending().await
        }

        async fn erase(&self) -> Result<(), VaultFault> {
            Ok(())
        }

        fn place(&self) -> VaultPlace {
            VaultPlace::Memory
        }
    }

    struct Hanging {
        host: Host,
        asked: Arc<Notify>,
        _world: Box<dyn std::any::Any + Send>,
        _home: TempDir,
    }

    async fn host_whose_vault_hangs() -> Hanging {
        let home = tempfile::tempdir().unwrap();
        let choice = WorldChoice::Sandbox;
        let folders = choice
            .folders(|name| (name == "HOME").then(|| home.path().into()))
            .unwrap();
        folders.create().unwrap();
        let lock = HostLock::take(folders.runtime()).unwrap();
        let mut world = world::open(&choice, &folders, VaultChoice::File, Vec::new())
            .await
            .unwrap();
        let vault = HangingVault::default();
        let asked = Arc::clone(&vault.asked);
        world.ports.vault = Arc::new(vault);
        let surroundings = Surroundings {
            world: world.kind,
            client_access: world.client_access,
            record: world.record,
            offers: Offers::in_folder(folders.state()),
            metrics: false,
        };
        let host = Host::start(lock, None, world.ports, Settings::default(), surroundings).unwrap();
        Hanging {
            host,
            asked,
            _world: world.keep,
            _home: home,
        }
    }

    #[tokio::test]
    async fn a_vault_that_hangs_does_not_keep_a_host_that_goes() {
        let Hanging {
            host,
            asked,
            _world,
            _home,
        } = host_whose_vault_hangs().await;
        let desk = host.desk().clone();
        let revoked =
            tokio::spawn(async move { desk.answer(Request::RevokeKey { name: phone() }).await });
        asked.notified().await;
        host.desk().answer(Request::DISCONNECT).await;
        timeout(ERRANDS_LIMIT * 3, host.finish_errands(pending()))
            .await
            .unwrap();
        let ended = timeout(ERRANDS_LIMIT * 3, host.end()).await.unwrap();
        assert!(
            matches!(ended, Err(Cause::KeyNotRevoked { .. })),
            "{ended:?}"
        );
        let told = revoked.await.unwrap();
        assert!(
            matches!(
                told,
                Answer::Failed {
                    cause: Cause::KeyNotRevoked { .. },
                    ..
                }
            ),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn restoring_is_waited_for_until_somebody_wants_an_end() {
        let Hanging {
            host,
            _world,
            _home,
            ..
        } = host_whose_vault_hangs().await;
        let restoring = Arc::clone(&host.desk().restoring);
        let restoring = restoring.read().await;
        let waited = timeout(
            ERRANDS_LIMIT + Duration::from_secs(1),
            host.finish_errands(pending()),
        );
        assert!(waited.await.is_err());
        timeout(ERRANDS_LIMIT * 3, host.finish_errands(ready(())))
            .await
            .unwrap();
        drop(restoring);
        timeout(ERRANDS_LIMIT * 3, host.finish_errands(pending()))
            .await
            .unwrap();
        host.end().await.unwrap();
    }
}
