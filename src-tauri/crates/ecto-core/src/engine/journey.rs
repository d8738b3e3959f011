//! The way to Public: one round looks, chooses and takes a step.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cause::{Cause, Remedy, Severity};
use crate::exposure::{Exposure, Reach};
use crate::key::{Key, KeyRing};
use crate::plan::{self, Next, Observation};
use crate::proof::{Opening, prove};
use crate::snapshot::{JourneyStep, Notice, StepProgress};
use crate::step::{Reporter, Step};
use crate::wanted::Wanted;

use super::changes::told;
use super::closing::CONFIRM_EVERY;
use super::keeping::sleep_until;
use super::keys::late_vault;
use super::{Engine, OpenDoor, RunningGuard, Work};

/// How often the same step may be taken in a row without anything to show for it.
const SAME_STEP_LIMIT: u32 = 3;

/// How often the same step may be taken within [`SHORT_WHILE`].
const OFTEN_LIMIT: usize = 6;

const SHORT_WHILE: Duration = Duration::from_secs(60);

/// How often OpenClaw may be set up within [`LONG_WHILE`], before somebody else must be undoing it.
const SET_UP_LIMIT: usize = 3;

const LONG_WHILE: Duration = Duration::from_secs(10 * 60);

/// How long a gateway behind the open door may be away before a person is asked to restart it.
const LONG_AWAY: Duration = Duration::from_secs(60);

impl Engine {
    /// One round on the way to Public, or of staying there.
    pub(super) async fn pursue(&mut self) {
        self.store_again().await;
        if let Some(cause) = self.given_up.clone() {
            return self.wait_blocked(cause).await;
        }
        if !self.confirm_closed().await {
            return;
        }
        if let Some(doubt) = &self.unconfirmed {
            let cause = doubt.cause.clone();
            // Told as `unconfirmed`.
            let _ = self.close_door().await;
            return self.wait_blocked(cause).await;
        }
        let other_node = self
            .door
            .as_ref()
            .is_some_and(|door| door.node != self.node());
        if other_node {
            // Told in the next round, as `unconfirmed`.
            let _ = self.close_door().await;
            return;
        }
        if self.door.is_some() && self.verify_at.is_some_and(|at| at <= Instant::now()) {
            self.verify_claim().await;
            return;
        }
        let Some(seen) = self.observe().await else {
            return;
        };
        match plan::next(&seen) {
            Next::Rest => {
                self.last_step = None;
                self.stuck_at = None;
                self.retries = 0;
                self.away_since = None;
                if let Some(door) = &mut self.door {
                    door.held = None;
                }
                self.ports.guard.release();
                self.keep_public(None).await;
            }
            Next::Hold(cause) => self.hold_and_keep(cause, None).await,
            Next::Close => {
                self.notice = Some(Notice::ClosedUnexpectedly {
                    cause: Cause::ConfigContended {
                        path: config_of(&seen),
                    },
                    at: self.ports.clock.now(),
                });
                // Told in the next round, as `unconfirmed`.
                let _ = self.close_door().await;
            }
            Next::Block(cause) => self.block(cause).await,
            Next::Take(step) => self.take(step, &seen).await,
        }
    }

    async fn hold_and_keep(&mut self, cause: Cause, pause: Option<Duration>) {
        self.void_proof();
        let is_away = matches!(cause, Cause::GatewayNotReady { .. });
        let is_silent = matches!(
            cause,
            Cause::GuardFailed { .. } | Cause::StepTimedOut { .. }
        );
        // A gateway that answers, with whatever, is there; and with a full guard nobody has asked it.
        if !(is_away || is_silent) {
            self.away_since = None;
        }
        let cause = if is_away && self.is_away_for_long() {
            Cause::GatewayStaysAway
        } else {
            cause
        };
        if let Some(door) = &mut self.door {
            door.held = Some(cause);
        }
        self.keep_public(pause).await;
    }

