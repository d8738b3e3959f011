//! The one task that owns the state.
//!
//! It is level-triggered: look at what is, compare with what is wanted, take the next step, look again. Any step may be
//! interrupted anywhere. Everything else sends it a command or watches its
//! [`Snapshot`].

mod changes;
mod closing;
pub mod command;
mod duties;
mod journey;
mod keeping;
mod keys;
mod revocation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use self::changes::{Changes, told_of_gateway};
use self::keeping::{DoorEvent, lost, outcome, sleep_until};
use self::revocation::Revocation;
use crate::cause::Cause;
use crate::exposure::{Exposure, Reach};
use crate::gateway::{GatewayAccess, GatewayFingerprint, GatewayView};
use crate::key::{KeyName, KeyRing, NoRandomness, hint};
use crate::plan::Observation;
use crate::ports::{
    Claim, Clock, Desktop, Gateway, Guard, Outside, OutsideFinding, Tailnet, Vault, WantedStore,
};
use crate::proof::Proof;
use crate::settings::Settings;
use crate::snapshot::{JourneyStep, KeyHint, Notice, Snapshot};
use crate::step::{Step, StepNote, Waiting};
use crate::tailnet::{Link, NodeChoice, TailnetView};
use crate::wanted::{RecordDoubt, Wanted};
use crate::words;

use command::{Action, Command, Handle};

/// How long the disk may take to store what is wanted. Private waits no longer for it.
const STORE_LIMIT: Duration = Duration::from_millis(500);

/// How long one look at the node or the gateway may take.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// How long one look at the node may take while the door is open; one at the gateway may take five times as long.
const SHORT_LOOK_LIMIT: Duration = Duration::from_secs(2);

/// How often the clocks are compared with a deadline.
const CLOCK_LOOK: Duration = Duration::from_secs(15);

/// Makes a new key from the system's generator.
pub type KeyMaker = Arc<dyn Fn() -> Result<SecretString, NoRandomness> + Send + Sync>;

/// What the engine needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// The node.
    pub tailnet: Arc<dyn Tailnet>,
    /// The gateway.
    pub gateway: Arc<dyn Gateway>,
    /// The guard.
    pub guard: Arc<dyn Guard>,
    /// The check from outside.
    pub outside: Arc<dyn Outside>,
    /// Where the secrets are.
    pub vault: Arc<dyn Vault>,
    /// The desktop.
    pub desktop: Arc<dyn Desktop>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where what is wanted is kept.
    pub wanted: Arc<dyn WantedStore>,
    /// Where keys come from.
    pub make_key: KeyMaker,
}

/// A look that is under way beside everything else.
type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A check from outside that is under way.
type Check = Pending<OutsideFinding>;

struct RunningGuard {
    listener: SocketAddr,
    access: GatewayAccess,
}

struct OpenDoor {
    claim: Box<dyn Claim>,
    node: NodeChoice,
    guard: SocketAddr,
    since: Timestamp,
    reach: Reach,
    held: Option<Cause>,
}

/// A closing that could not be seen to have worked.
struct Unconfirmed {
    node: NodeChoice,
    guard: SocketAddr,
    cause: Cause,
}

struct Deadline {
    until: Timestamp,
    uptime: Duration,
}

/// The engine; see the module.
pub struct Engine {
    ports: Ports,
    settings: Settings,
    commands: mpsc::Receiver<Command>,
    snapshots: watch::Sender<Snapshot>,
    changes: Option<Changes>,
    activity: watch::Receiver<crate::ports::Activity>,

    wanted: Wanted,
    /// Whether anything was wanted, or remembered to be, since this engine began.
    has_wish: bool,
    deadline: Option<Deadline>,
    exposure: Exposure,
    journey: Vec<JourneyStep>,
    seen: Option<(TailnetView, GatewayView)>,
    notice: Option<Notice>,

