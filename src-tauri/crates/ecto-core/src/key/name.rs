//! What keys and agents are called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{DEFAULT_KEY, PREFIX};

/// The longest name of a key, in characters.
const LONGEST_NAME: usize = 40;

/// The longest id of an agent (OpenClaw 2026.9.6, `packages/normalization-core/src/agent-id.ts`).
const LONGEST_AGENT: usize = 64;

/// What a person calls a key: 1 to 40 letters, digits, and ` `, `-`, `_`, `.` or `@` between them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "string"))]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

/// Why something cannot be the name of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyName {
    /// It is empty, too long, or has characters that a name may not have.
    #[error(
        "a key's name has 1 to 40 letters and digits, with spaces or one of - _ . @ between them"
    )]
    Characters,
    /// It looks like a key, which must not be seen where names are.
    #[error("this looks like a key; give the name of a key")]
    LooksLikeAKey,
}

impl KeyName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the name of the key that is there from the start.
    pub fn is_default(&self) -> bool {
        self.0 == DEFAULT_KEY
    }
}

impl Default for KeyName {
    /// The name of the key that is there from the start.
    fn default() -> Self {
        Self(DEFAULT_KEY.to_owned())
    }
}

impl FromStr for KeyName {
    type Err = BadKeyName;

    fn from_str(text: &str) -> Result<Self, BadKeyName> {
        if text.contains(PREFIX) {
            return Err(BadKeyName::LooksLikeAKey);
        }
        let edge = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
        let inner = |character: char| {
            character.is_alphanumeric() || matches!(character, ' ' | '-' | '_' | '.' | '@')
        };
        let good = text.chars().count() <= LONGEST_NAME
            && edge(text.chars().next())
            && edge(text.chars().next_back())
            && text.chars().all(inner);
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadKeyName::Characters)
        }
    }
}

impl TryFrom<String> for KeyName {
    type Error = BadKeyName;

    fn try_from(text: String) -> Result<Self, BadKeyName> {
        text.parse()
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One of OpenClaw's agents, in the form to which OpenClaw brings every id: lower case letters, digits, `-` and `_`,
/// beginning with a letter or a digit (2026.9.6, `packages/normalization-core/src/agent-id.ts`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "string"))]
#[serde(try_from = "String", into = "String")]
pub struct AgentId(String);

/// Something that cannot be an agent's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an agent's id has 1 to 64 letters, digits, - and _, and begins with a letter or a digit")]
pub struct BadAgentId;

impl AgentId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentId {
    type Err = BadAgentId;

    fn from_str(text: &str) -> Result<Self, BadAgentId> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let good = text.len() <= LONGEST_AGENT
            && text
                .bytes()
                .next()
                .is_some_and(|byte| byte.is_ascii_alphanumeric())
            && text.bytes().all(inner);
        if good {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(BadAgentId)
        }
    }
}

impl TryFrom<String> for AgentId {
    type Error = BadAgentId;

    fn try_from(text: String) -> Result<Self, BadAgentId> {
        text.parse()
    }
}

impl From<AgentId> for String {
    fn from(agent: AgentId) -> Self {
        agent.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_what_people_write() {
        for name in [
            "default",
            "phone",
            "Anna's phone",
            "Küche 2",
            "ci@home",
            "a",
        ] {
            assert_eq!(
                name.parse::<KeyName>().is_ok(),
                !name.contains('\''),
                "{name}"
            );
        }
        for name in [
            "",
            " a",
            "a ",
            "-a",
            "a\nb",
            "a/b",
            "a\u{202e}b",
            &"a".repeat(41),
        ] {
            assert_eq!(
                name.parse::<KeyName>(),
                Err(BadKeyName::Characters),
                "{name}"
            );
        }
        assert_eq!(
            "ecto_abc".parse::<KeyName>(),
            Err(BadKeyName::LooksLikeAKey)
        );
    }

    proptest! {
        #[test]
        fn an_agents_id_can_stand_in_a_header_and_a_path(text in "\\PC{0,70}") {
            if let Ok(agent) = text.parse::<AgentId>() {
                prop_assert!(agent.as_str().bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')));
                prop_assert!((1..=64).contains(&agent.as_str().len()));
                prop_assert_eq!(text.to_ascii_lowercase(), agent.as_str());
            }
        }
    }
}
