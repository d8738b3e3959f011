//! What OpenClaw does at its start to a configuration that looks damaged.

use std::path::Path;

use serde_json::Value;

use super::config;
use super::patch::{beside, write_privately};

/// The size from which a shrunk file counts as damaged.
const SMALLEST_JUDGED: usize = 512;

#[derive(Debug)]
struct Fingerprint {
    bytes: usize,
    has_meta: bool,
    has_mode: bool,
}

impl Fingerprint {
    fn of(text: &str) -> Option<Self> {
        let parsed = config::parse(text).ok()?;
        Some(Self {
            bytes: text.len(),
            has_meta: parsed.get("meta").is_some_and(Value::is_object),
            has_mode: parsed.pointer("/gateway/mode").is_some(),
        })
    }
}

/// Returns why `text` looks damaged next to the last good configuration, in the gateway's own words.
fn suspicions(text: &str, last_good: &str) -> Vec<String> {
    let (Some(now), Some(good)) = (Fingerprint::of(text), Fingerprint::of(last_good)) else {
        return Vec::new();
    };
    let mut reasons = Vec::new();
    if good.bytes >= SMALLEST_JUDGED && now.bytes < good.bytes / 2 {
        reasons.push(format!(
            "size-drop-vs-last-good:{}->{}",
            good.bytes, now.bytes
        ));
    }
    if good.has_meta && !now.has_meta {
        reasons.push("missing-meta-vs-last-good".to_owned());
    }
    if good.has_mode && !now.has_mode {
        reasons.push("gateway-mode-missing-vs-last-good".to_owned());
    }
    reasons
}

/// Puts the backup back where the configuration looks damaged, and returns the line for the log.
pub(crate) fn restore_if_suspicious(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let backup = std::fs::read_to_string(beside(path, ".bak")).ok()?;
    let last_good =
        std::fs::read_to_string(beside(path, ".last-good")).unwrap_or_else(|_| backup.clone());
    let reasons = suspicions(&text, &last_good);
    if reasons.is_empty() || config::parse(&backup).is_err() {
        return None;
    }
    let kept = write_privately(&beside(path, ".clobbered.1"), text.as_bytes());
    let restored = kept.and_then(|()| write_privately(path, backup.as_bytes()));
    let result = if restored.is_ok() {
        "auto-restored from backup"
    } else {
        "auto-restore from backup failed"
    };
    Some(format!(
        "Config {result}: {} ({})",
        path.display(),
        reasons.join(", ")
    ))
}

/// Remembers a configuration that works, unless it looks damaged next to the one remembered.
pub(crate) fn remember(path: &Path, text: &str) {
    let place = beside(path, ".last-good");
    if std::fs::read_to_string(&place)
        .is_ok_and(|last_good| !suspicions(text, &last_good).is_empty())
    {
        return;
    }
    if let Err(error) = write_privately(&place, text.as_bytes()) {
        tracing::debug!(%error, "the last good configuration was not kept");
    }
}
