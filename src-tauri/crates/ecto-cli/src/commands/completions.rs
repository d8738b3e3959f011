//! `ecto completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::exit::Exit;

/// Prints completions for a shell.
pub fn run(shell: Shell) -> Exit {
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, "ecto", &mut std::io::stdout());
    Exit::Done
}
