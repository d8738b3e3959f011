//! Tells when something about the gateway may be different: its files, its process, its readiness.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::gateway::{Inner, lock};
use crate::probe::{self, Presence};

/// How often the gateway's port is looked at while no session tells that the gateway goes away.
const LOOK: Duration = Duration::from_secs(1);

/// How often it is looked at while one does.
const LOOK_BESIDE_SESSION: Duration = Duration::from_secs(10);

/// How long after a change of a file it is told: editors and OpenClaw change several at once.
const CALM: Duration = Duration::from_millis(20);

/// What was seen last, as far as a change of it is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// No gateway that could be looked at.
    Nothing,
    /// A gateway, or its place.
    Gateway {
        address: SocketAddr,
        presence: Kind,
        /// Whether a change is on its way that only time brings, such as one that the gateway is applying.
        settling: bool,
    },
}

/// What is on the port, without how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Away,
    Starting,
    Ready,
    Silent,
    Foreign,
}

impl From<Presence> for Kind {
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Away => Self::Away,
            Presence::Starting => Self::Starting,
            Presence::Ready { .. } => Self::Ready,
            Presence::Silent => Self::Silent,
            Presence::Foreign => Self::Foreign,
        }
    }
}

/// The counter that moves, and what moves it.
pub(crate) struct Watching {
    counter: watch::Sender<u64>,
    wake: Arc<Notify>,
    state: Mutex<State>,
}

struct State {
    runs: bool,
    files: BTreeSet<PathBuf>,
    seen: Seen,
    session: Option<CancellationToken>,
    started: Option<Instant>,
    instances: u64,
}

impl fmt::Debug for Watching {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Watching")
            .field("counter", &*self.counter.borrow())
            .finish_non_exhaustive()
    }
}

impl Watching {
    pub fn new() -> Self {
        Self {
            counter: watch::Sender::new(0),
            wake: Arc::new(Notify::new()),
            state: Mutex::new(State {
                runs: false,
                files: BTreeSet::new(),
                seen: Seen::Nothing,
                session: None,
                started: None,
                instances: 0,
            }),
        }
    }

    /// Gives a receiver of the counter, and starts to watch where that is not done yet.
    pub fn subscribe(&self, inner: &Arc<Inner>) -> watch::Receiver<u64> {
        let receiver = self.counter.subscribe();
        let mut state = lock(&self.state);
        if !state.runs && tokio::runtime::Handle::try_current().is_ok() {
            state.runs = true;
            tokio::spawn(run(Arc::downgrade(inner), self.wake.clone()));
        }
        drop(state);
        self.wake.notify_one();
        receiver
    }

    /// Remembers which files matter.
    pub fn watch_files(&self, files: Vec<PathBuf>) {
        let files: BTreeSet<PathBuf> = files.into_iter().collect();
        let mut state = lock(&self.state);
        if state.files != files {
            state.files = files;
            self.wake.notify_one();
        }
    }

    /// Remembers the session whose end matters.
    pub fn watch_session(&self, ended: CancellationToken) {
        lock(&self.state).session = Some(ended);
        self.wake.notify_one();
    }

    /// Remembers what was seen last.
    pub fn saw(&self, seen: Seen) {
        let mut state = lock(&self.state);
        if state.seen != seen {
            state.seen = seen;
            self.wake.notify_one();
        }
    }

    /// A name for the process that has been up this long, for a gateway that tells no better one.
    pub fn instance(&self, uptime: Option<Duration>) -> String {
        let mut state = lock(&self.state);
        let started = uptime.and_then(|uptime| Instant::now().checked_sub(uptime));
        let same = match (state.started, started) {
            (Some(then), Some(now)) => {
                let apart =
                    now.saturating_duration_since(then) + then.saturating_duration_since(now);
                apart < Duration::from_secs(2)
            }
            (None, None) => true,
            (None, Some(_)) | (Some(_), None) => false,
        };
        if !same {
            state.started = started;
            state.instances += 1;
        }
        format!("start {}", state.instances)
    }

