//! The keys OpenClaw 2026.9.6 knows under `gateway`, how strictly it takes them, and what changing one costs.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

const TABLE: &str = include_str!("schema.txt");

const ROOT_KEYS: &[&str] = &[
    "$schema",
    "accessGroups",
    "acp",
    "agents",
    "approvals",
    "attachments",
    "auth",
    "bindings",
    "broadcast",
    "browser",
    "channels",
    "cloudWorkers",
    "commands",
    "cron",
    "desktop",
    "diagnostics",
    "discovery",
    "env",
    "gateway",
    "hooks",
    "logging",
    "mcp",
    "memory",
    "messages",
    "meta",
    "models",
    "nodeHost",
    "plugins",
    "proxy",
    "secrets",
    "security",
    "session",
    "skills",
    "surfaces",
    "talk",
    "telemetry",
    "tools",
    "transcripts",
    "tts",
    "ui",
    "update",
    "wizard",
    "worktreeAcceleration",
    "worktreeRoot",
];

/// What a change of a key makes the running gateway do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadKind {
    /// Applied while running.
    Hot,
    /// The gateway restarts by itself.
    Restart,
    /// Nothing.
    None,
}

impl ReloadKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Restart => "restart",
            Self::None => "none",
        }
    }
}

/// One complaint about a configuration, as the gateway words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The dotted path of the object or value; empty for the root.
    pub path: String,
    /// The gateway's sentence.
    pub message: String,
}

impl Issue {
    fn new(path: &str, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    /// Returns `path: message`, with `<root>` for the empty path.
    #[must_use]
    pub fn line(&self) -> String {
        let path = if self.path.is_empty() {
            "<root>"
        } else {
            &self.path
        };
        format!("{path}: {}", self.message)
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "path": self.path, "message": self.message })
    }
}

struct Key {
    segments: Vec<&'static str>,
    reload: ReloadKind,
    kind: &'static str,
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    TABLE
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (path, reload, kind) = (words.next()?, words.next()?, words.next()?);
            let reload = match reload {
                "hot" => ReloadKind::Hot,
                "restart" => ReloadKind::Restart,
                _ => ReloadKind::None,
            };
            Some(Key {
                segments: path.split('.').collect(),
                reload,
                kind,
            })
        })
        .collect()
});

fn find(path: &[&str]) -> Option<&'static Key> {
    KEYS.iter().find(|key| {
        key.segments.len() == path.len()
            && key
                .segments
                .iter()
                .zip(path)
                .all(|(known, asked)| *known == "*" || known == asked)
    })
}

fn children(key: &Key) -> Vec<&'static Key> {
    KEYS.iter()
        .filter(|other| {
            other.segments.len() == key.segments.len() + 1
                && other.segments.starts_with(&key.segments)
        })
        .collect()
}

/// Returns what a change at `path` makes the gateway do.
///
/// The schema says `restart` for the token and the password, but within one mode the gateway applies them while running.
#[must_use]
pub fn reload_kind(path: &str) -> ReloadKind {
    if matches!(path, "gateway.auth.token" | "gateway.auth.password") {
        return ReloadKind::Hot;
    }
    let segments: Vec<&str> = path.split('.').collect();
    if segments.first() != Some(&"gateway") {
        return if path == "meta" || path.starts_with("meta.") {
            ReloadKind::None
        } else {
            ReloadKind::Hot
        };
    }
    (1..=segments.len())
        .rev()
        .find_map(|length| find(segments.get(..length)?))
        .map_or(ReloadKind::Restart, |key| key.reload)
}

/// Tells whether any of the changed paths restarts the gateway. A section that appears whole costs what its keys cost.
#[must_use]
pub fn needs_restart(changed: &[String], new: &Value) -> bool {
    changed.iter().any(|path| {
        let added = new.pointer(&format!("/{}", path.replace('.', "/")));
        leaves(path, added)
            .iter()
            .any(|leaf| reload_kind(leaf) == ReloadKind::Restart)
    })
}

fn leaves(path: &str, value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Object(members)) if !members.is_empty() => members
            .iter()
            .flat_map(|(name, member)| leaves(&format!("{path}.{name}"), Some(member)))
            .collect(),
        Some(_) | None => vec![path.to_owned()],
    }
}

