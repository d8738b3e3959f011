//! Writing OpenClaw's configuration the way its `config.patch` does: merge, validate, back up, replace.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::config::{self, REDACTED, Reading};
use super::schema::{self, Issue};

/// The version the stand-in says it is, everywhere.
pub const VERSION: &str = "2026.9.6";

const BACKUPS: usize = 5;

/// A refused `config.patch`: the code, the message and the details of the error frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub code: &'static str,
    pub message: String,
    pub details: Option<Value>,
}

impl Refusal {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            code: "INVALID_REQUEST",
            message: message.into(),
            details: None,
        }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self {
            code: "UNAVAILABLE",
            message: message.into(),
            details: None,
        }
    }

    fn issues(issues: &[Issue]) -> Self {
        let lines: Vec<String> = issues.iter().map(Issue::line).collect();
        Self {
            code: "INVALID_REQUEST",
            message: format!("invalid config: {}", lines.join("; ")),
            details: Some(json!({ "issues": issues.iter().map(Issue::json).collect::<Vec<_>>() })),
        }
    }
}

/// What a `config.patch` did.
pub(crate) struct Patched {
    pub changed: Vec<String>,
    pub requires_restart: bool,
    pub written: Value,
}

/// Applies the merge patch in `params` to the file at `path`.
pub(crate) fn apply(
    path: &Path,
    environment: &BTreeMap<String, String>,
    params: &Value,
) -> Result<Patched, Refusal> {
    let Some(raw) = params.get("raw").and_then(Value::as_str) else {
        return Err(Refusal::invalid(
            "invalid config.patch params: must have required property 'raw'",
        ));
    };
    let current =
        config::read(path, environment).map_err(|error| Refusal::invalid(error.to_string()))?;
    let base = params.get("baseHash").and_then(Value::as_str);
    if base.is_some_and(|base| base != current.hash) {
        return Err(Refusal::invalid(
            "config changed since last load; re-run config.get and retry",
        ));
    }
    let patch = config::parse(raw).map_err(Refusal::invalid)?;
    if !patch.is_object() {
        return Err(Refusal::invalid("config.patch raw must be an object"));
    }
    let mut merged = current.included.clone();
    merge(&mut merged, &patch);
    restore_redacted(&mut merged, &current.included);
    let changed = config::changed_paths(&current.included, &merged);
    let Some(first) = changed.first() else {
        return Ok(Patched {
            changed,
            requires_restart: false,
            written: current.included,
        });
    };
    if base.is_none() {
        return Err(Refusal::invalid(format!(
            "config base hash required for {first}; re-run config.get and retry with baseHash"
        )));
    }
    hold_arrays(&current.included, &merged, params)?;
    let issues = schema::validate(&config::substitute(&merged, environment));
    if !issues.is_empty() {
        return Err(Refusal::issues(&issues));
    }
    let requires_restart = schema::needs_restart(&changed, &merged);
    let written = write(path, &current, merged, &changed)?;
    Ok(Patched {
        changed,
        requires_restart,
        written,
    })
}

/// Merges by RFC 7396: objects into objects, `null` deletes, anything else replaces.
fn merge(base: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *base = patch.clone();
        return;
    };
    if !base.is_object() {
        *base = Value::Object(Map::new());
    }
    let Value::Object(base) = base else { return };
    for (name, member) in patch {
        if member.is_null() {
            base.shift_remove(name);
        } else {
            merge(base.entry(name.clone()).or_insert(Value::Null), member);
        }
    }
}

fn restore_redacted(value: &mut Value, before: &Value) {
    match value {
        Value::String(text) if text == REDACTED => *value = before.clone(),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                restore_redacted(member, before.get(name).unwrap_or(&Value::Null));
            }
        }
        Value::Array(entries) => {
            for (index, entry) in entries.iter_mut().enumerate() {
                restore_redacted(entry, before.get(index).unwrap_or(&Value::Null));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn hold_arrays(before: &Value, after: &Value, params: &Value) -> Result<(), Refusal> {
    let named: Vec<&str> = params
        .get("replacePaths")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut shrunk = Vec::new();
    find_shrunk("", before, Some(after), &mut shrunk);
    shrunk.retain(|path| !named.contains(&path.as_str()));
    if shrunk.is_empty() {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "config.patch would remove entries from array path(s): {}. Pass replacePaths with the exact path(s) when this is intentional, or use config.apply for full-config replacement.",
        shrunk.join(", ")
    )))
}

