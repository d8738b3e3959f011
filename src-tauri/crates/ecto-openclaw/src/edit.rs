//! Sets and unsets single keys in a JSON5 text, and touches no other byte of it.
//!
//! The places come from the syntax tree of `jsonc-parser`; whether the edit means what it should is asked of the independent
//! `json5` parser. Every edit tells how to undo it, so that setting a key and undoing that gives the same bytes again.

use ecto_core::cause::ConfigProblem;
use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

use crate::document::{Tree, value_of};
use crate::path::{dotted, get, insert, remove};

/// A text in which a key was set.
#[derive(Clone, PartialEq, Eq)]
pub struct Edited {
    /// The text with the key set.
    pub text: String,
    /// How to undo it.
    pub undo: Undo,
}

impl fmt::Debug for Edited {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Edited")
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

/// How to undo the setting of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// The key was there; this is its value as it was written.
    Replaced(String),
    /// The key was not there.
    Inserted {
        /// How many leading names of the key were there before.
        depth: usize,
        /// What was written around it.
        spacing: Spacing,
    },
}

/// What was written around an inserted property.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spacing {
    /// Space before it.
    pub lead: String,
    /// Space after it, before the closing brace.
    pub trail: String,
    /// Whether the property before it got a comma.
    pub comma_before: bool,
    /// Whether it got a comma of its own.
    pub comma_after: bool,
}

/// Sets `key` to `value`, and makes the objects around it where they are not there.
pub fn set(text: &str, key: &[&str], value: &Value) -> Result<Edited, ConfigProblem> {
    let before = value_of(text)?;
    let tree = Tree::parse(text)?;
    let edited = match find(&tree, key)? {
        Found::Property(property) => Edited {
            text: splice(
                text,
                &[(
                    property.value.start(),
                    property.value.end(),
                    &value.to_string(),
                )],
            ),
            undo: Undo::Replaced(text[property.value.start()..property.value.end()].to_owned()),
        },
        Found::Nothing { parent, depth } => insert_property(text, &tree, parent, depth, key, value),
    };
    let mut expected = before;
    insert(&mut expected, key, value.clone());
    check(&edited.text, &expected, key)?;
    Ok(edited)
}

/// Undoes the setting of `key`. The objects that were made for it go as well, where nothing else is in them by now.
/// A key that is not there is fine.
pub fn undo(text: &str, key: &[&str], undo: &Undo) -> Result<String, ConfigProblem> {
    let before = value_of(text)?;
    let tree = Tree::parse(text)?;
    let Found::Property(property) = find(&tree, key)? else {
        return Ok(text.to_owned());
    };
    match undo {
        Undo::Replaced(previous) => {
            let result = splice(
                text,
                &[(property.value.start(), property.value.end(), previous)],
            );
            let mut expected = before;
            insert(&mut expected, key, value_of(previous)?);
            check(&result, &expected, key)?;
            Ok(result)
        }
        Undo::Inserted { depth, spacing } => {
            let length = removable(text, &tree, key, *depth)?;
            let target = &key[..length];
            let result = remove_property(text, &tree, target, spacing)?;
            let mut expected = before;
            remove(&mut expected, target);
            check(&result, &expected, key)?;
            Ok(result)
        }
    }
}

fn check(text: &str, expected: &Value, key: &[&str]) -> Result<(), ConfigProblem> {
    let value = value_of(text)?;
    if &value == expected {
        return Ok(());
    }
    if get(&value, key) != get(expected, key) {
        return Err(ConfigProblem::DuplicateKey { key: dotted(key) });
    }
    Err(ConfigProblem::Syntax {
        detail: "it is written in a way that Ecto cannot change safely".into(),
    })
}

enum Found<'t, 'a> {
    Property(&'t ast::ObjectProp<'a>),
    Nothing {
        parent: &'t ast::Object<'a>,
        depth: usize,
    },
}

fn find<'t, 'a>(tree: &'t Tree<'a>, key: &[&str]) -> Result<Found<'t, 'a>, ConfigProblem> {
    let mut value = &tree.root;
    let mut found = None;
    for (depth, name) in key.iter().enumerate() {
        let Some(object) = value.as_object() else {
            return Err(ConfigProblem::NotAnObject {
                key: dotted(&key[..depth]),
            });
        };
        match property(object, name, &key[..=depth])? {
            Some(property) => {
                value = &property.value;
                found = Some(property);
            }
            None => {
                return Ok(Found::Nothing {
                    parent: object,
                    depth,
                });
            }
        }
    }
    found
        .map(Found::Property)
        .ok_or(ConfigProblem::NotAnObject { key: String::new() })
}

