//! What the tests need from the machine: looked for, and installed where a package manager can.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::step::Count;

/// Packages of the Secret Service test, with the program that shows each is there.
const SECRET_SERVICE: [(&str, &str); 2] = [
    ("gnome-keyring", "gnome-keyring-daemon"),
    ("dbus", "dbus-run-session"),
];

/// Fails with what to install where Go, Node or npm is missing; the lab builds with them.
pub fn language_tools() -> Result<Count> {
    for (program, install) in [
        (
            "go",
            "Go is missing and the lab is built with it. Install it (`brew install go`, `apt-get install golang-go`) and run this again.",
        ),
        (
            "node",
            "Node.js is missing and OpenClaw runs on it. Install it (`brew install node`, `apt-get install nodejs npm`) and run this again.",
        ),
        (
            "npm",
            "npm is missing and OpenClaw is installed with it. Install it (`brew install node`, `apt-get install npm`) and run this again.",
        ),
    ] {
        if which::which(program).is_err() {
            bail!("{install}");
        }
    }
    Ok(Count::PASSED)
}

/// Installs the Secret Service for its test where apt can; elsewhere that test is skipped.
pub fn secret_service() -> Result<Count> {
    if cfg!(not(target_os = "linux")) {
        return Ok(Count::default());
    }
    let missing: Vec<&str> = SECRET_SERVICE
        .iter()
        .filter(|(_, program)| which::which(program).is_err())
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(Count::PASSED);
    }
    let names = missing.join(" ");
    if which::which("apt-get").is_err() {
        println!(
            "The Secret Service test is skipped: install {names} with this system's package manager to run it."
        );
        return Ok(Count::SKIPPED);
    }
    if install(&missing) {
        return Ok(Count::PASSED);
    }
    println!("The Secret Service test is skipped: run `sudo apt-get install {names}` to have it.");
    Ok(Count::SKIPPED)
}

fn install(packages: &[&str]) -> bool {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .arg("-qq")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages);
    apt(&install) || (apt(&["update"]) && apt(&install))
}
