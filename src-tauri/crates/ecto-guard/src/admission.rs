//! Whom the guard lets in, and to where: swapped as one when the gateway or the keys change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::cause::Cause;
use ecto_core::gateway::GatewayAccess;
use ecto_core::key::{GuardKey, KeyName, Route};
use ecto_core::offer::Offer;
use ecto_core::ports::Clock;
use tokio::sync::Notify;

use crate::gateway::Gateway;
use crate::key::KnownKeys;
use crate::limits::Limits;

/// The gateway and the keys as they are now.
#[derive(Clone)]
pub(crate) struct Admission {
    /// Where requests go.
    pub gateway: Arc<Gateway>,
    /// Who may send them.
    pub keys: Arc<KnownKeys>,
}

/// How often the clock is looked at while a key is going to end: clocks jump, and machines sleep.
const CLOCK_LOOK: Duration = Duration::from_secs(15);

/// What there is now. The keys outlive the gateway: what each has used up stays used up while the door is closed.
#[derive(Default)]
struct Present {
    gateway: Option<Arc<Gateway>>,
    keys: Arc<KnownKeys>,
}

/// The present admission, and whether it is in force.
pub(crate) struct Gate {
    held: AtomicBool,
    present: RwLock<Present>,
    offer: RwLock<Arc<Offer>>,
    keys_changed: Notify,
    /// A connection to the gateway rests where none did.
    link_rested: Arc<Notify>,
}

impl Gate {
    /// Held, and with nothing behind it.
    pub fn new() -> Self {
        Self {
            held: AtomicBool::new(true),
            present: RwLock::default(),
            offer: RwLock::default(),
            keys_changed: Notify::new(),
            link_rested: Arc::default(),
        }
    }

    /// What is in force for a request that comes now. `None` when the guard does not run.
    pub fn admission(&self) -> Option<Admission> {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        Some(Admission {
            gateway: Arc::clone(present.gateway.as_ref()?),
            keys: Arc::clone(&present.keys),
        })
    }

