//! The workspace on disk, and the cargo that works on it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Where the workspace and what is built from it are.
pub struct Workspace {
    /// The folder with the workspace's Cargo.toml.
    pub root: PathBuf,
    /// Where cargo builds, from the environment or `target`.
    pub target: PathBuf,
    cargo: PathBuf,
}

/// The part of `cargo metadata` that is read.
#[derive(Deserialize)]
pub struct Metadata {
    /// The workspace's own packages.
    pub packages: Vec<Package>,
}

/// One package of the workspace.
#[derive(Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it depends on, ours and others'.
    pub dependencies: Vec<Dependency>,
}

/// One declared dependency.
#[derive(Deserialize)]
pub struct Dependency {
    /// The name of the package depended on.
    pub name: String,
    /// `None` for an ordinary one, else `dev` or `build`.
    pub kind: Option<String>,
}

impl Workspace {
    /// Finds the workspace that cargo runs this command for.
    pub fn find() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR").context("Run this as `cargo xtask`.")?;
        let root = Path::new(&package)
            .parent()
            .context("xtask is not inside a workspace.")?
            .to_owned();
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |folder| root.join(folder));
        let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        Ok(Self {
            root,
            target,
            cargo,
        })
    }

    /// The path of the cargo in use.
    pub fn cargo_path(&self) -> &Path {
        &self.cargo
    }

    /// A cargo command in the workspace's folder.
    pub fn cargo(&self) -> Command {
        self.command(&self.cargo)
    }

    /// A command in the workspace's folder, without what cargo told this program about its own package: build scripts
    /// that look at it (ring's does) would be built anew at every change between `cargo xtask` and plain cargo.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(is_about_this_package) {
                command.env_remove(name);
            }
        }
        command
    }

    /// Reads the workspace's packages and what they depend on.
    pub fn metadata(&self) -> Result<Metadata> {
        let output = self
            .cargo()
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .output()?;
        if !output.status.success() {
            bail!(
                "cargo metadata failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        serde_json::from_slice(&output.stdout).context("cargo metadata gave something unreadable.")
    }

    /// The project's own files, relative to the root, without what is built or fetched.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    let name = entry.file_name();
                    if !(name == "target" || name == "node_modules" || name == ".git") {
                        folders.push(entry.path());
                    }
                } else if kind.is_file() && entry.file_name() != ".git" {
                    files.push(entry.path().strip_prefix(&self.root)?.to_owned());
                }
            }
        }
        files.sort();
        Ok(files)
    }
}

fn is_about_this_package(variable: &str) -> bool {
    [
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_MANIFEST_",
        "CARGO_PKG_",
        "CARGO_PRIMARY_",
    ]
    .iter()
    .any(|begin| variable.starts_with(begin))
}

/// Runs a command and fails where it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("{program} could not be started."))?;
    if !status.success() {
        bail!("{program} failed: {status}.");
    }
    Ok(())
}

/// The exit code to pass on from a command that was run.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_the_settings_of_the_build_and_nothing_about_this_package() {
        for kept in [
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_INCREMENTAL",
            "PATH",
        ] {
            assert!(!is_about_this_package(kept), "{kept}");
        }
        for dropped in [
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_PKG_VERSION_MAJOR",
        ] {
            assert!(is_about_this_package(dropped), "{dropped}");
        }
    }
}
