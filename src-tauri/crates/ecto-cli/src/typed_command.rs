//! The commands that a text tells to run, as they are to be typed in the sandbox.
//!
//! Without the flag they would be done to the real Ecto: the texts are the same for both.

use serde_json::Value;

const FLAG: &str = "--sandbox";
const QUOTED: &str = "`ecto ";

/// The text with `--sandbox` in every `` `ecto …` `` that has it not.
pub fn in_sandbox(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(QUOTED) {
        let (before, command) = rest.split_at(start + QUOTED.len());
        told.push_str(before);
        let Some(end) = command.find('`') else {
            rest = command;
            break;
        };
        let (command, after) = command.split_at(end);
        told.push_str(command);
        if !command.split(' ').any(|word| word == FLAG) {
            told.push(' ');
            told.push_str(FLAG);
        }
        // The quote that ends this one begins no other.
        told.push('`');
        rest = &after[1..];
    }
    told.push_str(rest);
    told
}

/// The same in every message of a document.
pub fn in_sandbox_document(document: &mut Value) {
    match document {
        Value::Object(fields) => {
            let is_message = fields.contains_key("what") && fields.contains_key("next");
            for name in ["what", "next"] {
                if let Some(Value::String(text)) = fields.get_mut(name)
                    && is_message
                {
                    *text = in_sandbox(text);
                }
            }
            fields.values_mut().for_each(in_sandbox_document);
        }
        Value::Array(values) => values.iter_mut().for_each(in_sandbox_document),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_command_of_a_text_has_the_flag_once() {
        for (text, told) in [
            ("Run `ecto connect`.", "Run `ecto connect --sandbox`."),
            (
                "`ecto key list`, then `ecto key revoke \"my key\"`",
                "`ecto key list --sandbox`, then `ecto key revoke \"my key\" --sandbox`",
            ),
            ("`ecto status --sandbox`", "`ecto status --sandbox`"),
            ("the program `ecto` itself", "the program `ecto` itself"),
            ("an ecto connect, `ecto stat", "an ecto connect, `ecto stat"),
            ("set `--vault file`", "set `--vault file`"),
        ] {
            assert_eq!(in_sandbox(text), told);
        }
    }

    #[test]
    fn of_a_document_the_messages_are_changed_and_nothing_else() {
        let mut document = json!({
            "error": { "code": "x", "what": "No.", "next": "Run `ecto connect`." },
            "findings": [{ "what": "See `ecto logs`.", "next": null }],
            "caller": "`ecto connect`",
            "what": "`ecto connect`",
        });
        in_sandbox_document(&mut document);
        assert_eq!(
            document,
            json!({
                "error": { "code": "x", "what": "No.", "next": "Run `ecto connect --sandbox`." },
                "findings": [{ "what": "See `ecto logs --sandbox`.", "next": null }],
                "caller": "`ecto connect`",
                "what": "`ecto connect`",
            })
        );
    }
}