    /// What is offered beside what always is.
    pub fn offer(&self) -> Arc<Offer> {
        self.offer
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes over what is offered. What is in flight for a route that is not any more is cut.
    pub fn set_offer(&self, offer: Offer) {
        let gone = Route::OPTIONAL
            .into_iter()
            .filter(|route| !offer.has(*route));
        let gone: Vec<_> = gone.collect();
        *self.offer.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(offer);
        if let Some(admission) = self.admission() {
            for route in gone {
                admission.keys.cut_route(route);
            }
        }
    }

    /// Takes over the gateway and the keys, and holds. What is in flight for a key that is gone is cut; what is in
    /// flight for the others goes on, also towards the gateway as it was.
    pub fn swap(
        &self,
        access: &GatewayAccess,
        keys: Vec<GuardKey>,
        limits: &Arc<Limits>,
    ) -> Result<(), Cause> {
        self.set_held(true);
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        let is_same = |gateway: &Arc<Gateway>| gateway.is(access);
        if !present.gateway.as_ref().is_some_and(is_same) {
            let rested = self.link_rested.clone();
            let gateway = Gateway::new(access, limits.clone(), rested)?;
            if let Some(before) = present.gateway.replace(Arc::new(gateway)) {
                before.retire();
            }
        }
        present.keys = Arc::new(present.keys.replace(keys));
        self.keys_changed.notify_one();
        Ok(())
    }

    /// Takes over the keys alone. What is in flight for a key that is gone is cut, and what it had used up is forgotten.
    pub fn set_keys(&self, keys: Vec<GuardKey>) {
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        present.keys = Arc::new(present.keys.replace(keys));
        self.keys_changed.notify_one();
    }

    /// Opens again what was cut as ended by a clock that was ahead, and says whether there was any. Nothing tells that a
    /// clock is set back, so whoever comes with such a key has it looked at.
    pub fn reopen(&self, now: Timestamp) -> bool {
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        let Some(keys) = present.keys.reopened(now) else {
            return false;
        };
        present.keys = Arc::new(keys);
        self.keys_changed.notify_one();
        true
    }

    /// When each key was last used.
    pub fn key_uses(&self) -> Vec<(KeyName, Timestamp)> {
        self.admission()
            .map_or_else(Vec::new, |admission| admission.keys.uses())
    }

    /// Cuts what was opened with a key at the moment when that key ends. Goes on until it is dropped.
    pub async fn cut_what_ends(&self, clock: &dyn Clock) {
        loop {
            let next = self
                .admission()
                .and_then(|admission| admission.keys.cut_ended(clock.now()));
            match next {
                None => self.keys_changed.notified().await,
                Some(left) => tokio::select! {
                    () = self.keys_changed.notified() => {}
                    () = tokio::time::sleep(left.min(CLOCK_LOOK)) => {}
                },
            }
        }
    }

    /// Closes connections to the gateway when they rested long enough, whether or not another request comes. Goes on
    /// until it is dropped.
    pub async fn close_what_rests(&self) {
        loop {
            let next = self
                .admission()
                .and_then(|admission| admission.gateway.close_rested());
            match next {
                None => self.link_rested.notified().await,
                Some(next) => tokio::time::sleep_until(next).await,
            }
        }
    }

    /// Lets nobody in, and forgets everything but what the keys have used up.
    pub fn shut(&self) {
        self.set_held(true);
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(gateway) = present.gateway.take() {
            gateway.retire();
        }
    }

    /// Whether key holders have to wait.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    /// Makes key holders wait, or no longer.
    pub fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use ecto_core::gateway::GatewayFingerprint;
    use ecto_core::key::ValidDigest;
    use secrecy::SecretString;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::paused::Paused;

    fn key(name: &str) -> GuardKey {
        GuardKey::with_all_routes(name.parse().unwrap(), &SecretString::from(name))
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn access() -> GatewayAccess {
        GatewayAccess {
            address: ([127, 0, 0, 1], 1).into(),
            token: SecretString::from("token"),
            hooks: None,
            fingerprint: GatewayFingerprint("one".to_owned()),
        }
    }

    /// What ends a request that is opened now.
    fn open(gate: &Gate, clock: &dyn Clock, secret: &str) -> CancellationToken {
        let keys = gate.admission().unwrap().keys;
        let holder = keys.find(secret.as_bytes(), clock.now()).unwrap();
        holder.cuts.of_route(Route::Chat)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_open_is_cut_at_the_moment_its_key_ends() {
        let gate = Arc::new(Gate::new());
        let clock = Arc::new(Paused::begin());
        let mut guest = key("guest");
        guest.grant.expires = Some(second(3600));
        let keys = vec![key("default"), guest.clone()];
        gate.swap(&access(), keys, &Arc::default()).unwrap();
        let cutting = (Arc::clone(&gate), Arc::clone(&clock));
        tokio::spawn(async move { cutting.0.cut_what_ends(&*cutting.1).await });
        let open = |secret: &str| open(&gate, &*clock, secret);
        let (stays, ends) = (open("default"), open("guest"));
        tokio::time::sleep(Duration::from_millis(3_599_900)).await;
        assert!(!ends.is_cancelled());
        tokio::time::sleep(Duration::from_millis(102)).await;
        assert!(ends.is_cancelled() && !stays.is_cancelled());

        // A rotation with grace, while the watch rests because nothing is going to end.
        gate.set_keys(vec![key("default"), key("phone")]);
        let old = open("phone");
        tokio::time::sleep(Duration::from_secs(100)).await;
        let mut rotated = key("phone");
        rotated.digests = vec![
            key("new phone").digests[0],
            ValidDigest {
                until: Some(second(4000)),
                ..key("phone").digests[0]
            },
        ];
        gate.set_keys(vec![key("default"), rotated]);
        let new = open("new phone");
        let left = second(4000).duration_since(clock.now());
        tokio::time::sleep(Duration::try_from(left).unwrap() - Duration::from_millis(5)).await;
        assert!(!old.is_cancelled());
        tokio::time::sleep(Duration::from_millis(8)).await;
        assert!(old.is_cancelled() && !new.is_cancelled() && !stays.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_clock_that_was_ahead_had_cut_is_opened_again_and_cut_at_its_end() {
        let gate = Arc::new(Gate::new());
        let clock = Arc::new(Paused::begin());
        let mut guest = key("guest");
        guest.grant.expires = Some(second(3600));
        let keys = vec![key("default"), guest];
        gate.swap(&access(), keys, &Arc::default()).unwrap();
        let cutting = (Arc::clone(&gate), Arc::clone(&clock));
        tokio::spawn(async move { cutting.0.cut_what_ends(&*cutting.1).await });
        let (stays, before) = (
            open(&gate, &*clock, "default"),
            open(&gate, &*clock, "guest"),
        );
        clock.set_ahead(7200);
        tokio::time::sleep(CLOCK_LOOK + Duration::from_secs(1)).await;
        assert!(before.is_cancelled());
        assert!(!gate.reopen(clock.now()), "it has ended");
        clock.set_ahead(0);
        assert!(gate.reopen(clock.now()));
        assert!(!gate.reopen(clock.now()), "nothing is left to be opened");
        let after = open(&gate, &*clock, "guest");
        let left = second(3600).duration_since(clock.now());
        tokio::time::sleep(Duration::try_from(left).unwrap() - Duration::from_millis(5)).await;
        assert!(!after.is_cancelled());
        tokio::time::sleep(Duration::from_millis(8)).await;
        assert!(after.is_cancelled() && !stays.is_cancelled());
        gate.set_keys(Vec::new());
        assert!(stays.is_cancelled(), "it is still the same");
        assert!(!gate.reopen(clock.now()));
    }
}