fn property<'t, 'a>(
    object: &'t ast::Object<'a>,
    name: &str,
    key: &[&str],
) -> Result<Option<&'t ast::ObjectProp<'a>>, ConfigProblem> {
    let mut same = object
        .properties
        .iter()
        .filter(|property| property.name.as_str() == name);
    let first = same.next();
    if same.next().is_some() {
        return Err(ConfigProblem::DuplicateKey { key: dotted(key) });
    }
    Ok(first)
}

/// Replaces ranges, given in their order and apart from each other.
fn splice(text: &str, changes: &[(usize, usize, &str)]) -> String {
    let mut result = String::with_capacity(text.len() + 256);
    let mut done = 0;
    for (start, end, new) in changes {
        result.push_str(&text[done..*start]);
        result.push_str(new);
        done = *end;
    }
    result.push_str(&text[done..]);
    result
}

fn insert_property(
    text: &str,
    tree: &Tree<'_>,
    parent: &ast::Object<'_>,
    depth: usize,
    key: &[&str],
    value: &Value,
) -> Edited {
    let close = parent.end() - 1;
    let place = text[..close].trim_end_matches(is_space).len();
    let inner = &text[parent.start() + 1..close];
    let style = Style::of(text, tree);
    let last = parent.properties.last();
    let is_root = depth == 0;
    let many_lines = inner.contains(is_line_end)
        || (last.is_none() && (is_root || text[..parent.start()].contains(is_line_end)));

    let (lead, trail, indent) = match (last, many_lines) {
        (Some(_), true) => {
            let indent = own_line_indent(text, parent).map_or_else(
                || format!("{}{}", line_indent(text, parent.start()), style.unit),
                str::to_owned,
            );
            (
                format!("{}{indent}", style.newline),
                String::new(),
                Some(indent),
            )
        }
        (None, true) => {
            let outer = line_indent(text, parent.start());
            let indent = format!("{outer}{}", style.unit);
            let trail = if text[place..close].contains(is_line_end) {
                String::new()
            } else {
                format!("{}{outer}", style.newline)
            };
            (format!("{}{indent}", style.newline), trail, Some(indent))
        }
        (None, false) if inner.is_empty() => (" ".to_owned(), " ".to_owned(), None),
        (Some(_) | None, false) => (" ".to_owned(), String::new(), None),
    };
    let has_comma = last.is_some_and(|last| tree.comma_after(last.end()).is_some());
    let spacing = Spacing {
        lead,
        trail,
        comma_before: last.is_some() && !has_comma,
        comma_after: has_comma,
    };
    let written = style.write(&key[depth..], value, indent.as_deref());
    let inserted = format!(
        "{}{written}{}{}",
        spacing.lead,
        if spacing.comma_after { "," } else { "" },
        spacing.trail
    );
    let mut changes = Vec::new();
    if spacing.comma_before
        && let Some(last) = last
    {
        changes.push((last.end(), last.end(), ","));
    }
    changes.push((place, place, inserted.as_str()));
    Edited {
        text: splice(text, &changes),
        undo: Undo::Inserted { depth, spacing },
    }
}

/// How much of `key` may go: its last name, or an object around it that was made for it and holds nothing else.
fn removable(
    text: &str,
    tree: &Tree<'_>,
    key: &[&str],
    depth: usize,
) -> Result<usize, ConfigProblem> {
    let mut length = key.len();
    while length > depth + 1 {
        let Found::Property(around) = find(tree, &key[..length - 1])? else {
            break;
        };
        let Some(object) = around.value.as_object() else {
            break;
        };
        let [only] = object.properties.as_slice() else {
            break;
        };
        let before = &text[object.start() + 1..only.start()];
        let after = text[only.end()..object.end() - 1].replacen(',', "", 1);
        if !before.chars().all(is_space) || !after.chars().all(is_space) {
            break;
        }
        length -= 1;
    }
    Ok(length)
}

