//! What each address may take up. IPv6 is counted by /64, which is what one customer gets.
//!
//! Requests with a good key, wrong keys, and browsers' questions whether their page may call are counted apart, so that
//! whoever has no key starves nobody behind the same router who has one: a good key passes however many wrong ones, and
//! however many questions, came from its address.
//!
//! An address is forgotten soon after all it may take up is its own again: who comes back is as good as new either way.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecto_core::ports::Clock;
use ecto_core::refusal::Refusal;
use tokio::sync::Notify;

use crate::limits::Limits;
use crate::rate::{Allowance, Pace, RetryAfter};

/// How often addresses are forgotten while there are any: seldom enough that it costs a request nothing.
const FORGET_EVERY: Duration = Duration::from_secs(30);

/// How long it is not tried again to make room where there was none to make: each try looks at every address.
const NO_ROOM: Duration = Duration::from_secs(1);

/// What is known of every address that is not forgotten yet.
#[derive(Clone)]
pub(crate) struct Addresses {
    requests: Pace,
    wrong_keys: Pace,
    under_way: usize,
    most: usize,
    clock: Arc<dyn Clock>,
    known: Arc<Mutex<Known>>,
    /// The first address is known where none was.
    first: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Known {
    accounts: HashMap<IpAddr, Account>,
    /// Until when there is no room to be made.
    full_until: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Account {
    requests: Allowance,
    wrong_keys: Allowance,
    preflights: Allowance,
    under_way: usize,
}

impl Account {
    fn is_idle(&self, now: Duration) -> bool {
        self.under_way == 0 && self.requests.is_full(now)
    }

    fn is_as_new(&self, now: Duration) -> bool {
        self.is_idle(now) && self.wrong_keys.is_full(now) && self.preflights.is_full(now)
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
            first: Arc::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets who is as good as new, every [`FORGET_EVERY`] while anybody is known. Goes on until it is dropped.
    pub async fn keep_forgetting(&self) {
        loop {
            if self.forget() {
                tokio::time::sleep(FORGET_EVERY).await;
            } else {
                self.first.notified().await;
            }
        }
    }

    /// Forgets who is as good as new, and gives the memory back. Returns whether anybody is left.
    fn forget(&self) -> bool {
        let now = self.clock.uptime();
        let accounts = &mut self.known().accounts;
        accounts.retain(|_, account| !account.is_as_new(now));
        accounts.shrink_to(accounts.len().saturating_mul(2));
        !accounts.is_empty()
    }

    /// How many addresses are known.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.known().accounts.len()
    }

    /// The account of this network, where there is one or room for one more. To make room, first goes who is as good as
    /// new, then who has shown no good key: to forget those costs nothing but a 401, or an answered question, in place of a
    /// 429.
    fn account<'a>(
        &self,
        known: &'a mut Known,
        network: IpAddr,
        now: Duration,
    ) -> Option<&'a mut Account> {
        let Known {
            accounts,
            full_until,
        } = known;
        if accounts.len() >= self.most && !accounts.contains_key(&network) {
            if now < *full_until {
                return None;
            }
            accounts.retain(|_, account| !account.is_as_new(now));
            if accounts.len() >= self.most {
                accounts.retain(|_, account| !account.is_idle(now));
            }
            if accounts.len() >= self.most {
                *full_until = now.saturating_add(NO_ROOM);
                return None;
            }
        }
        if accounts.is_empty() {
            self.first.notify_one();
        }
        Some(accounts.entry(network).or_default())
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
        let Some(account) = self.account(&mut known, network, now) else {
            return Ok(None);
        };
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
        self.take(address, |account, now| {
            account.wrong_keys.take(&self.wrong_keys, now)
        })
    }

    /// Counts a preflight, or says that there were too many: as many are answered as requests are let through.
    pub fn count_preflight(&self, address: Option<IpAddr>) -> Result<(), RetryAfter> {
        self.take(address, |account, now| {
            account.preflights.take(&self.requests, now)
        })
    }

    fn take(
        &self,
        address: Option<IpAddr>,
        take: impl FnOnce(&mut Account, Duration) -> Result<(), RetryAfter>,
    ) -> Result<(), RetryAfter> {
        let Some(network) = network(address) else {
            return Ok(());
        };
        let now = self.clock.uptime();
        let mut known = self.known();
        match self.account(&mut known, network, now) {
            Some(account) => take(account, now),
            None => Ok(()),
        }
    }
}

