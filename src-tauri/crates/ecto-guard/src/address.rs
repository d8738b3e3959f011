//! What each address may take up. IPv6 is counted by /64, which is what one customer gets.
//!
//! Requests with a good key and wrong keys are counted apart, so that whoever tries keys behind the same router starves
//! nobody who has one: a good key passes however many wrong ones came from its address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecto_core::ports::Clock;
use ecto_core::refusal::Refusal;

use crate::limits::Limits;
use crate::rate::{Allowance, Pace, RetryAfter};

/// What is known of every address that is not forgotten yet.
#[derive(Clone)]
pub(crate) struct Addresses {
    requests: Pace,
    wrong_keys: Pace,
    under_way: usize,
    most: usize,
    clock: Arc<dyn Clock>,
    known: Arc<Mutex<HashMap<IpAddr, Account>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Account {
    requests: Allowance,
    wrong_keys: Allowance,
    under_way: usize,
}

impl Account {
    fn is_idle(&self, now: Duration) -> bool {
        self.under_way == 0 && self.requests.is_full(now)
    }
}

/// What is counted as one address. `None` for this machine, which is not limited.
fn network(address: Option<IpAddr>) -> Option<IpAddr> {
    match address?.to_canonical() {
        loopback if loopback.is_loopback() => None,
        IpAddr::V4(address) => Some(IpAddr::V4(address)),
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            Some(IpAddr::V6(Ipv6Addr::from_bits(network)))
        }
    }
}

