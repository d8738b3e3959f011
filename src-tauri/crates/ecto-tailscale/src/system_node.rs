//! The tailscaled for the whole machine: opens an app, or starts the system service with one administrator prompt.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use ecto_core::cause::Cause;
use ecto_core::step::{Reporter, Waiting};
use ecto_core::tailnet::{NodeChoice, NodeKind};
use tokio::time::{Instant, sleep};

use crate::command;
use crate::find::{Finder, Found};
use crate::places::OperatingSystem;

const LINUX_COMMAND: &str = "sudo systemctl enable --now tailscaled";
/// An app asks for a system extension and a VPN profile the first time.
const APP_LIMIT: Duration = Duration::from_secs(4 * 60);
const SERVICE_LIMIT: Duration = Duration::from_secs(30);
const REDIAL: Duration = Duration::from_millis(250);

/// Runs programs as an administrator, after asking the person.
#[async_trait]
pub trait Administrator: Send + Sync {
    /// Runs the program, given by its absolute path, and returns when it ended well.
    /// A prompt that the person closed is [`Cause::AdministratorCancelled`].
    async fn run(&self, program: &Path, arguments: &[OsString]) -> Result<(), Cause>;
}

/// Starts the node of this kind and returns once it answers.
pub(crate) async fn start(
    finder: &Finder,
    kind: NodeKind,
    administrator: &dyn Administrator,
    reporter: &Reporter,
) -> Result<(), Cause> {
    let limit = match kind {
        NodeKind::AppStore | NodeKind::Standalone => {
            open_application(finder).await?;
            APP_LIMIT
        }
        NodeKind::System | NodeKind::Own => {
            start_service(finder, administrator, reporter).await?;
            SERVICE_LIMIT
        }
    };
    reporter.waiting(Waiting::Tailscale);
    wait_until_answering(finder, limit).await
}

async fn open_application(finder: &Finder) -> Result<(), Cause> {
    let places = finder.places();
    let mut command = command::bare_command(&places.open, &places.environment);
    command.arg("-a").arg(&places.application);
    let mut said = String::new();
    let ended = command::run(&mut command, |line| said = line).await;
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(not_started(&said)),
        Err(error) => Err(not_started(&error.to_string())),
    }
}

async fn start_service(
    finder: &Finder,
    administrator: &dyn Administrator,
    reporter: &Reporter,
) -> Result<(), Cause> {
    match finder.places().system {
        OperatingSystem::Linux => Err(Cause::AdministratorNeeded {
            command: LINUX_COMMAND.to_owned(),
        }),
        OperatingSystem::MacOs => {
            let (program, arguments) = service_command(finder)
                .ok_or_else(|| not_started("tailscaled is not installed"))?;
            reporter.waiting(Waiting::AdministratorPrompt);
            administrator.run(&program, &arguments).await
        }
    }
}

/// `brew services` only where that is what starts Tailscale already: as root it changes who owns Homebrew's files.
fn service_command(finder: &Finder) -> Option<(PathBuf, Vec<OsString>)> {
    let by_homebrew = finder
        .places()
        .launch_daemons
        .join("homebrew.mxcl.tailscale.plist")
        .exists();
    if by_homebrew && let Some(brew) = finder.program("brew") {
        let arguments = ["services", "start", "tailscale"];
        return Some((brew, arguments.map(OsString::from).to_vec()));
    }
    let program = finder.program("tailscaled")?;
    Some((program, vec![OsString::from("install-system-daemon")]))
}

async fn wait_until_answering(finder: &Finder, limit: Duration) -> Result<(), Cause> {
    let deadline = Instant::now() + limit;
    loop {
        let doubt = match finder.find(NodeChoice::System).await {
            Found::Answering(..) => return Ok(()),
            Found::Failing(error) => error.to_string(),
            Found::Silent => "it did not answer in time".to_owned(),
        };
        if Instant::now() >= deadline {
            return Err(not_started(&doubt));
        }
        sleep(REDIAL).await;
    }
}

fn not_started(detail: &str) -> Cause {
    Cause::TailscaleNotStarted {
        detail: detail.into(),
    }
}
