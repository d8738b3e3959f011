//! The gateway's own token: where it stands, and what it is.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ecto_core::cause::{Cause, ConfigProblem};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::environment::{expand_home, variable};
use crate::place::Place;
use crate::variables::{Substituted, substitute};

/// How long a secret provider may take, as OpenClaw's default says (2026.9.6).
const PROVIDER_LIMIT: Duration = Duration::from_secs(5);

/// The most bytes a secret provider may answer, as OpenClaw's default says (2026.9.6).
const PROVIDER_BYTES: usize = 1024 * 1024;

/// Tokens shorter than this are called weak by OpenClaw's own audit (2026.9.6).
const WEAK_BELOW: usize = 24;

/// Whether OpenClaw's own audit would call this token weak.
pub(crate) fn is_weak(token: &SecretString) -> bool {
    token.expose_secret().len() < WEAK_BELOW
}

/// What a secret provider's program answered for a configuration, so that it is asked once and not at every look. OpenClaw
/// itself asks at its start and when the configuration changes.
#[derive(Debug, Default)]
pub struct ProviderAnswers(Mutex<Option<([u8; 32], SecretString)>>);

/// Looks up a variable as the gateway would: its process and `.env`, then `env.vars` and `env` of the configuration.
pub(crate) struct Lookup<'a> {
    place: &'a Place,
    config: &'a Config,
}

impl<'a> Lookup<'a> {
    pub fn new(place: &'a Place, config: &'a Config) -> Self {
        Self { place, config }
    }

    pub fn get(&self, name: &str) -> Option<String> {
        if let Some(value) = variable(&self.place.variables, name) {
            return Some(value.to_owned());
        }
        [&["env", "vars", name][..], &["env", name][..]]
            .iter()
            .find_map(|key| self.config.get(key)?.as_str())
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    }
}

/// Finds the gateway's token: `None` where there is none anywhere. The configuration wins over `OPENCLAW_GATEWAY_TOKEN`
/// (tried with OpenClaw 2026.9.6).
pub(crate) fn find(
    place: &Place,
    config: &Config,
    answers: &ProviderAnswers,
) -> Result<Option<SecretString>, Cause> {
    let lookup = Lookup::new(place, config);
    let key = ["gateway", "auth", "token"];
    match config.get(&key) {
        None | Some(Value::Null) => {
            Ok(lookup.get("OPENCLAW_GATEWAY_TOKEN").map(SecretString::from))
        }
        Some(Value::String(text)) if text.trim().is_empty() => {
            Ok(lookup.get("OPENCLAW_GATEWAY_TOKEN").map(SecretString::from))
        }
        Some(value) if value.get("source").and_then(Value::as_str) == Some("exec") => {
            let mut answer = answers.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((digest, token)) = answer.as_ref()
                && *digest == config.digest
            {
                return Ok(Some(token.clone()));
            }
            let token = resolve(value, place, config, &key.join("."))?;
            *answer = Some((config.digest, token.clone()));
            Ok(Some(token))
        }
        Some(value) => resolve(value, place, config, &key.join(".")).map(Some),
    }
}

/// Resolves a secret: plain text, `${NAME}`, `$NAME`, or a reference to a provider.
pub(crate) fn resolve(
    value: &Value,
    place: &Place,
    config: &Config,
    key: &str,
) -> Result<SecretString, Cause> {
    let lookup = Lookup::new(place, config);
    match value {
        Value::String(text) => {
            if let Some(name) = shorthand(text) {
                return lookup
                    .get(name)
                    .map(SecretString::from)
                    .ok_or_else(|| unresolvable(name));
            }
            match substitute(text, |name| lookup.get(name)) {
                Substituted::Whole(text) => Ok(SecretString::from(text.trim().to_owned())),
                Substituted::Missing(name) => Err(unresolvable(&name)),
            }
        }
        Value::Object(_) => Reference::read(value)
            .ok_or_else(|| wrong_type(config, key))?
            .resolve(place, config),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(wrong_type(config, key))
        }
    }
}

/// A digest that tells two tokens apart and tells nothing else.
pub(crate) fn digest(token: &SecretString, salt: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    hasher.update(token.expose_secret().as_bytes());
    hasher.finalize().into()
}

fn shorthand(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    let fits = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.len() <= 128
        && name
            .chars()
            .all(|part| part.is_ascii_uppercase() || part.is_ascii_digit() || part == '_');
    fits.then_some(name)
}

fn unresolvable(reference: &str) -> Cause {
    Cause::TokenUnresolvable {
        reference: reference.into(),
    }
}

fn wrong_type(config: &Config, key: &str) -> Cause {
    Cause::ConfigUnusable {
        path: config.main.named.display().to_string(),
        problem: ConfigProblem::WrongType {
            key: key.to_owned(),
        },
    }
}

/// A secret that stands somewhere else (OpenClaw 2026.9.6, `docs/gateway/secrets/secretref-contract.md`).
struct Reference<'a> {
    source: &'a str,
    provider: &'a str,
    id: &'a str,
}

impl<'a> Reference<'a> {
    fn read(value: &'a Value) -> Option<Self> {
        let text = |name| value.get(name).and_then(Value::as_str);
        Some(Self {
            source: text("source")?,
            provider: text("provider").unwrap_or("default"),
            id: text("id")?,
        })
    }