/// Answers `config.schema.lookup`; `None` where the path is not known.
pub(crate) fn lookup(path: &str) -> Option<Value> {
    let segments: Vec<&str> = path.split('.').collect();
    let key = find(&segments)?;
    let listed: Vec<Value> = children(key)
        .into_iter()
        .map(|child| json!({ "key": child.segments.last(), "path": child.segments.join("."), "reloadKind": child.reload.word() }))
        .collect();
    Some(json!({
        "path": path,
        "schema": type_of(key.kind),
        "reloadKind": key.reload.word(),
        "hintPath": path,
        "children": listed,
    }))
}

fn type_of(kind: &str) -> Value {
    if let Some(choices) = kind.strip_prefix("choice:") {
        let choices: Vec<Value> = choices
            .split('|')
            .map(|choice| json!({ "type": "string", "const": choice }))
            .collect();
        return json!({ "anyOf": choices });
    }
    match kind.split(':').next().unwrap_or(kind) {
        "secret" => json!({ "anyOf": [{ "type": "string" }, { "type": "object" }] }),
        "any" => json!({}),
        plain => json!({ "type": plain }),
    }
}

/// Checks a configuration with includes and variables already put in, as strictly as OpenClaw does for `gateway`.
#[must_use]
pub fn validate(config: &Value) -> Vec<Issue> {
    let Some(root) = config.as_object() else {
        return vec![Issue::new(
            "",
            format!(
                "Invalid input: expected object, received {}",
                name_of(config)
            ),
        )];
    };
    let mut issues = Vec::new();
    if let Some(gateway) = root.get("gateway") {
        check(gateway, &["gateway"], &mut issues);
    }
    let unknown: Vec<&String> = root
        .keys()
        .filter(|key| !ROOT_KEYS.contains(&key.as_str()))
        .collect();
    report_unknown("", &unknown, &mut issues);
    if issues.is_empty() {
        check_combinations(config, &mut issues);
    }
    issues
}

fn check_combinations(config: &Value, issues: &mut Vec<Issue>) {
    let word = |pointer: &str| config.pointer(pointer).and_then(Value::as_str);
    let Some(exposure @ ("serve" | "funnel")) = word("/gateway/tailscale/mode") else {
        return;
    };
    if exposure == "funnel" && word("/gateway/auth/mode") == Some("none") {
        issues.push(Issue::new(
            "gateway.auth.mode",
            "gateway.tailscale.mode=funnel requires gateway.auth.mode=password; auth.mode=none cannot be used when exposing the gateway through Tailscale Funnel",
        ));
    }
    if !matches!(word("/gateway/bind"), None | Some("loopback" | "auto")) {
        issues.push(Issue::new(
            "gateway.bind",
            format!(
                "gateway.bind must resolve to loopback when gateway.tailscale.mode={exposure} (use gateway.bind=\"loopback\" or gateway.bind=\"custom\" with gateway.customBindHost=\"127.0.0.1\")"
            ),
        ));
    }
}

fn report_unknown(path: &str, unknown: &[&String], issues: &mut Vec<Issue>) {
    let quoted: Vec<String> = unknown.iter().map(|key| format!("{key:?}")).collect();
    match quoted.as_slice() {
        [] => {}
        [one] => issues.push(Issue::new(path, format!("Unrecognized key: {one}"))),
        several => issues.push(Issue::new(
            path,
            format!("Unrecognized keys: {}", several.join(", ")),
        )),
    }
}

