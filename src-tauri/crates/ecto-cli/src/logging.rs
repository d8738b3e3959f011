//! Ecto's own log: JSON lines, a file a day, kept for a week. No secret ever reaches it.

use std::path::Path;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

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
    // Of every crate whose name begins so, and of no other.
    let filter = Targets::new().with_target("ecto", level(std::env::var("ECTO_LOG").ok()));
    let set = tracing_subscriber::fmt()
        .json()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(writer)
        .finish()
        .with(filter)
        .try_init();
    set.ok().map(|()| guard)
}

/// How much is logged. Only a level can be chosen: what libraries say may hold what must not be kept.
fn level(wanted: Option<String>) -> LevelFilter {
    wanted
        .and_then(|text| text.parse().ok())
        .unwrap_or(LevelFilter::INFO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_level_can_be_chosen() {
        assert_eq!(level(Some("debug".to_owned())), LevelFilter::DEBUG);
        assert_eq!(level(Some("hyper=trace".to_owned())), LevelFilter::INFO);
        assert_eq!(level(None), LevelFilter::INFO);
    }
}
