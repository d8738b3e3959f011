//! Sets the keys that Ecto needs, and undoes what Ecto set.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ecto_core::cause::{Cause, ConfigProblem};
use ecto_core::gateway::{RestoreOutcome, RestoredKey};
use ecto_core::step::{Reporter, Waiting};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use crate::change::{
    FileChange, PatchFault, Plan, Setting, complaint, knows_keys, loses_nothing, patch, unusable,
    with_settings,
};
use crate::config::{ConfigFile, read_file, shown};
use crate::document::value_of;
use crate::edit::{self, Undo};
use crate::file::{FileFault, link_count};
use crate::gateway::{OpenClaw, address, behaves};
use crate::journal::{Entry, Journal, Mark};
use crate::needs::Needed;
use crate::path::get;
use crate::probe::{self, Presence};
use crate::reading::{Reading, Usable};
use crate::rpc::{RpcFault, Session};
use crate::token;

/// How often a change is tried again when somebody else edits at the same moment.
const TRIES: usize = 3;

/// How long a running gateway may take to apply a change by itself: a new auth section makes it restart
/// (10 to 20 s; tried with OpenClaw 2026.9.6).
const APPLY_LIMIT: Duration = Duration::from_secs(30);

impl OpenClaw {
    pub(crate) async fn set_keys(&self, reporter: &Reporter) -> Result<(), Cause> {
        let mut new_token = None;
        let mut written = None;
        for _ in 0..TRIES {
            let usable = self.usable().await?;
            if usable.effective.needs.is_empty() {
                return self.wait_until_taken(&usable, written, reporter).await;
            }
            if let Some(by) = usable.place.managed_by {
                return Err(Cause::ConfigManaged { by: by.to_owned() });
            }
            let settings = self.settings(&usable, &mut new_token)?;
            let plan = Plan::to_set(&usable.config, &settings)?;
            let session = self.session_where_running(&usable).await;
            if let Some(session) = &session {
                let keys: Vec<&[&str]> = settings.iter().map(|setting| setting.key).collect();
                knows_keys(session, &keys).await?;
            }
            note_links(&plan, reporter);
            if usable.effective.token.as_ref().is_some_and(token::is_weak) {
                reporter.progress(
                    "The gateway's own token is short. It never leaves this machine, and Ecto keeps it as it is.",
                );
            }

            let before = Journal::read(&self.inner.options.state)?;
            let mut journal = before.clone();
            journal.add(plan.entries.clone());
            self.write_journal(&journal)?;
            match self
                .write(&usable, &settings, &plan, session.as_deref())
                .await
            {
                Ok(Written::Yes) => written = Some(plan),
                Ok(Written::Unknown) => {}
                Ok(Written::No { left }) => self.write_journal(&before.with(&plan, &left))?,
                Err(NotWritten { cause, left }) => {
                    self.write_journal(&before.with(&plan, &left))?;
                    return Err(cause);
                }
            }
        }
        let usable = self.usable().await?;
        if usable.effective.needs.is_empty() {
            return self.wait_until_taken(&usable, written, reporter).await;
        }
        Err(Cause::ConfigContended {
            path: shown(&usable.place.config),
        })
    }

    fn write_journal(&self, journal: &Journal) -> Result<(), Cause> {
        journal.write(&self.inner.options.state, self.inner.options.disk.as_ref())
    }