    /// Whether the gateway behind the open door has not been ready for longer than it takes to restart.
    fn is_away_for_long(&mut self) -> bool {
        let since = *self.away_since.get_or_insert_with(Instant::now);
        since.elapsed() >= LONG_AWAY
    }

    async fn take(&mut self, step: Step, seen: &Observation) {
        if let Some(cause) = self.refuse_step(step, seen) {
            return self.step_failed(step, cause).await;
        }
        if self.stuck_at.is_some_and(|at| step > at) {
            self.stuck_at = None;
            self.retries = 0;
        }
        self.show_step(step, seen);
        let began = Instant::now();
        match self.do_step(step).await {
            Work::Done(Ok(())) => {
                self.count_step(step);
                let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.mark(step, StepProgress::Done { milliseconds });
            }
            Work::Done(Err(cause)) => self.step_failed(step, cause).await,
            Work::TimedOut => self.step_failed(step, Cause::StepTimedOut { step }).await,
            Work::Interrupted => {}
        }
    }

    async fn step_failed(&mut self, step: Step, cause: Cause) {
        tracing::warn!(code = cause.code(), ?step, "a step did not work");
        self.last_step = None;
        self.stuck_at = Some(step);
        if self.door.is_some()
            && cause.remedy() == Remedy::Wait
            && cause.severity() < Severity::Danger
        {
            let pause = self.pause(&cause);
            self.retries = self.retries.saturating_add(1);
            return self.hold_and_keep(cause, Some(pause)).await;
        }
        self.mark(step, StepProgress::Failed);
        self.block(cause).await;
    }

    /// Says why a step that worked so often is not taken once more.
    fn refuse_step(&mut self, step: Step, seen: &Observation) -> Option<Cause> {
        self.taken.retain(|(_, at)| at.elapsed() < LONG_WHILE);
        let times = |within: Duration| {
            self.taken
                .iter()
                .filter(|(taken, at)| *taken == step && at.elapsed() < within)
                .count()
        };
        if step == Step::SetUpOpenClaw && times(LONG_WHILE) >= SET_UP_LIMIT {
            return Some(Cause::ConfigContended {
                path: config_of(seen),
            });
        }
        let without_effect = self
            .last_step
            .is_some_and(|(last, times)| last == step && times >= SAME_STEP_LIMIT);
        (without_effect || times(SHORT_WHILE) >= OFTEN_LIMIT)
            .then_some(Cause::StepWithoutEffect { step })
    }

    /// A person asked for something that the lock has to be proven anew for: how often that was done before says nothing of
    /// whether it has an effect.
    pub(super) fn expect_new_proof(&mut self) {
        let is_due = |step: Step| matches!(step, Step::StartGuard | Step::Prove);
        self.taken.retain(|(step, _)| !is_due(*step));
        if self.last_step.is_some_and(|(step, _)| is_due(step)) {
            self.last_step = None;
        }
        if self.stuck_at.is_some_and(is_due) {
            self.stuck_at = None;
            self.retries = 0;
        }
    }

    fn count_step(&mut self, step: Step) {
        let times = match self.last_step {
            Some((last, times)) if last == step => times + 1,
            Some(_) | None => 1,
        };
        self.last_step = Some((step, times));
        self.taken.push_back((step, Instant::now()));
    }

    fn show_step(&mut self, step: Step, seen: &Observation) {
        if let Some(door) = &mut self.door {
            door.held.get_or_insert(Cause::LockUnproven);
            return self.show_public();
        }
        self.journey.retain(|taken| {
            matches!(taken.progress, StepProgress::Done { .. }) && taken.step < step
        });
        let ahead = plan::steps_ahead(seen)
            .into_iter()
            .filter(|ahead| *ahead > step);
        self.journey.push(JourneyStep {
            step,
            progress: StepProgress::Now,
        });
        self.journey.extend(ahead.map(|step| JourneyStep {
            step,
            progress: StepProgress::Ahead,
        }));
        // A retry that nobody asked for is not shown before it gets further than the time before.
        let hidden = self.retries > 0 && self.stuck_at.is_some();
        if !(hidden && matches!(self.exposure, Exposure::Blocked { .. })) {
            self.show_preparing(step);
        }
    }

