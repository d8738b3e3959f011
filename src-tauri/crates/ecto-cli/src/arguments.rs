//! What may be typed.

mod value;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use ecto_core::Timestamp;
use ecto_core::key::grant::parse_range;
use ecto_core::key::{AgentId, Rate, Route};
use ecto_core::offer::Origin;
use ecto_core::tailnet::NodeChoice;
use ipnet::IpNet;

use value::{
    parse_count, parse_expiry, parse_grace, parse_open_for, parse_rate, parse_renewal, parse_since,
};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NodeArgument {
    /// The one that answers; where none does, Ecto's own.
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
    /// A key for each client, with its own limits.
    Key {
        /// What to do.
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// What the guard offers beside chat, responses and models. Nothing, unless you allow it.
    Route {
        /// What to do.
        #[command(subcommand)]
        command: RouteCommand,
    },
    /// Restart the OpenClaw gateway and wait until it is ready.
    ///
    /// That takes up to a minute. OpenClaw may put it off, five minutes at most, to finish what it is doing; then that is
    /// said, and it restarts by itself.
    Restart,
    /// Show Ecto's log, and say where the gateway's is.
    Logs {
        /// Go on as it grows.
        #[arg(short, long)]
        follow: bool,
    },
    /// Show who called, when, what for, and how it went; never what was said.
    Requests(Requests),
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
        /// Answer `GET /metrics` on the control socket, for Prometheus.
        #[arg(long)]
        metrics: bool,
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
            Self::Status { .. }
                | Self::Logs { .. }
                | Self::Requests(Requests { key: None, .. })
                | Self::Skill { .. }
                | Self::Completions { .. }
        )
    }
}

/// What may be done with routes.
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// List what is offered and what could be.
    List,
    /// Offer a route.
    Allow {
        /// Which: embeddings or hooks.
        route: Route,
    },
    /// Offer a route no longer.
    Forbid {
        /// Which: embeddings or hooks.
        route: Route,
    },
    /// Let the programs of a web page call (CORS).
    AllowOrigin {
        /// Where the page comes from, such as `https://app.example`.
        origin: Origin,
    },
    /// Let the programs of a web page call no longer.
    ForbidOrigin {
        /// Where the page comes from.
        origin: Origin,
    },
}

/// What may be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it.
    Add(NewKey),
    /// List the keys: their ends, what they open, and when each was last used.
    List,
    /// Print a key.
    Show {
        /// The key's name.
        name: String,
    },
    /// Make another key in place of one, and print it.
    Rotate {
        /// The key's name.
        name: String,
        /// How long the one before goes on working, such as 15m, 1h or 7d.
        #[arg(long, value_name = "TIME", value_parser = parse_grace, allow_hyphen_values = true, default_value = "0s")]
        grace: Duration,
        /// When the new key ends, such as 12h, 30d or 2027-01-31, or never; when the one before would have, where this is not
        /// given.
        #[arg(long, value_name = "TIME", value_parser = parse_renewal, allow_hyphen_values = true)]
        expires: Option<Renewal>,
    },
    /// Take a key away, and cut what is open with it.
    Revoke {
        /// The key's name.
        name: String,
    },
    /// Give a key another name.
    Rename {
        /// The key's name.
        name: String,
        /// What it is to be called.
        to: String,
    },
    /// Tell whose a key is, or that it is mistyped; the key comes on stdin.
    Which,
}

/// A key to be made.
#[derive(Debug, clap::Args)]
pub struct NewKey {
    /// What to call it.
    pub name: String,
    /// Reach this agent of OpenClaw alone, whatever the client asks for.
    #[arg(long, value_name = "ID")]
    pub agent: Option<AgentId>,
    /// What it opens, with commas between: chat, responses, models, embeddings, hooks. The first three where this is not given.
    #[arg(long, value_name = "ROUTES", value_delimiter = ',')]
    pub routes: Vec<Route>,
    /// How many requests it may make before it has to wait, such as 5/sec, 60/min, 500/hour or 1000/day; what it has used
    /// comes back bit by bit over that time.
    #[arg(long, value_parser = parse_rate, allow_hyphen_values = true)]
    pub rate: Option<Rate>,
    /// How many requests it may have under way at once.
    #[arg(long, value_name = "COUNT", value_parser = parse_count, allow_hyphen_values = true)]
    pub concurrent: Option<NonZeroU32>,
    /// When it ends: after a time such as 12h or 30d, or at the beginning of a day such as 2027-01-31.
    #[arg(long, value_name = "TIME", value_parser = parse_expiry, allow_hyphen_values = true)]
    pub expires: Option<Expiry>,
    /// The addresses from which it may be used, such as 203.0.113.7 or 203.0.113.0/24; several with commas between.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = parse_range)]
    pub from: Vec<IpNet>,
}

/// When a key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// After this long.
    After(Duration),
    /// At this moment.
    At(Timestamp),
}

impl Expiry {
    /// The moment, counted from `now`.
    pub fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::After(time) => now.checked_add(time).unwrap_or(Timestamp::MAX),
            Self::At(moment) => moment,
        }
    }
}

/// When a key ends that takes the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Never.
    Never,
    /// Then.
    Ends(Expiry),
}

/// What may be done with the skill.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum SkillCommand {
    /// Put it where OpenClaw finds it.
    Install,
    /// Take it away.
    Remove,
}

/// How long a door is to stay open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFor {
    /// Until somebody says otherwise.
    Unlimited,
    /// This long.
    Time(Duration),
}

/// How to connect.
#[derive(Debug, clap::Args)]
pub struct Connect {
    /// Close the door by itself after this long, such as 15m, 1h or 8h, or unlimited; a door that is wanted already keeps its
    /// time where this is not given.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_open_for, allow_hyphen_values = true)]
    pub open_for: Option<OpenFor>,
    /// Go on in the background.
    #[arg(long)]
    pub detach: bool,
    /// Which tailscaled is to hold the door; auto where this is not given, or the one that is wanted already.
    #[arg(long, value_enum)]
    pub node: Option<NodeArgument>,
    /// Make another key first; the old one stops working at once.
    #[arg(long)]
    pub regenerate_token: bool,
    /// Restart the OpenClaw gateway first.
    #[arg(long)]
    pub restart: bool,
    /// Print the key, even where stdout is not a terminal.
    #[arg(long)]
    pub reveal: bool,
    /// Answer `GET /metrics` on the control socket, for Prometheus.
    #[arg(long)]
    pub metrics: bool,
}

/// Which requests to show.
#[derive(Debug, clap::Args)]
pub struct Requests {
    /// Go on as they come.
    #[arg(short, long)]
    pub follow: bool,
    /// Those with the key of this name alone.
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Those of this last time alone, such as 15m, 24h or 7d.
    #[arg(long, value_name = "TIME", value_parser = parse_since, allow_hyphen_values = true)]
    pub since: Option<Duration>,
    /// The last so many; where this is not given, all with --since, and 50 without.
    #[arg(short = 'n', long = "last", value_name = "NUMBER", value_parser = parse_count, allow_hyphen_values = true)]
    pub last: Option<NonZeroU32>,
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
    fn global_options_stand_on_either_side() {
        let before = Arguments::try_parse_from(["ecto", "--sandbox", "connect"]).unwrap();
        let after = Arguments::try_parse_from(["ecto", "connect", "--sandbox"]).unwrap();
        assert!(before.sandbox && after.sandbox);
    }
}
