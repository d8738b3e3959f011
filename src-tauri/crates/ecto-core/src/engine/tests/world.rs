//! Stand-ins for everything the engine asks of the world. They remember every call, fail as they are told, and write
//! down whatever must never happen.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::cause::Cause;
use crate::engine::{Engine, Ports};
use crate::gateway::{
    GatewayAccess, GatewayFingerprint, GatewayView, HooksAccess, ReadyGateway, RestoreOutcome,
    RestoredKey,
};
use crate::key::{AgentId, GuardKey, Key, KeyDigest, KeyName, KeyRing, Route};
use crate::offer::Offer;
use crate::ports::{
    Activity, Claim, Clock, Desktop, Gateway, Guard, Outside, OutsideFinding, Tailnet, Vault,
    VaultFault, VaultPlace, WantedStore,
};
use crate::proof::{Opening, ProofAnswer, ProofQuestion};
use crate::refusal::Refusal;
use crate::settings::Settings;
use crate::step::{Reporter, Waiting};
use crate::tailnet::{
    FunnelPermission, FunnelPort, HostName, Installer, Link, NodeChoice, NodeKind, PublicAddress,
    RunningNode, TailnetView,
};

pub const TOKEN: &str = "gateway-token-7c1f";
pub const HOOKS_TOKEN: &str = "hooks-token-19ab";
pub const KEY_MARK: &str = "ecto_secret";
pub const CONFIG: &str = "/home/person/.openclaw/openclaw.json";

/// One thing that is asked of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    ObserveTailnet,
    Install,
    StartTailscale,
    SignIn,
    AllowFunnel,
    Open,
    Verify,
    Close,
    Confirm,
    ObserveGateway,
    SetUp,
    StartGateway,
    RestartGateway,
    Access,
    AskGateway,
    Agents,
    Restore,
    StartGuard,
    Ask,
    StopGuard,
    Check,
    LoadSecrets,
    StoreSecrets,
    SetKeys,
    LoadWanted,
    StoreWanted,
    OpenLink,
}

impl Call {
    /// What happens again and again without changing anything.
    fn only_looks(self) -> bool {
        matches!(
            self,
            Self::ObserveTailnet
                | Self::ObserveGateway
                | Self::Agents
                | Self::Verify
                | Self::Check
                | Self::LoadWanted
                | Self::StoreWanted
        )
    }
}

#[derive(Debug, Clone)]
pub enum Fault {
    Fail(Cause),
    Hang,
    /// Takes effect, and is reported as failed all the same.
    FailAfter(Cause),
    Slow(Duration),
}

/// The first key alone.
pub fn only_key(secret: &str) -> KeyRing {
    KeyRing {
        keys: vec![Key::first(SecretString::from(secret), None)],
    }
}

fn digests(keys: &[GuardKey]) -> impl Iterator<Item = KeyDigest> + '_ {
    let all = keys.iter().flat_map(|key| &key.digests);
    all.map(|valid| valid.digest)
}

/// Whether all that opened the lock before still does.
fn keeps(before: &[GuardKey], now: &[GuardKey]) -> bool {
    digests(before).all(|known| digests(now).any(|digest| digest == known))
}

pub struct FakeGuard {
    pub listener: SocketAddr,
    pub access: GatewayAccess,
    pub keys: Vec<GuardKey>,
    pub held: bool,
    asked: BTreeSet<&'static str>,
    gateway_asked: bool,
    /// Streams in flight; cut by stopping, and by a key that is no more.
    pub streams: u32,
}

impl FakeGuard {
    fn is_proven(&self) -> bool {
        self.gateway_asked && self.asked.len() == 4 + Route::OPTIONAL.len()
    }
}

pub struct Door {
    pub id: u32,
    pub guard: SocketAddr,
    pub node: NodeChoice,
}

