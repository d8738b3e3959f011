//! Checks the macOS code: with clippy on a Mac, and on Linux with a toolchain that has a standard library for the Mac.
//!
//! Only the checking is done for the Mac, never linking, so neither Apple's SDK nor a C compiler for it is needed.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, run};

const TARGET: &str = "aarch64-apple-darwin";

/// Set for the crate `ecto-platform` it brings a type error into its macOS code.
const SEEDED_ERROR: &str = "ecto_seed_error";

/// Named so that nothing asks Apple's tools where the SDK is; it is not read.
const NO_SDK: &str = "/no-sdk";

/// What answers where build scripts look for Apple's C compiler.
const STAND_IN_COMPILER: &str = include_str!("macos/stand-in-compiler.sh");

/// Runs clippy for the Mac on the whole workspace, tests included; a warning is an error.
pub fn check(workspace: &Workspace) -> Result<()> {
    run(clippy(workspace)?.args([
        "--workspace",
        "--all-targets",
        "--features",
        crate::app::FEATURE,
        "--",
        "-D",
        "warnings",
    ]))
}

/// Seeds a type error in macOS-only code and fails unless the check finds it.
pub fn check_catches_seeded_error(workspace: &Workspace) -> Result<()> {
    let output = clippy(workspace)?
        .args(["--package", "ecto-platform", "--", "--cfg", SEEDED_ERROR])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() || !said.contains("error[E0308]") {
        bail!("The type error seeded in the macOS code was not caught:\n{said}");
    }
    println!("The type error seeded in the macOS code was caught.");
    Ok(())
}

fn clippy(workspace: &Workspace) -> Result<Command> {
    let mut command = if cfg!(target_os = "macos") {
        let mut command = workspace.cargo();
        command.arg("clippy");
        command
    } else {
        let mut command = Toolchain::find_or_make(workspace)?.clippy(workspace);
        command.args(["--target", TARGET]);
        command
    };
    // Kept apart from real builds: the stand-in compiler's objects are empty.
    command.env("CARGO_TARGET_DIR", workspace.target.join("macos"));
    Ok(command)
}

/// A Rust toolchain that can check for the Mac.
enum Toolchain {
    /// The one in use has the Mac's standard library (`rustup target add aarch64-apple-darwin`).
    InUse { stand_in_compiler: PathBuf },
    /// The distribution's packages, unpacked in a folder, with a standard library built for the Mac.
    Unpacked { folder: PathBuf },
}

impl Toolchain {
    fn find_or_make(workspace: &Workspace) -> Result<Self> {
        if target_is_installed() {
            fs::create_dir_all(&workspace.target)?;
            let stand_in_compiler = workspace.target.join("stand-in-compiler");
            write_stand_in_compiler(&stand_in_compiler)?;
            return Ok(Self::InUse { stand_in_compiler });
        }
        let folder = toolchain_folder(
            env::var_os("ECTO_MACOS_TOOLCHAIN"),
            env::var_os("XDG_CACHE_HOME"),
            env::var_os("HOME"),
        )?;
        if !folder.exists() {
            make(workspace, &folder)?;
        }
        Ok(Self::Unpacked { folder })
    }

    fn clippy(&self, workspace: &Workspace) -> Command {
        let (mut command, compiler) = match self {
            Self::InUse { stand_in_compiler } => {
                let mut command = workspace.cargo();
                command.arg("clippy");
                (command, stand_in_compiler.clone())
            }
            Self::Unpacked { folder } => {
                let mut command = workspace.command(folder.join("usr/bin/cargo-clippy"));
                command.arg("clippy");
                use_unpacked(&mut command, workspace, folder);
                (command, folder.join("stand-in-compiler"))
            }
        };
        let variable = TARGET.replace('-', "_");
        command
            .env(format!("CC_{variable}"), &compiler)
            .env(format!("CXX_{variable}"), &compiler)
            .env("SDKROOT", NO_SDK);
        command
    }
}

fn target_is_installed() -> bool {
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    asked.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

fn toolchain_folder(
    named: Option<OsString>,
    cache: Option<OsString>,
    home: Option<OsString>,
) -> Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.into());
    }
    let cache = cache
        .map(PathBuf::from)
        .or_else(|| home.map(|home| PathBuf::from(home).join(".cache")));
    let cache = cache.context(
        "Neither ECTO_MACOS_TOOLCHAIN nor HOME says where to keep the toolchain; set one.",
    )?;
    Ok(cache.join("ecto/macos-toolchain"))
}

