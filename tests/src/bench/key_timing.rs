//! How long it takes the guard to find out that a key is none, by how much of it is right.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, ensure};
use ecto_core::key::{GuardKey, is_well_formed, make_key};
use ecto_guard::measure::Lookup;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng, SeedableRng as _};
use secrecy::{ExposeSecret as _, SecretString};

use super::percentile;

/// How many keys the lock has.
const KEYS: usize = 16;

/// How many different keys of each kind are presented.
const VARIANTS: usize = 64;

/// By so many characters one kind shares more than the one before.
const STEP: usize = 8;

/// The share of calls that count: the others were held up by something else.
const COUNTED: f64 = 0.9;

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// The first so many characters are those of a good key.
    Shares(usize),
    /// Another key whose checksum is right.
    Unknown,
    /// Another key whose checksum is wrong.
    Mistyped,
}

impl Wrong {
    fn name(self, length: usize) -> String {
        match self {
            Self::Shares(count) => format!("with {count} of {length} characters right"),
            Self::Unknown => "that is none, with its checksum right".to_owned(),
            Self::Mistyped => "that is none, with its checksum wrong".to_owned(),
        }
    }
}

/// How long wrong keys took.
#[derive(Debug)]
pub struct KeyTiming {
    /// What was presented, and the median time in nanoseconds.
    pub medians: Vec<(String, f64)>,
    /// Welch's t of the times of keys of which nothing is right against those of which all but the last character is.
    /// Beyond ±4.5 they differ for certain.
    pub t: f64,
}

impl KeyTiming {
    /// Looks up wrong keys of each kind, `calls` of each, in random order.
    ///
    /// # Errors
    ///
    /// Where the system has no randomness, or a wrong key is taken for a good one.
    pub fn measure(calls: usize) -> Result<Self> {
        let mut random = rand::rngs::SysRng;
        let keys = (0..KEYS)
            .map(|_| make_key(&mut random))
            .collect::<Result<Vec<_>, _>>()?;
        let known = |(number, key): (usize, &SecretString)| {
            let name = format!("caller-{number}").parse()?;
            anyhow::Ok(GuardKey::with_all_routes(name, key))
        };
        let guard_keys = keys.iter().enumerate().map(known);
        let lookup = Lookup::new(guard_keys.collect::<Result<_>>()?);
        let good = keys.first().map_or("", |key| key.expose_secret());
        Self::measure_with(good, calls, |presented| lookup.knows(presented))
    }

    fn measure_with(good: &str, calls: usize, knows: impl Fn(&[u8]) -> bool) -> Result<Self> {
        ensure!(knows(good.as_bytes()), "the good key is not known");
        let length = good.len();
        let last = Wrong::Shares(length.saturating_sub(1));
        let mut kinds: Vec<Wrong> = (0..length).step_by(STEP).map(Wrong::Shares).collect();
        kinds.retain(|kind| *kind != last);
        kinds.extend([last, Wrong::Unknown, Wrong::Mistyped]);
        let mut random = rand::rngs::StdRng::try_from_rng(&mut rand::rngs::SysRng)?;
        let presented = kinds
            .iter()
            .map(|kind| {
                (0..VARIANTS)
                    .map(|_| make(*kind, good, &mut random))
                    .collect()
            })
            .collect::<Result<Vec<Vec<Vec<u8>>>>>()?;
        let mut order: Vec<usize> = (0..kinds.len() * calls)
            .map(|call| call % kinds.len())
            .collect();
        order.shuffle(&mut random);

        let mut times = vec![Vec::with_capacity(calls); kinds.len()];
        let mut present = vec![0u8; length];
        for kind in order {
            let Some(key) = presented
                .get(kind)
                .and_then(|keys| keys.choose(&mut random))
            else {
                continue;
            };
            // Always from the same place, so that none of them is nearer at hand.
            present.copy_from_slice(key);
            let began = Instant::now();
            let is_known = knows(black_box(&present));
            let time = began.elapsed();
            ensure!(!black_box(is_known), "a wrong key is known");
            if let Some(times) = times.get_mut(kind) {
                times.push(u64::try_from(time.as_nanos())?);
            }
        }
        Ok(Self::judge(&kinds, last, length, &mut times))
    }

