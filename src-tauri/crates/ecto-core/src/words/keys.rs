//! What a key may do.

use ipnet::IpNet;

use crate::key::{KeyGrant, Rate};

/// What the holder of a key may do, but for how long.
pub fn grant(grant: &KeyGrant) -> String {
    let mut parts = vec![routes(grant)];
    if let Some(agent) = &grant.agent {
        parts.push(format!("agent {agent} alone"));
    }
    if let Some(rate) = &grant.rate {
        parts.push(self::rate(rate));
    }
    if let Some(concurrent) = grant.concurrent {
        parts.push(format!("{concurrent} under way at once"));
    }
    if !grant.from.is_empty() {
        let from: Vec<_> = grant.from.iter().map(range).collect();
        parts.push(format!("from {}", from.join(", ")));
    }
    parts.join("; ")
}

/// How often: so many may be used in one moment, and each comes back after its part of the period.
fn rate(rate: &Rate) -> String {
    match (rate.count.get(), rate.per.word()) {
        (1, period) => format!("1 request, which comes back after {period}"),
        (count, period) => format!("{count} requests, which come back over {period}"),
    }
}

/// A range of one is an address, as it was typed.
fn range(range: &IpNet) -> String {
    if range.prefix_len() == range.max_prefix_len() {
        return range.addr().to_string();
    }
    range.to_string()
}

fn routes(grant: &KeyGrant) -> String {
    let words: Vec<_> = grant.routes.iter().map(|route| route.word()).collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
