//! OpenClaw's own hooks: where they are, and their own token.

use ecto_core::gateway::HooksAccess;
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::config::Config;
use crate::place::Place;
use crate::token;

/// Where they are unless the configuration says otherwise (OpenClaw 2026.9.6, `src/gateway/hooks.ts`).
const PATH: &str = "/hooks";

/// How the hooks are reached, where they are enabled and can be. Everything else is OpenClaw's business: it refuses to
/// start with hooks that it does not understand (2026.9.6).
pub(crate) fn find(place: &Place, config: &Config) -> Option<HooksAccess> {
    let (path, token) = configured(config)?;
    match token::resolve(token, place, config, "hooks.token") {
        Ok(token) if !token.expose_secret().is_empty() => Some(HooksAccess { path, token }),
        Ok(_) => None,
        Err(cause) => {
            tracing::warn!(code = cause.code(), "the hooks' token cannot be read");
            None
        }
    }
}

/// Whether the configuration has hooks that can be reached, unless their token turns out to be nowhere.
pub(crate) fn are_there(config: &Config) -> bool {
    configured(config).is_some()
}

fn configured(config: &Config) -> Option<(String, &Value)> {
    if config.get(&["hooks", "enabled"]) != Some(&Value::Bool(true)) {
        return None;
    }
    let path = match config.get(&["hooks", "path"]) {
        None | Some(Value::Null) => PATH.to_owned(),
        Some(value) => clean(value.as_str()?)?,
    };
    let token = config.get(&["hooks", "token"])?;
    let is_nothing = token.is_null() || token.as_str().is_some_and(str::is_empty);
    (!is_nothing).then_some((path, token))
}

/// The path as OpenClaw understands it, where it is made of plain parts alone.
fn clean(path: &str) -> Option<String> {
    let path = path.trim();
    if path.is_empty() {
        return Some(PATH.to_owned());
    }
    let path = path.strip_prefix('/').unwrap_or(path).trim_end_matches('/');
    let is_plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    path.split('/').all(is_plain).then(|| format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_understood_as_openclaw_does_or_not_at_all() {
        for (written, path) in [
            ("", Some("/hooks")),
            ("  ", Some("/hooks")),
            ("/hooks", Some("/hooks")),
            ("hooks/", Some("/hooks")),
            ("/intern/hooks//", Some("/intern/hooks")),
            ("/", None),
            ("//hooks", None),
            ("/a/../b", None),
            ("/a b", None),
            ("/a%2fb", None),
            ("/a?b", None),
        ] {
            assert_eq!(clean(written).as_deref(), path, "{written}");
        }
    }
}