    fn settings(
        &self,
        usable: &Usable,
        new_token: &mut Option<SecretString>,
    ) -> Result<Vec<Setting<'static>>, Cause> {
        usable
            .effective
            .needs
            .iter()
            .map(|need| {
                let (value, mark) = match &need.value {
                    Needed::Value(value) => (value.clone(), Mark::Value(value.clone())),
                    Needed::NewToken => {
                        let token = match new_token.take() {
                            Some(token) => token,
                            None => self.make_token()?,
                        };
                        let salt = self.make_token()?;
                        let salt = Sha256::digest(salt.expose_secret().as_bytes());
                        let mut short = [0; 16];
                        short.copy_from_slice(&salt[..16]);
                        let mark = Mark::secret(&token, &short);
                        let value = json!(token.expose_secret());
                        *new_token = Some(token);
                        (value, mark)
                    }
                };
                Ok(Setting {
                    key: need.key,
                    value,
                    mark,
                })
            })
            .collect()
    }

    fn make_token(&self) -> Result<SecretString, Cause> {
        (self.inner.options.make_token)().map_err(|error| Cause::Internal {
            detail: error.to_string().into(),
        })
    }

    /// The session with the gateway, where it runs and takes the token that is configured.
    async fn session_where_running(&self, usable: &Usable) -> Option<Arc<Session>> {
        let address = address(usable);
        let token = usable.effective.token.as_ref()?;
        let Presence::Ready { uptime } = probe::presence(address).await else {
            return None;
        };
        let (session, _) = self.session(address, token, uptime).await.ok()?;
        Some(session)
    }

    /// Writes the plan one way or the other.
    async fn write(
        &self,
        usable: &Usable,
        settings: &[Setting<'_>],
        plan: &Plan,
        session: Option<&Session>,
    ) -> Result<Written, NotWritten> {
        let main = &usable.config.main;
        if let (Some(session), [only]) = (session, plan.files.as_slice())
            && only.file.named == main.named
            && loses_nothing(main, session)
        {
            let new = with_settings(&main.document.value, settings);
            match patch(session, main, &new).await {
                Ok(()) => return Ok(Written::Yes),
                Err(PatchFault::Stale) => return Ok(Written::No { left: Vec::new() }),
                Err(PatchFault::Unknown) => return Ok(Written::Unknown),
                Err(PatchFault::Rejected(words)) => {
                    return Err(NotWritten {
                        cause: Cause::ConfigRejected {
                            detail: words.into(),
                        },
                        left: Vec::new(),
                    });
                }
            }
        }
        self.write_files(&plan.files).await
    }

    /// Writes files, all or none: where one of them cannot be written, the ones before it are taken back. Those that
    /// somebody else changed meanwhile are left.
    async fn write_files(&self, files: &[FileChange]) -> Result<Written, NotWritten> {
        let disk = self.inner.options.disk.clone();
        let files = files.to_vec();
        let all = files
            .iter()
            .map(|change| change.file.named.clone())
            .collect();
        let result = tokio::task::spawn_blocking(move || {
            for (count, change) in files.iter().enumerate() {
                let Err(fault) = change.write(disk.as_ref()) else {
                    continue;
                };
                let left = files[..count]
                    .iter()
                    .filter(|done| !take_back(done, disk.as_ref()))
                    .map(|done| done.file.named.clone())
                    .collect();
                return Err((change.file.named.clone(), fault, left));
            }
            Ok(())
        })
        .await
        .map_err(|error| NotWritten {
            cause: Cause::Internal {
                detail: error.to_string().into(),
            },
            left: all,
        })?;
        match result {
            Ok(()) => Ok(Written::Yes),
            Err((_, FileFault::Changed, left)) => Ok(Written::No { left }),
            Err((path, fault @ (FileFault::Full | FileFault::NotWritable(_)), left)) => {
                Err(NotWritten {
                    cause: fault.cause(&path),
                    left,
                })
            }
        }
    }

    /// Waits until the running gateway behaves as it is configured now. Where it does not within the limit, it has to be restarted,
    /// which [`OpenClaw::observe`] sees; where it says that the configuration is wrong, the change is undone.
    ///
    /// [`OpenClaw::observe`]: ecto_core::ports::Gateway::observe
    async fn wait_until_taken(
        &self,
        usable: &Usable,
        written: Option<Plan>,
        reporter: &Reporter,
    ) -> Result<(), Cause> {
        let Some(written) = written else {
            return Ok(());
        };
        self.forget_refusal();
        let address = address(usable);
        if !probe::presence(address).await.is_gateway() {
            return Ok(());
        }
        let reload = usable.config.get(&["gateway", "reload", "mode"]);
        if reload.and_then(Value::as_str) == Some("off") {
            return Ok(());
        }
        reporter.waiting(Waiting::Gateway);
        let end = Instant::now() + APPLY_LIMIT;
        let mut pause = Duration::from_millis(40);
        let mut refused = 0;
        while Instant::now() < end {
            if let Presence::Ready { uptime } = probe::presence(address).await
                && behaves(address).await.is_ok()
                && let Some(token) = &usable.effective.token
            {
                match self.session(address, token, uptime).await {
                    Ok(_) | Err(RpcFault::Unexpected | RpcFault::Failed { .. }) => return Ok(()),
                    Err(RpcFault::Refused { .. }) => {
                        self.forget_refusal();
                        refused += 1;
                        pause = Duration::from_secs(2);
                    }
                    Err(RpcFault::Away | RpcFault::TimedOut) => {}
                }
                if refused > 8 {
                    break;
                }
            }
            sleep(pause).await;
            pause = (pause * 3 / 2)
                .min(Duration::from_secs(2))
                .max(pause.min(Duration::from_millis(250)));
        }
        self.undo_where_rejected(usable, &written).await
    }

    async fn undo_where_rejected(&self, usable: &Usable, written: &Plan) -> Result<(), Cause> {
        let Some(session) = self.session_where_running(usable).await else {
            return Ok(());
        };
        let Some(words) = complaint(&session).await else {
            return Ok(());
        };
        let journal = Journal::read(&self.inner.options.state)?;
        let (ours, rest): (Vec<Entry>, Vec<Entry>) = journal
            .entries
            .into_iter()
            .partition(|entry| written.entries.contains(entry));
        let (files, _) = undo_entries(&ours)?;
        // What could not be undone now stays in the journal.
        if self.write_files(&files).await? == Written::Yes {
            let mut journal = Journal::default();
            journal.add(rest);
            self.write_journal(&journal)?;
        }
        Err(Cause::ConfigRejected {
            detail: words.into(),
        })
    }

    pub(crate) async fn restore_keys(
        &self,
        reporter: &Reporter,
    ) -> Result<Vec<RestoredKey>, Cause> {
        for _ in 0..TRIES {
            let journal = Journal::read(&self.inner.options.state)?;
            if journal.entries.is_empty() {
                return Ok(Vec::new());
            }
            let reading = self.read().await?;
            let place = match &reading {
                Reading::Missing { .. } => None,
                Reading::Refused { place, .. } => Some(place.as_ref()),
                Reading::Usable(usable) => Some(&usable.place),
            };
            if let Some(by) = place.and_then(|place| place.managed_by) {
                return Err(Cause::ConfigManaged { by: by.to_owned() });
            }
            let (files, restored) = undo_entries(&journal.entries)?;
            let written = match (&reading, files.as_slice()) {
                (Reading::Usable(usable), [only]) => self.undo_one(usable, only).await?,
                (Reading::Missing { .. } | Reading::Refused { .. } | Reading::Usable(_), files) => {
                    self.write_files(files).await?
                }
            };
            if written == Written::Yes {
                self.write_journal(&Journal::default())?;
                for key in &restored {
                    if key.outcome == RestoreOutcome::LeftAlone {
                        reporter.progress(format!(
                            "{} was changed by somebody else, so it stays as it is.",
                            key.key
                        ));
                    }
                }
                return Ok(restored);
            }
        }
        Err(Cause::ConfigContended {
            path: self.usable().await.map_or_else(
                |_| "openclaw.json".to_owned(),
                |usable| shown(&usable.place.config),
            ),
        })
    }

    async fn undo_one(&self, usable: &Usable, change: &FileChange) -> Result<Written, Cause> {
        if let Some(session) = self.session_where_running(usable).await
            && change.file.named == usable.place.config
            && loses_nothing(&change.file, &session)
        {
            let new =
                value_of(&change.text).map_err(|problem| unusable(&change.file.named, problem))?;
            match patch(&session, &change.file, &new).await {
                Ok(()) => return Ok(Written::Yes),
                // The gateway may restart because of the change before it answers; the next round sees what became of it.
                Err(PatchFault::Stale | PatchFault::Unknown) => return Ok(Written::Unknown),
                Err(PatchFault::Rejected(words)) => {
                    tracing::warn!(
                        words,
                        "the gateway did not undo the change; the file is edited"
                    );
                }
            }
        }
        Ok(self.write_files(std::slice::from_ref(change)).await?)
    }
}