    keys: Option<KeyRing>,
    /// When each key was last used, of those that the guard has forgotten.
    uses: BTreeMap<KeyName, Timestamp>,
    /// When each name was last used as a key before there was this engine.
    recalled_uses: BTreeMap<KeyName, Timestamp>,
    /// The keys that are to be taken away, and that the guard lets in no more.
    revoking: Vec<Revocation>,
    guard: Option<RunningGuard>,
    /// Whether the guard may be running: a start that was dropped half way may have got there.
    guard_up: bool,
    proof: Option<Proof>,
    proven: Option<GatewayFingerprint>,
    door: Option<OpenDoor>,
    unconfirmed: Option<Unconfirmed>,
    /// Why the door was shut for good, told until a person asks for it to be open, or closed, or this ends.
    found: Option<Cause>,
    /// Since when the gateway behind the open door is not ready.
    away_since: Option<Instant>,

    outside: Option<Check>,
    /// A check from outside whose proof was voided while it was under way.
    outdated: Option<Check>,
    /// A look at the gateway behind the open door, while something else is done.
    glance: Option<Pending<GatewayView>>,
    next_check: Option<Instant>,
    failed_checks: u32,

    last_step: Option<(Step, u32)>,
    taken: VecDeque<(Step, Instant)>,
    stuck_at: Option<Step>,
    retries: u32,
    given_up: Option<Cause>,
    verify_at: Option<Instant>,
    opened_link: Option<Link>,

    actions: VecDeque<Action>,
    acting: bool,
    unstored: Option<Cause>,
    when_private: Vec<oneshot::Sender<Result<(), Cause>>>,
    quit: Option<oneshot::Sender<Result<(), Cause>>>,
    finished: bool,
}

/// How a piece of work ended.
enum Work<T> {
    Done(T),
    /// A command or the deadline came first; the work was dropped.
    Interrupted,
    TimedOut,
}

impl Engine {
    /// Makes an engine and the handle to it. Nothing happens before [`Engine::run`].
    pub fn new(ports: Ports, settings: Settings) -> (Self, Handle) {
        let (sender, commands) = mpsc::channel(32);
        let (snapshots, watcher) = watch::channel(Snapshot::new(ports.vault.place()));
        let engine = Self {
            changes: None,
            activity: ports.guard.activity(),
            ports,
            settings,
            commands,
            snapshots,
            wanted: Wanted::Private,
            has_wish: false,
            deadline: None,
            exposure: Exposure::Private,
            journey: Vec::new(),
            seen: None,
            notice: None,
            keys: None,
            uses: BTreeMap::new(),
            recalled_uses: BTreeMap::new(),
            revoking: Vec::new(),
            guard: None,
            guard_up: false,
            proof: None,
            proven: None,
            door: None,
            unconfirmed: None,
            found: None,
            away_since: None,
            outside: None,
            outdated: None,
            glance: None,
            next_check: None,
            failed_checks: 0,
            last_step: None,
            taken: VecDeque::new(),
            stuck_at: None,
            retries: 0,
            given_up: None,
            verify_at: None,
            opened_link: None,
            actions: VecDeque::new(),
            acting: false,
            unstored: None,
            when_private: Vec::new(),
            quit: None,
            finished: false,
        };
        (engine, Handle::new(sender, watcher))
    }

    /// Runs until it is told to quit, or nobody holds a handle any more. The door is closed when it returns.
    pub async fn run(mut self) {
        if self.settings.follow_wanted {
            self.remember().await;
        }
        while !self.finished {
            if self.deadline_passed() {
                self.end_by_deadline().await;
            } else if !self.wanted.is_public() && !self.is_settled() {
                self.go_private().await;
            } else if let Some(action) = self.actions.pop_front() {
                self.acting = true;
                self.act(action).await;
                self.acting = false;
            } else if let Some(cause) = self.found.clone() {
                self.wait_blocked(cause).await;
            } else if self.wanted.is_public() {
                self.pursue().await;
            } else {
                self.stay_private().await;
            }
        }
        let closed = self.close_door().await;
        self.found = None;
        self.show_private();
        let closed = match self.store_again().await {
            Some(cause) => closed.and(Err(cause)),
            None => closed,
        };
        for waiting in self.when_private.drain(..) {
            let _ = waiting.send(closed.clone());
        }
        let closed = match self.finish_revoking().await {
            Some(cause) => closed.and(Err(cause)),
            None => closed,
        };
        if let Some(quit) = self.quit.take() {
            let _ = quit.send(closed);
        }
    }

