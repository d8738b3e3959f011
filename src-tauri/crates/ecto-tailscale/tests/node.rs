//! How a node is installed and started where none answers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ecto_core::cause::Cause;
use ecto_core::ports::Tailnet as _;
use ecto_core::step::{Reporter, StepNote, Waiting};
use ecto_core::tailnet::{NodeChoice, NodeKind, TailnetView};
use ecto_sandbox::tailnet::Tailnet;
use ecto_tailscale::{OperatingSystem, Tailscale};
use support::{Machine, Notes, RecordingAdministrator, in_time};

/// Writes down how it was started and leaves when its lifeline ends, as tailscaled does.
const NODE: &str = r#"
here="${0%/*}"
exec 3< "/dev/fd/$TS_PARENT_DEATH_FD" || exit 2
printf '%s\n' "$@" > "$here/arguments"
env > "$here/environment"
echo $$ > "$here/pid.new"
mv "$here/pid.new" "$here/pid"
read -r line <&3
exit 1
"#;

async fn until_there(path: &Path) -> String {
    in_time(async {
        loop {
            if let Ok(text) = std::fs::read_to_string(path) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

async fn until_gone(pid: &str) {
    let process = Path::new("/proc").join(pid.trim());
    in_time(async {
        while process.exists() && !is_zombie(&process) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn is_zombie(process: &Path) -> bool {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Starts the own node; the stand-in answers at its socket once the program runs.
async fn start_own(machine: &Machine) -> (Arc<Tailscale>, Tailnet) {
    machine.program("tailscaled", NODE);
    let tailscale = Arc::new(machine.tailscale());
    let starting = {
        let tailscale = tailscale.clone();
        tokio::spawn(async move { tailscale.start(NodeChoice::Auto, Reporter::silent()).await })
    };
    until_there(&machine.path("bin/pid")).await;
    let own = &machine.places.own;
    let tailnet = Tailnet::builder()
        .socket(&own.socket)
        .start(&own.state)
        .await
        .unwrap();
    assert_eq!(in_time(starting).await.unwrap(), Ok(()));
    (tailscale, tailnet)
}

#[tokio::test]
async fn the_own_node_is_a_private_child_in_userspace() {
    let mut machine = Machine::new();
    machine.places.own.arguments = vec![OsString::from("--no-logs-no-support")];
    machine.places.environment = vec![("HOME".into(), "/home/sam".into())];
    let (tailscale, tailnet) = start_own(&machine).await;
    let own = &machine.places.own;
    let arguments = std::fs::read_to_string(machine.path("bin/arguments")).unwrap();
    let expected = format!(
        "--tun=userspace-networking\n--port=0\n--statedir={}\n--socket={}\n--no-logs-no-support\n",
        own.state.display(),
        own.socket.display()
    );
    assert_eq!(arguments, expected);
    let environment = std::fs::read_to_string(machine.path("bin/environment")).unwrap();
    assert!(environment.contains("HOME=/home/sam\n"));
    assert!(!environment.contains("CARGO"), "{environment}");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&own.state), 0o700);
    assert_eq!(mode(&own.log), 0o600);

    let view = tailscale.observe(NodeChoice::Auto).await;
    assert_eq!(
        view,
        TailnetView::NeedsSignIn {
            kind: NodeKind::Own
        }
    );
    let (reporter, notes) = Reporter::channel();
    let signing_in = {
        let tailscale = tailscale.clone();
        tokio::spawn(async move { tailscale.sign_in(NodeChoice::Auto, reporter).await })
    };
    Notes(notes).link().await;
    assert_eq!(tailnet.prefs()["Hostname"], "ecto-sams-mac");
    signing_in.abort();
    let _ = signing_in.await;

    let pid = std::fs::read_to_string(machine.path("bin/pid")).unwrap();
    drop(tailscale);
    until_gone(&pid).await;
}

#[tokio::test]
async fn a_node_that_answers_already_is_adopted() {
    let machine = Machine::new();
    let own = &machine.places.own;
    std::fs::create_dir_all(&own.state).unwrap();
    let _left = Tailnet::builder()
        .socket(&own.socket)
        .start(&own.state)
        .await
        .unwrap();
    machine.program("tailscaled", "touch \"${0%/*}/started\"; exit 1");
    let tailscale = machine.tailscale();
    assert_eq!(
        tailscale.start(NodeChoice::Own, Reporter::silent()).await,
        Ok(())
    );
    assert!(!machine.path("bin/started").exists());
}

#[tokio::test]
async fn a_node_that_ends_at_once_tells_what_it_said_last() {
    let machine = Machine::new();
    machine.program(
        "tailscaled",
        "echo first; echo 'cannot open state: disk full' >&2; exit 3",
    );
    let started = in_time(
        machine
            .tailscale()
            .start(NodeChoice::Auto, Reporter::silent()),
    )
    .await;
    let Err(Cause::TailscaleNotStarted { detail }) = started else {
        panic!("{started:?}")
    };
    assert!(
        detail.as_str().contains("cannot open state: disk full"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_socket_path_that_is_too_long_is_named() {
    let mut machine = Machine::new();
    machine.program("tailscaled", NODE);
    machine.places.own.socket = machine.path(&"x".repeat(100));
    let started = machine
        .tailscale()
        .start(NodeChoice::Auto, Reporter::silent())
        .await;
    assert!(
        matches!(started, Err(Cause::TailscaleNotStarted { .. })),
        "{started:?}"
    );
    assert!(!machine.path("bin/pid").exists());
}

#[tokio::test]
async fn giving_up_the_start_ends_the_child() {
    let machine = Machine::new();
    machine.program("tailscaled", NODE);
    let tailscale = Arc::new(machine.tailscale());
    let starting = {
        let tailscale = tailscale.clone();
        tokio::spawn(async move { tailscale.start(NodeChoice::Own, Reporter::silent()).await })
    };
    let pid = until_there(&machine.path("bin/pid")).await;
    starting.abort();
    until_gone(&pid).await;
}

const HOST_FOLDER: &str = "ECTO_TEST_HOST_FOLDER";

/// The host of the test below, in a process of its own; nothing by itself.
#[tokio::test]
async fn host_that_is_about_to_be_killed() {
    let Some(folder) = std::env::var_os(HOST_FOLDER) else {
        return;
    };
    let places = support::places(Path::new(&folder));
    let administrator = Arc::new(RecordingAdministrator::default());
    let tailscale = Tailscale::new(places, administrator);
    let _ = tailscale.start(NodeChoice::Own, Reporter::silent()).await;
}

#[tokio::test]
async fn a_host_that_is_killed_takes_its_node_along() {
    let machine = Machine::new();
    machine.program("tailscaled", NODE);
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host_that_is_about_to_be_killed"])
        .env(HOST_FOLDER, machine.folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let pid = until_there(&machine.path("bin/pid")).await;
    host.kill().unwrap();
    host.wait().unwrap();
    until_gone(&pid).await;
}

#[tokio::test]
async fn on_linux_the_system_service_is_for_the_person_to_start() {
    let machine = Machine::new();
    machine.program("tailscaled", "exit 1");
    let started = machine
        .tailscale()
        .start(NodeChoice::System, Reporter::silent())
        .await;
    let command = "sudo systemctl enable --now tailscaled".to_owned();
    assert_eq!(started, Err(Cause::AdministratorNeeded { command }));
}

fn mac() -> Machine {
    let mut machine = Machine::new();
    machine.places.system = OperatingSystem::MacOs;
    machine
}

#[tokio::test]
async fn on_a_mac_the_system_service_takes_one_prompt() {
    let machine = mac();
    let program = machine.program("tailscaled", "exit 1");
    // It is there once the administrator has started it.
    let tailscale = Arc::new(machine.tailscale());
    let (reporter, notes) = Reporter::channel();
    let starting = {
        let tailscale = tailscale.clone();
        tokio::spawn(async move { tailscale.start(NodeChoice::System, reporter).await })
    };
    let mut notes = Notes(notes);
    let prompt = StepNote::Waiting(Waiting::AdministratorPrompt);
    assert_eq!(notes.next().await, Some(prompt));
    assert_eq!(
        notes.next().await,
        Some(StepNote::Waiting(Waiting::Tailscale))
    );
    let _tailnet = Tailnet::builder()
        .start(machine.folder.path())
        .await
        .unwrap();
    assert_eq!(in_time(starting).await.unwrap(), Ok(()));
    let runs = machine.administrator.runs.lock().unwrap();
    assert_eq!(
        *runs,
        [(program, vec![OsString::from("install-system-daemon")])]
    );
}

#[tokio::test]
async fn a_service_of_homebrew_is_started_by_homebrew() {
    let mut machine = mac();
    machine.administrator = Arc::new(RecordingAdministrator {
        refuses: true,
        ..Default::default()
    });
    machine.program("tailscaled", "exit 1");
    let brew = machine.program("brew", "exit 1");
    std::fs::create_dir_all(machine.path("daemons")).unwrap();
    std::fs::write(machine.path("daemons/homebrew.mxcl.tailscale.plist"), "").unwrap();
    let started = machine
        .tailscale()
        .start(NodeChoice::System, Reporter::silent())
        .await;
    assert_eq!(started, Err(Cause::AdministratorCancelled));
    let runs = machine.administrator.runs.lock().unwrap();
    let arguments = ["services", "start", "tailscale"]
        .map(OsString::from)
        .to_vec();
    assert_eq!(*runs, [(brew, arguments)]);
}

#[tokio::test]
async fn an_app_is_opened() {
    let machine = mac();
    let application = machine.path("Tailscale.app");
    std::fs::create_dir_all(application.join("Contents")).unwrap();
    machine.program("open", "printf '%s\\n' \"$@\" > \"${0%/*}/opened.new\"; mv \"${0%/*}/opened.new\" \"${0%/*}/opened\"");
    let tailscale = Arc::new(machine.tailscale());
    let starting = {
        let tailscale = tailscale.clone();
        tokio::spawn(async move { tailscale.start(NodeChoice::Auto, Reporter::silent()).await })
    };
    let opened = until_there(&machine.path("bin/opened")).await;
    assert_eq!(opened, format!("-a\n{}\n", application.display()));
    let folder = &machine.places.standalone_folder;
    std::fs::create_dir_all(folder).unwrap();
    let _tailnet = Tailnet::builder()
        .standalone_app()
        .start(folder)
        .await
        .unwrap();
    assert_eq!(in_time(starting).await.unwrap(), Ok(()));
}

async fn install(machine: &Machine) -> (Result<(), Cause>, Vec<String>) {
    let (reporter, notes) = Reporter::channel();
    let installed = in_time(machine.tailscale().install(NodeChoice::Auto, reporter)).await;
    let mut notes = Notes(notes);
    let mut lines = Vec::new();
    while let Some(note) = notes.next().await {
        if let StepNote::Progress(line) = note {
            lines.push(line.as_str().to_owned());
        }
    }
    (installed, lines)
}

#[tokio::test]
async fn homebrew_installs_with_live_progress() {
    let machine = mac();
    machine.program(
        "brew",
        r#"
here="${0%/*}"
printf '%s\n' "$@" > "$here/arguments"
env > "$here/environment"
echo '==> Fetching tailscale'
printf '####   50%%\r####### 100%%\r\n' >&2
printf '#!/bin/sh\n' > "$here/tailscaled"
/bin/chmod 755 "$here/tailscaled"
echo '==> Pouring tailscale'
"#,
    );
    let (installed, lines) = install(&machine).await;
    assert_eq!(installed, Ok(()));
    for line in [
        "==> Fetching tailscale",
        "#### 50%",
        "####### 100%",
        "==> Pouring tailscale",
    ] {
        assert!(lines.iter().any(|told| told == line), "{line}: {lines:?}");
    }
    let arguments = std::fs::read_to_string(machine.path("bin/arguments")).unwrap();
    assert_eq!(arguments, "install\n--formula\ntailscale\n");
    let environment = std::fs::read_to_string(machine.path("bin/environment")).unwrap();
    assert!(environment.contains("HOMEBREW_NO_AUTO_UPDATE=1\n"));
    assert!(!environment.contains("CARGO"), "{environment}");
    let view = machine.tailscale().observe(NodeChoice::Auto).await;
    assert_eq!(
        view,
        TailnetView::NotRunning {
            kind: NodeKind::Own
        }
    );
}

#[tokio::test]
async fn a_failed_installation_says_why() {
    let machine = mac();
    assert_eq!(install(&machine).await.0, Err(Cause::TailscaleToDownload));
    machine.program("brew", "echo 'Error: Another active Homebrew process is already in progress.' >&2; echo 'Please wait.' >&2; exit 1");
    let Err(Cause::InstallFailed { detail }) = install(&machine).await.0 else {
        panic!("it is installed")
    };
    assert_eq!(
        detail.as_str(),
        "Another active Homebrew process is already in progress."
    );
    machine.program("brew", "echo 'Warning: tailscale is already installed'");
    let Err(Cause::InstallFailed { detail }) = install(&machine).await.0 else {
        panic!("it is installed")
    };
    assert!(detail.as_str().contains("already installed"), "{detail}");
}

#[tokio::test]
async fn cancelling_ends_homebrew_and_what_it_started() {
    let machine = mac();
    machine.program(
        "brew",
        r#"
here="${0%/*}"
/bin/sleep 600 &
echo $! > "$here/child.new"
mv "$here/child.new" "$here/child"
wait
"#,
    );
    let tailscale = machine.tailscale();
    let installing = tokio::spawn(async move {
        tailscale
            .install(NodeChoice::Auto, Reporter::silent())
            .await
    });
    let child = until_there(&machine.path("bin/child")).await;
    installing.abort();
    until_gone(&child).await;
}

#[tokio::test]
async fn what_an_installer_leaves_running_does_not_hold_it_up() {
    let machine = mac();
    machine.program(
        "brew",
        r#"
here="${0%/*}"
printf '#!/bin/sh\n' > "$here/tailscaled"
/bin/chmod 755 "$here/tailscaled"
/bin/sleep 30 &
echo $! > "$here/child"
"#,
    );
    let (installed, _) = tokio::time::timeout(Duration::from_secs(10), install(&machine))
        .await
        .unwrap();
    assert_eq!(installed, Ok(()));
    let child = std::fs::read_to_string(machine.path("bin/child")).unwrap();
    Command::new("/bin/kill")
        .arg(child.trim())
        .status()
        .unwrap();
}

#[tokio::test]
async fn on_linux_the_person_installs() {
    let machine = Machine::new();
    std::fs::write(machine.path("os-release"), "ID=arch\n").unwrap();
    let command = "sudo pacman -S tailscale".to_owned();
    assert_eq!(
        install(&machine).await.0,
        Err(Cause::TailscaleMissing { command })
    );
}
