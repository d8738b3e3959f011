//! Running the app.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{Workspace, exit_code};

/// Runs `ecto connect` in the terminal, since there is no app yet.
pub fn run(workspace: &Workspace, sandbox: bool, arguments: &[String]) -> Result<ExitCode> {
    eprintln!(
        "The menu-bar app is not part of this version yet; running `ecto connect` in this terminal."
    );
    let mut command = workspace.cargo();
    command.args([
        "run",
        "--quiet",
        "--package",
        "ecto-cli",
        "--bin",
        "ecto",
        "--",
        "connect",
    ]);
    if sandbox {
        command.arg("--sandbox");
    }
    Ok(exit_code(command.args(arguments).status()?))
}
