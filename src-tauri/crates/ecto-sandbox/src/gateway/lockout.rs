//! Who a request comes from, and how often that one may be wrong.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::config::Effective;

/// Where a request comes from, as the gateway sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Straight over loopback, with no forwarding header.
    Local,
    /// Through a trusted proxy, from this address; `funnel` where tailscaled says so.
    Forwarded { address: IpAddr, funnel: bool },
    /// With forwarding headers that nobody vouches for.
    Unattributed,
}

/// Finds out where a request comes from.
pub(crate) fn attribute(headers: &HeaderMap, config: &Effective) -> Origin {
    let forwarded = headers.keys().any(|name| {
        let name = name.as_str();
        name.starts_with("x-forwarded-")
            || name.starts_with("tailscale-user-")
            || matches!(name, "forwarded" | "x-real-ip" | "tailscale-funnel-request")
    });
    if !forwarded {
        return Origin::Local;
    }
    let trusted = config.trusted_proxies();
    let is_trusted = |address: IpAddr| trusted.iter().any(|entry| covers(entry, address));
    if !is_trusted(IpAddr::from([127, 0, 0, 1])) {
        return Origin::Unattributed;
    }
    let hops = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = hops
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    for hop in hops.iter().rev() {
        match hop.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() => return Origin::Unattributed,
            Ok(address) if is_trusted(address) => {}
            Ok(address) => {
                return Origin::Forwarded {
                    address,
                    funnel: headers.contains_key("tailscale-funnel-request"),
                };
            }
            Err(_) => return Origin::Unattributed,
        }
    }
    Origin::Unattributed
}

fn covers(entry: &str, address: IpAddr) -> bool {
    let (network, bits) = entry.split_once('/').unwrap_or((entry, ""));
    let Ok(network) = network.parse::<IpAddr>() else {
        return false;
    };
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => (
            u128::from(network.to_bits()),
            u128::from(address.to_bits()),
            32,
        ),
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            (network.to_bits(), address.to_bits(), 128_u32)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let bits = bits.parse::<u32>().unwrap_or(width).min(width);
    let ignored = width - bits;
    network.checked_shr(ignored).unwrap_or(0) == address.checked_shr(ignored).unwrap_or(0)
}

#[derive(Debug, Default)]
struct Failures {
    at: Vec<Instant>,
    locked_until: Option<Instant>,
}

/// The count of wrong tokens for each client.
#[derive(Debug, Default)]
pub(crate) struct Lockouts {
    clients: Mutex<HashMap<IpAddr, Failures>>,
}

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

impl Lockouts {
    /// Returns how long a client is still locked out.
    pub(crate) fn remaining(&self, origin: Origin, config: &Effective) -> Option<Duration> {
        let client = counted(origin, config)?;
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let until = clients.get(&client)?.locked_until?;
        let now = Instant::now();
        (until > now).then(|| until - now)
    }

    /// Counts a wrong token; the last one allowed within the window locks the client out.
    pub(crate) fn count(&self, origin: Origin, config: &Effective) {
        let window = Duration::from_millis(config.rate_limit("windowMs", 60_000));
        let now = Instant::now();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = clients.entry(client(origin)).or_default();
        failures.at.retain(|at| now.duration_since(*at) < window);
        failures.at.push(now);
        let count = u64::try_from(failures.at.len()).unwrap_or(u64::MAX);
        if counted(origin, config).is_some() && count >= config.rate_limit("maxAttempts", 10) {
            failures.at.clear();
            failures.locked_until =
                Some(now + Duration::from_millis(config.rate_limit("lockoutMs", 300_000)));
        }
    }

    /// Returns how often a client was wrong lately.
    pub(crate) fn recent(&self, origin: Origin) -> u32 {
        let client = client(origin);
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.get(&client).map_or(0, |failures| {
            u32::try_from(failures.at.len()).unwrap_or(u32::MAX)
        })
    }

    /// Forgets a loopback client's wrong tokens after a right one.
    pub(crate) fn forgive(&self, origin: Origin) {
        if origin == Origin::Local {
            self.clients
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&LOOPBACK);
        }
    }
}

const fn client(origin: Origin) -> IpAddr {
    match origin {
        Origin::Forwarded { address, .. } => address,
        Origin::Local | Origin::Unattributed => LOOPBACK,
    }
}

fn counted(origin: Origin, config: &Effective) -> Option<IpAddr> {
    (origin != Origin::Local || !config.exempts_loopback()).then(|| client(origin))
}
