//! A host in another process that reports what a test wants, so that the app can be seen in every state.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;

use anyhow::Result;
use ecto_core::cause::Cause;
use ecto_core::exposure::Exposure;
use ecto_core::ports::VaultPlace;
use ecto_core::snapshot::Snapshot;
use ecto_host::lock::HostLock;
use ecto_host::report::{Report, WorldKind};
use ecto_host::request::{Answer, Request};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::App;

/// It holds the lock of the app's sandbox and answers on its control socket. It goes when this is dropped.
pub struct ScriptedHost {
    reports: watch::Sender<Report>,
    asked: watch::Sender<Vec<Request>>,
    refused: watch::Sender<Option<Cause>>,
    serving: JoinHandle<()>,
    _lock: HostLock,
}

impl ScriptedHost {
    /// Takes the lock before the app does; what it reports is Private.
    ///
    /// # Errors
    ///
    /// Where the app runs already.
    pub fn start(app: &App) -> Result<Self> {
        let runtime = app.sandbox().join("run");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&runtime)?;
        let lock = HostLock::take(&runtime)?;
        let socket = runtime.join("ecto.sock");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(socket)?;
        let reports = watch::Sender::new(report(Snapshot::new(VaultPlace::Memory)));
        let asked = watch::Sender::new(Vec::new());
        let refused = watch::Sender::new(None);
        let serving = tokio::spawn(serve(
            listener,
            reports.clone(),
            asked.clone(),
            refused.subscribe(),
        ));
        Ok(Self {
            reports,
            asked,
            refused,
            serving,
            _lock: lock,
        })
    }

    /// Reports this from now on.
    pub fn report(&self, exposure: Exposure) {
        self.change(|snapshot| snapshot.exposure = exposure);
    }

    /// Reports something else from now on.
    pub fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = self.reports.borrow().snapshot.clone();
        change(&mut snapshot);
        self.reports.send_replace(report(snapshot));
    }

    /// Refuses from now on to open the door, and to revoke a key.
    pub fn refuse(&self, cause: Cause) {
        self.refused.send_replace(Some(cause));
    }

    /// What was asked for so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Request> {
        self.asked.borrow().clone()
    }
}

impl Drop for ScriptedHost {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn report(snapshot: Snapshot) -> Report {
    Report::of_host(snapshot, WorldKind::Sandbox, std::process::id())
}

async fn serve(
    listener: UnixListener,
    reports: watch::Sender<Report>,
    asked: watch::Sender<Vec<Request>>,
    refused: watch::Receiver<Option<Cause>>,
) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(answer(
            stream,
            reports.subscribe(),
            asked.clone(),
            refused.clone(),
        ));
    }
}

async fn answer(
    stream: UnixStream,
    mut reports: watch::Receiver<Report>,
    asked: watch::Sender<Vec<Request>>,
    refused: watch::Receiver<Option<Cause>>,
) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let request: Request = serde_json::from_str(&line)?;
        let watches = request == Request::Watch;
        let is_refused = matches!(request, Request::Connect { .. } | Request::RevokeKey { .. });
        let cause = refused.borrow().clone().filter(|_| is_refused);
        asked.send_modify(|asked| asked.push(request));
        loop {
            let answer = if watches {
                Answer::Report(Box::new(reports.borrow_and_update().clone()))
            } else {
                cause.clone().map_or(Answer::Done, Answer::failed)
            };
            let mut line = serde_json::to_vec(&answer)?;
            line.push(b'\n');
            writer.write_all(&line).await?;
            if !watches {
                break;
            }
            reports.changed().await?;
        }
    }
    Ok(())
}
