//! Text that came from somewhere else: a daemon, a config file, a network peer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Text from outside, made safe to show: at most [`ForeignText::LIMIT`] characters, one line, no control characters and
/// no bidirectional marks that could reorder what stands beside it.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(from = "String", into = "String")]
#[cfg_attr(feature = "typescript", ts(type = "string"))]
pub struct ForeignText(String);

impl ForeignText {
    /// The most characters that are kept.
    pub const LIMIT: usize = 400;

    /// Takes text from outside and keeps what is safe to show.
    pub fn new(text: impl AsRef<str>) -> Self {
        let text = text.as_ref();
        let mut kept = String::with_capacity(text.len().min(Self::LIMIT));
        let mut count = 0;
        let mut gap = false;
        for character in text.chars() {
            if character.is_whitespace() || character.is_control() {
                gap = count > 0;
                continue;
            }
            if is_direction_mark(character) {
                continue;
            }
            if count >= Self::LIMIT {
                kept.push('…');
                break;
            }
            if gap {
                kept.push(' ');
                count += 1;
                gap = false;
            }
            kept.push(character);
            count += 1;
        }
        Self(kept)
    }

    /// The text as it may be shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_direction_mark(character: char) -> bool {
    matches!(
        character,
        '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

impl fmt::Display for ForeignText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ForeignText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl From<String> for ForeignText {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for ForeignText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<ForeignText> for String {
    fn from(text: ForeignText) -> Self {
        text.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hostile_line_becomes_one_plain_line() {
        let text = ForeignText::new("\u{202e}gpj.exe\u{202c}\n\tsecond\r\nline\u{0}");
        assert_eq!(text.as_str(), "gpj.exe second line");
    }

    proptest! {
        #[test]
        fn shown_text_is_short_and_plain(input in ".{0,2000}") {
            let text = ForeignText::new(&input);
            prop_assert!(text.as_str().chars().count() <= ForeignText::LIMIT + 2);
            prop_assert!(!text.as_str().chars().any(|c| c.is_control() || is_direction_mark(c)));
        }

        #[test]
        fn cleaning_twice_changes_nothing(input in ".{0,300}") {
            let once = ForeignText::new(&input);
            prop_assert_eq!(ForeignText::new(once.as_str()), once);
        }
    }
}
