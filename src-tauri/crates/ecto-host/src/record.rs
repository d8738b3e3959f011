//! The record of requests: a line each, in files that are bounded in size and age, and what they add up to today.
//!
//! A line is taken without waiting: it is counted at once, and written by a thread of the record's own. Where the disk does
//! not keep up, lines are left out of the files and counted as lost; no request ever waits for its line.

mod files;
mod metrics;
mod tally;

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use ecto_core::ports::{Clock, Recorder, RequestLine};
use jiff::tz::TimeZone;

pub use files::{Bounds, Tail, Wanted, read};
pub use tally::{KeyDay, Strangers};

use files::Files;
use metrics::{Metrics, Now};
use tally::Tally;

/// The folder of the record, in the folder of the logs.
const FOLDER: &str = "requests";

/// How many lines may wait to be written.
const WAITING: usize = 4096;

/// How many lines are kept at hand.
pub const AT_HAND: usize = 200;

/// Where the record of these logs is.
pub fn folder(logs: &Path) -> PathBuf {
    logs.join(FOLDER)
}

/// The record of the requests through one guard.
pub struct Record {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    metrics: Metrics,
    lost: Arc<AtomicU64>,
    lines: Option<SyncSender<RequestLine>>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    tally: Tally,
    recent: VecDeque<RequestLine>,
}

impl fmt::Debug for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Record").finish_non_exhaustive()
    }
}

impl Record {
    /// Opens the record in this folder, and adds up what it has of today, a day of `zone`. Nothing is written before the
    /// first line; where nothing can be written, everything else goes on.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>, zone: TimeZone, bounds: Bounds) -> Self {
        let now = clock.now();
        let mut tally = Tally::new(zone, now);
        let wanted = Wanted {
            since: Some(tally.began()),
            key: None,
            limit: usize::MAX,
        };
        let mut recent = VecDeque::with_capacity(AT_HAND);
        let today = read(folder, &wanted).unwrap_or_default();
        for line in &today {
            tally.add(line);
        }
        recent.extend(today.into_iter().rev().take(AT_HAND).rev());
        let lost = Arc::new(AtomicU64::new(0));
        let (sender, receiver) = sync_channel(WAITING);
        let place = (folder.to_owned(), bounds);
        let counted = lost.clone();
        let writer = std::thread::Builder::new()
            .name("record".to_owned())
            .spawn(move || write(&place, &receiver, &counted));
        let (lines, writer) = match writer {
            Ok(writer) => (Some(sender), Some(writer)),
            Err(fault) => {
                tracing::warn!(%fault, "requests are not recorded on disk");
                (None, None)
            }
        };
        Self {
            clock,
            state: Mutex::new(State { tally, recent }),
            metrics: Metrics::new(),
            lost,
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

    /// The last lines, oldest first: at most [`AT_HAND`].
    pub fn recent(&self, limit: usize) -> Vec<RequestLine> {
        let state = self.state();
        let skipped = state.recent.len().saturating_sub(limit);
        state.recent.iter().skip(skipped).cloned().collect()
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
        if state.recent.len() == AT_HAND {
            state.recent.pop_front();
        }
        state.recent.push_back(line.clone());
        drop(state);
        let Some(lines) = &self.lines else { return };
        if lines.try_send(line.clone()).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
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
fn write(place: &(PathBuf, Bounds), lines: &Receiver<RequestLine>, lost: &AtomicU64) {
    let mut files = None;
    let mut is_told = false;
    while let Ok(first) = lines.recv() {
        let batch = std::iter::once(first).chain(lines.try_iter());
        for line in batch {
            if let Err(fault) = write_line(place, &mut files, &line) {
                lost.fetch_add(1, Ordering::Relaxed);
                files = None;
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(%fault, "a request could not be recorded on disk");
                }
            }
        }
        // What cannot be written is noticed with the next line.
        let _ = files.as_mut().map(Files::flush);
    }
}

fn write_line(
    (folder, bounds): &(PathBuf, Bounds),
    files: &mut Option<Files>,
    line: &RequestLine,
) -> std::io::Result<()> {
    let files = match files {
        Some(files) => files,
        None => files.insert(Files::open(folder, *bounds, line.at)?),
    };
    files.write(line)
}

#[cfg(test)]
mod tests;
