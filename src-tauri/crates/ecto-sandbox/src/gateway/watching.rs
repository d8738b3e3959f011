//! Tells when something in a folder changed, without looking again and again.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::sleep;

/// How often to look where the system watches no folder for us.
const LOOK: Duration = Duration::from_millis(200);

/// Watches folders, not what is in the folders in them.
pub(crate) struct FolderWatch {
    changed: Arc<Notify>,
    folders: BTreeSet<PathBuf>,
    watcher: Option<RecommendedWatcher>,
}

impl fmt::Debug for FolderWatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FolderWatch")
            .field("folders", &self.folders)
            .finish_non_exhaustive()
    }
}

impl FolderWatch {
    /// Watches these folders from now on.
    pub fn new(folders: BTreeSet<PathBuf>) -> Self {
        let changed = Arc::new(Notify::new());
        let watcher = start(&folders, &changed)
            .inspect_err(|error| tracing::warn!(%error, "a folder cannot be watched"))
            .ok();
        Self {
            changed,
            folders,
            watcher,
        }
    }

    /// Watches these folders instead; tells of a change where they are others, for what happened between the two.
    pub fn watch(&mut self, folders: BTreeSet<PathBuf>) {
        if self.folders != folders {
            *self = Self::new(folders);
            self.changed.notify_one();
        }
    }

    /// Waits until something may have changed since the last time this was told.
    pub async fn changed(&self) {
        match self.watcher {
            Some(_) => self.changed.notified().await,
            None => sleep(LOOK).await,
        }
    }
}

fn start(folders: &BTreeSet<PathBuf>, changed: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let told = changed.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error may stand for changes that were missed.
        if event.is_ok_and(|event| event.kind.is_access()) {
            return;
        }
        told.notify_one();
    })?;
    for folder in folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// The folders in which a change of these files shows: of each name, and of the file that a link leads to.
pub(crate) fn folders_of<'a>(files: impl IntoIterator<Item = &'a Path>) -> BTreeSet<PathBuf> {
    files
        .into_iter()
        .flat_map(|file| [Some(file.to_owned()), file.canonicalize().ok()])
        .flatten()
        .filter_map(|file| file.parent().map(Path::to_owned))
        .filter(|folder| folder.is_dir())
        .collect()
}
