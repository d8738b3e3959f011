//! Ecto's own node: a tailscaled in userspace, a child of this process, with its own state folder.
//!
//! It ends with this process however that ends: it reads from a pipe of which only this process has the other end, and
//! leaves when the pipe ends (tailscale 1.104, `cmd/tailscaled/tailscaled.go`, `TS_PARENT_DEATH_FD`).

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, PipeWriter, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ecto_core::cause::Cause;
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::cause;
use crate::command::{self, ProcessGroup};
use crate::local_api::{ApiError, Endpoint, LocalApi};
use crate::places::Places;

/// Longest path of a socket on macOS, without the byte that ends it.
const SOCKET_PATH_LIMIT: usize = 103;
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const FIRST_DIAL: Duration = Duration::from_millis(10);
const SLOWEST_DIAL: Duration = Duration::from_millis(250);
/// A log longer than this is begun anew at the next start.
const LOG_LIMIT: u64 = 4 * 1024 * 1024;
const TAIL: i64 = 2000;

/// The running child. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct OwnNode {
    process: ProcessGroup,
    _lifeline: PipeWriter,
}

impl OwnNode {
    /// Starts the program, unless somebody answers at the socket already (left by a host that crashed), and returns once
    /// it answers. `running` is the child that was started before.
    pub(crate) async fn start(
        running: &mut Option<Self>,
        program: &Path,
        places: &Places,
    ) -> Result<(), Cause> {
        let api = LocalApi::new(Endpoint::Socket(places.own.socket.clone()));
        match api.status().await {
            Ok(_) => return Ok(()),
            Err(error @ (ApiError::Denied { .. } | ApiError::Protocol { .. })) => {
                return Err(cause::of(&error));
            }
            Err(
                ApiError::Absent
                | ApiError::Unreachable { .. }
                | ApiError::Cut
                | ApiError::Changed
                | ApiError::Refused { .. },
            ) => {}
        }
        // A child that was started and does not answer is of no use.
        *running = None;
        let node = Self::spawn(program, places).map_err(|error| not_started(error.to_string()))?;
        node.wait_until_answering(running, &api, &places.own.log)
            .await
    }

    fn spawn(program: &Path, places: &Places) -> io::Result<Self> {
        let own = &places.own;
        if own.socket.as_os_str().as_bytes().len() > SOCKET_PATH_LIMIT {
            let detail = "the path of its socket is longer than 103 bytes";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, detail));
        }
        make_private_folder(&own.state)?;
        let log = open_log(&own.log)?;
        let (lifeline_end, lifeline) = io::pipe()?;
        let mut command = bare_node_command(program, places);
        command
            .env("TS_PARENT_DEATH_FD", lifeline_end.as_raw_fd().to_string())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log));
        // Only from here on do children inherit it. One that another task starts this moment holds an end that
        // nobody writes to, which does no harm.
        fcntl_setfd(&lifeline_end, FdFlags::empty())?;
        let process = ProcessGroup::spawn(&mut command)?;
        Ok(Self {
            process,
            _lifeline: lifeline,
        })
    }

    async fn wait_until_answering(
        mut self,
        running: &mut Option<Self>,
        api: &LocalApi,
        log: &Path,
    ) -> Result<(), Cause> {
        let deadline = Instant::now() + ANSWER_LIMIT;
        let mut pause = FIRST_DIAL;
        loop {
            let error = match api.status().await {
                Ok(_) => {
                    *running = Some(self);
                    return Ok(());
                }
                Err(error) => error,
            };
            if let Some(status) = self.process.ended() {
                let said = last_line(log).unwrap_or_default();
                return Err(not_started(format!("it ended with {status}: {said}")));
            }
            if Instant::now() >= deadline {
                return Err(not_started(error.to_string()));
            }
            sleep(pause).await;
            pause = (pause * 2).min(SLOWEST_DIAL);
        }
    }
}

fn bare_node_command(program: &Path, places: &Places) -> Command {
    let own = &places.own;
    let mut state = std::ffi::OsString::from("--statedir=");
    state.push(&own.state);
    let mut socket = std::ffi::OsString::from("--socket=");
    socket.push(&own.socket);
    let mut command = command::bare_command(program, &places.environment);
    command
        .args(["--tun=userspace-networking", "--port=0"])
        .args([state, socket])
        .args(&own.arguments)
        .envs(own.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&own.state);
    command
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))
}

fn open_log(path: &Path) -> io::Result<File> {
    let long = path.metadata().is_ok_and(|meta| meta.len() > LOG_LIMIT);
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    if long {
        log.set_len(0)?;
    }
    Ok(log)
}

fn last_line(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
    file.seek(SeekFrom::End(-length.min(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    Ok(line.unwrap_or_default().to_owned())
}

fn not_started(detail: String) -> Cause {
    Cause::TailscaleNotStarted {
        detail: detail.into(),
    }
}
