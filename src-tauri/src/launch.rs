//! How the app was started: in which world, with which folders.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use ecto_host::world::WorldChoice;
use ecto_platform::folders::Folders;
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
    /// For how many seconds the page is kept after it was hidden. It opens at once meanwhile, and takes no memory afterwards.
    #[arg(long, hide = true, default_value_t = 180)]
    pub page_kept: u64,
    /// For how many seconds a copied secret stays in the clipboard.
    #[arg(long, hide = true, default_value_t = 60)]
    pub secret_kept: u64,
    /// For how many seconds a desktop that has just begun may make room for an icon before there is a window in its place.
    #[arg(long, hide = true, default_value_t = 3)]
    pub tray_comes: u64,
    /// For how many milliseconds after the popover lost the focus a click on the icon counts as the one that took it away.
    #[arg(long, hide = true, default_value_t = 250)]
    pub same_click: u64,
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

    /// What to start this program with so that it works in the same world again.
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
        let world = WorldChoice::of(options.sandbox, options.lab.as_deref())?;
        let folders = world.folders(environment)?;
        folders.create()?;
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
        // What a person is promised.
        assert!(parsed(&[]).is_some_and(|options| options.secret_kept == 60));
        let for_desktop = parsed(&[]).map(|options| (options.tray_comes, options.same_click));
        assert_eq!(for_desktop, Some((3, 250)));
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
