//! The guard as the engine sees it.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use ecto_core::Timestamp;
use ecto_core::cause::Cause;
use ecto_core::foreign::ForeignText;
use ecto_core::gateway::GatewayAccess;
use ecto_core::key::{GuardKey, KeyName, NoRandomness};
use ecto_core::offer::Offer;
use ecto_core::ports::{Activity, Clock, Guard, Recorder};
use ecto_core::proof::{ProofAnswer, ProofQuestion};
use ecto_core::watchword::Watchword;
use rand::TryRng;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;

use crate::activity::Register;
use crate::address::Addresses;
use crate::admission::Gate;
use crate::limits::Limits;
use crate::listener::Listening;
use crate::passage::Shared;
use crate::prover::ProverPass;
use crate::room::Room;

/// The guard: a reverse proxy on a free port of 127.0.0.1. Listens to nothing until it is started; dropping it ends
/// everything.
pub struct LoopbackGuard {
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

struct Running {
    listening: Listening,
    // End with it.
    _beside: JoinSet<()>,
}

impl LoopbackGuard {
    /// Makes a guard that does not listen yet. `random` is asked for what only the prover knows.
    pub fn new<R: TryRng>(
        limits: Limits,
        clock: Arc<dyn Clock>,
        random: &mut R,
    ) -> Result<Self, NoRandomness> {
        Self::with_recorder(limits, clock, random, None, None)
    }

    /// Makes a guard as [`LoopbackGuard::new`] does, which gives the line of each request to `recorder`, but for those
    /// that show `watchword`.
    pub fn with_recorder<R: TryRng>(
        limits: Limits,
        clock: Arc<dyn Clock>,
        random: &mut R,
        recorder: Option<Arc<dyn Recorder>>,
        watchword: Option<Watchword>,
    ) -> Result<Self, NoRandomness> {
        let shared = Shared {
            addresses: Addresses::new(&limits, clock.clone()),
            hearings: Semaphore::new(limits.heard_out),
            room: Room::new(limits.under_way_bytes),
            limits: Arc::new(limits),
            gate: Gate::new(),
            prover: ProverPass::new(random)?,
            watchword,
            register: Register::new(Arc::clone(&clock), recorder),
            clock,
        };
        Ok(Self {
            shared: Arc::new(shared),
            running: Mutex::new(None),
        })
    }
}

#[async_trait]
impl Guard for LoopbackGuard {
    async fn start(&self, access: GatewayAccess, keys: Vec<GuardKey>) -> Result<SocketAddr, Cause> {
        let mut running = self.running.lock().await;
        self.shared.gate.swap(&access, keys, &self.shared.limits)?;
        if let Some(running) = &*running {
            return Ok(running.listening.address);
        }
        let started = Listening::start(self.shared.clone())
            .await
            .map_err(|fault| {
                self.shared.gate.shut();
                Cause::GuardFailed {
                    detail: ForeignText::new(fault.to_string()),
                }
            })?;
        let address = started.address;
        let mut beside = JoinSet::new();
        let shared = Arc::clone(&self.shared);
        beside.spawn(async move { shared.gate.cut_what_ends(&*shared.clock).await });
        let shared = Arc::clone(&self.shared);
        beside.spawn(async move { shared.gate.close_what_rests().await });
        let addresses = self.shared.addresses.clone();
        beside.spawn(async move { addresses.keep_forgetting().await });
        let register = self.shared.register.clone();
        beside.spawn(async move { register.keep_telling().await });
        *running = Some(Running {
            listening: started,
            _beside: beside,
        });
        Ok(address)
    }

    fn set_keys(&self, keys: Vec<GuardKey>) {
        self.shared.gate.set_keys(keys);
    }

    fn set_offer(&self, offer: Offer) {
        self.shared.gate.set_offer(offer);
    }

    fn offer(&self) -> Offer {
        Offer::clone(&self.shared.gate.offer())
    }

    fn key_uses(&self) -> Vec<(KeyName, Timestamp)> {
        self.shared.gate.key_uses()
    }

    fn hold(&self) {
        self.shared.gate.set_held(true);
    }

    fn release(&self) {
        self.shared.gate.set_held(false);
    }

    async fn stop(&self) {
        let mut running = self.running.lock().await;
        self.shared.gate.shut();
        let ending = running.take();
        drop(running);
        if let Some(running) = ending {
            running.listening.stop(self.shared.limits.stop).await;
            self.shared.register.tell();
        }
    }

    async fn ask(&self, question: ProofQuestion) -> Result<ProofAnswer, Cause> {
        let address = match &*self.running.lock().await {
            Some(running) => running.listening.address,
            None => {
                return Err(Cause::GuardFailed {
                    detail: "the guard does not listen".into(),
                });
            }
        };
        self.shared.prover.ask(address, &question).await
    }

    fn activity(&self) -> watch::Receiver<Activity> {
        self.shared.register.watch()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ecto_core::gateway::GatewayFingerprint;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use secrecy::SecretString;

    use super::*;
    use crate::paused::Paused;

    #[tokio::test(start_paused = true)]
    async fn a_guard_that_runs_forgets_who_called() {
        let clock = Arc::new(Paused::begin());
        let mut random = StdRng::seed_from_u64(1);
        let guard = LoopbackGuard::new(Limits::default(), clock, &mut random).unwrap();
        let access = GatewayAccess {
            address: ([127, 0, 0, 1], 1).into(),
            token: SecretString::from("token"),
            hooks: None,
            fingerprint: GatewayFingerprint("one".to_owned()),
        };
        guard.start(access, Vec::new()).await.unwrap();
        let addresses = &guard.shared.addresses;
        for last in 0..=255 {
            let _ = addresses.count_wrong_key(Some([203, 0, 113, last].into()));
        }
        assert_eq!(addresses.count(), 256);
        tokio::time::sleep(Duration::from_secs(62)).await;
        assert_eq!(addresses.count(), 0);
        guard.stop().await;
    }
}
