//! What is wrong with OpenClaw's configuration.

use super::{CONTINUES, Message, SET_YOURSELF, clause};
use crate::cause::ConfigProblem;

/// What is wrong with it, and how it is mended.
pub(super) fn config_problem(path: &str, problem: &ConfigProblem) -> Message {
    let fix = format!("Mend the file; nothing was changed. {CONTINUES}");
    match problem {
        ConfigProblem::Unreadable { detail } => Message::new(
            format!(
                "OpenClaw's configuration {path} cannot be read: {}.",
                clause(detail)
            ),
            format!("Make it readable for your user. {CONTINUES}"),
        ),
        ConfigProblem::NotText => Message::new(
            format!("OpenClaw's configuration {path} is not UTF-8 text."),
            fix,
        ),
        ConfigProblem::Syntax { detail } => Message::new(
            format!(
                "OpenClaw's configuration {path} cannot be understood: {}.",
                clause(detail)
            ),
            fix,
        ),
        ConfigProblem::NotAnObject { key } if key.is_empty() => Message::new(
            format!("OpenClaw's configuration {path} is not an object."),
            fix,
        ),
        ConfigProblem::NotAnObject { key } => Message::new(
            format!("In OpenClaw's configuration {path}, {key} is not an object."),
            fix,
        ),
        ConfigProblem::TooLarge => Message::new(
            format!("OpenClaw's configuration {path} is larger than Ecto reads."),
            fix,
        ),
        ConfigProblem::DuplicateKey { key } => Message::new(
            format!(
                "In OpenClaw's configuration {path}, {key} stands twice, so a change might not take effect."
            ),
            format!("Remove one of the two; nothing was changed. {CONTINUES}"),
        ),
        ConfigProblem::Included { key } => Message::new(
            format!(
                "In OpenClaw's configuration {path}, {key} comes from included files that Ecto does not change."
            ),
            format!("In the included files, {SET_YOURSELF} {CONTINUES}"),
        ),
        ConfigProblem::WrongType { key } => Message::new(
            format!(
                "In OpenClaw's configuration {path}, {key} has a kind of value that OpenClaw does not take."
            ),
            fix,
        ),
    }
}
