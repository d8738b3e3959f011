//! Staying Public: the claim, the gateway, the deadline and the check from outside are watched.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::cause::{Cause, ReachCause};
use crate::exposure::{Exposure, Reach};
use crate::gateway::GatewayView;
use crate::key::KeyRing;
use crate::ports::OutsideFinding;
use crate::snapshot::{Notice, StepProgress};
use crate::step::Step;

use super::changes::told;
use super::command::Command;
use super::{Engine, OpenDoor, Pending, SHORT_LOOK_LIMIT, Work};

/// How soon a gateway that is away is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long one check from outside may take.
const CHECK_LIMIT: Duration = Duration::from_secs(45);

enum Event {
    Command(Option<Command>),
    Lost(Cause),
    Changed,
    Activity,
    Checked(OutsideFinding),
    CheckedBefore(OutsideFinding),
    CheckDue,
    VerifyDue,
    LookAgain,
    Deadline,
}

/// What is told of an open door while something else is done.
pub(super) enum DoorEvent {
    Lost(Cause),
    /// The gateway may be another.
    Changed,
    Glanced(GatewayView),
    Checked(OutsideFinding),
    CheckedBefore(OutsideFinding),
    CheckDue,
    Activity,
}

impl Engine {
    /// Says that it is Public, and returns when something asks for another look: where a step did not work, not before
    /// `pause` is over or the world looks different.
    pub(super) async fn keep_public(&mut self, pause: Option<Duration>) {
        let began = Instant::now();
        loop {
            let verify_at = *self
                .verify_at
                .get_or_insert_with(|| Instant::now() + self.settings.verify_every);
            self.show_public();
            let Some(door) = &self.door else {
                return;
            };
            let held = door.held.is_some();
            let look_at = held.then(|| began + pause.unwrap_or(LOOK_AGAIN));
            let deadline = Instant::now() + self.time_left();
            let check_at = self.check_at(door);
            let event = tokio::select! {
                biased;
                command = self.commands.recv() => Event::Command(command),
                cause = door.claim.lost() => Event::Lost(cause),
                () = told(&mut self.changes) => Event::Changed,
                finding = outcome(&mut self.outdated) => Event::CheckedBefore(finding),
                finding = outcome(&mut self.outside) => Event::Checked(finding),
                () = sleep_until(check_at) => Event::CheckDue,
                () = tokio::time::sleep_until(verify_at) => Event::VerifyDue,
                () = sleep_until(look_at) => Event::LookAgain,
                () = tokio::time::sleep_until(deadline) => Event::Deadline,
                Ok(()) = self.activity.changed() => Event::Activity,
            };
            match event {
                Event::Command(command) => {
                    if self.hear(command).await {
                        return;
                    }
                }
                Event::Lost(cause) => return self.lose_claim(cause),
                Event::Changed if pause.is_some() => {
                    if self.looks_different().await != Some(false) {
                        return;
                    }
                }
                Event::Changed | Event::LookAgain => return,
                Event::Activity => self.publish(),
                Event::Checked(finding) => {
                    self.outside = None;
                    if finding == OutsideFinding::OpenWithoutKey {
                        return self.block(Cause::OpenWithoutKey).await;
                    }
                    self.note_reach(finding);
                }
                Event::CheckedBefore(finding) => {
                    self.outdated = None;
                    if finding == OutsideFinding::OpenWithoutKey {
                        return self.block(Cause::OpenWithoutKey).await;
                    }
                }
                Event::CheckDue => self.start_check(),
                Event::VerifyDue => {
                    if !self.verify_claim().await || pause.is_none() {
                        return;
                    }
                }
                Event::Deadline => {
                    if self.deadline_passed() {
                        return;
                    }
                }
            }
        }
    }

    /// Sees to the open door while something else is done, which goes on: what may take long to do, such as opening anew, is
    /// left to the next round.
    pub(super) async fn tend_door(&mut self, event: DoorEvent) {
        let finding = match event {
            DoorEvent::Lost(cause) => return self.lose_claim(cause),
            DoorEvent::Changed => return self.glance(),
            DoorEvent::Glanced(gateway) => return self.take_glance(gateway),
            DoorEvent::CheckDue => return self.start_check(),
            DoorEvent::Activity => return self.publish(),
            DoorEvent::Checked(finding) => {
                self.outside = None;
                self.note_reach(finding.clone());
                self.show_public();
                finding
            }
            DoorEvent::CheckedBefore(finding) => {
                self.outdated = None;
                finding
            }
        };
        if finding == OutsideFinding::OpenWithoutKey {
            self.shut(&Cause::OpenWithoutKey).await;
            self.show(Exposure::Blocked {
                cause: Cause::OpenWithoutKey,
                closed: self.closed(),
            });
        }
    }

    /// When the door is to be checked from outside next.
    pub(super) fn check_at(&self, door: &OpenDoor) -> Option<Instant> {
        let is_due = door.held.is_none() && self.outside.is_none();
        self.next_check.filter(|_| is_due)
    }

    fn glance(&mut self) {
        let gateway = Arc::clone(&self.ports.gateway);
        let silent = self.silent_gateway();
        self.glance = Some(Box::pin(async move {
            let look = timeout(SHORT_LOOK_LIMIT * 5, gateway.observe());
            look.await.unwrap_or(silent)
        }));
    }

