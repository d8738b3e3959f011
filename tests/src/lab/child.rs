//! Child processes that end with the test, however it ends.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::Binaries;

/// How often a process is asked whether it ended.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// A program run by `lab keep`: it and all that it started are killed when this is dropped, and also when the test
/// process is killed, because then the keeper's standard input closes.
pub struct Child {
    keeper: std::process::Child,
    pid: Pid,
    log: PathBuf,
}

/// A user to run a program as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

#[derive(Deserialize)]
struct Started {
    pid: i32,
}

impl Child {
    /// Starts a program with just this environment, its output appended to the log file.
    pub(super) fn start<A, E, K, V>(
        binaries: &Binaries,
        user: Option<User>,
        program: &Path,
        arguments: A,
        environment: E,
        folder: &Path,
        log: &Path,
    ) -> Result<Self>
    where
        A: IntoIterator,
        A::Item: AsRef<OsStr>,
        E: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let output = fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(binaries.lab());
        command.arg("keep");
        if let Some(User { uid, gid }) = user {
            command.arg("--user").arg(format!("{uid}:{gid}"));
        }
        let mut keeper = command
            .arg("--")
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdout = keeper.stdout.take().context("the keeper has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let log = log.to_owned();
        let started: Started = serde_json::from_str(&line)
            .with_context(|| format!("{} did not start:\n{}", program.display(), tail(&log)))?;
        let pid = Pid::from_raw(started.pid).context("the keeper named no process")?;
        Ok(Self { keeper, pid, log })
    }

    /// Process id of the program itself.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal to the program.
    ///
    /// # Errors
    ///
    /// Where it ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid, signal)?;
        Ok(())
    }

    /// Waits until the program ended by itself or by a signal.
    ///
    /// # Errors
    ///
    /// Where it still runs after the limit.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.keeper.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > limit {
                bail!("still runs after {limit:?}:\n{}", self.log_tail());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Returns whether the program still runs.
    ///
    /// # Errors
    ///
    /// Where the system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.keeper.try_wait()?.is_none())
    }

    /// Returns the last lines that the program printed.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // The keeper ends as soon as everything it kept is gone.
        let _ = self.keeper.wait();
    }
}

fn tail(log: &Path) -> String {
    const LINES: usize = 40;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
