//! Ctrl-C, heard from a moment on that the command chooses.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears Ctrl-C from when it is made, also while nobody waits for it, and where a shell has it ignored.
#[derive(Debug)]
pub struct Interrupt(Option<Signal>);

impl Interrupt {
    /// Listens. Where the system does not allow that, Ctrl-C ends the command as it ends any other.
    pub fn listen() -> Self {
        Self(signal(SignalKind::interrupt()).ok())
    }

    /// Waits until it came.
    pub async fn came(&mut self) {
        match &mut self.0 {
            Some(signal) => _ = signal.recv().await,
            None => std::future::pending().await,
        }
    }

    /// Does something again and again, until Ctrl-C comes. It may wait for a disk, or for a reader that does not read: it has
    /// a thread of its own, which is not waited for.
    pub async fn repeat<Fault: Send + 'static>(
        mut self,
        pause: Duration,
        mut work: impl FnMut() -> Result<(), Fault> + Send + 'static,
    ) -> Result<(), Fault> {
        let (goes_on, ended) = channel::<()>();
        let repeating = tokio::task::spawn_blocking(move || {
            loop {
                work()?;
                if ended.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                    return Ok(());
                }
            }
        });
        let outcome = tokio::select! {
            () = self.came() => Ok(()),
            outcome = repeating => outcome.unwrap_or_else(|fault| resume_unwind(fault.into_panic())),
        };
        drop(goes_on);
        outcome
    }
}
