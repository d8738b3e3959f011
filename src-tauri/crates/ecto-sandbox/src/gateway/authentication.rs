//! How clients prove themselves to the gateway, and where the secret for it comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::config::{ConfigError, is_variable};

/// How the gateway asks a client to prove itself.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// `none`: it does not.
    Open,
    /// `token`, from the configuration, from `OPENCLAW_GATEWAY_TOKEN`, or made at the start.
    Token {
        /// The secret.
        secret: SecretString,
        /// Whether it exists only in this process.
        runtime_only: bool,
    },
    /// `password`.
    Password(SecretString),
    /// `trusted-proxy`: nothing that a client can send over loopback is enough.
    TrustedProxy,
}

/// When a configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// At the start: a missing variable counts as nothing.
    Start,
    /// While running: a missing variable is an error, and the old configuration stays.
    Reload,
}

/// Finds out how clients prove themselves, and resolves the secret. `runtime_token` is used where nothing else names one.
pub(crate) fn authenticate(
    config: &Value,
    environment: &BTreeMap<String, String>,
    home: &Path,
    runtime_token: &SecretString,
    moment: Moment,
) -> Result<Authentication, ConfigError> {
    let token = secret(config, "token", environment, home, moment)?;
    let password = secret(config, "password", environment, home, moment)?;
    let mode = config.pointer("/gateway/auth/mode").and_then(Value::as_str);
    Ok(match (mode, token, password) {
        (Some("none"), ..) => Authentication::Open,
        (Some("trusted-proxy"), ..) => Authentication::TrustedProxy,
        (Some("password") | None, None, Some(password))
        | (Some("password"), Some(_), Some(password)) => Authentication::Password(password),
        (Some("password"), _, None) => {
            return Err(ConfigError::NoPassword);
        }
        (_, Some(secret), _) => Authentication::Token {
            secret,
            runtime_only: false,
        },
        (_, None, _) => environment
            .get("OPENCLAW_GATEWAY_TOKEN")
            .filter(|token| !token.is_empty())
            .map_or_else(
                || Authentication::Token {
                    secret: runtime_token.clone(),
                    runtime_only: true,
                },
                |token| Authentication::Token {
                    secret: token.clone().into(),
                    runtime_only: false,
                },
            ),
    })
}

fn secret(
    config: &Value,
    name: &str,
    environment: &BTreeMap<String, String>,
    home: &Path,
    moment: Moment,
) -> Result<Option<SecretString>, ConfigError> {
    match config.pointer(&format!("/gateway/auth/{name}")) {
        Some(Value::String(text)) => match text
            .strip_prefix("${")
            .and_then(|text| text.strip_suffix('}'))
        {
            Some(variable) if is_variable(variable) => match moment {
                Moment::Start => Ok(None),
                Moment::Reload => Err(missing_variable(variable)),
            },
            Some(_) | None if text.is_empty() => Ok(None),
            Some(_) | None => Ok(Some(text.clone().into())),
        },
        Some(Value::Object(reference)) => {
            resolve_reference(config, reference, environment, home).map(Some)
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) | None => Ok(None),
    }
}

fn missing_variable(name: &str) -> ConfigError {
    ConfigError::Secret(format!(
        "Environment variable \"{name}\" is missing or empty."
    ))
}

fn resolve_reference(
    config: &Value,
    reference: &Map<String, Value>,
    environment: &BTreeMap<String, String>,
    home: &Path,
) -> Result<SecretString, ConfigError> {
    let word = |name: &str| {
        reference
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    match word("source") {
        "env" => environment
            .get(word("id"))
            .filter(|value| !value.is_empty())
            .map(|value| value.clone().into())
            .ok_or_else(|| missing_variable(word("id"))),
        "file" => {
            let provider = config.pointer(&format!("/secrets/providers/{}/path", word("provider")));
            let Some(path) = provider.and_then(Value::as_str) else {
                return Err(ConfigError::Secret(format!(
                    "Secret provider \"{}\" is not configured (ref: file:{}:{}).",
                    word("provider"),
                    word("provider"),
                    word("id")
                )));
            };
            let path = path
                .strip_prefix("~/")
                .map_or_else(|| PathBuf::from(path), |inner| home.join(inner));
            read_secret_file(&path)
        }
        source => Err(ConfigError::Secret(format!(
            "required secrets are unavailable: source {source}"
        ))),
    }
}

/// Reads a secret file under the real gateway's conditions: a regular file, one link, closed to others.
fn read_secret_file(path: &Path) -> Result<SecretString, ConfigError> {
    let unavailable = |why: &str| ConfigError::Secret(format!("{}: {why}", path.display()));
    let metadata =
        std::fs::symlink_metadata(path).map_err(|error| unavailable(&error.to_string()))?;
    if metadata.is_symlink() {
        return Err(unavailable("must not be a symlink"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        if metadata.nlink() > 1 {
            return Err(unavailable("must have one hard link"));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(unavailable("permissions are too open"));
        }
    }
    let text = std::fs::read_to_string(path).map_err(|error| unavailable(&error.to_string()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned().into())
}
