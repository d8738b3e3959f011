//! Ctrl-C, heard from a moment on that the command chooses.

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
}
