//! Which keys are known, and what each may do.

use proptest::prelude::*;
use secrecy::SecretString;

use super::*;

fn key(name: &str, secret: &str) -> GuardKey {
    GuardKey::with_all_routes(name.parse().unwrap(), &SecretString::from(secret))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn find(keys: &KnownKeys, presented: &str) -> Option<Holder> {
    keys.find(presented.as_bytes(), at(0))
}

fn is_cut(holder: &Holder) -> bool {
    holder.cuts.all.is_cancelled()
}

#[test]
fn each_key_is_found_and_nothing_else() {
    let keys =
        KnownKeys::default().replace(vec![key("one", "1"), key("two", "2"), key("three", "3")]);
    for (name, secret) in [("one", "1"), ("two", "2"), ("three", "3")] {
        assert_eq!(&*find(&keys, secret).unwrap().key.label, name);
    }
    for unknown in ["4", "", &"1".repeat(LONGEST_KEY + 1)] {
        assert!(find(&keys, unknown).is_none());
    }
    assert!(find(&KnownKeys::default(), "1").is_none());
}

#[test]
fn only_the_requests_of_a_key_that_is_gone_are_cut() {
    let before = KnownKeys::default().replace(vec![key("stays", "1"), key("goes", "2")]);
    let (stays, goes) = (find(&before, "1").unwrap(), find(&before, "2").unwrap());
    let after = before.replace(vec![key("stays under another name", "1"), key("new", "3")]);
    assert!(!is_cut(&stays));
    assert!(is_cut(&goes));
    assert!(!is_cut(&find(&after, "1").unwrap()));
    assert!(!is_cut(&find(&after, "3").unwrap()));
    let none = after.replace(Vec::new());
    assert!(find(&none, "1").is_none());
    assert!(is_cut(&stays));
}

#[test]
fn a_rotated_key_has_two_secrets_until_the_grace_is_over() {
    let before = KnownKeys::default().replace(vec![key("phone", "old")]);
    let old = find(&before, "old").unwrap();
    let mut rotated = key("phone", "new");
    rotated.digests.push(ValidDigest {
        until: Some(at(100)),
        ..key("phone", "old").digests[0]
    });
    let after = before.replace(vec![rotated]);
    assert_eq!(after.cut_ended(at(40)), Some(Duration::from_secs(60)));
    assert!(!is_cut(&old));
    for secret in ["old", "new"] {
        assert!(after.find(secret.as_bytes(), at(99)).is_some(), "{secret}");
    }
    assert!(after.find(b"old", at(100)).is_none());
    let new = after.find(b"new", at(100)).unwrap();
    assert_eq!(after.cut_ended(at(100)), None);
    assert!(is_cut(&old) && !is_cut(&new));
}

#[test]
fn a_key_that_was_cut_when_it_ended_can_be_given_more_time() {
    let mut short = key("phone", "1");
    short.grant.expires = Some(at(10));
    let before = KnownKeys::default().replace(vec![short]);
    let open = find(&before, "1").unwrap();
    before.cut_ended(at(10));
    assert!(is_cut(&open));
    let after = before.replace(vec![key("phone", "1")]);
    assert!(!is_cut(&find(&after, "1").unwrap()));
}

#[test]
fn what_was_cut_by_a_clock_that_was_ahead_is_good_again_once_it_is_set_back() {
    let mut guest = key("guest", "1");
    guest.grant.expires = Some(at(100));
    guest.grant.rate = Some("1/day".parse().unwrap());
    let mut rotated = key("phone", "new");
    rotated.digests.push(ValidDigest {
        until: Some(at(50)),
        ..key("phone", "old").digests[0]
    });
    let before = KnownKeys::default().replace(vec![guest, rotated]);
    let open = ["1", "old", "new"].map(|secret| find(&before, secret).unwrap());
    open[0].key.count(&Now(0), at(0)).unwrap();
    assert!(before.reopened(at(0)).is_none(), "nothing was cut");
    before.cut_ended(at(1000));
    assert!(is_cut(&open[0]) && is_cut(&open[1]) && !is_cut(&open[2]));
    assert!(before.reopened(at(100)).is_none(), "both have ended");

    let after = before.reopened(at(70)).unwrap();
    assert!(!is_cut(&find(&after, "1").unwrap()), "before its end");
    assert!(is_cut(&find(&after, "old").unwrap()), "after its end");
    let after = after.reopened(at(20)).unwrap();
    assert!(!is_cut(&find(&after, "old").unwrap()));
    assert!(after.reopened(at(20)).is_none());
    assert!(
        is_cut(&open[0]) && is_cut(&open[1]),
        "what was cut stays cut"
    );
    let guest = find(&after, "1").unwrap().key;
    assert!(guest.count(&Now(1), at(1)).is_err(), "as used up as before");
    assert_eq!(after.cut_ended(at(20)), Some(Duration::from_secs(30)));
    after.replace(Vec::new());
    assert!(is_cut(&open[2]), "the others were the same all along");
}

struct Now(u64);

impl Clock for Now {
    fn now(&self) -> Timestamp {
        at(self.0.try_into().unwrap())
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(self.0)
    }
}

#[test]
fn what_a_key_used_up_stays_used_up_when_it_is_renamed_or_rotated() {
    let mut once = key("phone", "1");
    once.grant.rate = Some("1/min".parse().unwrap());
    let before = KnownKeys::default().replace(vec![once.clone()]);
    let holder = find(&before, "1").unwrap();
    holder.key.count(&Now(0), at(0)).unwrap();
    once.name = "tablet".parse().unwrap();
    let fresh = key("tablet", "2").digests[0];
    once.digests.insert(0, fresh);
    let after = before.replace(vec![once]);
    let tablet = find(&after, "2").unwrap().key;
    let refused = tablet.enter(&Now(1)).unwrap_err();
    assert_eq!(tablet.count(&Now(1), at(1)), Err(refused));
    assert_eq!(refused.refusal, Refusal::KeyRateReached);
    assert_eq!(refused.retry, Some(RetryAfter(Duration::from_secs(59))));
    assert_eq!(after.uses(), [("tablet".parse().unwrap(), at(0))]);
    find(&after, "2")
        .unwrap()
        .key
        .count(&Now(60), at(60))
        .unwrap();
    // Without a grace nothing of the old secret is left.
    let mut anew = key("tablet", "3");
    anew.grant.rate = Some("1/min".parse().unwrap());
    let at_once = after.replace(vec![anew]);
    find(&at_once, "3")
        .unwrap()
        .key
        .count(&Now(61), at(61))
        .unwrap_err();
}

proptest! {
    #[test]
    fn no_more_than_granted_are_ever_under_way(most in 1u32..5, moves in prop::collection::vec(any::<bool>(), 0..60)) {
        let mut limited = key("phone", "1");
        limited.grant.concurrent = NonZeroU32::new(most);
        let keys = KnownKeys::default().replace(vec![limited]);
        let holder = find(&keys, "1").unwrap();
        let mut places = Vec::new();
        for begins in moves {
            if begins {
                match holder.key.enter(&Now(0)) {
                    Ok(place) => places.push(place),
                    Err(refused) => {
                        prop_assert_eq!(refused.refusal, Refusal::KeyBusy);
                        prop_assert_eq!(places.len(), most as usize);
                    }
                }
            } else {
                places.pop();
            }
            prop_assert!(places.len() <= most as usize);
        }
    }
}

#[test]
fn a_key_is_one_bearer_token() {
    let presented = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        presented_key(&headers).map(|key| String::from_utf8(key.to_vec()).unwrap())
    };
    for value in ["Bearer k", "bearer k", "BEARER   k ", "bEaReR k"] {
        assert_eq!(presented(&[value]), Ok("k".to_owned()), "{value}");
    }
    for value in [
        "",
        "Bearer",
        "Bearer  ",
        "Basic azpr",
        "k",
        "Bearerk",
        "Token k",
    ] {
        assert_eq!(presented(&[value]), Err(Refusal::MissingKey), "{value}");
    }
    assert_eq!(presented(&[]), Err(Refusal::MissingKey));
    assert_eq!(
        presented(&["Bearer k", "Bearer k"]),
        Err(Refusal::Malformed)
    );
}