fn remove_property(
    text: &str,
    tree: &Tree<'_>,
    key: &[&str],
    spacing: &Spacing,
) -> Result<String, ConfigProblem> {
    let around = if key.len() == 1 {
        tree.root.as_object()
    } else {
        match find(tree, &key[..key.len() - 1])? {
            Found::Property(property) => property.value.as_object(),
            Found::Nothing { .. } => None,
        }
    };
    let (Some(object), Found::Property(target)) = (around, find(tree, key)?) else {
        return Ok(text.to_owned());
    };
    let is_last = object
        .properties
        .last()
        .is_some_and(|last| last.start() == target.start());
    let comma_after = tree.comma_after(target.end());
    let mut changes: Vec<(usize, usize, &str)> = Vec::new();

    let space = text[..target.start()].trim_end_matches(is_space).len();
    let start = if text[..target.start()].ends_with(&spacing.lead)
        && target.start() - spacing.lead.len() >= space
    {
        target.start() - spacing.lead.len()
    } else {
        space
    };
    if is_last
        && (spacing.comma_before || comma_after.is_none())
        && let Some(comma) = tree.comma_before(target.start())
        && object.properties.len() > 1
    {
        changes.push((comma, comma + 1, ""));
    }
    match comma_after {
        // A comment may stand between the property and its comma; it stays.
        Some(end) => {
            changes.push((start, target.end(), ""));
            changes.push((end - 1, end, ""));
        }
        None => changes.push((start, target.end(), "")),
    }
    if is_last && !spacing.trail.is_empty() {
        let end = comma_after.unwrap_or(target.end());
        if text[end..].starts_with(&spacing.trail) {
            changes.push((end, end + spacing.trail.len(), ""));
        }
    }
    Ok(splice(text, &changes))
}

/// How a text is written.
struct Style {
    newline: &'static str,
    unit: String,
    quote: Option<char>,
}

impl Style {
    fn of(text: &str, tree: &Tree<'_>) -> Self {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let first = tree
            .root
            .as_object()
            .and_then(|root| root.properties.first());
        let unit = first
            .and_then(|first| own_indent(text, first.start()))
            .filter(|indent| !indent.is_empty())
            .unwrap_or("  ")
            .to_owned();
        let quote = match first.map(|first| &text[first.start()..]) {
            Some(name) if name.starts_with('\'') => Some('\''),
            Some(name) if name.starts_with('"') => Some('"'),
            Some(_) => None,
            None => Some('"'),
        };
        Self {
            newline,
            unit,
            quote,
        }
    }

    fn write(&self, key: &[&str], value: &Value, indent: Option<&str>) -> String {
        let Some((name, rest)) = key.split_first() else {
            return value.to_string();
        };
        let name = match self.quote {
            Some(quote) => format!("{quote}{name}{quote}"),
            None => (*name).to_owned(),
        };
        if rest.is_empty() {
            return format!("{name}: {value}");
        }
        match indent {
            Some(indent) => {
                let deeper = format!("{indent}{}", self.unit);
                let inner = self.write(rest, value, Some(&deeper));
                format!(
                    "{name}: {{{newline}{deeper}{inner}{newline}{indent}}}",
                    newline = self.newline
                )
            }
            None => format!("{name}: {{ {} }}", self.write(rest, value, None)),
        }
    }
}

/// The indent of the first property of an object that stands on a line of its own.
fn own_line_indent<'t>(text: &'t str, object: &ast::Object<'_>) -> Option<&'t str> {
    object
        .properties
        .iter()
        .find_map(|property| own_indent(text, property.start()))
}

/// The space between the beginning of the line and `place`, where there is nothing else.
fn own_indent(text: &str, place: usize) -> Option<&str> {
    let start = text[..place].rfind(is_line_end)?;
    let start = start + text[start..].chars().next().map_or(1, char::len_utf8);
    let space = &text[start..place];
    space.chars().all(is_space).then_some(space)
}

/// The space at the beginning of the line in which `place` is.
fn line_indent(text: &str, place: usize) -> &str {
    let start = text[..place].rfind(is_line_end).map_or(0, |end| {
        end + text[end..].chars().next().map_or(1, char::len_utf8)
    });
    let line = &text[start..place];
    &line[..line.len() - line.trim_start_matches(is_space).len()]
}

fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