    fn forget_ended_session(&self) {
        let mut state = lock(&self.state);
        if state
            .session
            .as_ref()
            .is_some_and(CancellationToken::is_cancelled)
        {
            state.session = None;
        }
    }

    fn tell(&self) {
        self.counter.send_modify(|count| *count += 1);
    }
}

/// Watches until the adapter is gone. While nobody listens, it only waits for somebody to.
async fn run(inner: Weak<Inner>, wake: Arc<Notify>) {
    let files_changed = Arc::new(Notify::new());
    let mut watched: BTreeSet<PathBuf> = BTreeSet::new();
    let mut watcher: Option<RecommendedWatcher> = None;
    loop {
        let Some(adapter) = inner.upgrade() else {
            return;
        };
        let watching = &adapter.watching;
        let listened = watching.counter.receiver_count() > 0;
        let (files, seen, session) = {
            let state = lock(&watching.state);
            (state.files.clone(), state.seen, state.session.clone())
        };
        if !listened {
            watcher = None;
            watched.clear();
            drop(adapter);
            // Woken too when the adapter is used; a missed end of the adapter is noticed within the minute.
            let _ = tokio::time::timeout(Duration::from_secs(60), wake.notified()).await;
            continue;
        }
        if watcher.is_none() || watched != files {
            watcher = watch_folders(&files, &files_changed);
            watched = files;
        }
        let stamped = stamps(&watched);
        drop(adapter);

        let look = if session.is_some() {
            LOOK_BESIDE_SESSION
        } else {
            LOOK
        };
        let changed = tokio::select! {
            () = wake.notified() => false,
            () = files_changed.notified() => {
                sleep(CALM).await;
                true
            }
            () = over(session.as_ref()) => {
                if let Some(adapter) = inner.upgrade() {
                    adapter.watching.forget_ended_session();
                }
                true
            }
            () = sleep(look) => looks_different(seen).await || (seen == Seen::Nothing && stamps(&watched) != stamped),
        };
        if changed && let Some(adapter) = inner.upgrade() {
            adapter.watching.tell();
        }
    }
}

/// When each file was changed last; `None` where it is not there. For files in folders that do not exist yet.
fn stamps(files: &BTreeSet<PathBuf>) -> Vec<Option<SystemTime>> {
    files
        .iter()
        .map(|file| {
            std::fs::metadata(file)
                .and_then(|data| data.modified())
                .ok()
        })
        .collect()
}

async fn over(session: Option<&CancellationToken>) {
    match session {
        Some(session) => session.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Whether what is on the port is another thing by now.
async fn looks_different(seen: Seen) -> bool {
    match seen {
        Seen::Nothing => false,
        Seen::Gateway {
            address,
            presence,
            settling,
        } => settling || Kind::from(probe::presence(address).await) != presence,
    }
}

fn watch_folders(files: &BTreeSet<PathBuf>, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let names: BTreeSet<PathBuf> = files
        .iter()
        .flat_map(|file| [Some(file.clone()), real_name(file)])
        .flatten()
        .collect();
    let folders: BTreeSet<PathBuf> = names
        .iter()
        .filter_map(|file| file.parent().map(Path::to_owned))
        .filter(|folder| folder.is_dir())
        .collect();
    let told = changed.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let matters = match &event {
            Ok(event) => {
                !event.kind.is_access() && event.paths.iter().any(|path| names.contains(path))
            }
            // What was missed may matter.
            Err(_) => true,
        };
        if matters {
            told.notify_one();
        }
    })
    .ok()?;
    for folder in folders {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            tracing::warn!(folder = %folder.display(), %error, "a folder cannot be watched");
        }
    }
    Some(watcher)
}

/// The file's name with the folder's symlinks followed, as the system tells it on macOS.
fn real_name(file: &Path) -> Option<PathBuf> {
    let folder = file.parent()?.canonicalize().ok()?;
    Some(folder.join(file.file_name()?))
}
