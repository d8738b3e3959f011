//! One app at a time, whoever runs the host: starting it again shows the window of the one that runs.

use std::path::PathBuf;
use std::time::Duration;

use ecto_host::control::ControlSocket;
use ecto_host::lock::{LockFault, ProcessLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::launch::Launch;
use crate::refusal::Refusal;

/// How long the app that runs may take to show itself. It may be just starting, or ending.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// The pause before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What tells that the window is shown.
const SHOWN: u8 = b'\n';

/// This process as the only app. It is that until it is dropped.
#[derive(Debug)]
pub struct Instance {
    socket: ControlSocket,
    lock: ProcessLock,
}

impl Instance {
    /// Becomes the only app, or has the one that runs already show its window (`None`).
    pub async fn begin(launch: &Launch) -> Result<Option<Self>, Refusal> {
        let asking = async {
            loop {
                match Self::take(launch) {
                    Ok(instance) => return Ok(Some(instance)),
                    Err(LockFault::Taken { .. }) if has_shown(launch).await => return Ok(None),
                    Err(LockFault::Taken { .. }) => tokio::time::sleep(ASK_AGAIN).await,
                    Err(fault @ LockFault::Unusable { .. }) => return Err(fault.into()),
                }
            }
        };
        tokio::time::timeout(ANSWER_LIMIT, asking)
            .await
            .unwrap_or_else(|_| {
                Err(Refusal::new(
                    "app_busy",
                    "Ecto is running already, and does not answer.",
                    "Wait a moment and start it again, or end it first.",
                ))
            })
    }

    fn take(launch: &Launch) -> Result<Self, LockFault> {
        let lock = ProcessLock::take(&lock_path(launch))?;
        let path = socket_path(launch);
        let socket =
            ControlSocket::bind(&path).map_err(|source| LockFault::Unusable { path, source })?;
        Ok(Self { socket, lock })
    }

    /// Takes its place again after somebody removed it, as taking Ecto off does. Where nobody did, nothing changes.
    pub fn take_again(&mut self, launch: &Launch) -> Result<(), Refusal> {
        launch.folders.create()?;
        match ProcessLock::take(&lock_path(launch)) {
            Ok(lock) => self.lock = lock,
            Err(LockFault::Taken { process }) => {
                let is_own = process == Some(std::process::id());
                // Another one's place, or this one's as it was.
                if !is_own || socket_path(launch).exists() {
                    return Ok(());
                }
            }
            Err(fault @ LockFault::Unusable { .. }) => return Err(fault.into()),
        }
        let path = socket_path(launch);
        let bound = self.socket.bind_again();
        Ok(bound.map_err(|source| LockFault::Unusable { path, source })?)
    }

    /// Waits until the app is started once more, and so its window is to be shown.
    pub async fn asked(&mut self) {
        let mut other = self.socket.accept().await;
        // Whoever went away does not need to know.
        let _ = other.write_all(&[SHOWN]).await;
    }
}

fn lock_path(launch: &Launch) -> PathBuf {
    launch.folders.runtime().join("app.lock")
}

/// Beside the host's control socket, and no longer than that.
fn socket_path(launch: &Launch) -> PathBuf {
    launch.folders.runtime().join("app.sock")
}

async fn has_shown(launch: &Launch) -> bool {
    match UnixStream::connect(socket_path(launch)).await {
        Ok(mut app) => app.read_u8().await.is_ok_and(|answer| answer == SHOWN),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Options;

    fn sandbox(home: &std::path::Path) -> Launch {
        let options = Options {
            sandbox: true,
            ..Options::of_app(["ecto".into()]).unwrap()
        };
        Launch::prepare(options, |name| (name == "HOME").then(|| home.into())).unwrap()
    }

    #[tokio::test]
    async fn an_app_whose_place_was_removed_is_found_once_it_took_it_again() {
        let home = tempfile::tempdir().unwrap();
        let launch = sandbox(home.path());
        let mut first = Instance::begin(&launch).await.unwrap().unwrap();
        let runtime = launch.folders.runtime();
        for removed in ["run", "app.sock", "app.lock", "nothing"] {
            match removed {
                "run" => std::fs::remove_dir_all(runtime).unwrap(),
                "nothing" => {}
                file => std::fs::remove_file(runtime.join(file)).unwrap(),
            }
            first.take_again(&launch).unwrap();
            let again = async { tokio::join!(first.asked(), Instance::begin(&launch)).1 };
            let second = tokio::time::timeout(2 * ANSWER_LIMIT, again).await;
            assert!(second.unwrap().unwrap().is_none(), "{removed}");
        }
        drop(first);
        assert!(Instance::begin(&launch).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_second_app_has_the_first_one_shown_and_is_the_only_one_once_that_ended() {
        let home = tempfile::tempdir().unwrap();
        let launch = sandbox(home.path());
        let mut first = Instance::begin(&launch).await.unwrap().unwrap();
        let ((), second) = tokio::join!(first.asked(), Instance::begin(&launch));
        assert!(second.unwrap().is_none());
        drop(first);
        assert!(Instance::begin(&launch).await.unwrap().is_some());
    }
}