/// What became of a change. Anything but `Yes` is read again and tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Written {
    Yes,
    No {
        /// The files that have the change and could not be taken back.
        left: Vec<PathBuf>,
    },
    Unknown,
}

/// Why nothing was written, and the files that have the change all the same, since they could not be taken back.
#[derive(Debug)]
struct NotWritten {
    cause: Cause,
    left: Vec<PathBuf>,
}

impl From<NotWritten> for Cause {
    fn from(fault: NotWritten) -> Self {
        fault.cause
    }
}

/// Gives a file its old content back; says whether it has it.
fn take_back(change: &FileChange, disk: &dyn crate::file::Disk) -> bool {
    let content = change.file.document.bytes_with(&change.text);
    let result = crate::file::replace(
        &change.file.named,
        &change.file.real,
        &content,
        &change.file.bytes,
        disk,
    );
    if let Err(fault) = &result {
        tracing::warn!(file = %change.file.named.display(), ?fault, "a change could not be taken back");
    }
    result.is_ok()
}

fn note_links(plan: &Plan, reporter: &Reporter) {
    for change in &plan.files {
        if link_count(&change.file.real) > 1 {
            reporter.progress(format!(
                "{} has several names; only this one gets the change.",
                shown(&change.file.real)
            ));
        }
    }
}

