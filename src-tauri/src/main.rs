//! The menu-bar app: a ghost in the menu bar, a popover with one switch, and the host behind them.
//!
//! Called with a command it is `ecto` itself, so that both are one signed program with one identity in the Keychain.
//! [`hosting`] keeps a host running or follows another's, [`application`] is what menu and page can ask for, and the rest
//! is how it looks on a desktop. What is shown is always made from one [`view::AppView`].

mod application;
#[cfg(test)]
mod bindings;
mod commands;
mod copied;
mod desktop;
mod diagnostics;
mod hosting;
mod instance;
mod keys;
mod launch;
mod login;
#[cfg(target_os = "macos")]
mod macos;
mod notice;
mod notification;
mod placement;
mod popover;
mod power;
mod qr;
mod refusal;
mod tray;
mod view;

use std::process::ExitCode;

fn main() -> ExitCode {
    match launch::Options::of_app(std::env::args_os()) {
        Some(options) => desktop::run(options),
        None => ecto_cli::run(std::env::args_os()),
    }
}
