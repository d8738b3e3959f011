//! What the parts of one stand-in gateway share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use rand::Rng as _;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::config::{ConfigError, Effective};
use super::lockout::Lockouts;
use super::record::Record;
use super::timing::Timing;
use crate::faults::Faults;

/// Where the gateway process is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Not started, or stopped: the port is closed.
    Stopped,
    /// The process runs, the port is still closed.
    Starting,
    /// The port is open, `/readyz` answers 503.
    Warming,
    /// `/readyz` answers 200.
    Ready,
    /// Before a restart: `/readyz` answers 503, requests in flight go on.
    Draining,
    /// Within a restart, or after a crash: the port is closed.
    Down,
    /// The process ended by itself and nobody starts it again.
    Exited(Exit),
}

/// Why the gateway process ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the gateway exited with code {code}: {message}")]
pub struct Exit {
    /// The exit code; 78 is a refusal of the configuration.
    pub code: i32,
    /// The last line of its log.
    pub message: String,
}

/// What a test told the gateway to do differently from the real one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Behaviour {
    pub timing: Timing,
    pub stall: Option<Duration>,
    pub answers_everything: bool,
    pub crash_after: Option<Duration>,
    pub service: bool,
}

/// What the process is told from outside.
#[derive(Debug)]
pub(crate) enum Order {
    Start(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
    Die(Option<Duration>),
    Restart,
    RestartOnceIdle,
    Reload(oneshot::Sender<Result<(), ConfigError>>),
}

/// What open WebSockets are told.
#[derive(Debug, Clone)]
pub(crate) enum Signal {
    Event(Value),
    AuthenticationChanged,
    Shutdown {
        reason: &'static str,
        code: u16,
        close_reason: &'static str,
    },
}

/// The shared state.
pub(crate) struct State {
    pub folder: PathBuf,
    pub config_path: PathBuf,
    pub environment: BTreeMap<String, String>,
    pub faults: Faults,
    pub record: Record,
    pub lockouts: Lockouts,
    pub phase: watch::Sender<Phase>,
    pub in_flight: watch::Sender<usize>,
    pub signals: broadcast::Sender<Signal>,
    pub orders: mpsc::UnboundedSender<Order>,
    pub assigned_port: u16,
    pub port: AtomicU16,
    pub starts: AtomicU64,
    pub restarts: AtomicU64,
    pub restart_pending: AtomicBool,
    behaviour: Mutex<Behaviour>,
    active: Mutex<Option<Arc<Effective>>>,
    reserved: Mutex<Option<TcpSocket>>,
    started: Mutex<Instant>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    #[expect(clippy::too_many_arguments, reason = "called once, by the builder")]
    pub(crate) fn new(
        folder: PathBuf,
        config_path: PathBuf,
        environment: BTreeMap<String, String>,
        faults: Faults,
        behaviour: Behaviour,
        reserved: TcpSocket,
        assigned_port: u16,
        orders: mpsc::UnboundedSender<Order>,
    ) -> Self {
        Self {
            folder,
            config_path,
            environment,
            faults,
            record: Record::default(),
            lockouts: Lockouts::default(),
            phase: watch::Sender::new(Phase::Stopped),
            in_flight: watch::Sender::new(0),
            signals: broadcast::Sender::new(64),
            orders,
            assigned_port,
            port: AtomicU16::new(assigned_port),
            starts: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            restart_pending: AtomicBool::new(false),
            behaviour: Mutex::new(behaviour),
            active: Mutex::new(None),
            reserved: Mutex::new(Some(reserved)),
            started: Mutex::new(Instant::now()),
        }
    }

    pub(crate) fn behaviour(&self) -> Behaviour {
        *locked(&self.behaviour)
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut locked(&self.behaviour));
    }

    pub(crate) fn timing(&self) -> Timing {
        self.behaviour().timing
    }

    pub(crate) fn active(&self) -> Option<Arc<Effective>> {
        locked(&self.active).clone()
    }

    pub(crate) fn activate(&self, effective: Effective) {
        *locked(&self.active) = Some(Arc::new(effective));
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub(crate) fn mark_started(&self) {
        *locked(&self.started) = Instant::now();
        self.starts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn uptime_milliseconds(&self) -> u128 {
        locked(&self.started).elapsed().as_millis()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    /// Takes the socket that keeps the port while nothing listens on it.
    pub(crate) fn take_reserved(&self) -> Option<TcpSocket> {
        locked(&self.reserved).take()
    }

    pub(crate) fn reserve(&self, socket: TcpSocket) {
        *locked(&self.reserved) = Some(socket);
    }

    /// Sends an order; the process takes it when it can.
    pub(crate) fn order(&self, order: Order) {
        // It fails only when the gateway was dropped, and then nobody waits for the order.
        let _ = self.orders.send(order);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It fails only where no WebSocket is open.
        let _ = self.signals.send(signal);
    }
}

/// Makes a secret of 24 random bytes in hexadecimal, as the gateway does for itself.
pub(crate) fn random_token() -> SecretString {
    let mut bytes = [0_u8; 24];
    rand::rng().fill_bytes(&mut bytes);
    HEXLOWER.encode(&bytes).into()
}

/// Makes a random identifier in the shape of a UUID.
pub(crate) fn random_id() -> String {
    let mut bytes = [0_u8; 16];
    rand::rng().fill_bytes(&mut bytes);
    let text = HEXLOWER.encode(&bytes);
    let parts: Vec<&str> = [0..8, 8..12, 12..16, 16..20, 20..32]
        .into_iter()
        .filter_map(|range| text.get(range))
        .collect();
    parts.join("-")
}

/// Returns the answer to a restart request, with this many requests in flight.
pub(crate) fn restart_answer(in_flight: usize, coalesced: bool) -> Value {
    let status = match (coalesced, in_flight) {
        (true, _) => "coalesced",
        (false, 0) => "scheduled",
        (false, _) => "deferred",
    };
    json!({
        "ok": true,
        "status": status,
        "preflight": preflight(in_flight),
        "restart": {
            "ok": true,
            "pid": PROCESS,
            "signal": "SIGUSR2",
            "reason": "gateway.restart.safe",
            "mode": "emit",
            "cooldownMsApplied": 0,
            "delayMs": 0,
            "coalesced": coalesced,
            "emitHooksQueued": false,
        },
    })
}

pub(crate) fn preflight(in_flight: usize) -> Value {
    let message = format!("{in_flight} active gateway request(s)");
    let (blockers, summary) = if in_flight == 0 {
        (json!([]), "safe to restart now".to_owned())
    } else {
        let blocker = json!({ "kind": "root-request", "count": in_flight, "message": message });
        (json!([blocker]), format!("restart deferred: {message}"))
    };
    json!({
        "safe": in_flight == 0,
        "counts": {
            "queueSize": 0, "pendingReplies": 0, "embeddedRuns": 0, "cronRuns": 0,
            "backgroundExecSessions": 0, "rootRequests": in_flight, "activeTasks": 0, "totalActive": in_flight,
        },
        "blockers": blockers,
        "summary": summary,
    })
}

/// The process id the stand-in claims: above the highest that Linux and macOS give out, so a signal to it reaches nobody.
pub(crate) const PROCESS: u32 = 0x7fff_fffe;

/// Returns the milliseconds since 1970.
pub(crate) fn milliseconds() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis())
}
