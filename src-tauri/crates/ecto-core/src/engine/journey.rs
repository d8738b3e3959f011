//! The way to Public: one round looks, chooses and takes a step.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cause::{Cause, Remedy, Severity};
use crate::exposure::{Exposure, Reach};
use crate::key::{DEFAULT_KEY, GuardKey};
use crate::plan::{self, Next, Observation};
use crate::ports::Secrets;
use crate::proof::{Opening, prove};
use crate::snapshot::{JourneyStep, Notice, StepProgress};
use crate::step::{Reporter, Step};
use crate::wanted::Wanted;

use super::{Engine, OpenDoor, RunningGuard, Work};

/// How often the same step may be taken in a row without anything to show for it.
const SAME_STEP_LIMIT: u32 = 3;

/// How often OpenClaw may be set up for one wish, before somebody else must be undoing it.
const SET_UP_LIMIT: u32 = 3;

impl Engine {
    /// One round on the way to Public, or of staying there.
    pub(super) async fn pursue(&mut self) {
        if self.unconfirmed.is_some() {
            self.confirm_closed().await;
            if let Some(doubt) = &self.unconfirmed {
                let cause = doubt.cause.clone();
                return self.wait_blocked(cause, None).await;
            }
        }
        let other_node = self
            .door
            .as_ref()
            .is_some_and(|door| door.node != self.node());
        if other_node {
            // Told in the next round, as `unconfirmed`.
            let _ = self.close_door().await;
        }
        let Some(seen) = self.observe().await else {
            return;
        };
        match plan::next(&seen) {
            Next::Rest => {
                self.last_step = None;
                if let Some(door) = &mut self.door {
                    door.held = None;
                }
                self.ports.guard.release();
                self.keep_public().await;
            }
            Next::Hold(cause) => self.hold_and_keep(cause).await,
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
            Next::Block(cause) => self.block(cause, Some(&seen)).await,
            Next::Take(step) => self.take(step, &seen).await,
        }
    }

    async fn hold_and_keep(&mut self, cause: Cause) {
        self.void_proof();
        if let Some(door) = &mut self.door {
            door.held = Some(cause);
        }
        self.keep_public().await;
    }

    async fn take(&mut self, step: Step, seen: &Observation) {
        if let Some(cause) = self.count_step(step, seen) {
            return self.block(cause, Some(seen)).await;
        }
        self.show_step(step, seen);
        let began = Instant::now();
        match self.do_step(step).await {
            Work::Done(Ok(())) => {
                self.retries = 0;
                let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.mark(step, StepProgress::Done { milliseconds });
            }
            Work::Done(Err(cause)) => self.step_failed(step, cause, seen).await,
            Work::TimedOut => {
                self.step_failed(step, Cause::StepTimedOut { step }, seen)
                    .await
            }
            Work::Interrupted => {}
        }
    }

    async fn step_failed(&mut self, step: Step, cause: Cause, seen: &Observation) {
        tracing::warn!(code = cause.code(), ?step, "a step did not work");
        if self.door.is_some()
            && cause.remedy() == Remedy::Wait
            && cause.severity() < Severity::Danger
        {
            return self.hold_and_keep(cause).await;
        }
        self.mark(step, StepProgress::Failed);
        self.block(cause, Some(seen)).await;
    }

    fn count_step(&mut self, step: Step, seen: &Observation) -> Option<Cause> {
        let times = match self.last_step {
            Some((last, times)) if last == step => times + 1,
            Some(_) | None => 1,
        };
        self.last_step = Some((step, times));
        if times > SAME_STEP_LIMIT {
            self.last_step = None;
            return Some(Cause::StepWithoutEffect { step });
        }
        if step == Step::SetUpOpenClaw {
            self.set_ups += 1;
            if self.set_ups > SET_UP_LIMIT {
                return Some(Cause::ConfigContended {
                    path: config_of(seen),
                });
            }
        }
        None
    }