    fn show_preparing(&mut self, step: Step) {
        self.show(Exposure::Preparing {
            step,
            since: self.ports.clock.now(),
            waiting: None,
            progress: None,
        });
    }

    /// Shows the retry that is under way, because it needs somebody.
    pub(super) fn show_hidden_step(&mut self) {
        let now = self
            .journey
            .iter()
            .find(|taken| taken.progress == StepProgress::Now)
            .map(|taken| taken.step);
        if let (Exposure::Blocked { .. }, Some(step)) = (&self.exposure, now) {
            self.show_preparing(step);
        }
    }

    pub(super) fn mark(&mut self, step: Step, progress: StepProgress) {
        if let Some(taken) = self.journey.iter_mut().find(|taken| taken.step == step) {
            taken.progress = progress;
        }
        self.publish();
    }

    async fn do_step(&mut self, step: Step) -> Work<Result<(), Cause>> {
        if matches!(step, Step::SetUpOpenClaw | Step::StartGuard) && self.keys.is_none() {
            match self.ensure_keys().await {
                Work::Done(Ok(())) => {}
                unsettled @ (Work::Done(Err(_)) | Work::Interrupted | Work::TimedOut) => {
                    return unsettled;
                }
            }
        }
        let node = self.node();
        let limit = step.limit();
        let (reporter, notes) = Reporter::channel();
        let tailnet = Arc::clone(&self.ports.tailnet);
        let gateway = Arc::clone(&self.ports.gateway);
        let notes = Some(notes);
        match step {
            Step::InstallTailscale => {
                self.during(limit, notes, async move {
                    tailnet.install(node, reporter).await
                })
                .await
            }
            Step::StartTailscale => {
                self.during(
                    limit,
                    notes,
                    async move { tailnet.start(node, reporter).await },
                )
                .await
            }
            Step::SignIn => {
                self.during(limit, notes, async move {
                    tailnet.sign_in(node, reporter).await
                })
                .await
            }
            Step::AllowFunnel => {
                self.during(limit, notes, async move {
                    tailnet.allow_funnel(node, reporter).await
                })
                .await
            }
            Step::SetUpOpenClaw => {
                self.during(limit, notes, async move { gateway.set_up(reporter).await })
                    .await
            }
            Step::StartOpenClaw => {
                self.during(limit, notes, async move { gateway.start(reporter).await })
                    .await
            }
            Step::StartGuard => self.start_guard(limit).await,
            Step::Prove => self.prove_lock(limit).await,
            Step::Open => self.open_door(limit).await,
            Step::CheckOutside => Work::Done(Ok(())),
        }
    }

    /// Reads the keys from the vault; makes and stores the default one only where the vault said there is none.
    pub(super) async fn ensure_keys(&mut self) -> Work<Result<(), Cause>> {
        self.load_keys(true).await
    }

    /// Reads the keys from the vault. Where there are none, the default one is made, or they stay unknown.
    pub(super) async fn load_keys(&mut self, makes_default: bool) -> Work<Result<(), Cause>> {
        if self.keys.is_some() {
            return Work::Done(Ok(()));
        }
        let vault = Arc::clone(&self.ports.vault);
        let make_key = Arc::clone(&self.ports.make_key);
        let now = self.ports.clock.now();
        let load = async move {
            let stored = vault.load().await.map_err(Cause::from)?;
            if stored.is_none() && !makes_default {
                return Ok(None);
            }
            let mut keys = stored.unwrap_or_default();
            if keys.first_key().is_some() {
                return Ok(Some(keys));
            }
            let key = make_key().map_err(|fault| Cause::Internal {
                detail: fault.to_string().into(),
            })?;
            keys.keys.insert(0, Key::first(key, Some(now)));
            vault.store(&keys).await.map_err(Cause::from)?;
            Ok(Some(keys))
        };
        match self.during(Duration::from_secs(120), None, load).await {
            Work::Done(Ok(keys)) => {
                if let Some(keys) = keys {
                    self.know_keys(keys);
                }
                Work::Done(Ok(()))
            }
            Work::Done(Err(cause)) => Work::Done(Err(cause)),
            Work::Interrupted => Work::Interrupted,
            Work::TimedOut => Work::Done(Err(late_vault())),
        }
    }

