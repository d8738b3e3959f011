//! Reading OpenClaw's configuration: JSON5, includes, variables, secret references.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use secrecy::SecretString;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::authentication::{self, Authentication, Moment};
use super::schema::{self, Issue};

/// What a person's secret is replaced with in everything the gateway says.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

const DEEPEST_INCLUDE: usize = 10;

/// One reading of the configuration file. It holds secrets, so it cannot be shown.
#[derive(Clone)]
pub struct Reading {
    /// The bytes of the main file.
    pub raw: String,
    /// The main file as written.
    pub parsed: Value,
    /// With includes merged in.
    pub included: Value,
    /// With variables put in too.
    pub resolved: Value,
    /// The files that `$include` named, in order.
    pub includes: Vec<PathBuf>,
    /// The hash for `baseHash`.
    pub hash: String,
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no file.
    #[error(
        "Missing config. Run `openclaw setup` or set gateway.mode=local (or pass --allow-unconfigured)."
    )]
    Missing,
    /// The file or an included one cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// Not JSON5.
    #[error("JSON5 parse failed: {0}")]
    Syntax(String),
    /// The schema does not allow it.
    #[error("{}", .0.iter().map(Issue::line).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Issue>),
    /// The mode is `password` and there is none.
    #[error("Gateway auth is set to password, but no password is configured.")]
    NoPassword,
    /// A secret reference leads nowhere.
    #[error("SecretRefResolutionError: {0}")]
    Secret(String),
}

/// Parses JSON5 and words a failure as the gateway does.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    json5::from_str(text).map_err(|error| {
        let error = error.to_string();
        format!(
            "SyntaxError: JSON5: {}",
            error.lines().next().unwrap_or("invalid input")
        )
    })
}

/// Reads the file at `path` with all it includes.
pub fn read(path: &Path, environment: &BTreeMap<String, String>) -> Result<Reading, ConfigError> {
    let bytes = std::fs::read(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            ConfigError::Missing
        } else {
            ConfigError::Unreadable(error.to_string())
        }
    })?;
    let raw = String::from_utf8_lossy(&bytes).into_owned();
    let parsed = parse(&raw).map_err(ConfigError::Syntax)?;
    let mut includes = Vec::new();
    let folder = path.parent().unwrap_or(path);
    let included = include(&parsed, folder, &mut includes, 0)?;
    let resolved = substitute(&included, environment);
    let hash = hash(&raw, &includes);
    Ok(Reading {
        raw,
        parsed,
        included,
        resolved,
        includes,
        hash,
    })
}

/// Returns the `baseHash` of a main file and the files it includes.
fn hash(raw: &str, includes: &[PathBuf]) -> String {
    let mut digest = Sha256::new();
    digest.update(raw.as_bytes());
    for include in includes {
        digest.update([0]);
        digest.update(std::fs::read(include).unwrap_or_default());
    }
    format!(
        "hmac-sha256:v1:{}",
        BASE64URL_NOPAD.encode(&digest.finalize())
    )
}

fn include(
    value: &Value,
    folder: &Path,
    seen: &mut Vec<PathBuf>,
    depth: usize,
) -> Result<Value, ConfigError> {
    if depth > DEEPEST_INCLUDE {
        return Err(ConfigError::Unreadable(
            "Maximum include depth (10) exceeded".to_owned(),
        ));
    }
    match value {
        Value::Object(members) => {
            let mut merged = match members.get("$include") {
                None => Value::Object(Map::new()),
                Some(Value::Array(names)) => {
                    let mut merged = Value::Object(Map::new());
                    for name in names {
                        merge_deep(&mut merged, read_include(name, folder, seen, depth)?);
                    }
                    merged
                }
                Some(name) => read_include(name, folder, seen, depth)?,
            };
            for (name, member) in members.iter().filter(|(name, _)| *name != "$include") {
                let member = include(member, folder, seen, depth + 1)?;
                let mut one = Map::new();
                one.insert(name.clone(), member);
                merge_deep(&mut merged, Value::Object(one));
            }
            Ok(merged)
        }
        Value::Array(entries) => entries
            .iter()
            .map(|entry| include(entry, folder, seen, depth + 1))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(value.clone()),
    }
}

fn read_include(
    name: &Value,
    folder: &Path,
    seen: &mut Vec<PathBuf>,
    depth: usize,
) -> Result<Value, ConfigError> {
    let Some(name) = name.as_str() else {
        return Err(ConfigError::Unreadable(
            "$include must be a string or an array of strings".to_owned(),
        ));
    };
    let path = folder.join(name.strip_prefix("./").unwrap_or(name));
    let text = std::fs::read(&path)
        .map_err(|_| ConfigError::Unreadable(format!("Failed to read include file: {name}")))?;
    let parsed = parse(&String::from_utf8_lossy(&text)).map_err(|error| {
        ConfigError::Syntax(format!("Failed to parse include file {name}: {error}"))
    })?;
    seen.push(path.clone());
    include(&parsed, path.parent().unwrap_or(folder), seen, depth + 1)
}