pub struct State {
    pub calls: Vec<Call>,
    pub faults: HashMap<(Call, usize), Fault>,
    /// From this one on every call of the kind fails so.
    pub always: HashMap<Call, Fault>,
    counts: HashMap<Call, usize>,
    pub violations: Vec<String>,

    pub tailnet: TailnetView,
    pub gateway: GatewayView,
    /// The agents that the gateway has; `None` where that cannot be known.
    pub agents: Option<Vec<AgentId>>,
    generation: u32,
    observed: Option<GatewayFingerprint>,
    /// What a person has not done yet.
    pub undone: BTreeSet<Call>,
    pub latency: Duration,

    pub guard: Option<FakeGuard>,
    next_port: u16,
    pub answers: HashMap<&'static str, ProofAnswer>,
    pub gateway_open: bool,
    pub offer: Offer,

    pub door: Option<Door>,
    next_door: u32,
    lost: Option<(u32, Cause)>,
    /// Whether starting the gateway is without effect.
    pub start_is_idle: bool,
    /// Whether a claim stays when the connection it is tied to ends.
    pub door_sticks: bool,
    pub claims_made: u32,
    /// How often callers were let through to a gateway that had changed since it was looked at.
    pub blind_releases: u32,

    pub finding: OutsideFinding,
    pub secrets: Option<KeyRing>,
    pub vault_fault: Option<VaultFault>,
    /// Whether storing takes effect and is never reported.
    pub vault_stays_silent: bool,
    keys_made: u32,
    pub record: Option<Vec<u8>>,
    pub links: Vec<String>,
    wall: i64,
    slept: Duration,
}

pub struct World {
    state: Mutex<State>,
    tailnet_changes: watch::Sender<u64>,
    gateway_changes: watch::Sender<u64>,
    claims: watch::Sender<u64>,
    activity: watch::Sender<Activity>,
    person: Notify,
    began: Instant,
    own: std::sync::Weak<Self>,
}

impl fmt::Debug for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("World")
    }
}

pub fn ready(generation: u32) -> GatewayView {
    GatewayView::Ready(ReadyGateway {
        address: "127.0.0.1:18789".parse().unwrap(),
        version: Some("2026.9.6".into()),
        config: CONFIG.into(),
        hooks: false,
        fingerprint: GatewayFingerprint(format!("gateway-{generation}")),
    })
}

pub fn running(host: &str, funnel: FunnelPermission) -> TailnetView {
    TailnetView::Running(RunningNode {
        kind: NodeKind::System,
        host: HostName::new(host).unwrap(),
        version: "1.104.5".into(),
        funnel,
    })
}

pub fn needs_set_up(is_running: bool) -> GatewayView {
    GatewayView::NeedsSetUp {
        config: CONFIG.into(),
        keys: vec!["gateway.auth.token".into()],
        running: is_running,
    }
}

fn link(path: &str) -> Link {
    Link::new(&format!("https://login.tailscale.com/{path}")).unwrap()
}

fn fault(cause: &Cause) -> VaultFault {
    match cause {
        Cause::VaultDenied => VaultFault::Denied,
        Cause::VaultDamaged { detail } => VaultFault::Damaged {
            detail: detail.clone(),
        },
        other => VaultFault::Unreachable {
            detail: other.code().into(),
        },
    }
}

impl World {
    /// A machine on which all is ready.
    pub fn ready() -> Arc<Self> {
        Self::new(
            running("mac.tail1.ts.net", FunnelPermission::Allowed),
            ready(1),
        )
    }

    /// A machine with nothing but OpenClaw, never set up and not running.
    pub fn bare() -> Arc<Self> {
        let installer = Installer::Homebrew;
        Self::new(TailnetView::Missing { installer }, needs_set_up(false))
    }

