//! One configuration file as text and as the value that text means.

use ecto_core::cause::ConfigProblem;
use jsonc_parser::ParseOptions;
use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::tokens::{Token, TokenAndRange};
use serde_json::Value;
use std::fmt;

/// The most bytes of a configuration file that are read.
pub const SIZE_LIMIT: u64 = 5 * 1024 * 1024;

const BOM: char = '\u{feff}';

/// The text of a configuration file, and what it means.
#[derive(Clone)]
pub struct Document {
    /// The text without the byte-order mark.
    pub text: String,
    /// Whether the file began with a byte-order mark.
    pub bom: bool,
    /// What the text means. Where a key stands twice, the last one counts, as in JSON5.
    pub value: Value,
}

impl fmt::Debug for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Document")
            .field("bytes", &self.text.len())
            .field("bom", &self.bom)
            .finish_non_exhaustive()
    }
}

impl Document {
    /// Reads the bytes of a file: UTF-8, JSON5.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigProblem> {
        if bytes.len() as u64 > SIZE_LIMIT {
            return Err(ConfigProblem::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ConfigProblem::NotText)?;
        let bom = text.starts_with(BOM);
        let text = text.strip_prefix(BOM).unwrap_or(text).to_owned();
        let value = value_of(&text)?;
        Ok(Self { text, bom, value })
    }

    /// The bytes of the file with another text.
    pub fn bytes_with(&self, text: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(text.len() + 3);
        if self.bom {
            bytes.extend_from_slice(BOM.encode_utf8(&mut [0; 4]).as_bytes());
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    /// Whether the text is exactly what OpenClaw's own writer makes of its value, so that it loses nothing by writing it.
    pub fn is_as_openclaw_writes(&self) -> bool {
        if self.bom {
            return false;
        }
        let Ok(written) = serde_json::to_string_pretty(&self.value) else {
            return false;
        };
        self.text.strip_suffix('\n') == Some(written.as_str())
    }
}

/// What a JSON5 text means, by the independent parser.
pub(crate) fn value_of(text: &str) -> Result<Value, ConfigProblem> {
    // The syntax tree comes first: its parser limits the depth, the other one does not.
    Tree::parse(text)?;
    json5::from_str(text).map_err(|error| ConfigProblem::Syntax {
        detail: error.to_string().into(),
    })
}

/// The syntax tree of a text, with the place of every part.
pub(crate) struct Tree<'a> {
    pub root: ast::Value<'a>,
    tokens: Vec<TokenAndRange<'a>>,
}

impl<'a> Tree<'a> {
    pub fn parse(text: &'a str) -> Result<Self, ConfigProblem> {
        let collect = jsonc_parser::CollectOptions {
            comments: jsonc_parser::CommentCollectionStrategy::Off,
            tokens: true,
        };
        let parsed = jsonc_parser::parse_to_ast(text, &collect, &ParseOptions::default()).map_err(
            |error| ConfigProblem::Syntax {
                detail: error.to_string().into(),
            },
        )?;
        let root = parsed.value.ok_or_else(|| ConfigProblem::Syntax {
            detail: "there is nothing in it".into(),
        })?;
        Ok(Self {
            root,
            tokens: parsed.tokens.unwrap_or_default(),
        })
    }

    /// The place after the comma that follows `end`, where the next token is one.
    pub fn comma_after(&self, end: usize) -> Option<usize> {
        let next = self.tokens.iter().find(|token| token.start() >= end)?;
        matches!(next.token, Token::Comma).then(|| next.end())
    }

    /// The place of the comma before `start`, where the token before is one.
    pub fn comma_before(&self, start: usize) -> Option<usize> {
        let last = self
            .tokens
            .iter()
            .rev()
            .find(|token| token.end() <= start)?;
        matches!(last.token, Token::Comma).then(|| last.start())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(bytes: &[u8]) -> ConfigProblem {
        Document::parse(bytes).unwrap_err()
    }

    #[test]
    fn a_file_that_cannot_be_used_says_what_is_wrong() {
        assert_eq!(problem(b"{a: '\xff'}"), ConfigProblem::NotText);
        assert_eq!(
            problem(&vec![b' '; SIZE_LIMIT as usize + 1]),
            ConfigProblem::TooLarge
        );
        for bytes in [
            &b""[..],
            b"// only a comment\n",
            b"{gateway: {",
            b"{a: 1 b: 2}",
            b"{a: }",
        ] {
            assert!(
                matches!(problem(bytes), ConfigProblem::Syntax { .. }),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_not_a_crash() {
        let deep = "{a:".repeat(200_000);
        assert!(matches!(
            problem(deep.as_bytes()),
            ConfigProblem::Syntax { .. }
        ));
        let deep = format!("{{a:{}{}}}", "[".repeat(400), "]".repeat(400));
        let _ = Document::parse(deep.as_bytes());
    }

    #[test]
    fn a_byte_order_mark_is_kept() {
        let document = Document::parse("\u{feff}{a: 1}".as_bytes()).unwrap();
        assert_eq!(document.text, "{a: 1}");
        assert_eq!(
            document.bytes_with(&document.text),
            "\u{feff}{a: 1}".as_bytes()
        );
    }

    #[test]
    fn only_the_form_of_the_own_writer_counts_as_such() {
        for (text, expected) in [
            ("{\n  \"a\": 1,\n  \"b\": []\n}\n", true),
            ("{\n  \"a\": 1,\n  \"b\": []\n}", false),
            ("{\n  a: 1\n}\n", false),
            ("{\n  \"a\": 1 // why\n}\n", false),
            ("{\r\n  \"a\": 1\r\n}\r\n", false),
            ("{\n  \"a\": 1,\n  \"a\": 2\n}\n", false),
        ] {
            let document = Document::parse(text.as_bytes()).unwrap();
            assert_eq!(document.is_as_openclaw_writes(), expected, "{text:?}");
        }
    }
}