/// Makes the command use the compiler of the unpacked packages, under the cargo in use.
fn use_unpacked(command: &mut Command, workspace: &Workspace, folder: &Path) {
    let mut libraries = folder
        .join(format!("usr/lib/{}-linux-gnu", env::consts::ARCH))
        .into_os_string();
    if let Some(before) = env::var_os("LD_LIBRARY_PATH") {
        libraries.push(":");
        libraries.push(before);
    }
    command
        .env("CARGO", workspace.cargo_path())
        .env("RUSTC", folder.join("usr/bin/rustc"))
        .env("LD_LIBRARY_PATH", libraries);
}

/// Makes the toolchain in a folder beside, which takes its place only when it is whole.
fn make(workspace: &Workspace, folder: &Path) -> Result<()> {
    for program in ["apt-get", "apt-cache", "dpkg", "tar"] {
        if which::which(program).is_err() {
            bail!(
                "Checking the macOS code on this system needs the standard library for {TARGET}. \
                 Add it with `rustup target add {TARGET}` and run this again ({program}, to get it from packages, is not here)."
            );
        }
    }
    println!(
        "Making a toolchain that checks for the Mac in {}; this happens once.",
        folder.display()
    );
    let parent = folder
        .parent()
        .context("The toolchain folder has no parent.")?;
    fs::create_dir_all(parent)?;
    let unfinished = tempfile::Builder::new()
        .prefix("macos-toolchain-")
        .tempdir_in(parent)?;
    unpack_packages(unfinished.path())?;
    write_stand_in_compiler(&unfinished.path().join("stand-in-compiler"))?;
    build_standard_library(workspace, unfinished.path())?;
    fs::set_permissions(unfinished.path(), fs::Permissions::from_mode(0o755))?;
    fs::rename(unfinished.keep(), folder)
        .with_context(|| format!("{} cannot be written.", folder.display()))
}

/// Unpacks Debian's newer Rust and its library source; nothing is installed, so the machine's own Rust stays as it is.
fn unpack_packages(folder: &Path) -> Result<()> {
    let packages = folder.join("packages");
    fs::create_dir(&packages)?;
    // Old lists will often still do, and refreshing them needs root.
    let _refreshed = Command::new("apt-get").args(["-qq", "update"]).status();
    let library = depended_on("libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = depended_on(&library, "libllvm")?;
    run(Command::new("apt-get")
        .current_dir(&packages)
        .args(["-qq", "-o", "Acquire::Retries=5", "download", "rustc-web", "rust-web-clippy", "rust-web-src", "libstd-rust-web-dev", &library, &llvm]))
    .context("The packages rustc-web, rust-web-clippy and rust-web-src could not be downloaded with apt-get.")?;
    for package in fs::read_dir(&packages)? {
        let package = package?.path();
        let is_source = package
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("rust-web-src"));
        if is_source {
            unpack_source(&package, folder)?;
        } else {
            run(Command::new("dpkg").arg("-x").arg(&package).arg(folder))?;
        }
    }
    fs::remove_dir_all(packages)?;
    Ok(())
}

/// Unpacks only the library from the source, which is a tenth of it.
fn unpack_source(package: &Path, folder: &Path) -> Result<()> {
    let mut archive = Command::new("dpkg")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let content = archive.stdout.take().context("dpkg has no output.")?;
    run(Command::new("tar")
        .args(["-x", "-C"])
        .arg(folder)
        .stdin(content)
        .args([
            "--wildcards",
            "./usr/lib/rustlib/src/rust",
            "./usr/src/rustc-*/library/*",
        ]))?;
    archive.wait()?;
    Ok(())
}

/// The name with its version of the package that `package` depends on.
fn depended_on(package: &str, beginning: &str) -> Result<String> {
    let output = Command::new("apt-cache")
        .args(["show", "--no-all-versions", package])
        .output()?;
    dependency_named(&String::from_utf8_lossy(&output.stdout), beginning).with_context(|| {
        format!(
            "apt knows no {package}, which checking the macOS code is done with here. \
             Use `rustup target add {TARGET}` instead, or enable the distribution's security updates."
        )
    })
}

