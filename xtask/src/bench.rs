//! Measurements, each a binary of `ecto-tests`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::{
    bundle, requirements,
    workspace::{Workspace, exit_code},
};

/// What is measured.
#[derive(Subcommand)]
pub enum Subject {
    /// From `ecto connect` to Public on the lab, against a script of the tools' own commands.
    Connect {
        /// Passed on to the measurement.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The guard beside nginx, HAProxy, Caddy and no proxy: latency, throughput, streams, memory, floods.
    Guard {
        /// Passed on to the measurement; `--quick` to try it.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The guard for an hour under everything at once: memory stays flat, nothing is lost.
    Soak {
        /// Passed on to the measurement, as `--minutes 5`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The menu-bar app on a private desktop, against a bare GTK tray and a bare Qt tray.
    App {
        /// Passed on to the measurement.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Builds what is measured and the measurement for release, and runs it.
pub fn run(workspace: &Workspace, subject: &Subject) -> Result<ExitCode> {
    match subject {
        Subject::Connect { arguments } => {
            // The measurement starts the command from beside itself.
            build(workspace, &["--package", "ecto-cli"])?;
            measure(workspace, "bench-connect", arguments)
        }
        Subject::Guard { arguments } => {
            requirements::proxies()?;
            measure(workspace, "bench-guard", arguments)
        }
        Subject::Soak { arguments } => measure(workspace, "bench-soak", arguments),
        Subject::App { arguments } => {
            requirements::desktop()?;
            requirements::peers()?;
            let mut arguments = arguments.clone();
            if !arguments
                .iter()
                .any(|argument| argument == "--peers" || argument == "--app")
            {
                let program = bundle::build_program(workspace)?;
                arguments.extend(["--app".to_owned(), program.display().to_string()]);
                // Other systems than Debian measure the program alone.
                if which::which("dpkg-deb").is_ok() {
                    let package = bundle::debian(workspace, &program)?;
                    arguments.extend(["--bundle".to_owned(), package.display().to_string()]);
                }
            }
            measure(workspace, "bench-app", &arguments)
        }
    }
}

fn build(workspace: &Workspace, what: &[&str]) -> Result<()> {
    crate::workspace::run(workspace.cargo().args(["build", "--release"]).args(what))
}

fn measure(workspace: &Workspace, binary: &str, arguments: &[String]) -> Result<ExitCode> {
    let mut command = workspace.cargo();
    command.args(["run", "--release", "--package", "ecto-tests", "--bin"]);
    command.arg(binary).arg("--").args(arguments);
    Ok(exit_code(command.status()?))
}
