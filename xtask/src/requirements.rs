//! What the tests need from the machine: looked for, and installed where a package manager can.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::step::Count;

/// Packages of the Secret Service test, with the program that shows each is there.
const SECRET_SERVICE: [(&str, &str); 2] = [
    ("gnome-keyring", "gnome-keyring-daemon"),
    ("dbus", "dbus-run-session"),
];

/// Packages of the desktop tests, with a file that shows each is there; `*` is one folder.
const DESKTOP: [(&str, &str); 9] = [
    ("xvfb", "/usr/bin/Xvfb"),
    ("openbox", "/usr/bin/openbox"),
    ("dbus", "/usr/bin/dbus-daemon"),
    ("webkit2gtk-driver", "/usr/bin/WebKitWebDriver"),
    ("libwebkit2gtk-4.1-0", "/usr/lib/*/libwebkit2gtk-4.1.so.0"),
    (
        "libwebkit2gtk-4.1-dev",
        "/usr/lib/*/pkgconfig/webkit2gtk-4.1.pc",
    ),
    ("imagemagick", "/usr/bin/import"),
    ("xdotool", "/usr/bin/xdotool"),
    ("libfaketime", "/usr/lib/*/faketime/libfaketimeMT.so.1"),
];

/// Packages of the popover's tests, with a file that shows each is there.
const POPOVER: [(&str, &str); 6] = [
    ("chromium", "/usr/bin/chromium"),
    ("fontconfig", "/usr/bin/fc-match"),
    (
        "fonts-dejavu-core",
        "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
    ),
    (
        "fonts-inter",
        "/usr/share/fonts/opentype/inter/Inter-Regular.otf",
    ),
    ("webkit2gtk-driver", "/usr/bin/WebKitWebDriver"),
    ("xvfb", "/usr/bin/Xvfb"),
];

/// Packages of the programs that the app is measured against, with a file that shows each is there.
const PEERS: [(&str, &str); 4] = [
    ("python3-gi", "/usr/lib/python3/dist-packages/gi"),
    (
        "gir1.2-gtk-3.0",
        "/usr/lib/*/girepository-1.0/Gtk-3.0.typelib",
    ),
    (
        "gir1.2-ayatanaappindicator3-0.1",
        "/usr/lib/*/girepository-1.0/AyatanaAppIndicator3-0.1.typelib",
    ),
    ("python3-pyqt5", "/usr/lib/python3/dist-packages/PyQt5"),
];

/// Packages of the proxies that the guard is measured against, with a file that shows each is there.
const PROXIES: [(&str, &str); 3] = [
    ("nginx", "/usr/sbin/nginx"),
    ("haproxy", "/usr/sbin/haproxy"),
    ("caddy", "/usr/bin/caddy"),
];

const PYTHON: &str = "Python, or its module venv, is missing, and OpenAI's library for it is tried in the lab. Install it (`brew install python`, `apt-get install python3-venv`) and run this again, or set ECTO_NO_NETWORK=1 to go without OpenAI's libraries.";

/// Whether there is a network, which `ECTO_NO_NETWORK` denies.
pub fn network() -> bool {
    has_network(std::env::var_os("ECTO_NO_NETWORK").as_deref())
}

/// Whether OpenAI's libraries are to be had: not where somebody says that there is no network.
fn has_network(variable: Option<&OsStr>) -> bool {
    variable.is_none_or(OsStr::is_empty)
}

/// The programs that the lab is built with, and tried with OpenAI's libraries where there is a network; each with what to
/// do where it is missing.
fn programs(network: bool) -> Vec<(&'static str, &'static str)> {
    let mut programs = vec![
        (
            "go",
            "Go is missing and the lab is built with it. Install Go 1.21 or newer (`brew install go`, or `apt-get install golang-go` where that is as new) and run this again.",
        ),
        (
            "node",
            "Node.js is missing and OpenClaw runs on it. Install it (`brew install node`, `apt-get install nodejs npm`) and run this again.",
        ),
        (
            "npm",
            "npm is missing and OpenClaw is installed with it. Install it (`brew install node`, `apt-get install npm`) and run this again.",
        ),
    ];
    if network {
        programs.push(("python3", PYTHON));
    }
    programs
}