    /// Holds callers where the gateway is not the one any more that the lock was proven for.
    fn take_glance(&mut self, gateway: GatewayView) {
        self.glance = None;
        let same = match &gateway {
            GatewayView::Ready(ready) => self.proven.as_ref() == Some(&ready.fingerprint),
            GatewayView::Missing
            | GatewayView::NeedsSetUp { .. }
            | GatewayView::NotRunning { .. }
            | GatewayView::Starting { .. }
            | GatewayView::NeedsRestart { .. }
            | GatewayView::Refused { .. } => false,
        };
        if let Some((_, seen)) = &mut self.seen {
            *seen = gateway;
        }
        if !same {
            self.void_proof();
        }
        self.show_public();
    }

    pub(super) fn show_public(&mut self) {
        let Some(door) = &self.door else {
            return;
        };
        let public = Exposure::Public {
            address: door.claim.address().clone(),
            since: door.since,
            until: self.wanted.deadline(),
            reach: door.reach.clone(),
            held: door.held.clone(),
        };
        self.show(public);
    }

    /// The claim is gone without anybody having asked: what is left is shut, and the next round opens anew with a proof.
    fn lose_claim(&mut self, cause: Cause) {
        tracing::warn!(code = cause.code(), "the claim is gone");
        self.void_proof();
        self.forget_door();
        if let Some(door) = self.door.take() {
            self.doubt_closing(door.node, door.guard, "the claim went away by itself");
        }
        self.notice = Some(Notice::ClosedUnexpectedly {
            cause,
            at: self.ports.clock.now(),
        });
        self.show(Exposure::Preparing {
            step: Step::Prove,
            since: self.ports.clock.now(),
            waiting: None,
            progress: None,
        });
    }

    /// Has the claim looked at. Returns whether it stands and nothing else was asked for meanwhile.
    pub(super) async fn verify_claim(&mut self) -> bool {
        self.verify_at = None;
        let Some(door) = self.door.take() else {
            return false;
        };
        let claim: Arc<OpenDoor> = Arc::new(door);
        let asked = Arc::clone(&claim);
        let verdict = self
            .during(Duration::from_secs(10), None, async move {
                asked.claim.verify().await
            })
            .await;
        self.door = Arc::into_inner(claim);
        if let Some(door) = &mut self.door
            && self.proven.is_none()
        {
            // Voided while the claim was looked at.
            door.held.get_or_insert(Cause::LockUnproven);
        }
        match verdict {
            Work::Done(Err(cause)) => self.lose_claim(cause),
            Work::TimedOut => self.lose_claim(Cause::TailscaleUnreachable {
                detail: "Tailscale did not answer in time".into(),
            }),
            Work::Done(Ok(())) => return true,
            Work::Interrupted => {}
        }
        false
    }

    /// Forgets what is asked and known about a door that is no more.
    pub(super) fn forget_door(&mut self) {
        self.outside = None;
        self.outdated = None;
        self.glance = None;
        self.next_check = None;
        self.away_since = None;
    }

    /// Has the check from outside made as soon as the door is open.
    pub(super) fn check_soon(&mut self) {
        if self.settings.check_outside && self.outside.is_none() {
            self.next_check = Some(Instant::now());
        }
    }

    fn start_check(&mut self) {
        self.next_check = None;
        let (Some(door), Some(key)) = (&self.door, self.keys.as_ref().and_then(KeyRing::first_key))
        else {
            return;
        };
        let outside = Arc::clone(&self.ports.outside);
        let (address, key) = (door.claim.address().clone(), key.clone());
        self.outside = Some(Box::pin(async move {
            let check = outside.check(&address, &key);
            timeout(CHECK_LIMIT, check)
                .await
                .unwrap_or(OutsideFinding::Unreachable(ReachCause::NotAnswering))
        }));
    }

    fn note_reach(&mut self, finding: OutsideFinding) {
        let at = self.ports.clock.now();
        let (reach, again, progress) = match finding {
            OutsideFinding::Reachable => {
                self.failed_checks = 0;
                let progress = StepProgress::Done { milliseconds: 0 };
                (
                    Reach::Reachable { at },
                    self.settings.recheck_after,
                    progress,
                )
            }
            OutsideFinding::Unreachable(cause) => {
                self.failed_checks = self.failed_checks.saturating_add(1);
                let pause = 2u64.saturating_pow(self.failed_checks.min(6)).min(60);
                (
                    Reach::Unreachable { cause, at },
                    Duration::from_secs(pause),
                    StepProgress::Now,
                )
            }
            OutsideFinding::OpenWithoutKey => return,
        };
        if let Some(door) = &mut self.door {
            door.reach = reach;
        }
        self.next_check = Some(Instant::now() + again);
        self.mark(Step::CheckOutside, progress);
    }
}

pub(super) async fn outcome<T>(look: &mut Option<Pending<T>>) -> T {
    match look {
        Some(look) => look.await,
        None => std::future::pending().await,
    }
}

/// Waits until the claim of this door is gone; for ever where none is open.
pub(super) async fn lost(door: Option<&OpenDoor>) -> Cause {
    match door {
        Some(door) => door.claim.lost().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
