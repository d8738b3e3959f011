//! The LaunchAgent that runs the gateway: which program, with which variables, and where its log is.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::environment::{Environment, expand_home, variable};
use crate::variables::parse_variables;

/// The label of the LaunchAgent without a profile (OpenClaw 2026.9.6, `docs/platforms/mac/bundled-gateway.md`).
pub const LABEL: &str = "ai.openclaw.gateway";

/// The LaunchAgent that runs the gateway.
#[derive(Clone, PartialEq, Eq)]
pub struct LaunchAgent {
    /// Its label, such as `ai.openclaw.gateway`.
    pub label: String,
    /// Its property list.
    pub file: PathBuf,
    /// The Node and the OpenClaw it starts.
    pub program: Option<Program>,
    /// Everything it passes to OpenClaw after the program.
    pub arguments: Vec<String>,
    /// The variables it sets, those of its env file included.
    pub variables: BTreeMap<String, String>,
    /// Where its output goes.
    pub log: Option<PathBuf>,
}

impl fmt::Debug for LaunchAgent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LaunchAgent")
            .field("label", &self.label)
            .field("file", &self.file)
            .field("program", &self.program)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl LaunchAgent {
    /// Finds the LaunchAgent of this person, where there is one that can be read.
    pub fn find(environment: &Environment) -> Option<Self> {
        let folder = environment.launch_agents.as_ref()?;
        let label = match environment.variable("OPENCLAW_PROFILE") {
            Some(profile) if profile != "default" => format!("ai.openclaw.{profile}"),
            Some(_) | None => LABEL.to_owned(),
        };
        let file = folder.join(format!("{label}.plist"));
        let bytes = std::fs::read(&file).ok()?;
        let mut agent = Self::parse(&bytes, label, file)?;
        for argument in agent.env_files(&bytes) {
            let Ok(text) = std::fs::read_to_string(&argument) else {
                continue;
            };
            for (name, value) in parse_variables(&text) {
                agent.variables.entry(name).or_insert(value);
            }
        }
        Some(agent)
    }

    /// Reads a LaunchAgent's property list.
    pub fn parse(bytes: &[u8], label: String, file: PathBuf) -> Option<Self> {
        let list: plist::Value = plist::from_bytes(bytes).ok()?;
        let list = list.as_dictionary()?;
        let words = words(list);
        let (program, arguments) = split_program(&words);
        let variables = list
            .get("EnvironmentVariables")
            .and_then(plist::Value::as_dictionary)
            .map(|entries| {
                entries
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), value.as_string()?.to_owned())))
                    .collect()
            })
            .unwrap_or_default();
        let log = ["StandardErrorPath", "StandardOutPath"]
            .iter()
            .find_map(|name| list.get(name)?.as_string())
            .map(PathBuf::from);
        Some(Self {
            label,
            file,
            program,
            arguments,
            variables,
            log,
        })
    }

    /// The port it passes on the command line.
    pub fn port(&self) -> Option<u16> {
        self.flag("--port")?.parse().ok()
    }

    /// The value of a flag, written `--flag value` or `--flag=value`.
    pub fn flag(&self, name: &str) -> Option<&str> {
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == name {
                return arguments.next().map(String::as_str);
            }
            if let Some(value) = argument
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('='))
            {
                return Some(value);
            }
        }
        None
    }

    /// Whether a flag without value is there.
    pub fn has(&self, name: &str) -> bool {
        self.arguments.iter().any(|argument| argument == name)
    }

    fn env_files(&self, bytes: &[u8]) -> Vec<PathBuf> {
        let Ok(list) = plist::from_bytes::<plist::Value>(bytes) else {
            return Vec::new();
        };
        list.as_dictionary()
            .map(words)
            .unwrap_or_default()
            .into_iter()
            .filter(|word| Path::new(word).extension().is_some_and(|end| end == "env"))
            .map(PathBuf::from)
            .collect()
    }
}

fn words(list: &plist::Dictionary) -> Vec<String> {
    list.get("ProgramArguments")
        .and_then(plist::Value::as_array)
        .map(|words| {
            words
                .iter()
                .filter_map(|word| word.as_string().map(str::to_owned))
                .collect()
        })
        .unwrap_or_default()
}

