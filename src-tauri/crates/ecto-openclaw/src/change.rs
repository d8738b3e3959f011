//! Changes to the configuration, and the two ways to write them: through the running gateway, or in the file itself.
//!
//! The gateway's own writer validates and applies at once, and drops comments, rewrites the whole file and replaces a symlink by a
//! file (OpenClaw 2026.9.6). So it is used only where the file is exactly what that writer makes of it, and nothing would be lost.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ecto_core::cause::{Cause, ConfigProblem};
use serde_json::{Map, Value, json};

use crate::config::{Config, ConfigFile, read_file, shown};
use crate::edit;
use crate::file::{self, Disk, FileFault};
use crate::journal::{Entry, Mark};
use crate::path::{get, insert};
use crate::rpc::{RpcFault, Session};

/// How long the gateway may take to validate, write and apply a change.
const PATCH_LIMIT: Duration = Duration::from_secs(30);

/// How long the gateway may take to tell its configuration.
const GET_LIMIT: Duration = Duration::from_secs(10);

/// A new content for one file.
#[derive(Clone)]
pub(crate) struct FileChange {
    pub file: ConfigFile,
    pub text: String,
}

impl fmt::Debug for FileChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FileChange")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl FileChange {
    /// Writes it, unless somebody else changed the file since it was read.
    pub fn write(&self, disk: &dyn Disk) -> Result<(), FileFault> {
        let content = self.file.document.bytes_with(&self.text);
        file::replace(
            &self.file.named,
            &self.file.real,
            &self.file.bytes,
            &content,
            disk,
        )
    }
}

/// A value to set, and how it is remembered.
pub(crate) struct Setting<'a> {
    pub key: &'a [&'a str],
    pub value: Value,
    pub mark: Mark,
}

/// What has to be written so that some keys have new values.
#[derive(Clone)]
pub(crate) struct Plan {
    pub files: Vec<FileChange>,
    pub entries: Vec<Entry>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Plan")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Plan {
    /// Works out the new texts. Nothing is written.
    pub fn to_set(config: &Config, settings: &[Setting<'_>]) -> Result<Self, Cause> {
        let mut texts: BTreeMap<PathBuf, FileChange> = BTreeMap::new();
        let mut entries = Vec::new();
        for setting in settings {
            let (file, local) = config
                .owner(setting.key)
                .map_err(|problem| unusable(&config.main.named, problem))?;
            let change = texts
                .entry(file.named.clone())
                .or_insert_with(|| FileChange {
                    file: file.clone(),
                    text: file.document.text.clone(),
                });
            let edited = edit::set(&change.text, local, &setting.value)
                .map_err(|problem| unusable(&file.named, problem))?;
            change.text = edited.text;
            entries.push(Entry {
                config: config.main.named.clone(),
                file: file.named.clone(),
                key: setting.key.iter().map(|&name| name.to_owned()).collect(),
                above: setting.key.len() - local.len(),
                set: setting.mark.clone(),
                undo: edited.undo,
            });
        }
        Ok(Self {
            files: texts.into_values().collect(),
            entries,
        })
    }
}

pub(crate) fn unusable(path: &Path, problem: ConfigProblem) -> Cause {
    Cause::ConfigUnusable {
        path: shown(path),
        problem,
    }
}

/// Whether the gateway's own writer would lose nothing of this configuration file.
pub(crate) fn loses_nothing(file: &ConfigFile, session: &Session) -> bool {
    let touched =
        get(&file.document.value, &["meta", "lastTouchedVersion"]).and_then(Value::as_str);
    let is_link = file
        .named
        .symlink_metadata()
        .map_or(true, |data| data.is_symlink());
    session.version.is_some()
        && touched == session.version.as_deref()
        && get(&file.document.value, &["meta", "migrations"]).is_some()
        && !is_link
        && file::link_count(&file.real) == 1
        && file.document.is_as_openclaw_writes()
        && !file.document.text.contains("\"$include\"")
}

/// What became of a change that was given to the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PatchFault {
    /// The configuration changed in between; it has to be read again.
    Stale,
    /// The gateway refused it, in these words.
    Rejected(String),
    /// Whether it was made is not known; it has to be read again.
    Unknown,
}

