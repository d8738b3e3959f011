//! The control socket: for its owner alone, line-delimited JSON.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ecto_core::engine::command::Handle;
use ecto_core::exposure::Exposure;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OnceCell, RwLock, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::offers::{Choice, Offers};
use crate::record::Record;
use crate::report::{ClientAccess, Report, WorldKind};
use crate::request::{Answer, LINE_LIMIT, Request};

/// How long those who asked the host to end may take to hear that it does.
const TELLING_LIMIT: Duration = Duration::from_secs(5);

/// What Prometheus is told where nobody asked for metrics.
const METRICS_OFF: &str = "Metrics are off. For the command, connect with `ecto connect --metrics`, or serve with \
                           `ecto serve --metrics`. For the app, quit it, set \"metrics\": true in the file settings.json in \
                           Ecto's folder, and start it again.\n";

/// How long reading when keys were last used may take.
const RECALLING_LIMIT: Duration = Duration::from_secs(3);

/// What stands around the engine.
#[derive(Debug)]
pub struct Surroundings {
    /// In which world it runs.
    pub world: WorldKind,
    /// How a client gets there, in the lab and the sandbox.
    pub client_access: Option<ClientAccess>,
    /// The requests through the guard.
    pub record: Arc<Record>,
    /// What is offered beside what always is.
    pub offers: Offers,
    /// Whether the control socket answers `GET /metrics`.
    pub metrics: bool,
}

/// What the host knows besides the engine.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The engine.
    pub engine: Handle,
    /// What stands around it.
    pub surroundings: Arc<Surroundings>,
    /// Is cancelled when a client asked the host to end, after the door was closed.
    pub quit: CancellationToken,
    /// Is held for reading while an errand is run that ending would break off.
    pub errands: Arc<RwLock<()>>,
    /// The same while OpenClaw is restored.
    pub restoring: Arc<RwLock<()>>,
    /// Whether the engine was told when keys were used before this host.
    pub recalled: Arc<OnceCell<()>>,
}

impl Desk {
    /// What there is to see now.
    pub fn report(&self) -> Report {
        self.report_of(&self.engine.snapshots())
    }

    fn report_of(&self, snapshots: &watch::Receiver<ecto_core::snapshot::Snapshot>) -> Report {
        let surroundings = &self.surroundings;
        Report {
            client_access: surroundings.client_access.clone(),
            today: surroundings.record.today(),
            strangers: surroundings.record.strangers(),
            offer: surroundings.offers.present(),
            ..Report::of_host(
                snapshots.borrow().clone(),
                surroundings.world,
                std::process::id(),
            )
        }
    }

    async fn choose(&self, choice: Choice, is_allowed: bool) -> Answer {
        let offers = &self.surroundings.offers;
        let tell = |offer| self.engine.set_offer(offer);
        match offers.choose(choice, is_allowed, tell).await {
            Ok(offer) => Answer::Offered { offer },
            Err(cause) => Answer::failed(cause),
        }
    }

    /// Tells the engine, once, when keys were used before this host. That is read only when somebody looks at the keys, so
    /// that no start waits for it; and a disk that does not answer keeps nobody from them.
    async fn recall_uses(&self) {
        let desk = self.clone();
        // What is read late is still handed over, and read no second time.
        let recall = tokio::spawn(async move {
            let read = || async {
                let record = Arc::clone(&desk.surroundings.record);
                let uses = tokio::task::spawn_blocking(move || record.last_uses()).await;
                desk.engine.recall_uses(uses.unwrap_or_default()).await;
            };
            desk.recalled.get_or_init(read).await;
        });
        if tokio::time::timeout(RECALLING_LIMIT, recall).await.is_err() {
            tracing::warn!("when keys were last used was not read in time");
        }
    }

    fn metrics(&self) -> String {
        let snapshots = self.engine.snapshots();
        let snapshot = snapshots.borrow();
        let is_public = matches!(snapshot.exposure, Exposure::Public { .. });
        let in_flight = snapshot.activity.in_flight;
        self.surroundings.record.metrics(is_public, in_flight)
    }

