//! The project's own commands: `cargo xtask run | test | lab | bench | check-macos | bundle`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line program speaks to the person at the terminal"
)]

mod app;
mod bench;
mod bundle;
mod dependencies;
mod house;
mod lab;
mod links;
mod macos;
mod popover;
mod requirements;
mod step;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs every check and every test, and says how many passed.
    Test,
    /// Runs the app from source, or `ecto connect` where there is no desktop or arguments for it are given.
    Run {
        /// Uses the built-in stand-ins: no account, no network.
        #[arg(long)]
        sandbox: bool,
        /// Passed on to `ecto connect`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs the tests against the real tailscaled and the real OpenClaw.
    Lab {
        /// Starts the lab and leaves it up until Ctrl-C, instead of running its tests.
        #[arg(long)]
        keep: bool,
        /// Passed on to the test runner, or to the lab with --keep.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measures Ecto; needs the lab's tools.
    Bench {
        #[command(subcommand)]
        subject: bench::Subject,
    },
    /// Checks the macOS code with clippy, on a Mac or from Linux.
    CheckMacos {
        /// Seeds a type error in macOS-only code and expects the check to catch it.
        #[arg(long)]
        seed_error: bool,
    },
    /// Makes what people install: Ecto.app and a disk image on a Mac, a Debian package on Linux.
    Bundle {
        #[command(flatten)]
        wanted: bundle::Wanted,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Workspace::find().and_then(|workspace| match arguments.command {
        Command::Test => test::run(&workspace),
        Command::Run { sandbox, arguments } => app::run(&workspace, sandbox, &arguments),
        Command::Lab { keep, arguments } => lab::run(&workspace, keep, &arguments),
        Command::Bench { subject } => bench::run(&workspace, &subject),
        Command::CheckMacos { seed_error: false } => {
            macos::check(&workspace).map(|()| ExitCode::SUCCESS)
        }
        Command::CheckMacos { seed_error: true } => {
            macos::check_catches_seeded_error(&workspace).map(|()| ExitCode::SUCCESS)
        }
        Command::Bundle { wanted } => bundle::make(&workspace, &wanted),
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