fn check(value: &Value, path: &[&str], issues: &mut Vec<Issue>) {
    let Some(key) = find(path) else { return };
    let dotted = path.join(".");
    if let Some(message) = complaint(value, key.kind) {
        issues.push(Issue::new(&dotted, message));
        return;
    }
    let known = children(key);
    match value {
        Value::Object(members) if key.kind == "object" => {
            check_members(members, path, &known, issues)
        }
        Value::Array(entries) if !known.is_empty() => {
            for (index, entry) in entries.iter().enumerate() {
                let index = index.to_string();
                let mut inner = path.to_vec();
                inner.push(&index);
                check(entry, &inner, issues);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {}
    }
}

fn check_members(
    members: &Map<String, Value>,
    path: &[&str],
    known: &[&Key],
    issues: &mut Vec<Issue>,
) {
    let open = known.is_empty()
        || known
            .iter()
            .any(|child| child.segments.last() == Some(&"*"));
    let mut unknown = Vec::new();
    for (name, member) in members {
        if open
            || known
                .iter()
                .any(|child| child.segments.last() == Some(&name.as_str()))
        {
            let mut inner = path.to_vec();
            inner.push(name);
            check(member, &inner, issues);
        } else {
            unknown.push(name);
        }
    }
    report_unknown(&path.join("."), &unknown, issues);
}

fn complaint(value: &Value, kind: &str) -> Option<String> {
    if let Some(choices) = kind.strip_prefix("choice:") {
        let fits = value
            .as_str()
            .is_some_and(|word| choices.split('|').any(|choice| choice == word));
        let allowed: Vec<String> = choices
            .split('|')
            .map(|choice| format!("{choice:?}"))
            .collect();
        return (!fits).then(|| format!("Invalid input (allowed: {})", allowed.join(", ")));
    }
    let (kind, range) = kind.split_once(':').unwrap_or((kind, ""));
    let received = name_of(value);
    match kind {
        "secret" => (!value.is_string() && !value.is_object()).then(|| "Invalid input".to_owned()),
        "boolean" => (!value.is_boolean()).then(|| {
            format!("Invalid input: expected boolean, received {received} (allowed: true, false)")
        }),
        "integer" => integer_complaint(value, range),
        "number" | "string" | "object" | "array" if received != kind => Some(format!(
            "Invalid input: expected {kind}, received {received}"
        )),
        _ => None,
    }
}

fn integer_complaint(value: &Value, range: &str) -> Option<String> {
    let Some(number) = value.as_f64() else {
        return Some(format!(
            "Invalid input: expected number, received {}",
            name_of(value)
        ));
    };
    if number.fract() != 0.0 {
        return Some("Invalid input: expected int, received number".to_owned());
    }
    let (low, high) = range.split_once("..").unwrap_or(("", ""));
    if high.parse::<f64>().is_ok_and(|high| number > high) {
        return Some(format!(
            "Too big: expected number to be <={high} (maximum: {high})"
        ));
    }
    if low.parse::<f64>().is_ok_and(|low| number < low) {
        return Some(format!("Too small: expected number to be >={low}"));
    }
    None
}

const fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ReloadKind, lookup, reload_kind, validate};

    fn lines(config: serde_json::Value) -> Vec<String> {
        validate(&config).iter().map(super::Issue::line).collect()
    }

    #[test]
    fn complains_in_the_words_of_the_real_gateway() {
        assert_eq!(
            lines(json!({ "gateway": { "tokn": 1 } })),
            ["gateway: Unrecognized key: \"tokn\""]
        );
        assert_eq!(
            lines(json!({ "gateway": { "a": 1, "b": 2 } })),
            ["gateway: Unrecognized keys: \"a\", \"b\""]
        );
        assert_eq!(
            lines(json!({ "nope": 1 })),
            ["<root>: Unrecognized key: \"nope\""]
        );
        assert_eq!(
            lines(json!({ "gateway": { "bind": "127.0.0.1" } })),
            [
                "gateway.bind: Invalid input (allowed: \"auto\", \"lan\", \"loopback\", \"custom\", \"tailnet\")"
            ]
        );
        assert_eq!(
            lines(json!({ "gateway": { "port": "18789" } })),
            ["gateway.port: Invalid input: expected number, received string"]
        );
        assert_eq!(
            lines(json!({ "gateway": { "port": 70000 } })),
            ["gateway.port: Too big: expected number to be <=65535 (maximum: 65535)"]
        );
        assert_eq!(
            lines(json!({ "gateway": { "auth": { "token": 5 } } })),
            ["gateway.auth.token: Invalid input"]
        );
        assert!(
            lines(json!({ "gateway": { "auth": { "token": { "source": "env", "id": "T" } } } }))
                .is_empty()
        );
    }

    #[test]
    fn knows_what_a_change_costs() {
        assert_eq!(reload_kind("gateway.auth.mode"), ReloadKind::Restart);
        assert_eq!(reload_kind("gateway.auth.token"), ReloadKind::Hot);
        assert_eq!(
            reload_kind("gateway.http.endpoints.responses.enabled"),
            ReloadKind::Hot
        );
        assert_eq!(reload_kind("gateway.trustedProxies.0"), ReloadKind::Hot);
        assert_eq!(reload_kind("gateway.tailscale.mode"), ReloadKind::Restart);
        assert_eq!(reload_kind("meta.lastTouchedVersion"), ReloadKind::None);
        assert_eq!(
            lookup("gateway.auth.mode").unwrap()["reloadKind"],
            "restart"
        );
        assert!(lookup("gateway.nope").is_none());
    }
}
