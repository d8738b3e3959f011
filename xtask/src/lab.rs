//! The lab: the real tailscaled with a local control server, and the real OpenClaw.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};

use crate::{
    requirements,
    workspace::{Workspace, exit_code},
};

/// Runs the lab's tests, or with `keep` starts the lab and leaves it up until Ctrl-C.
pub fn run(workspace: &Workspace, keep: bool, arguments: &[String]) -> Result<ExitCode> {
    requirements::language_tools()?;
    // The journeys start the command from beside the tests.
    let built = workspace
        .cargo()
        .args(["build", "--package", "ecto-cli"])
        .status()?;
    if !built.success() {
        return Ok(exit_code(built));
    }
    let mut command = workspace.cargo();
    if keep {
        command.args(["run", "--package", "ecto-tests", "--bin", "lab", "--"]);
    } else {
        command.args(["test", "--package", "ecto-tests", "--no-fail-fast"]);
        let journeys = lab_journeys(&workspace.root.join("tests/tests"))?;
        if journeys.is_empty() {
            bail!("There are no lab tests in tests/tests.");
        }
        for journey in journeys {
            command.args(["--test", &journey]);
        }
        command.arg("--");
    }
    Ok(exit_code(command.args(arguments).status()?))
}

fn lab_journeys(folder: &Path) -> Result<Vec<String>> {
    let mut journeys = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(|| format!("{} cannot be read.", folder.display()))?
    {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix(".rs")
            && (stem.starts_with("lab_") || stem == "contract_real")
        {
            journeys.push(stem.to_owned());
        }
    }
    journeys.sort();
    Ok(journeys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lab_tests_are_those_named_so_and_the_contract_on_the_real_things() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "lab_connect.rs",
            "contract_real.rs",
            "contract_sandbox.rs",
            "lab_notes.txt",
            "journey.rs",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(
            lab_journeys(folder.path()).unwrap(),
            ["contract_real", "lab_connect"]
        );
    }
}
