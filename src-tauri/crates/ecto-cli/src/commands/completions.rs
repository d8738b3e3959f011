//! `ecto completions`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::exit::Exit;

/// Prints completions for a shell.
pub fn run(shell: Shell) -> Exit {
    let mut command = Arguments::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "ecto", &mut script);
    // A reader that went away is no fault.
    let _ = std::io::stdout().write_all(&script);
    Exit::Done
}