/// Divides a command line at the word `gateway`: what stands before it is Node and OpenClaw (or OpenClaw alone).
fn split_program(words: &[String]) -> (Option<Program>, Vec<String>) {
    let Some(place) = words.iter().position(|word| word == "gateway") else {
        return (None, words.to_vec());
    };
    let arguments = words[place..].to_vec();
    let before: Vec<&String> = words[..place]
        .iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    let program = match before.as_slice() {
        [] => None,
        [only] => Some(Program {
            node: None,
            openclaw: PathBuf::from(only),
        }),
        [.., node, script] => {
            let is_script = Path::new(script)
                .extension()
                .is_some_and(|end| end == "mjs" || end == "js");
            Some(Program {
                node: is_script.then(|| PathBuf::from(node)),
                openclaw: PathBuf::from(script),
            })
        }
    };
    (program, arguments)
}

/// How OpenClaw is run on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The Node to run it with, where it is a script that does not start by itself.
    pub node: Option<PathBuf>,
    /// The program, or the script.
    pub openclaw: PathBuf,
}

impl Program {
    /// Looks for OpenClaw in the service that runs it, then in the known places.
    pub fn find(environment: &Environment, agent: Option<&LaunchAgent>) -> Option<Self> {
        if let Some(program) = agent.and_then(|agent| agent.program.as_ref())
            && program.openclaw.exists()
        {
            return Some(program.clone());
        }
        let openclaw_home = variable(&environment.variables, "OPENCLAW_HOME")
            .map(|home| expand_home(home, &environment.home).join(".openclaw/bin"));
        openclaw_home
            .iter()
            .chain(&environment.program_folders)
            .map(|folder| folder.join("openclaw"))
            .find(|file| file.is_file())
            .map(|openclaw| Self {
                node: None,
                openclaw,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLIST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
  <key>Label</key><string>ai.openclaw.gateway</string>
  <key>ProgramArguments</key><array>
    <string>/bin/sh</string>
    <string>/Users/sam/.openclaw/service-env/ai.openclaw.gateway-env-wrapper.sh</string>
    <string>ENVFILE</string>
    <string>/Users/sam/.openclaw/tools/node/bin/node</string>
    <string>/Users/sam/.openclaw/lib/node_modules/openclaw/openclaw.mjs</string>
    <string>gateway</string><string>--port</string><string>19123</string>
  </array>
  <key>EnvironmentVariables</key><dict>
    <key>OPENCLAW_STATE_DIR</key><string>/Users/sam/claw &amp; co</string>
  </dict>
  <key>StandardOutPath</key><string>/Users/sam/Library/Logs/openclaw/gateway.log</string>
</dict></plist>"#;

    #[test]
    fn a_launch_agent_tells_program_port_variables_and_log() {
        let folder = tempfile::tempdir().unwrap();
        let env_file = folder.path().join("ai.openclaw.gateway.env");
        std::fs::write(
            &env_file,
            "export OPENCLAW_GATEWAY_TOKEN='one two'\nOTHER=x\n",
        )
        .unwrap();
        std::fs::write(
            folder.path().join("ai.openclaw.gateway.plist"),
            PLIST.replace("ENVFILE", env_file.to_str().unwrap()),
        )
        .unwrap();
        let mut environment = Environment::new(BTreeMap::new(), folder.path().to_owned());
        environment.launch_agents = Some(folder.path().to_owned());

        let agent = LaunchAgent::find(&environment).unwrap();
        assert_eq!(agent.port(), Some(19123));
        assert_eq!(
            agent.program,
            Some(Program {
                node: Some("/Users/sam/.openclaw/tools/node/bin/node".into()),
                openclaw: "/Users/sam/.openclaw/lib/node_modules/openclaw/openclaw.mjs".into(),
            })
        );
        assert_eq!(
            agent.variables["OPENCLAW_STATE_DIR"],
            "/Users/sam/claw & co"
        );
        assert_eq!(agent.variables["OPENCLAW_GATEWAY_TOKEN"], "one two");
        assert_eq!(
            agent.log,
            Some("/Users/sam/Library/Logs/openclaw/gateway.log".into())
        );
    }

    #[test]
    fn a_profile_has_its_own_launch_agent() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ai.openclaw.work.plist"), PLIST).unwrap();
        let variables = [("OPENCLAW_PROFILE".to_owned(), "work".to_owned())].into();
        let mut environment = Environment::new(variables, folder.path().to_owned());
        environment.launch_agents = Some(folder.path().to_owned());
        assert_eq!(
            LaunchAgent::find(&environment).unwrap().label,
            "ai.openclaw.work"
        );
    }

    #[test]
    fn a_broken_property_list_is_no_launch_agent() {
        assert_eq!(
            LaunchAgent::parse(b"<plist>", LABEL.into(), "x".into()),
            None
        );
    }
}
