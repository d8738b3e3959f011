//! The `ecto` command as a library, so that the app's binary is the same command.
//!
//! Results go to stdout, everything else to stderr. [`arguments`] is what may be typed, `commands` one file a command,
//! `terminal` decides once how it is printed, [`exit`] what the exit status means.

pub mod arguments;
pub mod client_example;
mod commands;
pub mod exit;
mod failure;
mod interrupt;
pub mod logging;
mod progress;
mod session;
mod terminal;
mod typed_command;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use exit::Exit;
use failure::Failure;
use session::Session;
use terminal::Terminal;

/// Runs the command as it was typed, name of the program first, and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let wants_json = arguments.iter().any(|argument| argument == "--json");
    let wants_sandbox = arguments.iter().any(|argument| argument == "--sandbox");
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(fault) => {
            if wants_json && fault.use_stderr() {
                let failure = Failure::usage(&fault.render().to_string());
                Terminal::new(true, wants_sandbox).fail(&failure);
                return failure.exit().into();
            }
            let printed = fault.print();
            if fault.use_stderr() {
                return Exit::Usage.into();
            }
            return ended(
                Terminal::new(wants_json, wants_sandbox),
                terminal::printed(printed),
            );
        }
    };
    let terminal = Terminal::new(arguments.json, arguments.sandbox);
    if let Command::Completions { shell } = &arguments.command {
        return ended(terminal, commands::completions::run(*shell));
    }
    let runtime = if arguments.command.runs_a_host() {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
    } else {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(fault) => {
            terminal.tell(&format!("Ecto could not start: {fault}. Try again."));
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(async {
        match Session::new(&arguments, terminal) {
            Ok(session) => commands::run(arguments.command, &session).await,
            Err(fault) => {
                terminal.fail(&fault);
                fault.exit()
            }
        }
    });
    // What is still running has been told to end; a host waits for its door by itself.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    exit.into()
}

fn ended(terminal: Terminal, outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            terminal.fail(&failure);
            failure.exit().into()
        }
    }
}
