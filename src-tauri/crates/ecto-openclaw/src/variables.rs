//! Variables in text: `.env` files, and `${NAME}` in configuration strings.

use std::collections::BTreeMap;
use std::fmt;

/// Reads an env file: `NAME=value` lines, `export` allowed, single and double quotes, `#` comments.
pub(crate) fn parse_variables(text: &str) -> BTreeMap<String, String> {
    text.trim_start_matches('\u{feff}')
        .lines()
        .filter_map(parse_line)
        .collect()
}

fn parse_line(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    if !is_name(name) {
        return None;
    }
    Some((name.to_owned(), unquote(value.trim())))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name
            .chars()
            .all(|part| part.is_ascii_alphanumeric() || part == '_')
}

fn unquote(value: &str) -> String {
    if let Some(inner) = value.strip_prefix('\'') {
        // A shell writes a quote inside single quotes as '\''.
        return inner
            .replace("'\\''", "\u{0}")
            .split('\'')
            .next()
            .unwrap_or_default()
            .replace('\u{0}', "'");
    }
    if let Some(inner) = value.strip_prefix('"') {
        let mut text = String::new();
        let mut escaped = false;
        for part in inner.chars() {
            match (escaped, part) {
                (true, 'n') => text.push('\n'),
                (true, other) => text.push(other),
                (false, '\\') => {
                    escaped = true;
                    continue;
                }
                (false, '"') => break,
                (false, other) => text.push(other),
            }
            escaped = false;
        }
        return text;
    }
    match value.find(" #") {
        Some(comment) => value[..comment].trim_end().to_owned(),
        None => value.to_owned(),
    }
}

/// A string of the configuration after substitution.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Substituted {
    /// All variables were there.
    Whole(String),
    /// This variable is missing or empty, so OpenClaw leaves the text as it stands.
    Missing(String),
}

impl fmt::Debug for Substituted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(_) => formatter.debug_tuple("Whole").finish_non_exhaustive(),
            Self::Missing(name) => formatter.debug_tuple("Missing").field(name).finish(),
        }
    }
}

/// Puts the values of variables in the place of `${NAME}`; `$${NAME}` stands for the text `${NAME}` itself. Names are upper
/// case only (OpenClaw 2026.9.6, `docs/gateway/configuration/environment-variables.md`).
pub(crate) fn substitute(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Substituted {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find('$') {
        result.push_str(&rest[..place]);
        rest = &rest[place..];
        if rest.starts_with("$$")
            && let Some(name) = reference(&rest[1..])
        {
            result.push_str("${");
            result.push_str(name);
            result.push('}');
            rest = &rest[name.len() + 4..];
            continue;
        }
        if let Some(name) = reference(rest) {
            match lookup(name).filter(|value| !value.trim().is_empty()) {
                Some(value) => result.push_str(&value),
                None => return Substituted::Missing(name.to_owned()),
            }
            rest = &rest[name.len() + 3..];
            continue;
        }
        result.push('$');
        rest = &rest[1..];
    }
    result.push_str(rest);
    Substituted::Whole(result)
}

fn reference(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?;
    let name = &name[..name.find('}')?];
    let fits = name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
        && name
            .chars()
            .all(|part| part.is_ascii_uppercase() || part.is_ascii_digit() || part == '_');
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(text: &str) -> Substituted {
        substitute(text, |name| (name == "A_1").then(|| "value".to_owned()))
    }

    #[test]
    fn references_are_replaced_and_escapes_kept() {
        assert_eq!(
            put("x${A_1}y${A_1}"),
            Substituted::Whole("xvalueyvalue".into())
        );
        assert_eq!(put("$${A_1}"), Substituted::Whole("${A_1}".into()));
        assert_eq!(
            put("${a_1} $5 ${} $"),
            Substituted::Whole("${a_1} $5 ${} $".into())
        );
        assert_eq!(put("${B}"), Substituted::Missing("B".into()));
    }

    #[test]
    fn env_files_are_read_as_a_shell_would() {
        let read = parse_variables(
            "\u{feff}# comment\nA=plain # note\nexport B=\"two \\\"words\\\"\"\r\nC='it'\\''s'\n9X=no\nnonsense\nD=\n",
        );
        let expected: BTreeMap<String, String> = [
            ("A", "plain"),
            ("B", "two \"words\""),
            ("C", "it's"),
            ("D", ""),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        assert_eq!(read, expected);
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_substituted(text in ".{0,80}") {
            let _ = put(&text);
            let _ = parse_variables(&text);
        }
    }
}
