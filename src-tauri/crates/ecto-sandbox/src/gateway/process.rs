//! The life of the gateway process: start, watch the configuration, apply it, restart, stop.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::authentication::{Authentication, Moment};
use super::config::{self, ConfigError, Effective};
use super::state::{Exit, Order, Phase, Signal, State, random_token};
use super::watching::{FolderWatch, folders_of};
use super::{connection, recovery, schema};
use crate::faults::Fault;

/// The exit code with which OpenClaw refuses a configuration.
pub const REFUSED: i32 = 78;

/// What the gateway says to a file without a mode, and to one it cannot parse.
const MODE_MISSING: &str = "Gateway start blocked: existing config is missing gateway.mode. Treat this as suspicious or clobbered config. Re-run `openclaw onboard --mode local` or `openclaw setup`, set gateway.mode=local manually, or pass --allow-unconfigured.";

/// How long open WebSockets get to send their last event.
const FAREWELL: Duration = Duration::from_millis(50);

type Orders = mpsc::UnboundedReceiver<Order>;

/// How one generation of the process ended.
enum End {
    Stopped(Option<oneshot::Sender<()>>),
    Again(Duration),
    Exited(Exit),
}

/// Runs the process until the gateway is dropped.
pub(crate) async fn supervise(state: Arc<State>, mut orders: Orders) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Start(accepted) => {
                state.enter(Phase::Starting);
                let _ = accepted.send(());
                live(&state, &mut orders).await;
            }
            Order::Stop(done) => {
                state.enter(Phase::Stopped);
                let _ = done.send(());
            }
            Order::Reload(done) => {
                let _ = done.send(Ok(()));
            }
            Order::Die(_) | Order::Restart | Order::RestartOnceIdle => {}
        }
    }
}

async fn live(state: &Arc<State>, orders: &mut Orders) {
    loop {
        match generation(state, orders).await {
            End::Stopped(done) => {
                state.enter(Phase::Stopped);
                if let Some(done) = done {
                    let _ = done.send(());
                }
                return;
            }
            End::Again(after) => {
                state.enter(Phase::Down);
                if let Some(end) = pause(after, orders).await {
                    let End::Stopped(done) = end else { continue };
                    state.enter(Phase::Stopped);
                    if let Some(done) = done {
                        let _ = done.send(());
                    }
                    return;
                }
            }
            End::Exited(exit) => {
                state.record.say(exit.message.clone());
                state.enter(Phase::Exited(exit));
                return;
            }
        }
    }
}

/// Waits, unless an order ends the process first.
async fn pause(time: Duration, orders: &mut Orders) -> Option<End> {
    let end = sleep(time);
    tokio::pin!(end);
    loop {
        let order = tokio::select! {
            () = &mut end => return None,
            order = orders.recv() => order,
        };
        match order {
            None => return Some(End::Stopped(None)),
            Some(Order::Stop(done)) => return Some(End::Stopped(Some(done))),
            Some(Order::Die(None)) => return Some(End::Stopped(None)),
            Some(Order::Die(Some(after))) => return Some(End::Again(after)),
            Some(Order::Start(accepted)) => {
                let _ = accepted.send(());
            }
            Some(Order::Reload(done)) => {
                let _ = done.send(Ok(()));
            }
            Some(Order::Restart | Order::RestartOnceIdle) => {}
        }
    }
}

async fn generation(state: &Arc<State>, orders: &mut Orders) -> End {
    state.enter(Phase::Starting);
    state.mark_started();
    state.restart_pending.store(false, Ordering::Relaxed);
    if let Some(end) = failed_start(state).await {
        return end;
    }
    if let Some(end) = pause(state.timing().load, orders).await {
        return end;
    }
    if let Some(line) = recovery::restore_if_suspicious(&state.config_path) {
        state.record.say(line);
    }
    let runtime_token = random_token();
    let effective = match read(state, &runtime_token) {
        Ok(effective) => effective,
        Err(exit) => return End::Exited(exit),
    };
    let port = effective.port().unwrap_or(state.assigned_port);
    let listener = match listen(state, port) {
        Ok(listener) => listener,
        Err(error) => {
            let message =
                format!("Gateway failed to start: port {port} is already in use ({error})");
            return End::Exited(Exit { code: 1, message });
        }
    };
    state
        .record
        .say(format!("http server listening on 127.0.0.1:{port}"));
    recovery::remember(&state.config_path, &effective.reading.raw);
    state.activate(effective);
    state.enter(Phase::Warming);

    let cut = CancellationToken::new();
    let _cut_when_dropped = cut.clone().drop_guard();
    let mut server = JoinSet::new();
    server.spawn(connection::accept(Arc::clone(state), listener, cut.clone()));
    let end = match pause(state.timing().warm, orders).await {
        Some(end) => end,
        None => {
            state.enter(Phase::Ready);
            state.record.say("ready");
            serve(state, orders, &runtime_token).await
        }
    };
    cut.cancel();
    server.shutdown().await;
    if let Ok(socket) = bind(port) {
        state.reserve(socket);
    }
    end
}