fn dependency_named(description: &str, beginning: &str) -> Option<String> {
    let dependencies = description
        .lines()
        .find_map(|line| line.strip_prefix("Depends: "))?;
    dependencies
        .split(", ")
        .filter_map(|dependency| dependency.split(' ').next())
        .find_map(|name| name.starts_with(beginning).then(|| name.to_owned()))
}

/// Builds the standard library for the Mac once and puts it where the compiler looks for it.
fn build_standard_library(workspace: &Workspace, folder: &Path) -> Result<()> {
    let project = folder.join("standard-library");
    fs::create_dir_all(project.join("src"))?;
    fs::write(project.join("src/main.rs"), "fn main() {}\n")?;
    fs::write(
        project.join("Cargo.toml"),
        "[package]\nname = \"standard-library\"\nedition = \"2024\"\n[profile.dev]\ndebug = 0\nstrip = \"none\"\n[workspace]\n",
    )?;
    let linker = format!(
        "CARGO_TARGET_{}_LINKER",
        TARGET.replace('-', "_").to_uppercase()
    );
    let mut build = workspace.cargo();
    build.current_dir(&project).args([
        "build",
        "--quiet",
        "-Zbuild-std=std,panic_abort,test",
        "--target",
        TARGET,
    ]);
    use_unpacked(&mut build, workspace, folder);
    build
        .env("CARGO_TARGET_DIR", project.join("target"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("SDKROOT", NO_SDK)
        .env(linker, folder.join("stand-in-compiler"));
    run(&mut build).context("The standard library for the Mac could not be built.")?;
    let library = folder.join("usr/lib/rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&library)?;
    for built in fs::read_dir(project.join("target").join(TARGET).join("debug/deps"))? {
        let built = built?.path();
        if built
            .extension()
            .is_some_and(|extension| extension == "rlib" || extension == "rmeta")
            && let Some(name) = built.file_name()
        {
            fs::copy(&built, library.join(name))?;
        }
    }
    fs::remove_dir_all(project)?;
    Ok(())
}

fn write_stand_in_compiler(path: &Path) -> Result<()> {
    fs::write(path, STAND_IN_COMPILER)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_toolchain_is_where_it_was_said_to_be_or_in_the_cache() {
        let folder = |named: Option<&str>, cache: Option<&str>, home: Option<&str>| {
            toolchain_folder(
                named.map(Into::into),
                cache.map(Into::into),
                home.map(Into::into),
            )
            .map_err(|error| error.to_string())
        };
        assert_eq!(
            folder(Some("/kept"), Some("/cache"), Some("/me")).unwrap(),
            Path::new("/kept")
        );
        assert_eq!(
            folder(None, Some("/cache"), Some("/me")).unwrap(),
            Path::new("/cache/ecto/macos-toolchain")
        );
        assert_eq!(
            folder(None, None, Some("/me")).unwrap(),
            Path::new("/me/.cache/ecto/macos-toolchain")
        );
        assert!(folder(None, None, None).is_err());
    }

    #[test]
    fn versioned_package_names_are_read_from_what_depends_on_them() {
        let described = "Package: libstd-rust-web-dev\nDepends: libc6 (>= 2.34), libstd-rust-web-1.96 (= 1.96.0)\n";
        assert_eq!(
            dependency_named(described, "libstd-rust-web-").as_deref(),
            Some("libstd-rust-web-1.96")
        );
        assert_eq!(dependency_named(described, "libllvm"), None);
    }

    #[test]
    fn the_stand_in_compiler_answers_as_clang_and_leaves_an_object() {
        let folder = tempfile::tempdir().unwrap();
        let compiler = folder.path().join("stand-in-compiler");
        write_stand_in_compiler(&compiler).unwrap();
        let family = Command::new("sh")
            .arg(&compiler)
            .args(["-E", "probe.c"])
            .output()
            .unwrap();
        assert_eq!(family.stdout, b"\"clang\"\n");
        assert!(
            !Command::new("sh")
                .arg(&compiler)
                .arg("-?")
                .status()
                .unwrap()
                .success()
        );
        let object = folder.path().join("object.o");
        assert!(
            Command::new("sh")
                .arg(&compiler)
                .args(["-c", "x.c", "-o"])
                .arg(&object)
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(fs::read(&object).unwrap(), b"");
    }
}
