//! What may be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use ecto_core::tailnet::NodeChoice;

const EXIT_STATUS: &str = "Exit status: 0 done; 1 it did not work; 2 not understood; 3 a person has to do something first; \
4 something may be reachable that should not be; 130 interrupted.";

/// Puts the OpenClaw gateway of this machine on the internet, behind a lock, and takes it off again.
#[derive(Debug, Parser)]
#[command(name = "ecto", version, after_help = EXIT_STATUS, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print JSON on stdout (schema 1); with --watch and while connected, one document a line.
    #[arg(long, global = true)]
    pub json: bool,
    /// Use built-in stand-ins in place of Tailscale, OpenClaw and the internet: no account, no network.
    #[arg(long, global = true)]
    pub sandbox: bool,
    /// Where the secrets are kept.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub vault: VaultArgument,
    /// Use the tailscaled, the edge and the resolvers that this file names (the lab).
    #[arg(long, global = true, hide = true, conflicts_with = "sandbox")]
    pub lab: Option<PathBuf>,
}

/// Where the secrets are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum VaultArgument {
    /// The Keychain or the secret store of the desktop; a file that only you can read where neither answers.
    #[default]
    Auto,
    /// A file that only you can read.
    File,
}

/// Which tailscaled is to hold the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum NodeArgument {
    /// The one that answers; where none does, Ecto's own.
    #[default]
    Auto,
    /// Ecto's own, without administrator rights.
    Own,
    /// The one for the whole machine.
    System,
}

impl From<NodeArgument> for NodeChoice {
    fn from(node: NodeArgument) -> Self {
        match node {
            NodeArgument::Auto => Self::Auto,
            NodeArgument::Own => Self::Own,
            NodeArgument::System => Self::System,
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Do everything that is needed, open the door, and print the address, the key and an example.
    Connect(Connect),
    /// Tell what is.
    Status {
        /// Go on telling, whenever something changes.
        #[arg(long)]
        watch: bool,
    },
    /// Close the door, and see that it is closed.
    Disconnect,
    /// The key that clients present.
    Token {
        /// Copy it to the clipboard.
        #[arg(long, conflicts_with = "reveal")]
        copy: bool,
        /// Print it, even where stdout is not a terminal.
        #[arg(long)]
        reveal: bool,
        /// Make another one first; the old one stops working at once.
        #[arg(long)]
        regenerate: bool,
    },
    /// Restart the OpenClaw gateway and wait until it is ready.
    Restart,
    /// Show Ecto's log, and say where the gateway's is.
    Logs {
        /// Go on as it grows.
        #[arg(short, long)]
        follow: bool,
    },
    /// Look at everything that Ecto depends on, changing nothing.
    Doctor,
    /// Close the door and undo what Ecto changed in OpenClaw's configuration.
    Restore,
    /// Take Ecto off this machine: door, changes to OpenClaw, key, skill, logs. Says what it leaves.
    Uninstall {
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Run without a window: keep what is wanted, until told to end.
    Serve {
        /// End once it is Private again.
        #[arg(long, hide = true)]
        until_private: bool,
    },
    /// The skill with which OpenClaw itself can connect, tell and disconnect.
    Skill {
        /// What to do with it.
        #[command(subcommand)]
        command: SkillCommand,
    },
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether it may run a host in this process.
    pub fn runs_a_host(&self) -> bool {
        !matches!(
            self,
            Self::Status { .. } | Self::Logs { .. } | Self::Skill { .. } | Self::Completions { .. }
        )
    }
}

/// What may be done with the skill.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum SkillCommand {
    /// Put it where OpenClaw finds it.
    Install,
    /// Take it away.
    Remove,
}

/// How to connect.
#[derive(Debug, clap::Args)]
pub struct Connect {
    /// Close the door by itself after this long, such as 15m, 1h or 8h.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Go on in the background.
    #[arg(long)]
    pub detach: bool,
    /// Which tailscaled is to hold the door.
    #[arg(long, value_enum, default_value_t)]
    pub node: NodeArgument,
    /// Make another key first; the old one stops working at once.
    #[arg(long)]
    pub regenerate_token: bool,
    /// Restart the OpenClaw gateway first.
    #[arg(long)]
    pub restart: bool,
    /// Print the key, even where stdout is not a terminal.
    #[arg(long)]
    pub reveal: bool,
}

/// The longest time for which a door may be asked to stay open: a year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn parse_duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "not a time: write it as 15m, 1h or 1h30m".to_owned())?;
    let duration = Duration::try_from(span).map_err(|_| "a time cannot be negative".to_owned())?;
    if duration.is_zero() || duration > LONGEST {
        return Err("the time must be between a second and a year".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_time_is_read_as_people_write_it() {
        assert_eq!(parse_duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(parse_duration("0s").is_err());
        assert!(parse_duration("-1h").is_err());
        assert!(parse_duration("soon").is_err());
        assert!(parse_duration("9000h").is_err());
    }

    #[test]
    fn global_options_stand_on_either_side() {
        let before = Arguments::try_parse_from(["ecto", "--sandbox", "connect"]).unwrap();
        let after = Arguments::try_parse_from(["ecto", "connect", "--sandbox"]).unwrap();
        assert!(before.sandbox && after.sandbox);
    }
}