async fn failed_start(state: &State) -> Option<End> {
    let message = match state.faults.pass("start").await? {
        Fault::Answer { body, .. } => body,
        Fault::Die {
            back_after: Some(after),
        } => return Some(End::Again(after)),
        Fault::Refuse
        | Fault::CloseAfter(_)
        | Fault::GarbageLine
        | Fault::HalfLine
        | Fault::LongLine(_)
        | Fault::Silence
        | Fault::Delay(_)
        | Fault::Hold(_)
        | Fault::Die { back_after: None } => "Gateway failed to start".to_owned(),
    };
    Some(End::Exited(Exit { code: 1, message }))
}

/// Reads the configuration for a start. Whatever is wrong with it is a refusal, but for a secret that cannot be had.
fn read(state: &State, runtime_token: &SecretString) -> Result<Effective, Exit> {
    let refused = |message: String| Exit {
        code: REFUSED,
        message,
    };
    let effective =
        read_effective(state, runtime_token, Moment::Start).map_err(|error| match error {
            ConfigError::Secret(_) => Exit {
                code: 1,
                message: format!("Gateway failed to start: {error}"),
            },
            ConfigError::Syntax(_) => refused(MODE_MISSING.to_owned()),
            ConfigError::Missing
            | ConfigError::Unreadable(_)
            | ConfigError::Invalid(_)
            | ConfigError::NoPassword => refused(error.to_string()),
        })?;
    match effective.text("/gateway/mode") {
        Some("local") => {}
        None => return Err(refused(MODE_MISSING.to_owned())),
        Some(mode) => {
            return Err(refused(format!(
                "Gateway start blocked: set gateway.mode=local (current: {mode}) or pass --allow-unconfigured."
            )));
        }
    }
    let funnel = effective.text("/gateway/tailscale/mode") == Some("funnel");
    if funnel && !matches!(effective.authentication, Authentication::Password(_)) {
        return Err(refused(
            "Gateway failed to start: tailscale funnel requires gateway auth mode=password (set gateway.auth.password or OPENCLAW_GATEWAY_PASSWORD)."
                .to_owned(),
        ));
    }
    Ok(effective)
}

fn read_effective(
    state: &State,
    runtime_token: &SecretString,
    moment: Moment,
) -> Result<Effective, ConfigError> {
    let reading = config::read(&state.config_path, &state.environment)?;
    Effective::from(
        reading,
        &state.environment,
        &state.folder,
        runtime_token,
        moment,
    )
}

/// Opens the port: with the socket that kept it, or a new one where the configuration names another.
fn listen(state: &State, port: u16) -> std::io::Result<TcpListener> {
    let kept = state.take_reserved().filter(|socket| {
        socket
            .local_addr()
            .is_ok_and(|address| address.port() == port)
    });
    let socket = match kept {
        Some(socket) => socket,
        None => bind(port)?,
    };
    let listener = socket.listen(1024)?;
    state.port.store(port, Ordering::Relaxed);
    Ok(listener)
}

/// Binds a socket without listening: the port is ours, and connections to it are refused.
pub(crate) fn bind(port: u16) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    Ok(socket)
}

/// The configuration and the files it includes.
fn configuration_files(state: &State) -> Vec<PathBuf> {
    let mut paths = vec![state.config_path.clone()];
    if let Some(active) = state.active() {
        paths.extend(active.reading.includes.iter().cloned());
    }
    paths
}

fn configuration_folders(state: &State) -> BTreeSet<PathBuf> {
    folders_of(configuration_files(state).iter().map(PathBuf::as_path))
}

type Signature = Vec<(PathBuf, Option<(SystemTime, u64, u64)>)>;

/// Returns what tells whether the configuration or an included file changed.
fn signature(state: &State) -> Signature {
    configuration_files(state)
        .into_iter()
        .map(|path| {
            let found = std::fs::metadata(&path).ok().and_then(|metadata| {
                #[cfg(unix)]
                let file = std::os::unix::fs::MetadataExt::ino(&metadata);
                #[cfg(not(unix))]
                let file = 0;
                Some((metadata.modified().ok()?, metadata.len(), file))
            });
            (path, found)
        })
        .collect()
}

#[derive(Default)]
struct Pending {
    at: Option<Instant>,
    waiting: Vec<oneshot::Sender<Result<(), ConfigError>>>,
}

impl Pending {
    fn schedule(&mut self, state: &State) {
        self.at
            .get_or_insert_with(|| Instant::now() + state.timing().hot_apply);
    }

    fn finish(&mut self, result: &Result<(), ConfigError>) {
        self.at = None;
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(result.clone());
        }
    }
}

