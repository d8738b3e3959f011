//! Measurements, each a binary of `ecto-tests`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::workspace::{Workspace, exit_code};

/// What is measured.
#[derive(Subcommand)]
pub enum Subject {
    /// From `ecto connect` to Public on the lab, against a script of the tools' own commands.
    Connect {
        /// Passed on to the measurement.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Builds the measurement for release and runs it.
pub fn run(workspace: &Workspace, subject: &Subject) -> Result<ExitCode> {
    let (binary, arguments) = match subject {
        Subject::Connect { arguments } => ("bench-connect", arguments),
    };
    // The measurement starts the command from beside itself.
    let built = workspace
        .cargo()
        .args(["build", "--release", "--package", "ecto-cli"])
        .status()?;
    if !built.success() {
        return Ok(exit_code(built));
    }
    let status = workspace
        .cargo()
        .args([
            "run",
            "--release",
            "--package",
            "ecto-tests",
            "--bin",
            binary,
            "--",
        ])
        .args(arguments)
        .status()?;
    Ok(exit_code(status))
}