fn find_shrunk(path: &str, before: &Value, after: Option<&Value>, shrunk: &mut Vec<String>) {
    match before {
        Value::Object(members) => {
            for (name, member) in members {
                let inner = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                find_shrunk(
                    &inner,
                    member,
                    after.and_then(|after| after.get(name)),
                    shrunk,
                );
            }
        }
        Value::Array(entries) => {
            let kept = after.and_then(Value::as_array);
            if entries
                .iter()
                .any(|entry| !kept.is_some_and(|kept| kept.contains(entry)))
            {
                shrunk.push(path.to_owned());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Writes into the main file, or into the one include that owns everything that changed.
fn write(
    path: &Path,
    current: &Reading,
    merged: Value,
    changed: &[String],
) -> Result<Value, Refusal> {
    if current.includes.is_empty() {
        let merged = with_meta(merged);
        replace(path, &merged).map_err(|error| Refusal::unavailable(format!("Error: {error}")))?;
        return Ok(merged);
    }
    let (owner, include) = owning_include(path, current, changed)?;
    let part = merged.get(&owner).cloned().unwrap_or_else(|| json!({}));
    replace(&include, &part).map_err(|error| Refusal::unavailable(format!("Error: {error}")))?;
    Ok(merged)
}

fn owning_include(
    path: &Path,
    current: &Reading,
    changed: &[String],
) -> Result<(String, PathBuf), Refusal> {
    let flatten = |owner: &str| {
        Refusal::unavailable(format!(
            "Error: Config write would flatten $include-owned config at {owner}; edit that include file directly or remove the $include first.: code=CONFIG_INCLUDE_OWNERSHIP"
        ))
    };
    let root = current.parsed.as_object();
    if root.is_some_and(|root| root.contains_key("$include")) {
        return Err(flatten("<root>"));
    }
    let included = root
        .into_iter()
        .flatten()
        .find(|(_, member)| member.get("$include").is_some());
    let Some((owner, member)) = included else {
        return Err(flatten("<nested>"));
    };
    let all_inside = changed
        .iter()
        .all(|path| path.split('.').next() == Some(owner));
    let alone = member.as_object().is_some_and(|member| member.len() == 1);
    match member.get("$include").and_then(Value::as_str) {
        Some(name) if all_inside && alone => {
            let folder = path.parent().unwrap_or(path);
            Ok((
                owner.clone(),
                folder.join(name.strip_prefix("./").unwrap_or(name)),
            ))
        }
        Some(_) | None => Err(flatten(owner)),
    }
}

fn with_meta(mut config: Value) -> Value {
    if let Some(root) = config.as_object_mut() {
        let mut meta = match root.shift_remove("meta") {
            Some(Value::Object(meta)) => meta,
            Some(_) | None => Map::new(),
        };
        meta.entry("migrations").or_insert_with(
            || json!({ "modelPolicyAllowlist": true, "utilityModelSeparation": true }),
        );
        meta.insert("lastTouchedVersion".to_owned(), json!(VERSION));
        root.insert("meta".to_owned(), Value::Object(meta));
    }
    config
}

/// Replaces a file as OpenClaw does: comments gone, the old content into the ring of backups, a symlink replaced by a file.
fn replace(path: &Path, config: &Value) -> std::io::Result<()> {
    rotate_backups(path)?;
    let text = serde_json::to_string_pretty(config)? + "\n";
    write_privately(path, text.as_bytes())
}

/// Writes a file with mode 0600 under a temporary name and renames it into place.
pub(crate) fn write_privately(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Returns the path with `suffix` appended to the file name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn rotate_backups(path: &Path) -> std::io::Result<()> {
    let backup = |place: usize| {
        beside(
            path,
            &if place == 0 {
                ".bak".to_owned()
            } else {
                format!(".bak.{place}")
            },
        )
    };
    for place in (0..BACKUPS - 1).rev() {
        if backup(place).exists() {
            std::fs::rename(backup(place), backup(place + 1))?;
        }
    }
    write_privately(&backup(0), &std::fs::read(path)?)
}
