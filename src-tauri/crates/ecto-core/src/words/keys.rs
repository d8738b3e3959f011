//! What a key may do.

use ipnet::IpNet;

use crate::key::KeyGrant;

/// What the holder of a key may do, but for how long.
pub fn grant(grant: &KeyGrant) -> String {
    let mut parts = vec![routes(grant)];
    if let Some(agent) = &grant.agent {
        parts.push(format!("agent {agent} alone"));
    }
    if let Some(rate) = &grant.rate {
        parts.push(format!("at most {} a {}", rate.count, rate.per.word()));
    }
    if let Some(concurrent) = grant.concurrent {
        parts.push(format!("{concurrent} at once"));
    }
    if !grant.from.is_empty() {
        let from: Vec<_> = grant.from.iter().map(range).collect();
        parts.push(format!("from {}", from.join(", ")));
    }
    parts.join("; ")
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