    pub fn new(tailnet: TailnetView, gateway: GatewayView) -> Arc<Self> {
        let state = State {
            calls: Vec::new(),
            faults: HashMap::new(),
            always: HashMap::new(),
            counts: HashMap::new(),
            violations: Vec::new(),
            tailnet,
            gateway,
            agents: None,
            generation: 1,
            observed: None,
            undone: BTreeSet::new(),
            latency: Duration::from_millis(10),
            guard: None,
            next_port: 40_000,
            answers: HashMap::new(),
            gateway_open: false,
            offer: Offer::default(),
            door: None,
            next_door: 1,
            lost: None,
            start_is_idle: false,
            door_sticks: false,
            claims_made: 0,
            blind_releases: 0,
            finding: OutsideFinding::Reachable,
            secrets: None,
            vault_fault: None,
            vault_stays_silent: false,
            keys_made: 0,
            record: None,
            links: Vec::new(),
            wall: 1_800_000_000,
            slept: Duration::ZERO,
        };
        Arc::new_cyclic(|own| Self {
            own: own.clone(),
            state: Mutex::new(state),
            tailnet_changes: watch::channel(0).0,
            gateway_changes: watch::channel(0).0,
            claims: watch::channel(0).0,
            activity: watch::channel(Activity::default()).0,
            person: Notify::new(),
            began: Instant::now(),
        })
    }

