//! Running the app from source.

use std::{env, process::ExitCode};

use anyhow::Result;

use crate::{
    requirements,
    workspace::{Workspace, exit_code},
};

/// Has the app built: without it the package is empty, so that the workspace builds where there is no web view.
pub const FEATURE: &str = "ecto/app";

/// Opens the app where there is a desktop; elsewhere, and where arguments for it are given, runs `ecto connect` in the
/// terminal.
pub fn run(workspace: &Workspace, sandbox: bool, arguments: &[String]) -> Result<ExitCode> {
    let mut command = workspace.cargo();
    let stays_in_terminal = if !arguments.is_empty() {
        None
    } else if !has_desktop() {
        Some("There is no desktop for the app here")
    } else if !requirements::web_view() {
        Some("The app cannot be built without the web view's headers")
    } else {
        println!("The app is starting; look for the ghost in the menu bar.");
        command.args(["run", "--quiet", "--package", "ecto", "--features", FEATURE]);
        if sandbox {
            command.args(["--", "--sandbox"]);
        }
        return Ok(exit_code(command.status()?));
    };
    if let Some(reason) = stays_in_terminal {
        eprintln!("{reason}; running `ecto connect` in this terminal.");
    }
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

/// Whether there is a desktop to show the app on.
fn has_desktop() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY")
}