    /// Does what a request asks. [`Request::Watch`] gets one report here; the rest is the connection's business.
    pub async fn answer(&self, request: Request) -> Answer {
        let _errand = match request {
            Request::RegenerateKey
            | Request::AddKey { .. }
            | Request::RotateKey { .. }
            | Request::RevokeKey { .. }
            | Request::RenameKey { .. }
            | Request::SetRoute { .. }
            | Request::SetOrigin { .. }
            | Request::RestartGateway => Some(self.errands.read().await),
            Request::Restore => Some(self.restoring.read().await),
            Request::Status
            | Request::Watch
            | Request::Look
            | Request::Requests { .. }
            | Request::Connect { .. }
            | Request::Disconnect { .. }
            | Request::RevealKey
            | Request::Keys { .. }
            | Request::ShowKey { .. }
            | Request::FindKey { .. }
            | Request::CheckOutside
            | Request::Offer
            | Request::Quit => None,
        };
        match request {
            Request::Status | Request::Watch => Answer::Report(Box::new(self.report())),
            Request::Look => match self.engine.look().await {
                Ok(()) => Answer::Report(Box::new(self.report())),
                Err(cause) => Answer::failed(cause),
            },
            Request::Connect { until, node } => {
                Answer::from_done(self.engine.connect(until, node).await)
            }
            Request::Disconnect { for_sleep: false } => {
                Answer::from_done(self.engine.disconnect().await)
            }
            Request::Disconnect { for_sleep: true } => {
                Answer::from_done(self.engine.disconnect_for_sleep().await)
            }
            Request::RevealKey => match self.engine.reveal_key().await {
                Ok(key) => Answer::Key { key },
                Err(cause) => Answer::failed(cause),
            },
            Request::RegenerateKey => Answer::from_done(self.engine.regenerate_key().await),
            Request::Keys { makes_default } => {
                self.recall_uses().await;
                let keys = if makes_default {
                    self.engine.show_keys().await
                } else {
                    self.engine.list_keys().await
                };
                match keys {
                    Ok(keys) => Answer::Keys { keys },
                    Err(cause) => Answer::failed(cause),
                }
            }
            Request::ShowKey { name } => {
                self.recall_uses().await;
                Answer::from_key(self.engine.reveal_named_key(name).await)
            }
            Request::FindKey { digest } => {
                self.recall_uses().await;
                match self.engine.find_key(digest).await {
                    Ok(found) => Answer::FoundKey {
                        found: found.map(Box::new),
                    },
                    Err(cause) => Answer::failed(cause),
                }
            }
            Request::AddKey { name, grant } => {
                Answer::from_key(self.engine.add_key(name, grant).await)
            }
            Request::RotateKey {
                name,
                grace_seconds,
                end,
            } => {
                let grace = Duration::from_secs(grace_seconds);
                Answer::from_key(self.engine.rotate_key(name, grace, end).await)
            }
            Request::RevokeKey { name } => Answer::from_done(self.engine.revoke_key(name).await),
            Request::RenameKey { name, to } => {
                Answer::from_done(self.engine.rename_key(name, to).await)
            }
            Request::RestartGateway => Answer::from_done(self.engine.restart_gateway().await),
            Request::Restore => match self.engine.restore().await {
                Ok(keys) => Answer::Restored { keys },
                Err(cause) => Answer::failed(cause),
            },
            Request::CheckOutside => {
                self.engine.check_outside().await;
                Answer::Done
            }
            Request::Requests { limit } => Answer::Requests {
                lines: self.surroundings.record.recent(limit),
            },
            Request::Offer => Answer::Offered {
                offer: self.surroundings.offers.present(),
            },
            Request::SetRoute { route, allowed } => {
                self.choose(Choice::Route(route), allowed).await
            }
            Request::SetOrigin { origin, allowed } => {
                self.choose(Choice::Origin(origin), allowed).await
            }
            Request::Quit => {
                let closed = self.engine.quit().await;
                Answer::from_done(closed)
            }
        }
    }
}