    /// Whether somebody wants to hear of changes, for which an adapter has to look again and again.
    pub fn is_watched(&self) -> bool {
        self.tailnet_changes.receiver_count() + self.gateway_changes.receiver_count() > 0
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn engine(
        self: &Arc<Self>,
        settings: Settings,
    ) -> (Engine, crate::engine::command::Handle) {
        let world = Arc::clone(self);
        let ports = Ports {
            tailnet: Arc::clone(self) as _,
            gateway: Arc::clone(self) as _,
            guard: Arc::clone(self) as _,
            outside: Arc::clone(self) as _,
            vault: Arc::clone(self) as _,
            desktop: Arc::clone(self) as _,
            clock: Arc::clone(self) as _,
            wanted: Arc::clone(self) as _,
            make_key: Arc::new(move || {
                let mut state = world.state();
                state.keys_made += 1;
                Ok(SecretString::from(format!(
                    "{KEY_MARK}_{:04}",
                    state.keys_made
                )))
            }),
        };
        Engine::new(ports, settings)
    }

    /// The `nth` call of this kind, counted from 1 and from now, meets this fault.
    pub fn fail(&self, call: Call, nth: usize, fault: Fault) {
        let mut state = self.state();
        let before = state.counts.get(&call).copied().unwrap_or(0);
        state.faults.insert((call, before + nth), fault);
    }

    pub fn fail_always(&self, call: Call, fault: Fault) {
        self.state().always.insert(call, fault);
    }

    pub fn mend(&self, call: Call) {
        self.state().always.remove(&call);
    }

    pub fn change_tailnet(&self, view: TailnetView) {
        self.state().tailnet = view;
        self.tailnet_changes.send_modify(|count| *count += 1);
    }

    pub fn change_gateway(&self, view: GatewayView) {
        self.state().gateway = view;
        self.gateway_changes.send_modify(|count| *count += 1);
    }

    /// Says that something may be different, and nothing is.
    pub fn stir(&self) {
        self.tailnet_changes.send_modify(|count| *count += 1);
        self.gateway_changes.send_modify(|count| *count += 1);
    }

    pub fn restart_gateway(&self) {
        let view = {
            let mut state = self.state();
            state.generation += 1;
            ready(state.generation)
        };
        self.change_gateway(view);
    }

    /// The claim goes away without anybody having asked.
    pub fn lose_claim(&self, cause: Cause) {
        {
            let mut state = self.state();
            let Some(id) = state.door.as_ref().map(|door| door.id) else {
                return;
            };
            state.door = None;
            state.lost = Some((id, cause));
        }
        self.claims.send_modify(|count| *count += 1);
    }

    pub fn person_has_yet_to(&self, call: Call) {
        self.state().undone.insert(call);
    }

    pub fn person_does(&self, call: Call) {
        self.state().undone.remove(&call);
        self.person.notify_waiters();
    }

    /// The wall clock jumps by this many seconds; nothing else does.
    pub fn jump_clock(&self, seconds: i64) {
        self.state().wall += seconds;
    }

    /// The machine sleeps: both clocks go on, timers do not.
    pub fn sleep_machine(&self, time: Duration) {
        let mut state = self.state();
        state.wall += i64::try_from(time.as_secs()).unwrap();
        state.slept += time;
    }

    pub fn calls(&self, call: Call) -> usize {
        self.state().counts.get(&call).copied().unwrap_or(0)
    }

    /// What was asked, without what only looks and without repetitions of the same question.
    pub fn deeds(&self) -> Vec<Call> {
        let mut deeds = self.state().calls.clone();
        deeds.retain(|call| !call.only_looks());
        deeds.dedup();
        deeds
    }

    pub fn forget_calls(&self) {
        self.state().calls.clear();
    }

    pub fn keys_of_guard(&self) -> Vec<String> {
        let state = self.state();
        let made = (1..=state.keys_made).map(|number| format!("{KEY_MARK}_{number:04}"));
        let candidates: Vec<String> = made
            .chain([format!("{KEY_MARK}_mine"), format!("{KEY_MARK}_own")])
            .collect();
        let digests = state.guard.iter().flat_map(|guard| digests(&guard.keys));
        digests
            .map(|digest| {
                let same = |text: &&String| KeyDigest::of(text.as_bytes()) == digest;
                candidates.iter().find(same).cloned().unwrap_or_default()
            })
            .collect()
    }

    pub fn stored_keys(&self) -> Vec<String> {
        let state = self.state();
        let keys = state.secrets.iter().flat_map(|ring| &ring.keys);
        keys.map(|key| key.secret.expose_secret().to_owned())
            .collect()
    }

    /// Whether a caller with a key gets through from the internet.
    pub fn lets_callers_in(&self) -> bool {
        let state = self.state();
        let (Some(door), Some(guard)) = (&state.door, &state.guard) else {
            return false;
        };
        door.guard == guard.listener && !guard.held
    }

    pub fn is_shut(&self) -> bool {
        let state = self.state();
        state.door.is_none() && state.guard.is_none()
    }

    /// Remembers the call, and does what the script says. Returns what is to be reported although it worked.
    async fn meet(&self, call: Call) -> Result<Option<Cause>, Cause> {
        let (fault, latency) = {
            let mut state = self.state();
            state.calls.push(call);
            let count = state.counts.entry(call).or_insert(0);
            *count += 1;
            let place = (call, *count);
            state.look_for_a_void_proof(call);
            let fault = state
                .faults
                .get(&place)
                .or_else(|| state.always.get(&call))
                .cloned();
            (fault, state.latency)
        };
        let latency = if call.only_looks() {
            Duration::ZERO
        } else {
            latency
        };
        match fault {
            None => {
                if !latency.is_zero() {
                    tokio::time::sleep(latency).await;
                }
                Ok(None)
            }
            Some(Fault::Fail(cause)) => {
                tokio::time::sleep(latency).await;
                Err(cause)
            }
            Some(Fault::FailAfter(cause)) => Ok(Some(cause)),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                Ok(None)
            }
        }
    }

    async fn wait_for_person(&self, call: Call) {
        loop {
            let done = self.person.notified();
            if !self.state().undone.contains(&call) {
                return;
            }
            done.await;
        }
    }
}

fn reported(after: Option<Cause>) -> Result<(), Cause> {
    after.map_or(Ok(()), Err)
}

impl State {
    fn look_for_a_void_proof(&mut self, call: Call) {
        let Some(guard) = &self.guard else {
            return;
        };
        if call.only_looks() || guard.held || self.door.is_none() {
            return;
        }
        let harmless = matches!(
            call,
            Call::OpenLink | Call::LoadSecrets | Call::StoreSecrets
        );
        if !harmless && self.observed.as_ref() != Some(&guard.access.fingerprint) {
            self.violations.push(format!(
                "key holders get through to an unproven gateway at {call:?}"
            ));
        }
    }