    async fn start_guard(&mut self, limit: Duration) -> Work<Result<(), Cause>> {
        self.void_proof();
        self.guard = None;
        self.guard_up = true;
        let gateway = Arc::clone(&self.ports.gateway);
        let guard = Arc::clone(&self.ports.guard);
        let keys = self.guard_keys();
        let start = async move {
            let access = gateway.access(&guard.offer()).await?;
            let listener = guard.start(access.clone(), keys).await?;
            Ok(RunningGuard { listener, access })
        };
        match self.during(limit, None, start).await {
            Work::Done(Ok(running)) => {
                self.guard = Some(running);
                Work::Done(Ok(()))
            }
            Work::Done(Err(cause)) => Work::Done(Err(cause)),
            Work::Interrupted => Work::Interrupted,
            Work::TimedOut => Work::TimedOut,
        }
    }

    async fn prove_lock(&mut self, limit: Duration) -> Work<Result<(), Cause>> {
        let (Some(running), Some(key)) =
            (&self.guard, self.keys.as_ref().and_then(KeyRing::first_key))
        else {
            return Work::Done(Err(Cause::GuardFailed {
                detail: "there is nothing to prove yet".into(),
            }));
        };
        let (listener, access, key) = (running.listener, running.access.clone(), key.clone());
        let guard = Arc::clone(&self.ports.guard);
        let gateway = Arc::clone(&self.ports.gateway);
        let work = async move { prove(&*guard, &*gateway, listener, &access, &key).await };
        match self.during(limit, None, work).await {
            Work::Done(Ok(proof)) => {
                self.proven = Some(proof.gateway().clone());
                self.proof = Some(proof);
                Work::Done(Ok(()))
            }
            Work::Done(Err(cause)) => Work::Done(Err(cause)),
            Work::Interrupted => Work::Interrupted,
            Work::TimedOut => Work::TimedOut,
        }
    }

    async fn open_door(&mut self, limit: Duration) -> Work<Result<(), Cause>> {
        // The proof is used up by the attempt, whatever becomes of it.
        self.proven = None;
        let Some(proof) = self.proof.take() else {
            return Work::Done(Err(Cause::GuardFailed {
                detail: "the proof was used up".into(),
            }));
        };
        let proven = proof.gateway().clone();
        let node = self.node();
        let opening = Opening::new(proof);
        let guard = opening.guard();
        let tailnet = Arc::clone(&self.ports.tailnet);
        let open = async move { tailnet.open(node, opening).await };
        let opened = self.during(limit, None, open).await;
        let Work::Done(Ok(claim)) = opened else {
            self.doubt_closing(node, guard, "opening it was broken off");
            return match opened {
                Work::Done(opened) => Work::Done(opened.map(|_| ())),
                Work::Interrupted => Work::Interrupted,
                Work::TimedOut => Work::TimedOut,
            };
        };
        // The guard stays held: the next look tells whether the gateway is still the one that was proven.
        self.proven = Some(proven);
        self.door = Some(OpenDoor {
            claim,
            node,
            guard,
            since: self.ports.clock.now(),
            reach: Reach::Unchecked,
            held: Some(Cause::LockUnproven),
        });
        self.failed_checks = 0;
        self.check_soon();
        Work::Done(Ok(()))
    }

