//! The record of requests: a line each, in files that are bounded in size and age, and what they add up to today.
//!
//! A line is taken without waiting: it is counted at once, and written by a thread of the record's own. Where the disk does
//! not keep up, lines are left out of the files and counted as lost; no request ever waits for its line.

mod files;
mod metrics;
mod tally;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use ecto_core::Timestamp;
use ecto_core::key::KeyName;
use ecto_core::ports::{Clock, Recorder, RequestLine};
use jiff::tz::TimeZone;

pub use files::{Bounds, Keeping, Tail, Wanted, read};
pub use tally::{KeyDay, Strangers};

use files::{Files, Series, ended};
use metrics::{Metrics, Now};
use tally::Tally;

/// The folder of the record, in the folder of the logs.
const FOLDER: &str = "requests";

/// How many lines may wait to be written. Half of them may be those of strangers.
const WAITING: usize = 4096;

/// How many lines of keys are kept at hand, and how many others.
pub const AT_HAND: usize = 200;

/// Where the record of these logs is.
pub fn folder(logs: &Path) -> PathBuf {
    logs.join(FOLDER)
}

/// The record of the requests through one guard.
pub struct Record {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    metrics: Metrics,
    lost: Arc<AtomicU64>,
    /// How many lines of strangers wait to be written.
    strangers_waiting: Arc<AtomicUsize>,
    lines: Option<SyncSender<RequestLine>>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    tally: Tally,
    recent: Recent,
}

/// The last lines, of either kind.
#[derive(Debug, Default)]
struct Recent {
    holders: VecDeque<RequestLine>,
    strangers: VecDeque<RequestLine>,
}

impl Recent {
    fn add(&mut self, line: RequestLine) {
        let lines = match Series::of(&line) {
            Series::Holders => &mut self.holders,
            Series::Strangers => &mut self.strangers,
        };
        if lines.len() == AT_HAND {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn last(&self, limit: usize) -> Vec<RequestLine> {
        let limit = limit.min(AT_HAND);
        let strangers = limit.saturating_sub(self.holders.len()).max(limit / 2);
        let strangers = strangers.min(self.strangers.len());
        let last = |lines: &VecDeque<RequestLine>, count: usize| {
            let skipped = lines.len().saturating_sub(count);
            lines.iter().skip(skipped).cloned().collect::<Vec<_>>()
        };
        let mut lines = last(&self.holders, limit - strangers);
        lines.extend(last(&self.strangers, strangers));
        lines.sort_by_key(ended);
        lines
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Record").finish_non_exhaustive()
    }
}

impl Record {
    /// Opens the record in this folder, removes what is too old, and adds up what it has of today, a day of `zone`.
    /// Nothing is written before the first line; where nothing can be written, everything else goes on.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>, zone: TimeZone, keeping: Keeping) -> Self {
        let now = clock.now();
        if let Err(fault) = keeping.let_go_of_old(folder, now) {
            tracing::warn!(%fault, "old lines of the record could not be removed");
        }
        let mut tally = Tally::new(zone, now);
        let wanted = Wanted {
            since: Some(tally.began()),
            key: None,
            limit: usize::MAX,
        };
        let mut recent = Recent::default();
        for line in read(folder, &wanted).unwrap_or_default() {
            tally.add(&line);
            recent.add(line);
        }
        let lost = Arc::new(AtomicU64::new(0));
        let strangers_waiting = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = sync_channel(WAITING);
        let mut writing = Writing {
            folder: folder.to_owned(),
            keeping,
            clock: Arc::clone(&clock),
            files: [None, None],
            lost: Arc::clone(&lost),
            strangers_waiting: Arc::clone(&strangers_waiting),
            is_told: false,
        };
        let writer = std::thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || writing.go_on(&receiver));
        let (lines, writer) = match writer {
            Ok(writer) => (Some(sender), Some(writer)),
            Err(fault) => {
                tracing::warn!(%fault, "requests are not recorded on disk");
                (None, None)
            }
        };
        Self {
            folder: folder.to_owned(),
            clock,
            state: Mutex::new(State { tally, recent }),
            metrics: Metrics::new(),
            lost,
            strangers_waiting,
            lines,
            writer,
        }
    }