    fn require_proof(&mut self, moment: &str) {
        let proven = self.guard.as_ref().is_some_and(|guard| {
            guard.is_proven() && self.observed.as_ref() == Some(&guard.access.fingerprint)
        });
        if !proven {
            self.violations.push(format!("{moment} without a proof"));
        }
    }
}

#[async_trait]
impl Tailnet for World {
    fn changes(&self) -> watch::Receiver<u64> {
        self.tailnet_changes.subscribe()
    }

    async fn observe(&self, _node: NodeChoice) -> TailnetView {
        match self.meet(Call::ObserveTailnet).await {
            Ok(_) => self.state().tailnet.clone(),
            Err(cause) => TailnetView::Refused { cause },
        }
    }

    async fn install(&self, _node: NodeChoice, reporter: Reporter) -> Result<(), Cause> {
        reporter.progress("==> Fetching tailscale");
        let after = self.meet(Call::Install).await?;
        self.change_tailnet(TailnetView::NotRunning {
            kind: NodeKind::Own,
        });
        reported(after)
    }

    async fn start(&self, _node: NodeChoice, reporter: Reporter) -> Result<(), Cause> {
        reporter.waiting(Waiting::Tailscale);
        let after = self.meet(Call::StartTailscale).await?;
        self.change_tailnet(TailnetView::NeedsSignIn {
            kind: NodeKind::Own,
        });
        reported(after)
    }

    async fn sign_in(&self, _node: NodeChoice, reporter: Reporter) -> Result<(), Cause> {
        let link = link("a/1");
        reporter.waiting(Waiting::SignIn { link });
        let after = self.meet(Call::SignIn).await?;
        self.wait_for_person(Call::SignIn).await;
        self.change_tailnet(running("mac.tail1.ts.net", FunnelPermission::Missing));
        reported(after)
    }

    async fn allow_funnel(&self, _node: NodeChoice, reporter: Reporter) -> Result<(), Cause> {
        let link = link("f/funnel");
        reporter.waiting(Waiting::FunnelPermission { link });
        let after = self.meet(Call::AllowFunnel).await?;
        self.wait_for_person(Call::AllowFunnel).await;
        self.change_tailnet(running("mac.tail1.ts.net", FunnelPermission::Allowed));
        reported(after)
    }

    async fn open(&self, node: NodeChoice, opening: Opening) -> Result<Box<dyn Claim>, Cause> {
        self.state().require_proof("the door opens");
        let after = self.meet(Call::Open).await?;
        let mut state = self.state();
        let TailnetView::Running(running) = &state.tailnet else {
            return Err(Cause::TailscaleLost);
        };
        let host = running.host.clone();
        if state.door.is_some() {
            state.violations.push("two doors at once".into());
        }
        if state.guard.as_ref().map(|guard| guard.listener) != Some(opening.guard()) {
            state.violations.push("the door leads to no guard".into());
        }
        let id = state.next_door;
        state.next_door += 1;
        state.claims_made += 1;
        state.door = Some(Door {
            id,
            guard: opening.guard(),
            node,
        });
        drop(state);
        let claim = FakeClaim {
            id,
            address: PublicAddress {
                host,
                port: FunnelPort::Https,
            },
            world: self.claims.subscribe(),
            own: self.own.upgrade().unwrap(),
        };
        reported(after)?;
        Ok(Box::new(claim))
    }

    async fn confirm_closed(&self, _node: NodeChoice, guard: SocketAddr) -> Result<(), Cause> {
        let after = self.meet(Call::Confirm).await?;
        let open = self.state().door.as_ref().map(|door| door.guard) == Some(guard);
        if open {
            return Err(Cause::CouldNotClose {
                detail: "a handler still leads to the guard".into(),
                node: None,
            });
        }
        reported(after)
    }
}