impl Addresses {
    /// Knows none yet.
    pub fn new(limits: &Limits, clock: Arc<dyn Clock>) -> Self {
        Self {
            requests: limits.address_requests,
            wrong_keys: limits.address_wrong_keys,
            under_way: limits.address_under_way,
            most: limits.addresses,
            clock,
            known: Arc::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<IpAddr, Account>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for one more. First goes who is as good as new, then who has nothing but wrong keys to show: to forget
    /// those costs nothing but a 401 in place of a 429.
    fn make_room(
        &self,
        known: &mut HashMap<IpAddr, Account>,
        network: IpAddr,
        now: Duration,
    ) -> bool {
        if known.len() < self.most || known.contains_key(&network) {
            return true;
        }
        known.retain(|_, account| !account.is_idle(now) || !account.wrong_keys.is_full(now));
        if known.len() >= self.most {
            known.retain(|_, account| !account.is_idle(now));
        }
        known.len() < self.most
    }

    /// Counts a request with a good key. Where more addresses are busy than are counted, the others are not limited:
    /// they have a key, and its own limits hold.
    pub fn enter(
        &self,
        address: Option<IpAddr>,
    ) -> Result<Option<Visit>, (Refusal, Option<RetryAfter>)> {
        let Some(network) = network(address) else {
            return Ok(None);
        };
        let now = self.clock.uptime();
        let mut known = self.known();
        if !self.make_room(&mut known, network, now) {
            return Ok(None);
        }
        let account = known.entry(network).or_default();
        if account.under_way >= self.under_way {
            return Err((Refusal::AddressBusy, None));
        }
        account
            .requests
            .take(&self.requests, now)
            .map_err(|retry| (Refusal::AddressRateReached, Some(retry)))?;
        account.under_way += 1;
        drop(known);
        Ok(Some(Visit {
            addresses: self.clone(),
            network,
        }))
    }

    /// Counts a wrong key, or says that there were too many.
    pub fn count_wrong_key(&self, address: Option<IpAddr>) -> Result<(), RetryAfter> {
        let Some(network) = network(address) else {
            return Ok(());
        };
        let now = self.clock.uptime();
        let mut known = self.known();
        if !self.make_room(&mut known, network, now) {
            return Ok(());
        }
        let account = known.entry(network).or_default();
        account.wrong_keys.take(&self.wrong_keys, now)
    }
}

/// One request under way from an address, until it is dropped.
pub(crate) struct Visit {
    addresses: Addresses,
    network: IpAddr,
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(account) = self.addresses.known().get_mut(&self.network) {
            account.under_way = account.under_way.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use ecto_core::Timestamp;

    use super::*;

    struct Hand(Mutex<Duration>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn uptime(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    fn addresses() -> (Addresses, Arc<Hand>) {
        let pace = |count| Pace::new(NonZeroU32::new(count).unwrap(), MINUTE);
        let limits = Limits {
            addresses: 3,
            address_requests: pace(2),
            address_wrong_keys: pace(1),
            address_under_way: 1,
            ..Limits::default()
        };
        let clock = Arc::new(Hand(Mutex::new(MINUTE)));
        (Addresses::new(&limits, clock.clone()), clock)
    }

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn refusal(addresses: &Addresses, address: &str) -> Option<Refusal> {
        addresses
            .enter(at(address))
            .err()
            .map(|(refusal, _)| refusal)
    }

    #[test]
    fn an_address_has_its_rate_and_its_places() {
        let (addresses, clock) = addresses();
        let first = addresses.enter(at("203.0.113.1")).unwrap();
        assert_eq!(
            refusal(&addresses, "203.0.113.1"),
            Some(Refusal::AddressBusy)
        );
        assert_eq!(refusal(&addresses, "203.0.113.2"), None);
        drop(first);
        assert_eq!(refusal(&addresses, "203.0.113.1"), None);
        assert_eq!(
            refusal(&addresses, "203.0.113.1"),
            Some(Refusal::AddressRateReached)
        );
        *clock.0.lock().unwrap() += MINUTE / 2;
        assert_eq!(refusal(&addresses, "203.0.113.1"), None);
    }

    #[test]
    fn wrong_keys_starve_no_good_one() {
        let (addresses, _clock) = addresses();
        assert_eq!(addresses.count_wrong_key(at("203.0.113.1")), Ok(()));
        assert_eq!(
            addresses.count_wrong_key(at("203.0.113.1")),
            Err(RetryAfter(MINUTE))
        );
        assert_eq!(refusal(&addresses, "203.0.113.1"), None);
    }

    #[test]
    fn a_customers_network_is_one_address_and_this_machine_is_none() {
        let (addresses, _clock) = addresses();
        let _held = addresses.enter(at("2001:db8:1:2::1")).unwrap();
        assert_eq!(
            refusal(&addresses, "2001:db8:1:2:ffff::9"),
            Some(Refusal::AddressBusy)
        );
        assert_eq!(refusal(&addresses, "2001:db8:1:3::1"), None);
        let _held = addresses.enter(at("::ffff:203.0.113.9")).unwrap();
        assert_eq!(
            refusal(&addresses, "203.0.113.9"),
            Some(Refusal::AddressBusy)
        );
        for machine in [None, at("127.0.0.1"), at("::1")] {
            let visits: Vec<_> = (0..9).map(|_| addresses.enter(machine).unwrap()).collect();
            assert!(visits.iter().all(Option::is_none));
        }
    }

    #[test]
    fn no_more_addresses_are_kept_than_said() {
        let (addresses, clock) = addresses();
        let held = addresses.enter(at("203.0.113.1")).unwrap();
        for last in 2..=255 {
            let _ = addresses.count_wrong_key(at(&format!("203.0.113.{last}")));
            assert!(addresses.known().len() <= 3);
        }
        assert_eq!(
            refusal(&addresses, "203.0.113.1"),
            Some(Refusal::AddressBusy)
        );
        let _others: Vec<_> = (1..9)
            .map(|last| addresses.enter(at(&format!("198.51.100.{last}"))).unwrap())
            .collect();
        assert_eq!(addresses.known().len(), 3);
        drop((held, _others));
        *clock.0.lock().unwrap() += MINUTE * 2;
        assert_eq!(refusal(&addresses, "192.0.2.1"), None);
        assert_eq!(addresses.known().len(), 1);
    }
}