    /// What each key did today, those without a known key last.
    pub fn today(&self) -> Vec<KeyDay> {
        self.state().tally.today(self.clock.now())
    }

    /// Those who try keys right now, if there are many.
    pub fn strangers(&self) -> Option<Strangers> {
        self.state().tally.strangers(self.clock.now())
    }

    /// The last lines, oldest first, as many as are wanted and at hand. Where there are enough with a key, the others are
    /// at most half of them.
    pub fn recent(&self, limit: usize) -> Vec<RequestLine> {
        self.state().recent.last(limit)
    }

    /// When each key was last used, as far as the files tell. Reads all of them, and takes its time.
    pub fn last_uses(&self) -> BTreeMap<KeyName, Timestamp> {
        files::last_uses(&self.folder).unwrap_or_else(|fault| {
            tracing::warn!(%fault, "when keys were last used cannot be read");
            BTreeMap::new()
        })
    }

    /// How many lines are not in the files because the disk did not keep up or was full.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// What was counted since this was opened, as Prometheus reads it.
    pub fn metrics(&self, is_public: bool, in_flight: u64) -> String {
        self.metrics.text(Now {
            is_public,
            in_flight,
            lost: self.lost(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder for Record {
    fn keep(&self, line: &RequestLine) {
        self.metrics.add(line);
        let mut state = self.state();
        state.tally.add(line);
        state.recent.add(line.clone());
        drop(state);
        let Some(lines) = &self.lines else { return };
        let is_stranger = Series::of(line) == Series::Strangers;
        let waiting = &self.strangers_waiting;
        if is_stranger && waiting.fetch_add(1, Ordering::Relaxed) >= WAITING / 2
            || lines.try_send(line.clone()).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
            if is_stranger {
                waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // The thread writes what waits and ends.
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Writes lines as they come, into files that are opened with the first of them.
struct Writing {
    folder: PathBuf,
    keeping: Keeping,
    clock: Arc<dyn Clock>,
    files: [Option<Files>; Series::ALL.len()],
    lost: Arc<AtomicU64>,
    strangers_waiting: Arc<AtomicUsize>,
    is_told: bool,
}

impl Writing {
    fn go_on(&mut self, lines: &Receiver<RequestLine>) {
        let mut looked = Instant::now();
        loop {
            let left = self.keeping.look_every.saturating_sub(looked.elapsed());
            match lines.recv_timeout(left) {
                Ok(first) => self.write_all(std::iter::once(first).chain(lines.try_iter())),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if looked.elapsed() >= self.keeping.look_every {
                self.let_go_of_old();
                looked = Instant::now();
            }
        }
    }

    fn write_all(&mut self, lines: impl Iterator<Item = RequestLine>) {
        // Never without end: what is written has to be seen.
        for line in lines.take(WAITING) {
            if Series::of(&line) == Series::Strangers {
                self.strangers_waiting.fetch_sub(1, Ordering::Relaxed);
            }
            if let Err(fault) = self.write(&line) {
                self.lost.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_told, true) {
                    tracing::warn!(%fault, "a request could not be recorded on disk");
                }
            }
        }
        for files in self.files.iter_mut().flatten() {
            // What cannot be written is noticed with the next line.
            let _ = files.flush();
        }
    }

    fn write(&mut self, line: &RequestLine) -> io::Result<()> {
        let series = Series::of(line);
        let [holders, strangers] = &mut self.files;
        let place = match series {
            Series::Holders => holders,
            Series::Strangers => strangers,
        };
        let files = match place {
            Some(files) => files,
            None => place.insert(Files::open(&self.folder, series, &self.keeping, line.at)?),
        };
        let written = files.write(line);
        if written.is_err() {
            *place = None;
        }
        written
    }

    fn let_go_of_old(&mut self) {
        let now = self.clock.now();
        for place in &mut self.files {
            if place.as_ref().is_some_and(|files| files.is_old(now)) {
                *place = None;
            }
        }
        if let Err(fault) = self.keeping.let_go_of_old(&self.folder, now) {
            tracing::warn!(%fault, "old lines of the record could not be removed");
        }
    }
}

#[cfg(test)]
mod tests;
