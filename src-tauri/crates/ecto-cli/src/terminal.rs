//! How things are printed: decided once, from the flags and the streams.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::failure::Failure;
use crate::typed_command::{in_sandbox, in_sandbox_document};

/// Where results and messages go. Colour follows `NO_COLOR` and the kind of stream; nothing is told by colour alone.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    json: bool,
    sandbox: bool,
    stdout_is_terminal: bool,
    is_live: bool,
}

impl Terminal {
    /// Looks at the streams. In the sandbox, the commands that a text tells to run have its flag.
    pub fn new(json: bool, sandbox: bool) -> Self {
        Self {
            json,
            sandbox,
            stdout_is_terminal: io::stdout().is_terminal(),
            is_live: !json && io::stderr().is_terminal() && understands_control(),
        }
    }

    /// Whether results are JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person reads stdout, so that a secret may stand there.
    pub fn shows_secrets(self) -> bool {
        self.stdout_is_terminal
    }

    /// Whether lines on stderr can be written over.
    pub fn is_live(self) -> bool {
        self.is_live
    }

    /// Prints a result line on stdout.
    pub fn print(self, line: &str) -> Result<(), Failure> {
        self.print_unchanged(&self.as_typed(line))
    }

    /// Prints a line that has text from outside, in which nothing is changed.
    pub fn print_unchanged(self, line: &str) -> Result<(), Failure> {
        printed(writeln!(anstream::stdout(), "{line}"))
    }

    /// Prints a result as one line of JSON on stdout.
    pub fn print_json(self, value: &impl Serialize) -> Result<(), Failure> {
        let mut line = if self.sandbox {
            let mut document = serde_json::to_value(value).unwrap_or_default();
            in_sandbox_document(&mut document);
            serde_json::to_vec(&document)
        } else {
            serde_json::to_vec(value)
        }
        .unwrap_or_default();
        line.push(b'\n');
        let mut stdout = io::stdout().lock();
        printed(stdout.write_all(&line).and_then(|()| stdout.flush()))
    }

    /// Tells something on stderr.
    pub fn tell(self, line: &str) {
        let _ = writeln!(anstream::stderr(), "{}", self.as_typed(line));
    }

    fn as_typed(self, text: &str) -> Cow<'_, str> {
        if self.sandbox {
            in_sandbox(text).into()
        } else {
            text.into()
        }
    }

    /// Writes on stderr without ending the line. Control codes pass, even where colour is not wanted.
    pub fn write_live(self, text: &str) {
        let mut stderr = io::stderr();
        let _ = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
    }

    /// Tells that something did not work, and in JSON prints it as the result, where stdout takes it.
    pub fn fail(self, failure: &Failure) {
        if self.json && self.print_json(&failure.to_json()).is_ok() {
            return;
        }
        let message = failure.message();
        self.tell(&message.what);
        if let Some(next) = message.next {
            self.tell(&format!("{}{next}{}", HINT.render(), HINT.render_reset()));
        }
    }
}

/// What writing to stdout came to. A reader that went away is no fault.
pub fn printed(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(fault) if fault.kind() != io::ErrorKind::BrokenPipe => Err(Failure::unprinted(&fault)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn understands_control() -> bool {
    std::env::var_os("TERM").is_some_and(|kind| !kind.is_empty() && kind != "dumb")
}

/// What stands beside the main thing.
pub const HINT: Style = Style::new().dimmed();
/// What went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What needs looking at.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// What a person will copy.
pub const STRONG: Style = Style::new().bold();
