//! Calls that block, possibly until a person answers a prompt.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

/// Runs `work` on `shared` on a thread of its own, after everything that has hold of it. Where nobody waits for the answer
/// any more by then, it is not begun: what was given up must not undo what was done since.
pub(crate) async fn run_in_turn<S, T, F>(
    name: &str,
    shared: Arc<Mutex<S>>,
    work: F,
) -> io::Result<T>
where
    S: Send + 'static,
    T: Send + 'static,
    F: FnOnce(&mut S) -> T + Send + 'static,
{
    spawn(name, move |answer| {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !answer.is_closed() {
            let _ignored = answer.send(work(&mut shared));
        }
    })
    .await
}

/// Runs `work` on a thread of its own. A prompt that nobody answers keeps neither the runtime nor the process from ending.
pub(crate) async fn run<T, F>(name: &str, work: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    // Nobody waits any more when the caller was dropped.
    spawn(name, move |answer| drop(answer.send(work()))).await
}

async fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce(oneshot::Sender<T>) + Send + 'static,
) -> io::Result<T> {
    let (answer, answered) = oneshot::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || work(answer))?;
    answered
        .await
        .map_err(|_| io::Error::other(format!("the thread {name} ended without an answer")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_was_given_up_before_its_turn_is_not_begun() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let store = |name| run_in_turn("test", Arc::clone(&kept), move |kept| kept.push(name));
        let (prompt, answered) = std::sync::mpsc::channel();
        let hangs = run_in_turn("test", Arc::clone(&kept), move |_| answered.recv());
        let hangs = tokio::spawn(hangs);
        while kept.try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        let given_up = tokio::time::timeout(Duration::from_millis(50), store("given up"));
        given_up.await.unwrap_err();
        let later = tokio::spawn(store("later"));
        prompt.send(()).unwrap();
        hangs.await.unwrap().unwrap().unwrap();
        later.await.unwrap().unwrap();
        // The thread of the one that was given up has ended once nobody else holds what it was to change.
        while Arc::strong_count(&kept) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*kept.lock().unwrap(), ["later"]);
    }
}
