//! Runs a program: by its absolute path, without a shell, with an environment of its own, ended when nobody waits any more.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

const LINE_LIMIT: usize = 4 * 1024;
/// How long output may still come once the program ended: something it left behind may hold the other end for ever.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// A child process and all that it starts in its process group. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    child: Child,
    group: Option<Pid>,
}

impl ProcessGroup {
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        Ok(Self { child, group })
    }

    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.group = None;
        Ok(status)
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok()??;
        self.group = None;
        Some(status)
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // The id is not given to another process before the child was waited for, which clears it here.
        if self.ended().is_none()
            && let Some(group) = self.group
        {
            // It may have ended this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A command with nothing from this process's environment.
pub(crate) fn bare_command(program: &Path, environment: &[(OsString, OsString)]) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", search_path(program))
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null());
    command
}

fn search_path(program: &Path) -> OsString {
    let mut path = OsString::new();
    if let Some(folder) = program.parent() {
        path.push(folder);
        path.push(":");
    }
    path.push("/usr/bin:/bin:/usr/sbin:/sbin");
    path
}

/// Runs a command to its end and hands over each line of its output, the error output among it, as it comes.
pub(crate) async fn run(
    command: &mut Command,
    mut on_line: impl FnMut(String),
) -> io::Result<ExitStatus> {
    let mut process = ProcessGroup::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let (sender, mut lines) = mpsc::channel(64);
    let output = process.child.stdout.take();
    let errors = process.child.stderr.take();
    let reading = async {
        tokio::join!(
            read_lines(output, sender.clone()),
            read_lines(errors, sender)
        )
    };
    tokio::pin!(reading);
    let mut read = false;
    let status = loop {
        tokio::select! {
            Some(line) = lines.recv() => on_line(line),
            _ = &mut reading, if !read => read = true,
            status = process.wait() => break status?,
        }
    };
    let drained = async {
        let rest = async {
            if !read {
                reading.await;
            }
        };
        tokio::pin!(rest);
        let mut done = false;
        loop {
            tokio::select! {
                line = lines.recv() => match line {
                    Some(line) => on_line(line),
                    None => break,
                },
                () = &mut rest, if !done => done = true,
            }
            if done && lines.is_empty() {
                break;
            }
        }
    };
    // What comes later than this is nobody's progress any more.
    let _ = tokio::time::timeout(DRAIN_LIMIT, drained).await;
    Ok(status)
}

async fn read_lines(pipe: Option<impl AsyncRead + Unpin>, lines: mpsc::Sender<String>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; LINE_LIMIT];
    let mut line: Vec<u8> = Vec::new();
    loop {
        let count = match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        for byte in buffer.iter().take(count) {
            let ends = matches!(byte, b'\n' | b'\r');
            if !ends {
                line.push(*byte);
            }
            if ends || line.len() >= LINE_LIMIT {
                tell(&mut line, &lines).await;
            }
        }
    }
    tell(&mut line, &lines).await;
}

async fn tell(line: &mut Vec<u8>, lines: &mpsc::Sender<String>) {
    let text = String::from_utf8_lossy(line).trim().to_owned();
    line.clear();
    if !text.is_empty() {
        // Nobody listens once the command was given up.
        let _ = lines.send(text).await;
    }
}
