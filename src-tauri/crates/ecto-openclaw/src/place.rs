//! Where OpenClaw keeps its configuration and state on this machine, and on which port it listens.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::environment::{Environment, expand_home, variable};
use crate::launch_agent::{LaunchAgent, Program};
use crate::variables::parse_variables;

/// The port of a gateway that nobody gave another (OpenClaw 2026.9.6).
pub const DEFAULT_PORT: u16 = 18789;

/// The port of `--dev` (OpenClaw 2026.9.6).
const DEV_PORT: u16 = 19001;

/// Where everything of OpenClaw is.
#[derive(Clone)]
pub struct Place {
    /// The configuration file as it is named; it may be a symlink.
    pub config: PathBuf,
    /// The folder of OpenClaw's state.
    pub state: PathBuf,
    /// The port that the command line or a variable gives, which wins over the configuration.
    pub port: Option<u16>,
    /// The port where the configuration names none either.
    pub default_port: u16,
    /// The home folder that `~` stands for in OpenClaw's configuration.
    pub home: PathBuf,
    /// Variables as the gateway sees them, as far as can be known: its service's, its `.env`, then those of Ecto.
    pub variables: BTreeMap<String, String>,
    /// What manages the configuration so that nobody may write it: the name of the variable that says so.
    pub managed_by: Option<&'static str>,
    /// The background job that runs the gateway.
    pub agent: Option<LaunchAgent>,
    /// How OpenClaw is run.
    pub program: Option<Program>,
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Place")
            .field("config", &self.config)
            .field("state", &self.state)
            .field("port", &self.port)
            .field("default_port", &self.default_port)
            .field("home", &self.home)
            .field("managed_by", &self.managed_by)
            .field("agent", &self.agent)
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

impl Place {
    /// Finds OpenClaw by what Ecto's own surroundings say, then its service, then the defaults
    /// (OpenClaw 2026.9.6: `OPENCLAW_CONFIG_PATH`, `OPENCLAW_STATE_DIR`, `OPENCLAW_HOME`, `--profile`, `--dev`; the variable
    /// `OPENCLAW_PROFILE` alone does not move the configuration).
    pub fn find(environment: &Environment) -> Self {
        let agent = LaunchAgent::find(environment);
        let mut variables = environment.variables.clone();
        if let Some(agent) = &agent {
            for (name, value) in &agent.variables {
                let said_here =
                    name.starts_with("OPENCLAW_") && environment.variable(name).is_some();
                if !said_here {
                    variables.insert(name.clone(), value.clone());
                }
            }
        }
        let home = variable(&variables, "OPENCLAW_HOME").map_or_else(
            || environment.home.clone(),
            |home| expand_home(home, &environment.home),
        );
        let dev = agent.as_ref().is_some_and(|agent| agent.has("--dev"));
        let profile = agent.as_ref().and_then(|agent| agent.flag("--profile"));
        let folder = match profile {
            Some(profile) if profile != "default" => format!(".openclaw-{profile}"),
            Some(_) | None if dev => ".openclaw-dev".to_owned(),
            Some(_) | None => ".openclaw".to_owned(),
        };
        let state = variable(&variables, "OPENCLAW_STATE_DIR")
            .map_or_else(|| home.join(folder), |state| expand_home(state, &home));
        let config = variable(&variables, "OPENCLAW_CONFIG_PATH").map_or_else(
            || state.join("openclaw.json"),
            |config| expand_home(config, &home),
        );
        if let Ok(text) = std::fs::read_to_string(state.join(".env")) {
            for (name, value) in parse_variables(&text) {
                let service_has_it = agent
                    .as_ref()
                    .is_some_and(|agent| agent.variables.contains_key(&name));
                if !service_has_it {
                    variables.insert(name, value);
                }
            }
        }
        let port = agent.as_ref().and_then(LaunchAgent::port).or_else(|| {
            variable(&variables, "OPENCLAW_GATEWAY_PORT").and_then(|port| port.parse().ok())
        });
        let managed_by = ["OPENCLAW_NIX_MODE", "OPENCLAW_CONFIG_READONLY"]
            .into_iter()
            .find(|name| variable(&variables, name).is_some_and(is_true));
        let program = Program::find(environment, agent.as_ref());
        Self {
            config,
            state,
            port,
            default_port: if dev { DEV_PORT } else { DEFAULT_PORT },
            home,
            variables,
            managed_by,
            agent,
            program,
        }
    }