/// Fails with what to install where a program is missing that the lab is built or tried with.
pub fn language_tools() -> Result<Count> {
    let network = network();
    for (program, install) in programs(network) {
        if which::which(program).is_err() {
            bail!("{install}");
        }
    }
    if !network {
        return Ok(Count::PASSED);
    }
    // Debian keeps the making of environments apart from Python itself.
    let mut python = Command::new("python3");
    python.args(["-c", "import venv, ensurepip"]);
    if !python.stderr(Stdio::null()).status()?.success() {
        bail!("{PYTHON}");
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

/// Installs what a desktop without a screen is made of, where apt can; elsewhere the desktop tests are skipped.
pub fn desktop() -> Result<Count> {
    install_missing("desktop", &DESKTOP)
}

/// Installs the browsers and the letters of the popover's tests, where apt can.
pub fn popover() -> Result<Count> {
    install_missing("popover", &POPOVER)
}

fn install_missing(tests: &str, packages: &[(&str, &str)]) -> Result<Count> {
    if cfg!(not(target_os = "linux")) {
        return Ok(Count::default());
    }
    let missing: Vec<&str> = packages
        .iter()
        .filter(|(_, file)| !is_there(file))
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(Count::PASSED);
    }
    let names = missing.join(" ");
    if which::which("apt-get").is_err() {
        println!(
            "The {tests} tests are not run in full: this system has no apt-get. Install what Debian calls {names} to run them."
        );
        return Ok(Count::SKIPPED);
    }
    if install(&missing) {
        return Ok(Count::PASSED);
    }
    println!(
        "The {tests} tests are not run in full: run `sudo apt-get install {names}` to have them."
    );
    Ok(Count::SKIPPED)
}

/// Whether the app can be built: on Linux it needs the web view's headers, which are installed where apt can.
pub fn web_view() -> bool {
    const PACKAGE: &str = "libwebkit2gtk-4.1-dev";
    const FILE: &str = "/usr/lib/*/pkgconfig/webkit2gtk-4.1.pc";
    if cfg!(not(target_os = "linux")) || is_there(FILE) {
        return true;
    }
    if which::which("apt-get").is_ok() && install(&[PACKAGE]) {
        return true;
    }
    println!("The app is left out: install what Debian calls {PACKAGE} to build it.");
    false
}

/// Installs what the app is measured against, or fails with what to install.
pub fn peers() -> Result<()> {
    install_or_fail(&PEERS)
}

/// Installs the proxies that the guard is measured against, or fails with what to install. On a system with services,
/// Debian's packages start them; the measurement starts its own and needs none of these.
pub fn proxies() -> Result<()> {
    install_or_fail(&PROXIES)
}

fn install_or_fail(packages: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|(_, file)| !is_there(file))
        .map(|(package, _)| *package)
        .collect();
    if missing.is_empty() || (which::which("apt-get").is_ok() && install(&missing)) {
        return Ok(());
    }
    bail!(
        "What Ecto is measured against is missing. Install what Debian calls {} and run this again.",
        missing.join(" ")
    )
}

fn is_there(file: &str) -> bool {
    let Some((before, after)) = file.split_once("*/") else {
        return Path::new(file).exists();
    };
    fs::read_dir(before).is_ok_and(|folders| {
        folders
            .flatten()
            .any(|folder| folder.path().join(after).exists())
    })
}

fn install(packages: &[&str]) -> bool {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(["-qq", "-o", "Acquire::Retries=5"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(packages);
    // An image's lists of packages may be older than the packages themselves.
    let _ = apt(&["update"]);
    apt(&install)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_is_needed_only_where_its_library_is_to_be_had() {
        let needs_python = |variable: Option<&str>| {
            let network = has_network(variable.map(OsStr::new));
            programs(network).iter().any(|(name, _)| *name == "python3")
        };
        assert!(needs_python(None) && needs_python(Some("")));
        assert!(!needs_python(Some("1")));
        assert_eq!(programs(false).len(), 3);
    }

    #[test]
    fn a_file_is_found_in_any_folder_of_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("lib/x86_64-linux-gnu/pkgconfig/a.pc");
        fs::create_dir_all(library.parent().unwrap()).unwrap();
        fs::write(&library, "").unwrap();
        let place = |rest: &str| format!("{}/lib/{rest}", folder.path().display());
        assert!(is_there(&place("x86_64-linux-gnu/pkgconfig/a.pc")));
        assert!(is_there(&place("*/pkgconfig/a.pc")));
        assert!(!is_there(&place("*/pkgconfig/b.pc")));
        assert!(!is_there(&place("missing/*/a.pc")));
    }
}
