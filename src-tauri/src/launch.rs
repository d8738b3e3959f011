//! How the app was started: in which world, with which folders.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use ecto_host::world::{LabPlaces, WorldChoice};
use ecto_platform::System;
use ecto_platform::folders::{Folders, HOME_VARIABLE};
use ecto_platform::vault::VaultChoice;

use crate::refusal::Refusal;

/// What may be said to the app. Anything else is for the `ecto` command.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "ecto", disable_help_flag = true)]
pub struct Options {
    /// Built-in stand-ins in place of Tailscale, OpenClaw and the internet.
    #[arg(long)]
    pub sandbox: bool,
    /// Where the secrets are kept.
    #[arg(long, value_enum, default_value_t)]
    pub vault: VaultOption,
    /// The file of the lab.
    #[arg(long, hide = true, conflicts_with = "sandbox")]
    pub lab: Option<PathBuf>,
}

/// Where the secrets are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum VaultOption {
    /// The Keychain or the secret store of the desktop, or a file where neither answers.
    #[default]
    Auto,
    /// A file that only its owner can read.
    File,
}

impl Options {
    /// The options where these arguments, name of the program first, are meant for the app.
    pub fn of_app(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        Self::try_parse_from(arguments).ok()
    }

    /// What to start this program with so that it does the same again.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        if self.sandbox {
            arguments.push("--sandbox".into());
        }
        if self.vault == VaultOption::File {
            arguments.extend(["--vault".into(), "file".into()]);
        }
        if let Some(lab) = &self.lab {
            arguments.extend(["--lab".into(), lab.clone().into_os_string()]);
        }
        arguments
    }
}

/// Everything that is decided before the first window.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What was said.
    pub options: Options,
    /// Where Ecto keeps its files.
    pub folders: Folders,
    /// The control socket.
    pub socket: PathBuf,
    /// In which world it works.
    pub world: WorldChoice,
    /// Where the secrets are to be.
    pub vault: VaultChoice,
}

impl Launch {
    /// Finds the folders and makes them.
    pub fn prepare(
        options: Options,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Refusal> {
        let mut folders = Folders::locate(System::current(), &environment)?;
        if options.sandbox {
            let apart = folders.state().join("sandbox");
            folders = Folders::locate(System::current(), |name| {
                if name == HOME_VARIABLE {
                    Some(apart.clone().into_os_string())
                } else {
                    environment(name)
                }
            })?;
        }
        folders.create()?;
        let world = match (&options.lab, options.sandbox) {
            (_, true) => WorldChoice::Sandbox,
            (Some(path), false) => WorldChoice::Lab(read_lab(path)?),
            (None, false) => WorldChoice::Real,
        };
        Ok(Self {
            socket: folders.socket()?,
            world,
            vault: match options.vault {
                VaultOption::Auto => VaultChoice::Auto,
                VaultOption::File => VaultChoice::File,
            },
            folders,
            options,
        })
    }
}

fn read_lab(path: &std::path::Path) -> Result<LabPlaces, Refusal> {
    let unusable = |detail: String| {
        Refusal::new(
            "lab_unusable",
            format!(
                "The lab's file {} cannot be used: {detail}.",
                path.display()
            ),
            "Start the lab with: cargo xtask lab --keep",
        )
    };
    let text = std::fs::read(path).map_err(|fault| unusable(fault.to_string()))?;
    let places: LabPlaces =
        serde_json::from_slice(&text).map_err(|fault| unusable(fault.to_string()))?;
    Ok(LabPlaces {
        file: path.to_owned(),
        ..places
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Option<Options> {
        Options::of_app(
            std::iter::once("ecto")
                .chain(arguments.iter().copied())
                .map(OsString::from),
        )
    }

    #[test]
    fn without_a_command_it_is_the_app_and_with_one_it_is_the_command() {
        assert!(parsed(&[]).is_some());
        assert!(parsed(&["--sandbox"]).is_some_and(|options| options.sandbox));
        for command in [
            &["connect"][..],
            &["status", "--sandbox"],
            &["--help"],
            &["--version"],
            &["--nonsense"],
        ] {
            assert_eq!(parsed(command), None, "{command:?}");
        }
    }

    #[test]
    fn it_can_be_started_again_as_it_was() {
        let options = parsed(&["--vault", "file", "--lab", "/lab.json"]).unwrap();
        let again = options.to_arguments();
        let again: Vec<&str> = again
            .iter()
            .map(|argument| argument.to_str().unwrap())
            .collect();
        assert_eq!(parsed(&again), Some(options));
    }

    #[test]
    fn the_sandbox_has_folders_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_owned();
        let launch = Launch::prepare(parsed(&["--sandbox"]).unwrap(), |name| {
            (name == "HOME").then(|| home.clone().into_os_string())
        })
        .unwrap();
        assert!(launch.folders.are_apart());
        assert!(launch.socket.starts_with(folder.path()));
        assert_eq!(launch.world, WorldChoice::Sandbox);
    }
}