async fn serve(state: &Arc<State>, orders: &mut Orders, runtime_token: &SecretString) -> End {
    let ready_since = Instant::now();
    let mut watch = FolderWatch::new(configuration_folders(state));
    let mut seen = signature(state);
    let mut pending = Pending::default();
    let mut deferred_until = None;
    loop {
        let timing = state.timing();
        let crash_at = state
            .behaviour()
            .crash_after
            .map(|after| ready_since + after);
        let far = Instant::now() + Duration::from_secs(3600);
        let order = tokio::select! {
            order = orders.recv() => order,
            () = sleep_until(pending.at.unwrap_or(far)), if pending.at.is_some() => {
                seen = signature(state);
                let (result, restart) = apply(state, runtime_token);
                pending.finish(&result);
                if restart { return restart_gracefully(state, orders).await; }
                watch.watch(configuration_folders(state));
                continue;
            }
            () = idle(state, deferred_until.unwrap_or(far)), if deferred_until.is_some() => {
                return restart_gracefully(state, orders).await;
            }
            () = sleep_until(crash_at.unwrap_or(far)), if crash_at.is_some() => {
                state.record.say("Gateway crashed");
                return End::Again(timing.down);
            }
            () = watch.changed() => {
                let now = signature(state);
                if now != seen {
                    seen = now;
                    pending.schedule(state);
                }
                continue;
            }
        };
        match order {
            None => return End::Stopped(None),
            Some(Order::Stop(done)) => {
                farewell(state, "gateway stopping", "service stop").await;
                return End::Stopped(Some(done));
            }
            Some(Order::Die(None)) => return End::Stopped(None),
            Some(Order::Die(Some(after))) => return End::Again(after),
            Some(Order::Restart) => return restart_gracefully(state, orders).await,
            Some(Order::RestartOnceIdle) => {
                deferred_until.get_or_insert_with(|| Instant::now() + timing.deferral_limit);
            }
            Some(Order::Start(accepted)) => {
                let _ = accepted.send(());
            }
            Some(Order::Reload(done)) => {
                pending.schedule(state);
                pending.waiting.push(done);
            }
        }
    }
}

/// Waits until nothing is in flight, not longer than until then.
async fn idle(state: &State, end: Instant) {
    let mut in_flight = state.in_flight.subscribe();
    // A limit that passes means that what is still in flight has had its time.
    let _ = timeout_at(end, in_flight.wait_for(|requests| *requests == 0)).await;
}

async fn farewell(state: &State, reason: &'static str, close_reason: &'static str) {
    if state.signals.receiver_count() > 0 {
        state.signal(Signal::Shutdown {
            reason,
            code: 1012,
            close_reason,
        });
        sleep(FAREWELL).await;
    }
}

async fn restart_gracefully(state: &Arc<State>, orders: &mut Orders) -> End {
    state.enter(Phase::Draining);
    state.restart_pending.store(true, Ordering::Relaxed);
    state.record.say("draining for restart");
    let timing = state.timing();
    if let Some(end) = pause(timing.drain, orders).await {
        return end;
    }
    // What is in flight by then is cut.
    idle(state, Instant::now() + timing.drain_limit).await;
    farewell(state, "gateway restarting", "service restart").await;
    state.restarts.fetch_add(1, Ordering::Relaxed);
    End::Again(timing.down)
}

/// Applies the changed configuration; tells whether it needs a restart.
fn apply(state: &State, runtime_token: &SecretString) -> (Result<(), ConfigError>, bool) {
    let Some(old) = state.active() else {
        return (Ok(()), false);
    };
    let mut new = match read_effective(state, runtime_token, Moment::Reload) {
        Ok(new) => new,
        Err(error @ ConfigError::Secret(_)) => {
            state.record.say(format!("config reload failed: {error}"));
            return (Err(error), false);
        }
        Err(
            error @ (ConfigError::Missing
            | ConfigError::Unreadable(_)
            | ConfigError::Syntax(_)
            | ConfigError::Invalid(_)
            | ConfigError::NoPassword),
        ) => {
            state
                .record
                .say(format!("config reload skipped (invalid config): {error}"));
            return (Err(error), false);
        }
    };
    let changed = config::changed_paths(&old.reading.resolved, &new.reading.resolved);
    if changed.is_empty() {
        return (Ok(()), false);
    }
    if !old.reloads() {
        state
            .record
            .say("config change ignored (gateway.reload.mode is off)");
        return (Ok(()), false);
    }
    let list = changed.join(", ");
    state.record.say(format!(
        "config change detected; evaluating reload ({list})"
    ));
    let restart = schema::needs_restart(&changed, &new.reading.resolved);
    let authentication_changed = changed.iter().any(|path| path.starts_with("gateway.auth"));
    if restart {
        state
            .record
            .say(format!("config change requires gateway restart ({list})"));
    } else {
        if let Authentication::Token {
            runtime_only: true, ..
        } = old.authentication
        {
            // The real gateway says "applied" and yet goes on with the token it made for itself.
            new.authentication = old.authentication.clone();
        }
        recovery::remember(&state.config_path, &new.reading.raw);
        state.activate(new);
        state
            .record
            .say(format!("config hot reload applied ({list})"));
    }
    if authentication_changed {
        state.signal(Signal::AuthenticationChanged);
    }
    (Ok(()), restart)
}