    fn show_step(&mut self, step: Step, seen: &Observation) {
        if self.door.is_some() {
            return;
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
        // A retry that nobody asked for is not shown before it gets somewhere.
        if self.retries > 0 && matches!(self.exposure, Exposure::Blocked { .. }) {
            return;
        }
        self.show(Exposure::Preparing {
            step,
            since: self.ports.clock.now(),
            waiting: None,
            progress: None,
        });
    }

    pub(super) fn mark(&mut self, step: Step, progress: StepProgress) {
        if let Some(taken) = self.journey.iter_mut().find(|taken| taken.step == step) {
            taken.progress = progress;
        }
        self.publish();
    }

    async fn do_step(&mut self, step: Step) -> Work<Result<(), Cause>> {
        if matches!(step, Step::SetUpOpenClaw | Step::StartGuard) && self.secrets.is_none() {
            match self.ensure_secrets().await {
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
    pub(super) async fn ensure_secrets(&mut self) -> Work<Result<(), Cause>> {
        if self.secrets.is_some() {
            return Work::Done(Ok(()));
        }
        let vault = Arc::clone(&self.ports.vault);
        let make_key = Arc::clone(&self.ports.make_key);
        let load = async move {
            let stored = vault.load().await.map_err(Cause::from)?;
            if let Some(secrets) = stored
                && secrets.key(DEFAULT_KEY).is_some()
            {
                return Ok(secrets);
            }
            let key = make_key().map_err(|fault| Cause::Internal {
                detail: fault.to_string().into(),
            })?;
            let secrets = Secrets {
                keys: vec![(DEFAULT_KEY.to_owned(), key)],
            };
            vault.store(&secrets).await.map_err(Cause::from)?;
            Ok(secrets)
        };
        match self.during(Duration::from_secs(120), None, load).await {
            Work::Done(Ok(secrets)) => {
                self.secrets = Some(secrets);
                Work::Done(Ok(()))
            }
            Work::Done(Err(cause)) => Work::Done(Err(cause)),
            Work::Interrupted => Work::Interrupted,
            Work::TimedOut => Work::Done(Err(Cause::VaultUnreachable {
                detail: "it did not answer in time".into(),
            })),
        }
    }

    pub(super) fn guard_keys(&self) -> Vec<GuardKey> {
        self.secrets.as_ref().map_or_else(Vec::new, |secrets| {
            secrets
                .keys
                .iter()
                .map(|(name, secret)| GuardKey::with_all_routes(name.clone(), secret.clone()))
                .collect()
        })
    }

    async fn start_guard(&mut self, limit: Duration) -> Work<Result<(), Cause>> {
        self.void_proof();
        let gateway = Arc::clone(&self.ports.gateway);
        let guard = Arc::clone(&self.ports.guard);
        let keys = self.guard_keys();
        let start = async move {
            let access = gateway.access().await?;
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
        let (Some(running), Some(key)) = (
            &self.guard,
            self.secrets
                .as_ref()
                .and_then(|secrets| secrets.key(DEFAULT_KEY)),
        ) else {
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
        let tailnet = Arc::clone(&self.ports.tailnet);
        let open = async move { tailnet.open(node, Opening::new(proof)).await };
        match self.during(limit, None, open).await {
            Work::Done(Ok(claim)) => {
                self.proven = Some(proven);
                self.door = Some(OpenDoor {
                    claim,
                    node,
                    since: self.ports.clock.now(),
                    reach: Reach::Unchecked,
                    held: None,
                });
                self.failed_checks = 0;
                self.check_soon();
                self.ports.guard.release();
                Work::Done(Ok(()))
            }
            Work::Done(Err(cause)) => Work::Done(Err(cause)),
            Work::Interrupted => Work::Interrupted,
            Work::TimedOut => Work::TimedOut,
        }
    }

    /// Closes what is open, tells the cause, and waits for whatever brings it on.
    pub(super) async fn block(&mut self, cause: Cause, seen: Option<&Observation>) {
        if self.door.is_some() {
            self.notice = Some(Notice::ClosedUnexpectedly {
                cause: cause.clone(),
                at: self.ports.clock.now(),
            });
            // Told in the snapshot, as `unconfirmed`.
            let _ = self.close_door().await;
        }
        if cause == Cause::OpenWithoutKey {
            self.want(Wanted::Private);
            // Not stored means that it may be tried again after a restart, with a new proof and a new check.
            let _ = self.store_wanted(&Wanted::Private).await;
        }
        self.wait_blocked(cause, seen).await;
    }

    pub(super) async fn wait_blocked(&mut self, cause: Cause, seen: Option<&Observation>) {
        let remedy = cause.remedy();
        self.show(Exposure::Blocked {
            cause,
            closed: self.closed(),
        });
        let pause = match remedy {
            Remedy::Wait => {
                Duration::from_secs(2u64.saturating_pow(self.retries.min(5) + 1).min(60))
            }
            Remedy::Act | Remedy::Ask => Duration::from_secs(24 * 60 * 60),
        };
        let resume = Instant::now() + pause;
        loop {
            enum Event {
                Command(Option<super::Command>),
                Changed,
                Resume,
            }
            let hears_changes = remedy != Remedy::Ask;
            let event = tokio::select! {
                biased;
                command = self.commands.recv() => Event::Command(command),
                Ok(()) = self.tailnet_changes.changed(), if hears_changes => Event::Changed,
                Ok(()) = self.gateway_changes.changed(), if hears_changes => Event::Changed,
                () = tokio::time::sleep_until(resume) => Event::Resume,
            };
            match event {
                Event::Command(command) => {
                    if self.hear(command).await {
                        return;
                    }
                }
                Event::Changed if remedy == Remedy::Act => {
                    let Some(now) = self.observe().await else {
                        return;
                    };
                    let same = seen.is_some_and(|seen| {
                        seen.tailnet == now.tailnet && seen.gateway == now.gateway
                    });
                    if !same {
                        return;
                    }
                }
                Event::Changed | Event::Resume => {
                    self.retries = self.retries.saturating_add(1);
                    return;
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