    fn resolve(&self, place: &Place, config: &Config) -> Result<SecretString, Cause> {
        let provider = config
            .get(&["secrets", "providers", self.provider])
            .filter(|provider| provider.get("source").and_then(Value::as_str) == Some(self.source));
        let secret = match self.source {
            "env" => self.in_variable(provider, place, config),
            "file" => provider.and_then(|provider| self.in_file(provider, place)),
            "exec" => provider.and_then(|provider| self.in_program(provider, place)),
            _ => None,
        };
        secret
            .filter(|secret| !secret.expose_secret().is_empty())
            .ok_or_else(|| unresolvable(&format!("{}:{}:{}", self.source, self.provider, self.id)))
    }

    fn in_variable(
        &self,
        provider: Option<&Value>,
        place: &Place,
        config: &Config,
    ) -> Option<SecretString> {
        if let Some(allowed) = provider.and_then(|provider| provider.get("allowlist")) {
            let allowed = allowed.as_array()?;
            if !allowed.iter().any(|name| name.as_str() == Some(self.id)) {
                return None;
            }
        }
        Lookup::new(place, config)
            .get(self.id)
            .map(SecretString::from)
    }

    fn in_file(&self, provider: &Value, place: &Place) -> Option<SecretString> {
        let path = expand_home(provider.get("path")?.as_str()?, &place.home);
        let path = if path.is_absolute() {
            path
        } else {
            place.config.parent()?.join(path)
        };
        if !is_private(&path) {
            return None;
        }
        let text = fs::read_to_string(&path).ok()?;
        if provider.get("mode").and_then(Value::as_str) == Some("singleValue") {
            let value = text.strip_suffix('\n').unwrap_or(&text);
            let value = value.strip_suffix('\r').unwrap_or(value);
            return (self.id == "value").then(|| SecretString::from(value.to_owned()));
        }
        let value: Value = serde_json::from_str(&text).ok()?;
        Some(SecretString::from(
            value.pointer(self.id)?.as_str()?.to_owned(),
        ))
    }

    /// Asks a program as OpenClaw's protocol says: the question on its standard input, the answer on its output.
    fn in_program(&self, provider: &Value, place: &Place) -> Option<SecretString> {
        let program = PathBuf::from(provider.get("command")?.as_str()?);
        if !program.is_absolute() || !is_trusted_program(&program) {
            return None;
        }
        let texts = |name: &str| -> Vec<&str> {
            provider
                .get(name)
                .and_then(Value::as_array)
                .map(|items| items.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default()
        };
        let mut variables: BTreeMap<&str, String> = BTreeMap::new();
        for name in texts("passEnv") {
            if let Some(value) = place.variables.get(name) {
                variables.insert(name, value.clone());
            }
        }
        if let Some(set) = provider.get("env").and_then(Value::as_object) {
            for (name, value) in set {
                variables.insert(name, value.as_str()?.to_owned());
            }
        }
        let question = json!({"protocolVersion": 1, "provider": self.provider, "ids": [self.id]});
        let answer = run(&program, &texts("args"), &variables, &question.to_string())?;
        match serde_json::from_str::<Value>(&answer) {
            Ok(Value::Object(answer)) => {
                let value = answer.get("values")?.get(self.id)?.as_str()?;
                Some(SecretString::from(value.to_owned()))
            }
            Ok(_) | Err(_) if provider.get("jsonOnly") == Some(&Value::Bool(false)) => {
                Some(SecretString::from(answer.trim().to_owned()))
            }
            Ok(_) | Err(_) => None,
        }
    }
}

fn run(
    program: &Path,
    arguments: &[&str],
    variables: &BTreeMap<&str, String>,
    question: &str,
) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take();
    let output = child.stdout.take()?;
    let question = question.to_owned();
    std::thread::spawn(move || {
        if let Some(input) = &mut input {
            let _ = input.write_all(question.as_bytes());
        }
    });
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        use std::io::Read;
        let mut answer = Vec::new();
        let read = output
            .take(PROVIDER_BYTES as u64 + 1)
            .read_to_end(&mut answer)
            .is_ok();
        let _ = sender.send((read && answer.len() <= PROVIDER_BYTES).then_some(answer));
    });
    let end = Instant::now() + PROVIDER_LIMIT;
    let answer = receiver.recv_timeout(PROVIDER_LIMIT).ok().flatten();
    let succeeded = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.success(),
            Ok(None) if answer.is_some() && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                break false;
            }
        }
    };
    if !succeeded {
        return None;
    }
    String::from_utf8(answer?).ok()
}

#[cfg(unix)]
fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).is_ok_and(|data| {
        data.is_file()
            && data.nlink() == 1
            && data.mode() & 0o077 == 0
            && data.len() <= PROVIDER_BYTES as u64
    })
}

#[cfg(not(unix))]
fn is_private(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.is_file())
}

#[cfg(unix)]
fn is_trusted_program(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).is_ok_and(|data| {
        data.is_file()
            && data.mode() & 0o022 == 0
            && data.uid() == rustix::process::getuid().as_raw()
    })
}

#[cfg(not(unix))]
fn is_trusted_program(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.is_file())
}