fn is_space(character: char) -> bool {
    character.is_whitespace() || character == '\u{feff}'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const CHAT: [&str; 5] = ["gateway", "http", "endpoints", "chatCompletions", "enabled"];
    const RESPONSES: [&str; 5] = ["gateway", "http", "endpoints", "responses", "enabled"];
    const MODE: [&str; 2] = ["gateway", "mode"];

    /// Sets the keys one after the other, undoes them in the opposite order, and returns the text in between.
    fn there_and_back(text: &str) -> String {
        let mut current = text.to_owned();
        let mut undos = Vec::new();
        for (key, value) in [
            (&MODE[..], json!("local")),
            (&["gateway", "auth", "token"][..], json!("t0ken")),
            (&CHAT[..], json!(true)),
            (&RESPONSES[..], json!(true)),
        ] {
            let edited = set(&current, key, &value).unwrap();
            current = edited.text;
            undos.push((key, edited.undo));
        }
        let between = current.clone();
        for (key, way) in undos.into_iter().rev() {
            current = undo(&current, key, &way).unwrap();
        }
        assert_eq!(current, text);
        between
    }

    #[test]
    fn keys_are_added_in_the_style_of_the_file() {
        insta::assert_snapshot!(there_and_back("// mine\n{\n  gateway: {\n    mode: 'remote', // why\n    port: 18789, // last\n  },\n}\n"), @r#"
        // mine
        {
          gateway: {
            mode: "local", // why
            port: 18789, // last
            auth: {
              token: "t0ken"
            },
            http: {
              endpoints: {
                chatCompletions: {
                  enabled: true
                },
                responses: {
                  enabled: true
                }
              }
            },
          },
        }
        "#);
        insta::assert_snapshot!(there_and_back("{\n\t\"a\": 1 // no comma\n}"), @r#"
        {
        	"a": 1, // no comma
        	"gateway": {
        		"mode": "local",
        		"auth": {
        			"token": "t0ken"
        		},
        		"http": {
        			"endpoints": {
        				"chatCompletions": {
        					"enabled": true
        				},
        				"responses": {
        					"enabled": true
        				}
        			}
        		}
        	}
        }
        "#);
        insta::assert_snapshot!(there_and_back("{ a: 1, gateway: {} }"), @r#"{ a: 1, gateway: { mode: "local", auth: { token: "t0ken" }, http: { endpoints: { chatCompletions: { enabled: true }, responses: { enabled: true } } } } }"#);
        insta::assert_snapshot!(there_and_back("{}"), @r#"
        {
          "gateway": {
            "mode": "local",
            "auth": {
              "token": "t0ken"
            },
            "http": {
              "endpoints": {
                "chatCompletions": {
                  "enabled": true
                },
                "responses": {
                  "enabled": true
                }
              }
            }
          }
        }
        "#);
    }

    #[test]
    fn awkward_texts_come_back_byte_for_byte() {
        for text in [
            "{gateway:{mode:'x'}}",
            "{gateway:{mode:'x',}}",
            "{ /* only a comment */ }",
            "{ // only a comment\n}",
            "{\r\n  gateway: {\r\n  },\r\n}\r\n",
            "{gateway: {http: {endpoints: {chatCompletions: {enabled: false}, responses: {}}}}}",
            "{\n  'gateway': { auth: { token: 0x10, }, http: { endpoints: {} , } , } /* , */ ,\n}",
            "{\"gateway\": { // c\n \"mode\"\n :\n /* d */ 'remote' /* e */ , // f\n }\n}",
            "{a: 'line \\\n continued', b: [1,2,], c: +.5, d: Infinity, e: NaN,\u{a0}gateway:{}}",
            "{a: {gateway: 1}, // gateway: {}\n}",
            "{\n\n\n}\n\n",
            "{\n  gateway: {\n    // nothing here yet\n  }\n}",
        ] {
            there_and_back(text);
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        for text in [
            "{gateway: {mode: 'a'}, gateway: {mode: 'b'}}",
            "{gateway: {mode: 'a', 'mode': 'b'}}",
            "{gateway: {}, \"g\\u0061teway\": {}}",
        ] {
            assert!(
                matches!(
                    set(text, &MODE, &json!("local")),
                    Err(ConfigProblem::DuplicateKey { .. })
                ),
                "{text}"
            );
        }
        assert!(set("{a: 1, a: 2, gateway: {}}", &MODE, &json!("local")).is_ok());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(
            set("{gateway: 'x'}", &MODE, &json!("local")),
            Err(ConfigProblem::NotAnObject {
                key: "gateway".into()
            })
        );
        assert_eq!(
            set("{gateway: {http: null}}", &CHAT, &json!(true)),
            Err(ConfigProblem::NotAnObject {
                key: "gateway.http".into()
            })
        );
    }

    #[test]
    fn what_others_added_since_stays() {
        let edited = set("{\n  a: 1\n}\n", &CHAT, &json!(true)).unwrap();
        let touched = edited
            .text
            .replace("endpoints: {", "endpoints: {\n        // mine\n");
        let back = undo(&touched, &CHAT, &edited.undo).unwrap();
        assert!(back.contains("// mine"), "{back}");
        assert!(get(&value_of(&back).unwrap(), &CHAT).is_none());

        let touched = edited.text.replace("\n}\n", ",\n  b: 2\n}\n");
        let back = undo(&touched, &CHAT, &edited.undo).unwrap();
        assert_eq!(value_of(&back).unwrap(), json!({"a": 1, "b": 2}), "{back}");
    }

    #[test]
    fn a_file_that_was_rewritten_since_can_still_be_undone() {
        let edited = set("{a: 1}", &CHAT, &json!(true)).unwrap();
        let rewritten = serde_json::to_string_pretty(&value_of(&edited.text).unwrap()).unwrap();
        let back = undo(&rewritten, &CHAT, &edited.undo).unwrap();
        assert_eq!(value_of(&back).unwrap(), json!({"a": 1}), "{back}");
    }

    fn space() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop_oneof![
                4 => Just(" ".to_owned()),
                2 => Just("\n".to_owned()),
                1 => Just("\r\n".to_owned()),
                1 => Just("\t".to_owned()),
                1 => "[a-z,{}:\"']{0,6}".prop_map(|text| format!("// {text}\n")),
                1 => "[a-z,{}:\"' \n]{0,6}".prop_map(|text| format!("/* {text} */")),
                1 => Just("\u{a0}".to_owned()),
            ],
            0..4,
        )
        .prop_map(|parts| parts.concat())
    }

    fn name(name: String) -> impl Strategy<Value = String> {
        prop_oneof![
            Just(name.clone()),
            Just(format!("'{name}'")),
            Just(format!("\"{name}\"")),
        ]
    }

    fn scalar() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("true".to_owned()),
            Just("null".to_owned()),
            Just("-1.5e3".to_owned()),
            Just("0xfF".to_owned()),
            Just("'it\\'s \\\n }, //'".to_owned()),
            Just("\"[{'\"".to_owned()),
            Just("[]".to_owned()),
            Just("[1, {a: 2},]".to_owned()),
        ]
    }

    /// An object with some of the wanted properties and some others, written any way that JSON5 allows.
    fn object(inside: Vec<(String, BoxedStrategy<String>)>) -> BoxedStrategy<String> {
        let others =
            ["alpha", "$b", "_c", "unicödé"].map(|other| (other.to_owned(), scalar().boxed()));
        let properties: Vec<_> = inside
            .into_iter()
            .chain(others)
            .map(|(key, value)| {
                (prop::bool::ANY, name(key), value, space(), space(), space()).prop_map(
                    |(there, key, value, before, middle, after)| {
                        there.then(|| format!("{before}{key}{middle}:{middle}{value}{after}"))
                    },
                )
            })
            .collect();
        (properties, prop::bool::ANY, space(), 0usize..4)
            .prop_map(|(properties, trailing, inner, turn)| {
                let mut properties: Vec<String> = properties.into_iter().flatten().collect();
                if !properties.is_empty() {
                    let turn = turn % properties.len();
                    properties.rotate_left(turn);
                }
                let comma = if trailing && !properties.is_empty() {
                    ","
                } else {
                    ""
                };
                format!("{{{}{comma}{inner}}}", properties.join(","))
            })
            .boxed()
    }

    fn document() -> impl Strategy<Value = String> {
        let enabled = || vec![("enabled".to_owned(), scalar().boxed())];
        let endpoints = object(vec![
            ("chatCompletions".to_owned(), object(enabled())),
            ("responses".to_owned(), object(enabled())),
        ]);
        let http = object(vec![("endpoints".to_owned(), endpoints)]);
        let auth = object(vec![("token".to_owned(), scalar().boxed())]);
        let gateway = object(vec![
            ("mode".to_owned(), scalar().boxed()),
            ("auth".to_owned(), auth),
            ("http".to_owned(), http),
        ]);
        let root = object(vec![("gateway".to_owned(), gateway)]);
        (space(), root, space()).prop_map(|(before, root, after)| format!("{before}{root}{after}"))
    }

    /// Whether `outer` is `inner` with text added in places and nothing taken away.
    fn is_spread_in(inner: &str, outer: &str) -> bool {
        let mut rest = outer.chars();
        inner.chars().all(|wanted| rest.any(|got| got == wanted))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn any_document_is_edited_and_comes_back(text in document()) {
            prop_assume!(value_of(&text).is_ok());
            there_and_back(&text);
        }

        #[test]
        fn adding_takes_nothing_away(text in document()) {
            prop_assume!(value_of(&text).is_ok());
            let edited = set(&text, &["gateway", "added"], &json!(7)).unwrap();
            prop_assert!(is_spread_in(&text, &edited.text), "{}", edited.text);
        }

        #[test]
        fn any_text_is_refused_or_edited(text in ".{0,60}") {
            let _ = set(&text, &CHAT, &json!(true));
        }
    }
}
