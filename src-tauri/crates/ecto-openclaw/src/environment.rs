//! What the machine looks like from where Ecto runs: variables, the home folder, and where programs are looked for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The surroundings in which OpenClaw is looked for. Nothing in this crate asks the process for them.
#[derive(Clone)]
pub struct Environment {
    /// Environment variables, such as `OPENCLAW_CONFIG_PATH`.
    pub variables: BTreeMap<String, String>,
    /// The person's home folder.
    pub home: PathBuf,
    /// Folders in which the `openclaw` program is looked for, best first. Fixed places, never `PATH` of the moment.
    pub program_folders: Vec<PathBuf>,
    /// Where the LaunchAgents are, on a machine that has them.
    pub launch_agents: Option<PathBuf>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Environment")
            .field("home", &self.home)
            .field("program_folders", &self.program_folders)
            .field("launch_agents", &self.launch_agents)
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// The surroundings on this kind of machine, with the places in which OpenClaw's installers put the program:
    /// the app's own (`~/.openclaw`), `~/.local`, npm's global folders, Homebrew, nvm (newest Node first).
    pub fn new(variables: BTreeMap<String, String>, home: PathBuf) -> Self {
        let mut program_folders: Vec<PathBuf> =
            [".openclaw/bin", ".local/bin", ".npm-global/bin", "bin"]
                .iter()
                .map(|folder| home.join(folder))
                .collect();
        program_folders.extend(
            ["/opt/homebrew/bin", "/usr/local/bin", "/usr/bin"]
                .iter()
                .map(PathBuf::from),
        );
        program_folders.extend(nvm_folders(&home));
        let launch_agents = cfg!(target_os = "macos").then(|| home.join("Library/LaunchAgents"));
        Self {
            variables,
            home,
            program_folders,
            launch_agents,
        }
    }

    /// The value of a variable, trimmed; blank counts as unset, and so do `undefined` and `null`
    /// (OpenClaw 2026.9.6, `docs/help/environment.md`).
    pub fn variable(&self, name: &str) -> Option<&str> {
        variable(&self.variables, name)
    }
}

pub(crate) fn variable<'a>(variables: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let value = variables.get(name)?.trim();
    (!value.is_empty() && value != "undefined" && value != "null").then_some(value)
}

/// Expands a leading `~` as OpenClaw does.
pub(crate) fn expand_home(path: &str, home: &Path) -> PathBuf {
    if path == "~" {
        return home.to_owned();
    }
    match path.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => PathBuf::from(path),
    }
}

fn nvm_folders(home: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(home.join(".nvm/versions/node")) else {
        return Vec::new();
    };
    let mut versions: Vec<(Vec<u64>, PathBuf)> = entries
        .filter_map(Result::ok)
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let numbers = name
                .trim_start_matches('v')
                .split('.')
                .map(|part| part.parse().unwrap_or(0))
                .collect();
            (numbers, entry.path().join("bin"))
        })
        .collect();
    versions.sort();
    versions
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_node_of_nvm_comes_first() {
        let home = tempfile::tempdir().unwrap();
        for version in ["v9.1.0", "v24.16.0", "v22.3.1"] {
            std::fs::create_dir_all(home.path().join(".nvm/versions/node").join(version)).unwrap();
        }
        let environment = Environment::new(BTreeMap::new(), home.path().to_owned());
        let found: Vec<String> = environment
            .program_folders
            .iter()
            .filter_map(|folder| {
                folder
                    .strip_prefix(home.path().join(".nvm/versions/node"))
                    .ok()
            })
            .map(|folder| folder.display().to_string())
            .collect();
        assert_eq!(found, ["v24.16.0/bin", "v22.3.1/bin", "v9.1.0/bin"]);
    }
}
