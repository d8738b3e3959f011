//! Calls that block, possibly until a person answers a prompt.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// Runs `work` on a thread of its own. A prompt that nobody answers keeps neither the runtime nor the process from ending.
pub(crate) async fn run<T, F>(name: &str, work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody waits any more when the caller was dropped.
            let _ignored = answer.send(work());
        })?;
    answered
        .await
        .map_err(|_| io::Error::other(format!("the thread {name} ended without an answer")))
}
