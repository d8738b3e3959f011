//! `ecto completions`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::terminal::printed;

/// Prints completions for a shell.
pub fn run(shell: Shell) -> Result<(), Failure> {
    let mut command = Arguments::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "ecto", &mut script);
    printed(std::io::stdout().write_all(&script))
}