    async fn remember(&mut self) {
        let stored = match timeout(LOOK_LIMIT, self.ports.wanted.load()).await {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Ok(None)) => return,
            Ok(Err(_)) | Err(_) => {
                self.notice = Some(Notice::WantedUnreadable);
                return;
            }
        };
        let (wanted, doubt) = Wanted::from_record(&stored, self.ports.clock.now());
        self.notice = doubt.map(|doubt| match doubt {
            RecordDoubt::Unreadable => Notice::WantedUnreadable,
            RecordDoubt::Expired => Notice::DeadlinePassed,
        });
        self.want(wanted);
        if doubt == Some(RecordDoubt::Expired) {
            // A clock that is set back must not bring it to life again.
            self.store_present().await;
        }
    }

    /// Takes a new wish, without storing it.
    fn want(&mut self, wanted: Wanted) {
        let now = self.ports.clock.now();
        self.deadline = wanted.deadline().map(|until| Deadline {
            until,
            uptime: self.ports.clock.uptime() + until_duration(now, until),
        });
        self.wanted = wanted;
        self.has_wish = true;
        self.last_step = None;
        self.taken.clear();
        self.stuck_at = None;
        self.retries = 0;
        self.given_up = None;
        self.publish();
    }

    async fn store_wanted(&mut self, wanted: &Wanted) -> Result<(), Cause> {
        let record = wanted.to_record();
        let stored = timeout(STORE_LIMIT, self.ports.wanted.store(&record)).await;
        stored.unwrap_or_else(|_| {
            Err(Cause::WantedNotStored {
                detail: "the disk did not answer in time".into(),
            })
        })?;
        self.unstored = None;
        Ok(())
    }

    /// Stores what is wanted now; where that fails, it is tried again later.
    async fn store_present(&mut self) {
        let wanted = self.wanted.clone();
        if let Err(cause) = self.store_wanted(&wanted).await {
            tracing::error!(code = cause.code(), "what is wanted could not be stored");
            let detail = if let Cause::WantedNotStored { detail } = cause {
                detail
            } else {
                words::cause(&cause).what.trim_end_matches('.').into()
            };
            self.unstored = Some(Cause::PrivateNotStored { detail });
        }
    }

    /// Tries again to store what could not be stored, and gives back why it still cannot.
    async fn store_again(&mut self) -> Option<Cause> {
        if self.unstored.is_some() {
            self.store_present().await;
        }
        self.unstored.clone()
    }

    fn node(&self) -> NodeChoice {
        self.wanted.node()
    }

    fn deadline_passed(&self) -> bool {
        self.deadline.as_ref().is_some_and(|deadline| {
            self.ports.clock.now() >= deadline.until || self.ports.clock.uptime() >= deadline.uptime
        })
    }

    /// How long until the deadline is to be looked at again: until it passes, by whichever clock comes first, and not
    /// longer than [`CLOCK_LOOK`], because clocks jump; a day where there is none.
    fn time_left(&self) -> Duration {
        let Some(deadline) = &self.deadline else {
            return Duration::from_secs(24 * 60 * 60);
        };
        let by_wall = until_duration(self.ports.clock.now(), deadline.until);
        let by_uptime = deadline.uptime.saturating_sub(self.ports.clock.uptime());
        by_wall.min(by_uptime).min(CLOCK_LOOK)
    }

    async fn end_by_deadline(&mut self) {
        self.want(Wanted::Private);
        self.notice = Some(Notice::DeadlinePassed);
        self.store_present().await;
    }

    /// Runs `work` while commands are heard and, where somebody asked for it, an open door is watched. Whatever `work` borrows
    /// must not be the engine's.
    async fn during<T>(
        &mut self,
        limit: Duration,
        mut notes: Option<mpsc::UnboundedReceiver<StepNote>>,
        work: impl Future<Output = T>,
    ) -> Work<T> {
        enum Event {
            Command(Option<Command>),
            Note(StepNote),
            Door(DoorEvent),
            Tick,
        }
        let mut work = pin!(work);
        let end = Instant::now() + limit;
        loop {
            let wake = Instant::now() + self.time_left();
            // A round on the way to Public looks by itself.
            let door = self.door.as_ref().filter(|_| self.acting);
            let watches = door.is_some();
            let is_proven = watches && self.proven.is_some();
            let glances = self.glance.is_some();
            let check_at = door.and_then(|door| self.check_at(door));
            let event = tokio::select! {
                biased;
                command = self.commands.recv() => Event::Command(command),
                note = next_note(&mut notes) => Event::Note(note),
                value = &mut work => return Work::Done(value),
                cause = lost(door) => Event::Door(DoorEvent::Lost(cause)),
                finding = outcome(&mut self.outdated), if watches => {
                    Event::Door(DoorEvent::CheckedBefore(finding))
                }
                finding = outcome(&mut self.outside), if watches => {
                    Event::Door(DoorEvent::Checked(finding))
                }
                gateway = outcome(&mut self.glance), if is_proven => {
                    Event::Door(DoorEvent::Glanced(gateway))
                }
                () = told_of_gateway(&mut self.changes), if is_proven && !glances => {
                    Event::Door(DoorEvent::Changed)
                }
                () = sleep_until(check_at) => Event::Door(DoorEvent::CheckDue),
                () = tokio::time::sleep_until(end) => return Work::TimedOut,
                () = tokio::time::sleep_until(wake) => Event::Tick,
                Ok(()) = self.activity.changed(), if watches => Event::Door(DoorEvent::Activity),
            };
            match event {
                Event::Command(command) => {
                    if self.hear(command).await {
                        return Work::Interrupted;
                    }
                }
                Event::Note(note) => self.take_note(note),
                Event::Door(event) => self.tend_door(event).await,
                Event::Tick => {
                    if self.deadline_passed() {
                        return Work::Interrupted;
                    }
                }
            }
        }
    }

    fn take_note(&mut self, note: StepNote) {
        if let StepNote::Waiting(
            Waiting::SignIn { .. }
            | Waiting::Approval { .. }
            | Waiting::FunnelPermission { .. }
            | Waiting::AdministratorPrompt,
        ) = note
        {
            self.show_hidden_step();
        }
        let mut to_open = None;
        if let Exposure::Preparing {
            waiting, progress, ..
        } = &mut self.exposure
        {
            match note {
                StepNote::Waiting(now) => {
                    if waiting.as_ref() != Some(&now) {
                        to_open = now.link().cloned();
                    }
                    *waiting = Some(now);
                }
                StepNote::Progress(line) => *progress = Some(line),
            }
        }
        self.publish();
        let Some(link) = to_open else {
            return;
        };
        if self.settings.open_links && self.opened_link.as_ref() != Some(&link) {
            self.opened_link = Some(link.clone());
            let desktop = Arc::clone(&self.ports.desktop);
            // A browser that is slow to start holds nothing up.
            tokio::spawn(async move { desktop.open_link(&link).await });
        }
    }

    /// Looks at node and gateway at once. `None` when a command came first.
    async fn observe(&mut self) -> Option<Observation> {
        self.glance = None;
        self.changes
            .get_or_insert_with(|| Changes::watch(&self.ports))
            .take_note();
        let node = self.node();
        let tailnet = Arc::clone(&self.ports.tailnet);
        let gateway = Arc::clone(&self.ports.gateway);
        // Behind an open door the gateway must not change unseen for long, and the claim tells of the node by itself.
        let (node_limit, gateway_limit) = match &self.door {
            Some(_) => (SHORT_LOOK_LIMIT, SHORT_LOOK_LIMIT * 5),
            None => (LOOK_LIMIT, LOOK_LIMIT),
        };
        let look = async move {
            tokio::join!(
                timeout(node_limit, tailnet.observe(node)),
                timeout(gateway_limit, gateway.observe())
            )
        };
        let Work::Done((tailnet, gateway)) = self.during(LOOK_LIMIT * 2, None, look).await else {
            if let Some(changes) = &mut self.changes {
                changes.tell_again();
            }
            return None;
        };
        let tailnet = tailnet.unwrap_or_else(|_| TailnetView::Refused {
            cause: Cause::TailscaleUnreachable {
                detail: "it did not answer in time".into(),
            },
        });
        let gateway = gateway.unwrap_or_else(|_| self.silent_gateway());
        self.seen = Some((tailnet.clone(), gateway.clone()));
        self.publish();
        Some(Observation {
            tailnet,
            gateway,
            guard: self
                .guard
                .as_ref()
                .map(|guard| guard.access.fingerprint.clone()),
            proven: self.proven.clone(),
            open: self.door.is_some(),
        })
    }

    /// What a gateway that does not answer the look counts as: behind an open door, as one that may come back.
    fn silent_gateway(&self) -> GatewayView {
        match (&self.door, &self.seen) {
            (Some(_), Some((_, GatewayView::Ready(ready)))) => GatewayView::Starting {
                config: ready.config.clone(),
            },
            (Some(_), Some((_, starting @ GatewayView::Starting { .. }))) => starting.clone(),
            (Some(_) | None, Some(_) | None) => GatewayView::Refused {
                cause: Cause::GatewayNotReady { log: None },
            },
        }
    }

    /// Looks again, and says whether node and gateway look different from before. `None` when a command came first.
    async fn looks_different(&mut self) -> Option<bool> {
        let before = self.seen.clone();
        self.observe().await?;
        Some(self.seen != before)
    }

    fn void_proof(&mut self) {
        self.proof = None;
        self.proven = None;
        self.ports.guard.hold();
        // Whether a check that was under way meanwhile gets through says nothing of what is proven next; that it got in without
        // a key does. One of them is enough: the one that ends first.
        if let Some(check) = self.outside.take() {
            self.outdated.get_or_insert(check);
            self.next_check = Some(Instant::now());
        }
        if let Some(door) = &mut self.door {
            door.held.get_or_insert(Cause::LockUnproven);
        }
    }

    fn show(&mut self, exposure: Exposure) {
        self.exposure = exposure;
        self.publish();
    }

    fn publish(&self) {
        let key = self.keys.as_ref().and_then(KeyRing::first_key);
        let (tailnet, gateway) = match &self.seen {
            Some((tailnet, gateway)) => (Some(tailnet.clone()), Some(gateway.clone())),
            None => (None, None),
        };
        let snapshot = Snapshot {
            wanted: self.wanted.clone(),
            exposure: self.exposure.clone(),
            journey: self.journey.clone(),
            tailnet,
            gateway,
            key: key.map(|secret| KeyHint {
                name: KeyName::default(),
                hint: hint(secret),
            }),
            keys: self.key_views(),
            vault: self.ports.vault.place(),
            activity: self.activity.borrow().clone(),
            notice: self.notice.clone(),
        };
        self.snapshots.send_if_modified(|shown| {
            let differs = *shown != snapshot;
            if differs {
                *shown = snapshot;
            }
            differs
        });
    }
}

fn until_duration(now: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default()
}

async fn next_note(notes: &mut Option<mpsc::UnboundedReceiver<StepNote>>) -> StepNote {
    if let Some(receiver) = notes
        && let Some(note) = receiver.recv().await
    {
        return note;
    }
    *notes = None;
    std::future::pending().await
}
