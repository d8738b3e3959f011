//! The lab: the real tailscaled with a local control server, and the real OpenClaw.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    requirements,
    step::{self, Count},
    workspace::{self, Workspace, exit_code},
};

/// How long registries that do not answer are left alone before each further attempt.
const WAITS: [Duration; 3] = [
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(60),
];

/// Says to the tests that the lab was prepared, so that they do not try it themselves.
pub const PREPARED: &str = "ECTO_LAB_PREPARED";

/// Builds and installs what the lab needs, where it is missing; the lab's own program is built with what `selection` says
/// to cargo. Downloads fail for reasons that pass, so there are four attempts.
pub fn prepare(workspace: &Workspace, selection: &[&str]) -> Result<Count> {
    requirements::language_tools()?;
    let build = ["build", "--bin", "lab"];
    step::check(workspace.cargo().args(build).args(selection))?;
    let program = workspace.target.join("debug/lab");
    let waits = if requirements::network() {
        &WAITS[..]
    } else {
        &[]
    };
    attempt(waits, || {
        // What went wrong, and not where in this program.
        let mut prepare = Command::new(&program);
        workspace::run(prepare.arg("--prepare").env("RUST_BACKTRACE", "0"))
    })?;
    Ok(Count::PASSED)
}

fn attempt(waits: &[Duration], mut act: impl FnMut() -> Result<()>) -> Result<()> {
    for wait in waits {
        match act() {
            Ok(()) => return Ok(()),
            Err(error) => println!("{error:#} Trying again in {} s.", wait.as_secs()),
        }
        thread::sleep(*wait);
    }
    act()
}

/// Runs the lab's tests, or with `keep` starts the lab and leaves it up until Ctrl-C.
pub fn run(workspace: &Workspace, keep: bool, arguments: &[String]) -> Result<ExitCode> {
    // The journeys start the command from beside the tests.
    let built = workspace
        .cargo()
        .args(["build", "--package", "ecto-cli"])
        .status()?;
    if !built.success() {
        return Ok(exit_code(built));
    }
    println!(
        "The first time on a machine, getting the lab ready builds Tailscale and installs OpenClaw: some minutes."
    );
    prepare(workspace, &["--package", "ecto-tests"])?;
    let mut command = workspace.cargo();
    command.env(PREPARED, "1");
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
    fn what_fails_for_a_while_is_tried_again_and_what_goes_on_failing_fails() {
        let waits = [Duration::ZERO; 2];
        for (failures, attempts, well) in [(0, 1, true), (2, 3, true), (3, 3, false)] {
            let mut made = 0;
            let ended = attempt(&waits, || {
                made += 1;
                if made > failures {
                    return Ok(());
                }
                bail!("No answer.")
            });
            assert_eq!((made, ended.is_ok()), (attempts, well));
        }
    }

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
