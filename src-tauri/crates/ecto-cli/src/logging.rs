//! Ecto's own log: JSON lines, a file a day, kept for a week. No secret ever reaches it.

use std::path::Path;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;

/// How the log's files are named.
pub const PREFIX: &str = "ecto";
const SUFFIX: &str = "log";
const KEPT_FILES: usize = 7;

/// Writes the log into this folder until the guard is dropped. A log that cannot be written is no reason to stop.
pub fn start(folder: &Path) -> Option<WorkerGuard> {
    let file = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(PREFIX)
        .filename_suffix(SUFFIX)
        .max_log_files(KEPT_FILES)
        .build(folder)
        .ok()?;
    let (writer, guard) = tracing_appender::non_blocking(file);
    let filter =
        EnvFilter::try_from_env("ECTO_LOG").unwrap_or_else(|_| EnvFilter::new("ecto=info,warn"));
    let set = tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(writer)
        .try_init();
    set.ok().map(|()| guard)
}