/// Works out the texts without what the entries set, newest first. Nothing is written.
fn undo_entries(entries: &[Entry]) -> Result<(Vec<FileChange>, Vec<RestoredKey>), Cause> {
    let mut files: BTreeMap<PathBuf, Option<FileChange>> = BTreeMap::new();
    let mut restored = Vec::new();
    for entry in entries.iter().rev() {
        let change = match files.entry(entry.file.clone()) {
            std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => free.insert(read(entry)?),
        };
        let outcome = match change {
            None => RestoreOutcome::LeftAlone,
            Some(change) => undo_entry(change, entry)?,
        };
        restored.push(RestoredKey {
            key: entry.key.join("."),
            outcome,
        });
    }
    restored.reverse();
    let files = files
        .into_values()
        .flatten()
        .filter(|change| change.text != change.file.document.text)
        .collect();
    Ok((files, restored))
}

/// Reads the file of an entry; `None` where it is gone.
fn read(entry: &Entry) -> Result<Option<FileChange>, Cause> {
    if entry.file.symlink_metadata().is_err() {
        return Ok(None);
    }
    let file: ConfigFile =
        read_file(&entry.file).map_err(|problem| unusable(&entry.file, problem))?;
    let text = file.document.text.clone();
    Ok(Some(FileChange { file, text }))
}

fn undo_entry(change: &mut FileChange, entry: &Entry) -> Result<RestoreOutcome, Cause> {
    let unusable = |problem: ConfigProblem| unusable(&entry.file, problem);
    let key = entry.local_key();
    let value = value_of(&change.text).map_err(unusable)?;
    let is_as_before = match (get(&value, &key), &entry.undo) {
        (None, Undo::Inserted { .. }) => true,
        (Some(now), Undo::Replaced(before)) => value_of(before).is_ok_and(|before| *now == before),
        (None, Undo::Replaced(_)) | (Some(_), Undo::Inserted { .. }) => false,
    };
    if is_as_before {
        return Ok(RestoreOutcome::Restored);
    }
    let is_ours = get(&value, &key).is_some_and(|now| entry.set.is(now));
    if !is_ours {
        return Ok(RestoreOutcome::LeftAlone);
    }
    change.text = edit::undo(&change.text, &key, &entry.undo).map_err(unusable)?;
    Ok(RestoreOutcome::Restored)
}
