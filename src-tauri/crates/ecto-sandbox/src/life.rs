//! The life of a stand-in: its listeners and the tasks of their connections, which die and come back as a whole.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One accepted connection, whatever its transport.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

pub(crate) type Connection = Box<dyn Transport>;

type Serve = Arc<dyn Fn(Connection) -> futures_util::future::BoxFuture<'static, ()> + Send + Sync>;

/// Where a stand-in listens.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Unix(PathBuf),
    /// A loopback address; with port 0 a free port is chosen once and kept through deaths.
    Tcp(SocketAddr),
}

enum Bound {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

struct Door {
    bound: Bound,
    serve: Serve,
}

#[derive(Clone)]
struct Generation {
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Generation {
    fn new() -> Self {
        Self {
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = task => {}
            }
        });
    }
}

#[derive(Default)]
struct State {
    doors: Vec<Door>,
    /// Sockets that are bound and do not listen: they keep the ports of a dead stand-in from being given to others.
    reserved: Vec<TcpSocket>,
    generation: Option<Generation>,
    ended: bool,
}

/// Listeners and tasks of one stand-in. Clones are the same life.
#[derive(Clone, Default)]
pub(crate) struct Life {
    state: Arc<Mutex<State>>,
    /// The end for good.
    over: CancellationToken,
}

impl Life {
    /// Begins a life without listeners.
    pub(crate) fn begin() -> Self {
        let life = Self::default();
        life.lock().generation = Some(Generation::new());
        life
    }

    /// Listens at a place from now on and serves each connection in a task of its own. Returns the TCP address, if it is one.
    pub(crate) fn listen<F>(
        &self,
        place: Place,
        serve: impl Fn(Connection) -> F + Send + Sync + 'static,
    ) -> io::Result<Option<SocketAddr>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let serve: Serve = Arc::new(move |connection| Box::pin(serve(connection)));
        let (bound, listener, address) = match place {
            Place::Unix(path) => {
                let listener = bind_unix(&path)?;
                (Bound::Unix(path), Listener::Unix(listener), None)
            }
            Place::Tcp(address) => {
                let listener = bind_tcp(address)?.listen(128)?;
                let address = listener.local_addr()?;
                (Bound::Tcp(address), Listener::Tcp(listener), Some(address))
            }
        };
        let mut state = self.lock();
        if let Some(generation) = &state.generation {
            accept(generation, listener, Arc::clone(&serve));
        }
        state.doors.push(Door { bound, serve });
        Ok(address)
    }

    /// Runs a task until it ends or the stand-in dies.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(generation) = &self.lock().generation {
            generation.spawn(task);
        }
    }

    /// Tells whether the stand-in lives.
    pub(crate) fn is_alive(&self) -> bool {
        self.lock().generation.is_some()
    }

    /// Waits until this life, as it is now, is over. At once for a stand-in that is dead.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let cancel = self
            .lock()
            .generation
            .as_ref()
            .map(|generation| generation.cancel.clone());
        async move {
            if let Some(cancel) = cancel {
                cancel.cancelled().await;
            }
        }
    }

    /// Closes every listener and connection and waits until they are closed. Ports stay reserved.
    pub(crate) async fn die(&self) {
        let generation = self.lock().generation.take();
        let Some(generation) = generation else { return };
        generation.cancel.cancel();
        generation.tasks.close();
        generation.tasks.wait().await;
        let mut state = self.lock();
        if state.ended {
            return;
        }
        let reserved: Vec<TcpSocket> = state
            .doors
            .iter()
            .filter_map(|door| match &door.bound {
                Bound::Tcp(address) => bind_tcp(*address).ok(),
                Bound::Unix(_) => None,
            })
            .collect();
        state.reserved = reserved;
    }

    /// Listens again at the same places. Does nothing for a stand-in that lives or has ended.
    pub(crate) fn come_back(&self) -> io::Result<()> {
        let mut state = self.lock();
        if state.generation.is_some() || state.ended {
            return Ok(());
        }
        let generation = Generation::new();
        let mut reserved = std::mem::take(&mut state.reserved);
        for door in &state.doors {
            let listener = match &door.bound {
                Bound::Unix(path) => Listener::Unix(bind_unix(path)?),
                Bound::Tcp(address) => {
                    let kept = reserved.iter().position(|socket| {
                        socket.local_addr().is_ok_and(|bound| bound == *address)
                    });
                    let socket = match kept {
                        Some(index) => reserved.swap_remove(index),
                        None => bind_tcp(*address)?,
                    };
                    Listener::Tcp(socket.listen(128)?)
                }
            };
            accept(&generation, listener, Arc::clone(&door.serve));
        }
        state.generation = Some(generation);
        Ok(())
    }

    /// Dies from within one of its own tasks, and comes back after a while if told so.
    pub(crate) fn die_soon(&self, back_after: Option<Duration>) {
        let life = self.clone();
        tokio::spawn(async move {
            life.die().await;
            if let Some(time) = back_after {
                tokio::select! {
                    () = life.over.cancelled() => return,
                    () = tokio::time::sleep(time) => {}
                }
                if let Err(error) = life.come_back() {
                    tracing::warn!(%error, "a stand-in could not come back");
                }
            }
        });
    }

    /// Ends everything for good, without waiting.
    pub(crate) fn end(&self) {
        self.over.cancel();
        let mut state = self.lock();
        state.ended = true;
        state.doors.clear();
        state.reserved.clear();
        if let Some(generation) = state.generation.take() {
            generation.cancel.cancel();
            generation.tasks.close();
        }
    }

    /// Ends everything for good and waits until it has ended.
    pub(crate) async fn end_and_wait(&self) {
        let generation = self.lock().generation.clone();
        self.end();
        if let Some(generation) = generation {
            generation.tasks.wait().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What hyper spawns by itself dies with the stand-in.
impl<F> hyper::rt::Executor<F> for Life
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}

fn bind_unix(path: &PathBuf) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    UnixListener::bind(path)
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn accept(generation: &Generation, listener: Listener, serve: Serve) {
    let connections = generation.clone();
    generation.spawn(async move {
        loop {
            let connection: io::Result<Connection> = match &listener {
                Listener::Unix(listener) => listener
                    .accept()
                    .await
                    .map(|(stream, _)| Box::new(stream) as Connection),
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                    // Small writes must not wait for each other: events are timed in milliseconds.
                    let _ = stream.set_nodelay(true);
                    Box::new(stream) as Connection
                }),
            };
            match connection {
                Ok(connection) => connections.spawn(serve(connection)),
                Err(error) => {
                    tracing::warn!(%error, "a stand-in could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    });
}