/// A claim reaches back to the world it was made in.
struct FakeClaim {
    id: u32,
    address: PublicAddress,
    world: watch::Receiver<u64>,
    own: Arc<World>,
}

impl Drop for FakeClaim {
    fn drop(&mut self) {
        let mut state = self.own.state();
        let mine = state.door.as_ref().map(|door| door.id) == Some(self.id);
        if mine && !state.door_sticks {
            state.door = None;
        }
    }
}

#[async_trait]
impl Claim for FakeClaim {
    fn address(&self) -> &PublicAddress {
        &self.address
    }

    async fn lost(&self) -> Cause {
        let mut changes = self.world.clone();
        loop {
            if let Some((id, cause)) = &self.own.state().lost
                && *id == self.id
            {
                return cause.clone();
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    async fn verify(&self) -> Result<(), Cause> {
        let after = self.own.meet(Call::Verify).await?;
        if self.own.state().door.as_ref().map(|door| door.id) != Some(self.id) {
            return Err(Cause::ClaimLost);
        }
        reported(after)
    }

    async fn close(self: Box<Self>) -> Result<(), Cause> {
        let after = self.own.meet(Call::Close).await?;
        let mut state = self.own.state();
        if state.door.as_ref().map(|door| door.id) == Some(self.id) {
            state.door = None;
        }
        drop(state);
        reported(after)
    }
}

#[async_trait]
impl Gateway for World {
    fn changes(&self) -> watch::Receiver<u64> {
        self.gateway_changes.subscribe()
    }

    async fn observe(&self) -> GatewayView {
        let view = match self.meet(Call::ObserveGateway).await {
            Ok(_) => self.state().gateway.clone(),
            Err(cause) => GatewayView::Refused { cause },
        };
        self.state().observed = match &view {
            GatewayView::Ready(ready) => Some(ready.fingerprint.clone()),
            _ => None,
        };
        view
    }

    async fn set_up(&self, _reporter: Reporter) -> Result<(), Cause> {
        let after = self.meet(Call::SetUp).await?;
        let view = {
            let mut state = self.state();
            state.generation += 1;
            match &state.gateway {
                GatewayView::NeedsSetUp { running: false, .. } => GatewayView::NotRunning {
                    config: CONFIG.into(),
                },
                _ => ready(state.generation),
            }
        };
        self.change_gateway(view);
        reported(after)
    }

    async fn start(&self, reporter: Reporter) -> Result<(), Cause> {
        reporter.waiting(Waiting::Gateway);
        let after = self.meet(Call::StartGateway).await?;
        if !self.state().start_is_idle {
            self.restart_gateway();
        }
        reported(after)
    }

    /// Goes away, and comes up as one that is started.
    async fn restart(&self, reporter: Reporter) -> Result<(), Cause> {
        let after = self.meet(Call::RestartGateway).await?;
        self.change_gateway(GatewayView::Starting {
            config: CONFIG.into(),
        });
        Gateway::start(self, reporter).await?;
        reported(after)
    }

    async fn access(&self, offer: &Offer) -> Result<GatewayAccess, Cause> {
        let after = self.meet(Call::Access).await?;
        reported(after)?;
        let hooks = offer.has(Route::Hooks).then(|| HooksAccess {
            path: "/hooks".to_owned(),
            token: SecretString::from(HOOKS_TOKEN),
        });
        match &self.state().gateway {
            GatewayView::Ready(ready) => Ok(GatewayAccess {
                address: ready.address,
                token: SecretString::from(TOKEN),
                hooks: hooks.filter(|_| ready.hooks),
                fingerprint: ready.fingerprint.clone(),
            }),
            _ => Err(Cause::GatewayNotReady { log: None }),
        }
    }

    async fn refuses_without_token(&self, access: &GatewayAccess) -> Result<(), Cause> {
        let after = self.meet(Call::AskGateway).await?;
        reported(after)?;
        let mut state = self.state();
        if state.gateway_open {
            return Err(Cause::GatewayOpen);
        }
        if let Some(guard) = &mut state.guard {
            guard.gateway_asked = guard.access.fingerprint == access.fingerprint;
        }
        Ok(())
    }

    async fn agents(&self) -> Option<Vec<AgentId>> {
        self.meet(Call::Agents).await.ok()?;
        self.state().agents.clone()
    }

    async fn restore(&self, _reporter: Reporter) -> Result<Vec<RestoredKey>, Cause> {
        let after = self.meet(Call::Restore).await?;
        reported(after)?;
        self.change_gateway(needs_set_up(true));
        Ok(vec![RestoredKey {
            key: "gateway.auth.token".into(),
            outcome: RestoreOutcome::Restored,
        }])
    }
}

fn question(question: &ProofQuestion) -> &'static str {
    match question {
        ProofQuestion::NoKey => "no key",
        ProofQuestion::WrongKey => "wrong key",
        ProofQuestion::RightKey(_) => "right key",
        ProofQuestion::UnlistedRoute(_) => "unlisted route",
        ProofQuestion::OptionalRoute(route, _) => route.word(),
    }
}

pub fn refusing(refusal: Refusal) -> ProofAnswer {
    ProofAnswer {
        status: refusal.status(),
        lists_models: false,
        error_type: Some(refusal.kind().to_owned()),
        refusal: Some(refusal),
    }
}

pub fn listing() -> ProofAnswer {
    ProofAnswer {
        status: 200,
        lists_models: true,
        error_type: None,
        refusal: None,
    }
}

#[async_trait]
impl Guard for World {
    async fn start(&self, access: GatewayAccess, keys: Vec<GuardKey>) -> Result<SocketAddr, Cause> {
        let after = self.meet(Call::StartGuard).await?;
        let mut state = self.state();
        let (listener, streams) = match &state.guard {
            Some(guard) => {
                let kept = keeps(&guard.keys, &keys);
                (guard.listener, if kept { guard.streams } else { 0 })
            }
            None => {
                state.next_port += 1;
                (([127, 0, 0, 1], state.next_port).into(), 0)
            }
        };
        state.guard = Some(FakeGuard {
            listener,
            access,
            keys,
            held: true,
            asked: BTreeSet::new(),
            gateway_asked: false,
            streams,
        });
        drop(state);
        reported(after)?;
        Ok(listener)
    }

    fn set_keys(&self, keys: Vec<GuardKey>) {
        let mut state = self.state();
        state.calls.push(Call::SetKeys);
        if let Some(guard) = &mut state.guard {
            if !keeps(&guard.keys, &keys) {
                guard.streams = 0;
            }
            guard.keys = keys;
        }
    }

    fn set_offer(&self, offer: Offer) {
        let mut state = self.state();
        state.offer = offer;
        if let Some(guard) = &mut state.guard {
            // What was asked before says nothing of it.
            guard.asked.clear();
        }
    }

    fn offer(&self) -> Offer {
        self.state().offer.clone()
    }

    fn key_uses(&self) -> Vec<(KeyName, Timestamp)> {
        Vec::new()
    }

    fn hold(&self) {
        if let Some(guard) = &mut self.state().guard {
            guard.held = true;
            guard.asked.clear();
            guard.gateway_asked = false;
        }
    }

    fn release(&self) {
        let mut state = self.state();
        state.require_proof("the guard lets callers through");
        let proven = state.guard.as_ref().map(|guard| &guard.access.fingerprint);
        let same = match &state.gateway {
            GatewayView::Ready(ready) => Some(&ready.fingerprint) == proven,
            _ => false,
        };
        state.blind_releases += u32::from(!same);
        if let Some(guard) = &mut state.guard {
            guard.held = false;
        }
    }

    async fn stop(&self) {
        let _ = self.meet(Call::StopGuard).await;
        self.state().guard = None;
    }

    async fn ask(&self, asked: ProofQuestion) -> Result<ProofAnswer, Cause> {
        let after = self.meet(Call::Ask).await?;
        reported(after)?;
        let name = question(&asked);
        let mut state = self.state();
        let scripted = state.answers.get(name).cloned();
        let offer = state.offer.clone();
        let Some(guard) = &mut state.guard else {
            return Err(Cause::GuardFailed {
                detail: "nobody listens".into(),
            });
        };
        let known = |key: &SecretString| {
            let given = KeyDigest::of(key.expose_secret().as_bytes());
            digests(&guard.keys).any(|digest| digest == given)
        };
        let honest = match &asked {
            ProofQuestion::NoKey => refusing(Refusal::MissingKey),
            ProofQuestion::WrongKey => refusing(Refusal::WrongKey),
            ProofQuestion::UnlistedRoute(key) if known(key) => refusing(Refusal::UnknownRoute),
            ProofQuestion::RightKey(key) if known(key) => listing(),
            ProofQuestion::OptionalRoute(route, given) => {
                let has_hooks = guard.access.hooks.is_some();
                let is_there = (*route != Route::Hooks || has_hooks) && offer.has(*route);
                match given {
                    _ if !is_there => refusing(Refusal::UnknownRoute),
                    Some(_) => refusing(Refusal::GatewayAway),
                    None => refusing(Refusal::MissingKey),
                }
            }
            ProofQuestion::UnlistedRoute(_) | ProofQuestion::RightKey(_) => {
                refusing(Refusal::WrongKey)
            }
        };
        let answer = scripted.unwrap_or_else(|| honest.clone());
        if answer == honest {
            guard.asked.insert(name);
        }
        Ok(answer)
    }

    fn activity(&self) -> watch::Receiver<Activity> {
        self.activity.subscribe()
    }
}

#[async_trait]
impl Outside for World {
    async fn check(&self, _address: &PublicAddress, _key: &SecretString) -> OutsideFinding {
        let finding = self.state().finding.clone();
        let _ = self.meet(Call::Check).await;
        finding
    }
}

#[async_trait]
impl Vault for World {
    async fn load(&self) -> Result<Option<KeyRing>, VaultFault> {
        self.meet(Call::LoadSecrets)
            .await
            .map_err(|cause| fault(&cause))?;
        let state = self.state();
        if let Some(fault) = &state.vault_fault {
            return Err(fault.clone());
        }
        Ok(state.secrets.clone())
    }

    async fn store(&self, secrets: &KeyRing) -> Result<(), VaultFault> {
        let after = self
            .meet(Call::StoreSecrets)
            .await
            .map_err(|cause| fault(&cause))?;
        let stays_silent = {
            let mut state = self.state();
            state.secrets = Some(secrets.clone());
            state.vault_fault = None;
            state.vault_stays_silent
        };
        if stays_silent {
            std::future::pending::<()>().await;
        }
        after.map_or(Ok(()), |cause| Err(fault(&cause)))
    }

    async fn erase(&self) -> Result<(), VaultFault> {
        self.state().secrets = None;
        Ok(())
    }

    fn place(&self) -> VaultPlace {
        VaultPlace::Memory
    }
}

#[async_trait]
impl Desktop for World {
    async fn open_link(&self, link: &Link) {
        self.state().links.push(link.as_str().to_owned());
        let _ = self.meet(Call::OpenLink).await;
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        let wall = self.state().wall;
        Timestamp::from_second(wall).unwrap() + self.began.elapsed()
    }

    fn uptime(&self) -> Duration {
        self.began.elapsed() + self.state().slept
    }
}

#[async_trait]
impl WantedStore for World {
    async fn load(&self) -> Result<Option<Vec<u8>>, Cause> {
        self.meet(Call::LoadWanted).await?;
        Ok(self.state().record.clone())
    }

    async fn store(&self, record: &[u8]) -> Result<(), Cause> {
        let after = self.meet(Call::StoreWanted).await?;
        self.state().record = Some(record.to_vec());
        reported(after)
    }
}