    /// Closes what is open because of this.
    pub(super) async fn shut(&mut self, cause: &Cause) {
        if self.door.is_some() {
            self.notice = Some(Notice::ClosedUnexpectedly {
                cause: cause.clone(),
                at: self.ports.clock.now(),
            });
            // Told in the snapshot, as `unconfirmed`.
            let _ = self.close_door().await;
        }
        // What a person decided against must not come up again by itself at the next start.
        if matches!(cause, Cause::OpenWithoutKey | Cause::AdministratorCancelled) {
            self.want(Wanted::Private);
            self.store_present().await;
        }
        if *cause == Cause::OpenWithoutKey {
            self.found = Some(cause.clone());
        }
    }

    /// Closes what is open, tells the cause, and waits for whatever brings it on.
    pub(super) async fn block(&mut self, cause: Cause) {
        self.shut(&cause).await;
        if !self.confirm_closed().await {
            return;
        }
        if self.unconfirmed.is_some() && self.guard_up {
            // Told in the snapshot, as `unconfirmed`.
            let _ = self.close_door().await;
        }
        self.wait_blocked(cause).await;
    }

    /// How long to wait before it is tried again by itself.
    fn pause(&self, cause: &Cause) -> Duration {
        let growing = Duration::from_secs(2u64.saturating_pow(self.retries.min(5) + 1).min(60));
        if let Cause::GatewayLockedOut { seconds } = cause {
            return growing.max(Duration::from_secs(*seconds));
        }
        growing
    }

    pub(super) async fn wait_blocked(&mut self, cause: Cause) {
        enum Event {
            Command(Option<super::Command>),
            Changed,
            Resume,
            Confirm,
            Deadline,
        }
        let remedy = cause.remedy();
        if remedy == Remedy::Ask && self.wanted.is_public() {
            self.given_up = Some(cause.clone());
        }
        let hears_changes = remedy != Remedy::Ask;
        let resume = (remedy == Remedy::Wait).then(|| Instant::now() + self.pause(&cause));
        loop {
            self.show(Exposure::Blocked {
                cause: cause.clone(),
                closed: self.closed(),
            });
            let is_in_doubt = self.unconfirmed.is_some() || self.unstored.is_some();
            let confirm = is_in_doubt.then(|| Instant::now() + CONFIRM_EVERY);
            let deadline = Instant::now() + self.time_left();
            let event = tokio::select! {
                biased;
                command = self.commands.recv() => Event::Command(command),
                () = told(&mut self.changes), if hears_changes => Event::Changed,
                () = sleep_until(resume) => Event::Resume,
                () = sleep_until(confirm) => Event::Confirm,
                () = tokio::time::sleep_until(deadline) => Event::Deadline,
            };
            match event {
                Event::Command(command) => {
                    if self.hear(command).await {
                        return;
                    }
                }
                Event::Changed => {
                    if self.looks_different().await != Some(false) {
                        self.retries = self.retries.saturating_add(1);
                        return;
                    }
                }
                Event::Resume => {
                    self.retries = self.retries.saturating_add(1);
                    return;
                }
                Event::Confirm => {
                    if !self.confirm_closed().await {
                        return;
                    }
                    self.store_again().await;
                }
                Event::Deadline => {
                    if self.deadline_passed() {
                        return;
                    }
                }
            }
        }
    }
}

fn config_of(seen: &Observation) -> String {
    use crate::gateway::GatewayView;
    match &seen.gateway {
        GatewayView::NeedsSetUp { config, .. }
        | GatewayView::NotRunning { config }
        | GatewayView::Starting { config }
        | GatewayView::NeedsRestart { config } => config.display().to_string(),
        GatewayView::Ready(ready) => ready.config.display().to_string(),
        GatewayView::Missing | GatewayView::Refused { .. } => String::new(),
    }
}