fn merge_deep(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, member) in over {
                match base.get_mut(&name) {
                    Some(existing) => merge_deep(existing, member),
                    None => {
                        base.insert(name, member);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

/// Puts environment variables in for `${NAME}`; a missing one stays as it is written.
pub(crate) fn substitute(value: &Value, environment: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => Value::String(substitute_text(text, environment)),
        Value::Array(entries) => entries
            .iter()
            .map(|entry| substitute(entry, environment))
            .collect(),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, member)| (name.clone(), substitute(member, environment)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn substitute_text(text: &str, environment: &BTreeMap<String, String>) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        done.push_str(before);
        let Some(end) = from.find('}') else {
            rest = from;
            break;
        };
        let (reference, after) = from.split_at(end + 1);
        let name = &reference[2..end];
        match environment.get(name) {
            Some(value) if is_variable(name) => done.push_str(value),
            Some(_) | None => done.push_str(reference),
        }
        rest = after;
    }
    done.push_str(rest);
    done
}

/// Tells whether `${NAME}` with this name is replaced.
pub(crate) fn is_variable(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
        && name
            .chars()
            .all(|one| one.is_ascii_uppercase() || one.is_ascii_digit() || one == '_')
}

/// What the running gateway goes by.
#[derive(Clone)]
pub struct Effective {
    /// The configuration it came from.
    pub reading: Reading,
    /// How clients prove themselves.
    pub authentication: Authentication,
}

impl Effective {
    /// Checks a reading and resolves its secrets. `runtime_token` is used where nothing else names one.
    pub fn from(
        reading: Reading,
        environment: &BTreeMap<String, String>,
        home: &Path,
        runtime_token: &SecretString,
        moment: Moment,
    ) -> Result<Self, ConfigError> {
        let issues = schema::validate(&reading.resolved);
        if !issues.is_empty() {
            return Err(ConfigError::Invalid(issues));
        }
        let authentication = authentication::authenticate(
            &reading.resolved,
            environment,
            home,
            runtime_token,
            moment,
        )?;
        Ok(Self {
            reading,
            authentication,
        })
    }

    fn at(&self, pointer: &str) -> Option<&Value> {
        self.reading.resolved.pointer(pointer)
    }

    fn flag(&self, pointer: &str, default: bool) -> bool {
        self.at(pointer).and_then(Value::as_bool).unwrap_or(default)
    }

    /// Returns the text at a JSON pointer.
    #[must_use]
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.at(pointer).and_then(Value::as_str)
    }

    /// Returns `gateway.port`.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.at("/gateway/port")
            .and_then(Value::as_f64)
            .and_then(|port| {
                // The schema has already held it to 1..=65535 without a fraction.
                format!("{port}").parse().ok()
            })
    }

    /// Tells whether `POST /v1/chat/completions` is enabled.
    #[must_use]
    pub fn chat_completions(&self) -> bool {
        self.flag("/gateway/http/endpoints/chatCompletions/enabled", false)
    }

    /// Tells whether `POST /v1/responses` is enabled.
    #[must_use]
    pub fn responses(&self) -> bool {
        self.flag("/gateway/http/endpoints/responses/enabled", false)
    }

    /// Tells whether hooks are enabled.
    #[must_use]
    pub fn hooks(&self) -> bool {
        self.flag("/hooks/enabled", false)
    }

    /// Tells whether the Control UI answers.
    #[must_use]
    pub fn control_ui(&self) -> bool {
        self.flag("/gateway/controlUi/enabled", true)
    }

    /// Tells whether a changed file is applied while running (`gateway.reload.mode`).
    #[must_use]
    pub fn reloads(&self) -> bool {
        self.text("/gateway/reload/mode") != Some("off")
    }

    /// Returns `gateway.trustedProxies`.
    #[must_use]
    pub fn trusted_proxies(&self) -> Vec<String> {
        let entries = self.at("/gateway/trustedProxies").and_then(Value::as_array);
        entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.as_str().map(str::to_owned))
            .collect()
    }

    /// Returns the number at a pointer under `gateway.auth.rateLimit`.
    pub(crate) fn rate_limit(&self, name: &str, default: u64) -> u64 {
        self.at(&format!("/gateway/auth/rateLimit/{name}"))
            .and_then(Value::as_u64)
            .unwrap_or(default)
    }

    /// Tells whether loopback clients are free of the lockout.
    pub(crate) fn exempts_loopback(&self) -> bool {
        self.flag("/gateway/auth/rateLimit/exemptLoopback", true)
    }

    /// Returns the ids of the agents, the default one first.
    #[must_use]
    pub fn agents(&self) -> Vec<String> {
        let entries = self.at("/agents/entries").and_then(Value::as_object);
        let mut agents: Vec<String> = entries.into_iter().flat_map(Map::keys).cloned().collect();
        if agents.is_empty() {
            agents.push("main".to_owned());
        }
        if let Some(place) = agents.iter().position(|agent| agent == "main") {
            agents.swap(0, place);
        }
        agents
    }
}

/// Returns the dotted paths at which two configurations differ, in order.
#[must_use]
pub fn changed_paths(old: &Value, new: &Value) -> Vec<String> {
    let mut changed = Vec::new();
    compare("", Some(old), Some(new), &mut changed);
    changed
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, changed: &mut Vec<String>) {
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (old, new) {
        let mut names: Vec<&String> = old.keys().collect();
        names.extend(new.keys().filter(|name| !old.contains_key(*name)));
        for name in names {
            let inner = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            compare(&inner, old.get(name), new.get(name), changed);
        }
    } else if old != new {
        changed.push(path.to_owned());
    }
}

/// Replaces every secret in a configuration with [`REDACTED`], and collects what was replaced.
pub(crate) fn redact(value: &Value, secrets: &mut Vec<String>) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, member)| {
                    let member = match member {
                        Value::String(text) if is_sensitive(name) && !text.starts_with("${") => {
                            secrets.push(text.clone());
                            Value::String(REDACTED.to_owned())
                        }
                        Value::Null
                        | Value::Bool(_)
                        | Value::Number(_)
                        | Value::String(_)
                        | Value::Array(_)
                        | Value::Object(_) => redact(member, secrets),
                    };
                    (name.clone(), member)
                })
                .collect(),
        ),
        Value::Array(entries) => entries.iter().map(|entry| redact(entry, secrets)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn is_sensitive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "password", "secret", "apikey"]
        .iter()
        .any(|word| name.ends_with(word))
}
