//! The listener on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ecto_core::refusal::Refusal;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::activity::TURNED_AWAY;
use crate::answer::refusal_bytes;
use crate::connection::{serve, turn_away};
use crate::passage::Shared;

/// How long the listener waits when the system has no more files to give.
const PAUSE: Duration = Duration::from_millis(50);

/// A listener that accepts. Dropping it ends it and every connection, without waiting.
pub(crate) struct Listening {
    /// Where.
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
    end: DropGuard,
}

impl Listening {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let end = CancellationToken::new();
        let accepting = tokio::spawn(accept(listener, shared, end.clone()));
        Ok(Self {
            address,
            accepting,
            end: end.drop_guard(),
        })
    }

    /// Ends the listener and every connection, and returns when they are gone, or after `longest`.
    pub async fn stop(self, longest: Duration) {
        drop(self.end);
        let mut accepting = self.accepting;
        if timeout(longest, &mut accepting).await.is_err() {
            accepting.abort();
        }
    }
}

/// How many more connections there is room for.
struct Places {
    served: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, end: CancellationToken) {
    let mut connections = JoinSet::new();
    let places = Places {
        served: Arc::new(Semaphore::new(shared.limits.connections)),
        turned_away: Arc::new(Semaphore::new(shared.limits.turned_away)),
    };
    let mut is_failing = false;
    loop {
        tokio::select! {
            biased;
            () = end.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted.inspect(|_| is_failing = false) {
                Ok((stream, peer)) if peer.ip().is_loopback() => {
                    take_in(stream, &shared, &places, &mut connections);
                }
                Ok(_) => {}
                Err(fault) => {
                    // Once, until one is accepted again: strangers must not fill a disk with it.
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(%fault, "no connection can be accepted");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

fn take_in(
    stream: TcpStream,
    shared: &Arc<Shared>,
    places: &Places,
    connections: &mut JoinSet<()>,
) {
    let _ = stream.set_nodelay(true);
    let shared = shared.clone();
    if let Ok(place) = places.served.clone().try_acquire_owned() {
        connections.spawn(async move {
            serve(stream, shared).await;
            drop(place);
        });
        return;
    }
    shared.register.note(TURNED_AWAY, Refusal::TooBusy);
    if let Ok(place) = places.turned_away.clone().try_acquire_owned() {
        connections.spawn(async move {
            turn_away(stream, Refusal::TooBusy, &shared.limits).await;
            drop(place);
        });
        return;
    }
    // As far as that goes without waiting.
    let _ = stream.try_write(refusal_bytes(Refusal::TooBusy).as_bytes());
}