    /// Whether nothing of OpenClaw is on this machine.
    pub fn is_missing(&self) -> bool {
        self.program.is_none() && self.agent.is_none() && self.config.symlink_metadata().is_err()
    }

    /// The file in which a person finds what the gateway said: the service's log where it names one that exists.
    pub fn log(&self) -> Option<PathBuf> {
        let named = self.agent.as_ref().and_then(|agent| agent.log.clone());
        let usual = [
            self.home.join("Library/Logs/openclaw/gateway.log"),
            self.state.join("logs/gateway.log"),
        ];
        named
            .filter(|file| file.as_os_str() != "/dev/null")
            .into_iter()
            .chain(usual)
            .find(|file| file.is_file())
            .or_else(daily_log)
    }
}

/// The newest of OpenClaw's daily logs, `/tmp/openclaw/openclaw-YYYY-MM-DD.log` (OpenClaw 2026.9.6).
fn daily_log() -> Option<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir("/tmp/openclaw")
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    files.sort();
    files.pop()
}

fn is_true(value: &str) -> bool {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "1" | "true" | "yes" | "on"
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn find(variables: &[(&str, &str)], home: &Path) -> Place {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut environment = Environment::new(variables, home.to_owned());
        environment.program_folders = vec![home.join("programs")];
        environment.launch_agents = None;
        Place::find(&environment)
    }

    #[test]
    fn the_configuration_is_where_openclaw_looks_for_it() {
        let home = Path::new("/nobody");
        for (variables, expected) in [
            (vec![], "/nobody/.openclaw/openclaw.json"),
            (vec![("OPENCLAW_CONFIG_PATH", "/x/y.json5")], "/x/y.json5"),
            (
                vec![("OPENCLAW_CONFIG_PATH", "~/y.json5")],
                "/nobody/y.json5",
            ),
            (vec![("OPENCLAW_STATE_DIR", "/st")], "/st/openclaw.json"),
            (
                vec![("OPENCLAW_HOME", "/h2")],
                "/h2/.openclaw/openclaw.json",
            ),
            (
                vec![("OPENCLAW_HOME", "~/svc")],
                "/nobody/svc/.openclaw/openclaw.json",
            ),
            (
                vec![("OPENCLAW_HOME", " ")],
                "/nobody/.openclaw/openclaw.json",
            ),
            (
                vec![("OPENCLAW_HOME", "undefined")],
                "/nobody/.openclaw/openclaw.json",
            ),
            (
                vec![("OPENCLAW_PROFILE", "foo")],
                "/nobody/.openclaw/openclaw.json",
            ),
        ] {
            assert_eq!(
                find(&variables, home).config,
                Path::new(expected),
                "{variables:?}"
            );
        }
    }

    #[test]
    fn managed_configurations_are_known_by_the_variable() {
        let home = Path::new("/nobody");
        assert_eq!(
            find(&[("OPENCLAW_NIX_MODE", "1")], home).managed_by,
            Some("OPENCLAW_NIX_MODE")
        );
        assert_eq!(
            find(&[("OPENCLAW_CONFIG_READONLY", "true")], home).managed_by,
            Some("OPENCLAW_CONFIG_READONLY")
        );
        assert_eq!(find(&[("OPENCLAW_NIX_MODE", "0")], home).managed_by, None);
    }

    #[test]
    fn openclaw_is_missing_only_without_file_and_program() {
        let home = tempfile::tempdir().unwrap();
        assert!(find(&[], home.path()).is_missing());
        std::fs::create_dir_all(home.path().join("programs")).unwrap();
        std::fs::write(home.path().join("programs/openclaw"), "").unwrap();
        assert!(!find(&[], home.path()).is_missing());
    }

    #[test]
    fn the_env_file_gives_variables_and_the_port() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".openclaw")).unwrap();
        std::fs::write(
            home.path().join(".openclaw/.env"),
            "OPENCLAW_GATEWAY_PORT=19555\nTOKEN_HERE=abc\n",
        )
        .unwrap();
        let place = find(&[], home.path());
        assert_eq!(place.port, Some(19555));
        assert_eq!(place.variables["TOKEN_HERE"], "abc");
    }
}