/// One request under way from an address, until it is dropped.
pub(crate) struct Visit {
    addresses: Addresses,
    network: IpAddr,
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(account) = self.addresses.known().accounts.get_mut(&self.network) {
            account.under_way = account.under_way.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use ecto_core::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::paused::Paused;

    struct Hand(Mutex<Duration>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn uptime(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
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
    fn preflights_have_a_share_of_their_own() {
        let (addresses, clock) = addresses();
        let ask = || addresses.count_preflight(at("203.0.113.1"));
        assert_eq!((ask(), ask()), (Ok(()), Ok(())));
        assert_eq!(ask(), Err(RetryAfter(MINUTE / 2)));
        assert_eq!(addresses.count_preflight(at("203.0.113.2")), Ok(()));
        assert_eq!(addresses.count_wrong_key(at("203.0.113.1")), Ok(()));
        assert_eq!(refusal(&addresses, "203.0.113.1"), None);
        *clock.0.lock().unwrap() += MINUTE / 2;
        assert_eq!(ask(), Ok(()));
        assert!(addresses.forget(), "it is remembered that they asked");
        *clock.0.lock().unwrap() += MINUTE;
        assert!(!addresses.forget());
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
            assert!(addresses.count() <= 3);
        }
        assert_eq!(
            refusal(&addresses, "203.0.113.1"),
            Some(Refusal::AddressBusy)
        );
        let _others: Vec<_> = (1..9)
            .map(|last| addresses.enter(at(&format!("198.51.100.{last}"))).unwrap())
            .collect();
        assert_eq!(addresses.count(), 3);
        drop((held, _others));
        *clock.0.lock().unwrap() += MINUTE * 2;
        assert_eq!(refusal(&addresses, "192.0.2.1"), None);
        assert_eq!(addresses.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_forgotten_soon_after_it_is_as_good_as_new() {
        let clock = Arc::new(Paused::begin());
        let addresses = Addresses::new(&Limits::default(), clock);
        let forgetting = addresses.clone();
        tokio::spawn(async move { forgetting.keep_forgetting().await });
        // It rests where there is nobody to forget, and is told of the first.
        tokio::time::sleep(MINUTE).await;
        for third in 0..100 {
            for _ in 0..=30 {
                let _ = addresses.count_wrong_key(at(&format!("198.51.{third}.1")));
            }
            drop(addresses.enter(at(&format!("203.0.{third}.1"))));
        }
        let held = addresses.enter(at("2001:db8::1")).unwrap();
        assert_eq!(addresses.count(), 201);
        tokio::time::sleep(FORGET_EVERY + SECOND).await;
        assert_eq!(addresses.count(), 101, "those who tried keys have to wait");
        addresses.count_wrong_key(at("198.51.7.1")).unwrap();
        tokio::time::sleep(FORGET_EVERY).await;
        assert_eq!(addresses.count(), 2, "one tried again, and one is busy");
        tokio::time::sleep(MINUTE * 60).await;
        assert_eq!(addresses.count(), 1, "what is under way is not forgotten");
        drop(held);
        tokio::time::sleep(FORGET_EVERY + SECOND).await;
        assert_eq!(addresses.count(), 0);
        assert_eq!(addresses.known().accounts.capacity(), 0);
    }

    #[test]
    fn where_there_is_no_room_to_be_made_it_is_tried_again_a_second_later() {
        let (addresses, clock) = addresses();
        for last in 1..=3 {
            drop(addresses.enter(at(&format!("203.0.113.{last}"))).unwrap());
        }
        let is_counted_after = |wait: Duration| {
            *clock.0.lock().unwrap() += wait;
            addresses.enter(at("203.0.113.4")).unwrap().is_some()
        };
        // Half a second before the others are as good as new, a little after, and once the second is over.
        assert!(!is_counted_after(MINUTE / 2 - SECOND / 2));
        assert!(!is_counted_after(SECOND * 3 / 4));
        assert!(is_counted_after(SECOND / 4));
    }

    proptest! {
        #[test]
        fn many_networks_take_up_no_more_than_said_and_nothing_in_the_end(
            calls in prop::collection::vec((0u128..12, any::<u64>(), 0u8..4, 0u64..20), 1..200),
        ) {
            let (addresses, clock) = addresses();
            let mut held = Vec::new();
            for (network, host, what, seconds) in calls {
                let bits = (0x2001_0db8_u128 << 96) | (network << 64) | u128::from(host);
                let caller = Some(IpAddr::V6(Ipv6Addr::from_bits(bits)));
                let place = bits >> 64;
                match what {
                    0 => drop(addresses.count_wrong_key(caller)),
                    1 => match addresses.enter(caller) {
                        Ok(visit) => {
                            let counted = visit.is_some();
                            let same = held.iter().any(|(other, is_counted, _)| *other == place && *is_counted);
                            prop_assert!(!(counted && same), "two of one network at once");
                            held.push((place, counted, visit));
                        }
                        Err((Refusal::AddressBusy, _)) => prop_assert!(
                            held.iter().any(|(other, counted, _)| *other == place && *counted)
                        ),
                        Err((refusal, _)) => prop_assert_eq!(refusal, Refusal::AddressRateReached),
                    },
                    2 => drop(held.pop()),
                    _ => *clock.0.lock().unwrap() += Duration::from_secs(seconds),
                }
                prop_assert!(addresses.count() <= 3);
                for (network, counted, _) in &held {
                    let bits = network << 64;
                    let network = IpAddr::V6(Ipv6Addr::from_bits(bits));
                    let is_known = addresses.known().accounts.contains_key(&network);
                    prop_assert!(is_known || !counted, "one that is busy was forgotten");
                }
            }
            held.clear();
            *clock.0.lock().unwrap() += MINUTE * 2;
            prop_assert!(!addresses.forget());
            prop_assert_eq!(addresses.known().accounts.capacity(), 0);
        }
    }
}
