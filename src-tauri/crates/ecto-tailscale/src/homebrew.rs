//! Installs Tailscale by Homebrew.

use std::path::Path;

use ecto_core::cause::Cause;
use ecto_core::step::Reporter;

use crate::command;
use crate::find::Finder;

/// Keeps Homebrew to what it was asked for, without questions and without telling anybody.
const SETTINGS: [(&str, &str); 7] = [
    ("HOMEBREW_NO_AUTO_UPDATE", "1"),
    ("HOMEBREW_NO_INSTALL_CLEANUP", "1"),
    ("HOMEBREW_NO_INSTALL_UPGRADE", "1"),
    ("HOMEBREW_NO_ENV_HINTS", "1"),
    ("HOMEBREW_NO_ANALYTICS", "1"),
    ("HOMEBREW_NO_COLOR", "1"),
    ("NONINTERACTIVE", "1"),
];

/// Runs `brew install tailscale` and tells each line that it prints. Being dropped ends it and all that it started;
/// the next run takes up what is left.
pub(crate) async fn install(finder: &Finder, reporter: &Reporter) -> Result<(), Cause> {
    let brew = finder.program("brew").ok_or(Cause::TailscaleToDownload)?;
    let said = run(&brew, finder, reporter).await?;
    if finder.program("tailscaled").is_some() {
        return Ok(());
    }
    let detail = format!("Homebrew ended, and tailscaled is not there. It said: {said}");
    Err(failed(&detail))
}

async fn run(brew: &Path, finder: &Finder, reporter: &Reporter) -> Result<String, Cause> {
    let mut command = command::bare_command(brew, &finder.places().environment);
    command
        .args(["install", "--formula", "tailscale"])
        .envs(SETTINGS);
    let mut last = String::new();
    let mut error = None;
    let ended = command::run(&mut command, |line| {
        reporter.progress(&line);
        if let Some(text) = line.strip_prefix("Error: ") {
            error.get_or_insert_with(|| text.to_owned());
        }
        last = line;
    })
    .await
    .map_err(|error| failed(&error.to_string()))?;
    if ended.success() {
        return Ok(last);
    }
    Err(failed(&error.unwrap_or(last)))
}

fn failed(detail: &str) -> Cause {
    Cause::InstallFailed {
        detail: detail.into(),
    }
}
