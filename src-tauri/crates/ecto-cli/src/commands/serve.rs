//! `ecto serve`.

use ecto_core::exposure::Exposure;
use ecto_core::settings::Settings;
use ecto_core::words::Message;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::logging;
use crate::session::{Session, Turn};

/// Runs a host until it is told to end.
pub async fn run(until_private: bool, metrics: bool, session: &Session) -> Result<Exit, Failure> {
    let _log = logging::start(session.folders.logs());
    let ended = host(until_private, metrics, session).await;
    if let Err(failure) = &ended {
        // Nobody reads the other streams of a host in the background.
        tracing::error!(
            code = failure.code(),
            what = failure.message().what,
            "the host did not go on"
        );
    }
    ended
}

async fn host(until_private: bool, metrics: bool, session: &Session) -> Result<Exit, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|fault| {
            Failure::own(
                "signals_unusable",
                format!("Ecto cannot listen to the system's signals: {fault}."),
                "Try again.",
            )
        })
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    // A terminal that goes away does not end what was meant to go on without it.
    let mut hang_up = listen(SignalKind::hangup())?;
    let lock = match session.take_turn().await? {
        Turn::Ours(lock) => lock,
        Turn::Theirs(_) => {
            return Err(Failure::own(
                "host_running",
                "Ecto is running already.",
                "Look at it with `ecto status`.",
            ));
        }
    };
    let own = session
        .start_host(lock, Settings::default(), metrics)
        .await?;
    let mut snapshots = own.host.engine().snapshots();
    let terminal = session.terminal;
    let mut told = None;
    let mut tell = |message: Message| {
        if told.as_ref() != Some(&message) {
            terminal.tell(&message.to_string());
            told = Some(message);
        }
    };
    tell(own.host.desk().report().message);
    terminal.tell("Press Ctrl-C to end Ecto; that closes the door.");
    let mut was_public = false;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {}
            () = own.host.wait() => break,
            changed = snapshots.changed() => {
                if changed.is_err() {
                    break;
                }
                tell(own.host.desk().report().message);
                let (wants_public, is_private) = {
                    let snapshot = snapshots.borrow_and_update();
                    (snapshot.wanted.is_public(), snapshot.exposure == Exposure::Private)
                };
                if until_private && was_public && !wants_public && is_private {
                    let signalled = async {
                        tokio::select! {
                            _ = terminate.recv() => {}
                            _ = interrupt.recv() => {}
                        }
                    };
                    own.host.finish_errands(signalled).await;
                    break;
                }
                was_public |= wants_public;
            }
        }
    }
    own.host.end().await?;
    terminal.tell("Private: the door is closed, and nothing is reachable from the internet.");
    Ok(Exit::Done)
}