/// Gives a change to the gateway: `file` is what was read, `new` what it is to mean.
pub(crate) async fn patch(
    session: &Session,
    file: &ConfigFile,
    new: &Value,
) -> Result<(), PatchFault> {
    let fault = |fault: RpcFault| match fault {
        RpcFault::Failed { message, .. } if message.contains("changed since") => PatchFault::Stale,
        RpcFault::Failed { message, .. } => PatchFault::Rejected(message),
        RpcFault::Away | RpcFault::TimedOut | RpcFault::Refused { .. } | RpcFault::Unexpected => {
            PatchFault::Unknown
        }
    };
    let current = session
        .call("config.get", json!({}), GET_LIMIT)
        .await
        .map_err(fault)?;
    let hash = current["hash"].as_str().ok_or(PatchFault::Unknown)?;
    // The hash stands for what the gateway sees now, so that is compared with what was read before it is used.
    let same = read_file(&file.named).is_ok_and(|now| now.bytes == file.bytes);
    if !same {
        return Err(PatchFault::Stale);
    }
    let parameters =
        json!({"raw": difference(&file.document.value, new).to_string(), "baseHash": hash});
    session
        .call("config.patch", parameters, PATCH_LIMIT)
        .await
        .map_err(fault)?;
    Ok(())
}

/// The merge patch (RFC 7396) that makes `new` of `old`.
pub(crate) fn difference(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return new.clone();
    };
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        match old.get(name) {
            Some(before) if before == value => {}
            Some(before) => {
                patch.insert(name.clone(), difference(before, value));
            }
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

/// The value with settings made.
pub(crate) fn with_settings(value: &Value, settings: &[Setting<'_>]) -> Value {
    let mut value = value.clone();
    for setting in settings {
        insert(&mut value, setting.key, setting.value.clone());
    }
    value
}

/// Asks the gateway whether it knows these keys, before anything is written. A gateway that cannot tell is no obstacle.
pub(crate) async fn knows_keys(session: &Session, keys: &[&[&str]]) -> Result<(), Cause> {
    for key in keys {
        let path = key.join(".");
        let answer = session
            .call("config.schema.lookup", json!({"path": &path}), GET_LIMIT)
            .await;
        if let Err(RpcFault::Failed { message, .. }) = answer
            && message.contains("path not found")
        {
            return Err(Cause::ConfigRejected {
                detail: format!("this version of OpenClaw does not know `{path}`").into(),
            });
        }
    }
    Ok(())
}

/// What the gateway says is wrong with the configuration that it found in the file; `None` where it takes it.
pub(crate) async fn complaint(session: &Session) -> Option<String> {
    let answer = session
        .call("config.get", json!({}), GET_LIMIT)
        .await
        .ok()?;
    if answer["valid"] != false {
        return None;
    }
    let issue = &answer["issues"][0];
    let text = |name: &str| issue[name].as_str().unwrap_or_default();
    Some(format!("{}: {}", text("path"), text("message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_names_only_what_changed() {
        let old = json!({"a": {"b": 1, "c": 2, "d": {"e": 1}}, "f": [1]});
        let new = json!({"a": {"b": 1, "c": 3}, "f": [1], "g": {"h": true}});
        assert_eq!(
            difference(&old, &new),
            json!({"a": {"c": 3, "d": null}, "g": {"h": true}})
        );
    }

    #[test]
    fn a_plan_shows_no_content() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("openclaw.json");
        std::fs::write(&named, "{token: 'very-secret-token'}").unwrap();
        let file = read_file(&named).unwrap();
        let change = FileChange {
            text: file.document.text.clone(),
            file,
        };
        let plan = Plan {
            files: vec![change.clone()],
            entries: Vec::new(),
        };
        let text = format!("{change:?} {plan:?}");
        assert!(text.contains("openclaw.json"), "{text}");
        assert!(!text.contains("very-secret-token"), "{text}");
        assert!(!text.contains("[123, 116"), "as bytes: {text}");
    }
}