    fn judge(kinds: &[Wrong], last: Wrong, length: usize, times: &mut [Vec<u64>]) -> Self {
        let mut all: Vec<u64> = times.iter().flatten().copied().collect();
        let longest = percentile(&mut all, COUNTED);
        let (mut medians, mut nothing, mut almost) = (Vec::new(), Vec::new(), Vec::new());
        for (kind, times) in kinds.iter().zip(times) {
            #[expect(clippy::cast_precision_loss, reason = "times far below 2^52")]
            medians.push((kind.name(length), percentile(times, 0.5) as f64));
            times.retain(|time| *time <= longest);
            if *kind == Wrong::Shares(0) {
                nothing.clone_from(times);
            } else if *kind == last {
                almost.clone_from(times);
            }
        }
        Self {
            medians,
            t: welch(&nothing, &almost),
        }
    }
}

/// One wrong key of this kind, as long as the good one.
fn make(kind: Wrong, good: &str, random: &mut impl Rng) -> Result<Vec<u8>> {
    let other = make_key(&mut rand::rngs::SysRng)?;
    let mut key = other.expose_secret().as_bytes().to_vec();
    ensure!(key.len() == good.len(), "keys have one length");
    match kind {
        Wrong::Unknown => {}
        Wrong::Mistyped => {
            while is_well_formed(std::str::from_utf8(&key)?) {
                if let Some(last) = key.last_mut() {
                    *last = letter(random);
                }
            }
        }
        Wrong::Shares(count) => {
            for (place, (byte, right)) in key.iter_mut().zip(good.bytes()).enumerate() {
                *byte = if place < count { right } else { letter(random) };
                while place == count && *byte == right {
                    *byte = letter(random);
                }
            }
        }
    }
    Ok(key)
}

fn letter(random: &mut impl Rng) -> u8 {
    LETTERS.choose(random).copied().unwrap_or(b'A')
}

/// Welch's t: by how many of its own errors one mean differs from the other. Nought where there are too few.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and times far below 2^52"
)]
fn welch(one: &[u64], other: &[u64]) -> f64 {
    let moments = |times: &[u64]| {
        let count = times.len() as f64;
        let mean = times.iter().map(|time| *time as f64).sum::<f64>() / count;
        let squares = times.iter().map(|time| (*time as f64 - mean).powi(2));
        (mean, squares.sum::<f64>() / (count - 1.0) / count)
    };
    if one.len() < 2 || other.len() < 2 {
        return 0.0;
    }
    let ((mean, error), (other_mean, other_error)) = (moments(one), moments(other));
    let errors = (error + other_error).sqrt();
    if errors > 0.0 {
        (mean - other_mean) / errors
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_is_the_difference_of_the_means_in_errors() {
        let (one, other) = ([27, 20, 21, 26, 27, 31], [22, 24, 20, 29, 17, 19]);
        assert!((welch(&one, &other) - 1.444).abs() < 0.001);
        assert!((welch(&other, &one) + 1.444).abs() < 0.001);
        assert!(welch(&one, &one).abs() < f64::EPSILON);
        assert!(welch(&one, &[7]).abs() < f64::EPSILON);
    }

    #[test]
    fn every_wrong_key_is_wrong_by_as_much_as_it_says() {
        let mut random = rand::rngs::StdRng::seed_from_u64(1);
        let good = make_key(&mut rand::rngs::SysRng).unwrap();
        let good = good.expose_secret();
        for count in 0..good.len() {
            let key = make(Wrong::Shares(count), good, &mut random).unwrap();
            let same = key
                .iter()
                .zip(good.bytes())
                .take_while(|(one, other)| **one == *other);
            assert_eq!(same.count(), count);
        }
        for (kind, is_right) in [(Wrong::Unknown, true), (Wrong::Mistyped, false)] {
            let key = make(kind, good, &mut random).unwrap();
            assert_eq!(is_well_formed(std::str::from_utf8(&key).unwrap()), is_right);
        }
    }

    /// Compared character by character, a key shows how much of it is right.
    #[test]
    fn a_lookup_that_stops_at_the_first_difference_is_found_out() {
        let good = make_key(&mut rand::rngs::SysRng).unwrap();
        let good = good.expose_secret();
        let timing = KeyTiming::measure_with(good, 500, |presented| {
            good.bytes().zip(presented).all(|(right, byte)| {
                (0..50).for_each(|turn| _ = black_box(turn));
                right == *byte
            })
        });
        let timing = timing.unwrap();
        assert!(timing.t < -4.5, "{timing:?}");
        assert_eq!(timing.medians.len(), 10, "{timing:?}");
    }

    #[test]
    fn the_guards_own_lookup_is_measured() {
        let timing = KeyTiming::measure(50).unwrap();
        assert!(
            timing.medians.iter().all(|(_, median)| *median > 0.0),
            "{timing:?}"
        );
    }
}