/// A socket that listens; removed when dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Listens at `path`. A socket left there is replaced: whoever calls this holds the lock, so nobody listens to it.
    pub fn bind(path: &Path) -> std::io::Result<Self> {
        Ok(Self {
            listener: listen(path)?,
            path: path.to_owned(),
        })
    }

    /// Listens at the same path anew, after somebody removed the socket there.
    pub fn bind_again(&mut self) -> std::io::Result<()> {
        self.listener = listen(&self.path)?;
        Ok(())
    }

    /// Waits for the next connection of this user's.
    pub async fn accept(&self) -> UnixStream {
        let mut is_told = false;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if is_owner(&stream) => return stream,
                Ok(_) => {}
                Err(fault) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%fault, "the control socket could not accept");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Serves until `desk.quit` is cancelled.
    pub async fn serve(self, desk: Desk) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = desk.quit.cancelled() => break,
                stream = self.accept() => {
                    connections.spawn(serve_connection(stream, desk.clone()));
                }
                Some(_) = connections.join_next() => {}
            }
        }
        // Whoever comes now finds no host, instead of one that does not answer any more.
        drop(self);
        // Whoever asked the host to end is still being told.
        let told = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(TELLING_LIMIT, told).await;
    }
}

fn listen(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => {}
        Err(fault) => return Err(fault),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Nobody listens any more; a file left behind is replaced by the next host.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn is_owner(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) => peer.uid() == own || peer.uid() == 0,
        Err(_) => false,
    }
}

async fn serve_connection(stream: UnixStream, desk: Desk) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(LINE_LIMIT);
        tokio::select! {
            read = limited.read_until(b'\n', &mut line) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            },
            // Whoever asks nothing does not keep the host from ending.
            () = desk.quit.cancelled() => return,
        }
        if line.starts_with(b"GET /metrics HTTP/1.") {
            return answer_metrics(&mut writer, &desk).await;
        }
        let Ok(request) = serde_json::from_slice::<Request>(&line) else {
            let _ = send(&mut writer, &Answer::NotUnderstood).await;
            return;
        };
        if request == Request::Watch {
            return watch_reports(&mut reader, &mut writer, &desk).await;
        }
        let ends = request == Request::Quit;
        let answer = desk.answer(request).await;
        if answer.is_left_to_the_next() && desk.engine.has_ended() {
            // Hanging up says that the host ended; whoever asked goes on from there.
            return;
        }
        let sent = send(&mut writer, &answer).await;
        if ends {
            desk.quit.cancel();
        }
        if ends || sent.is_err() {
            return;
        }
    }
}

/// Answers Prometheus, which speaks HTTP, where that is wanted.
async fn answer_metrics(writer: &mut (impl AsyncWriteExt + Unpin), desk: &Desk) {
    let (status, text) = if desk.surroundings.metrics {
        ("200 OK", desk.metrics())
    } else {
        ("404 Not Found", METRICS_OFF.to_owned())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    // Whoever went away needs no answer.
    let _ = writer.write_all(head.as_bytes()).await;
    let _ = writer.write_all(text.as_bytes()).await;
    let _ = writer.shutdown().await;
}

async fn watch_reports(
    reader: &mut (impl AsyncReadExt + Unpin),
    writer: &mut (impl AsyncWriteExt + Unpin),
    desk: &Desk,
) {
    let mut snapshots = desk.engine.snapshots();
    let mut byte = [0u8; 1];
    loop {
        snapshots.borrow_and_update();
        let report = Answer::Report(Box::new(desk.report_of(&snapshots)));
        if send(writer, &report).await.is_err() {
            return;
        }
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            _ = reader.read(&mut byte) => return,
            () = desk.quit.cancelled() => return,
        }
    }
}

async fn send(writer: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await
}
