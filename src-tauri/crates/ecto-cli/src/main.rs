//! The `ecto` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ecto_cli::run(std::env::args_os())
}
