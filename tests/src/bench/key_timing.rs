//! How long it takes the guard to find out that a key is none, by how much of it is right.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ecto_core::key::{GuardKey, is_well_formed, make_key};
use ecto_guard::measure::Lookup;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use secrecy::{ExposeSecret as _, SecretString};

use super::percentile;

/// How many keys the lock has.
const KEYS: usize = 16;

/// How many different keys of each kind are presented.
const VARIANTS: usize = 64;

/// By so many characters one kind shares more than the one before.
const STEP: usize = 8;

/// The shares of the calls of both compared kinds that count, each tried in turn: the slowest were held up by something
/// else, and nobody knows beforehand how many. At the least share, each kind keeps half of its calls even where all of the
/// slowest are its own.
const COUNTED: [f64; 5] = [1.0, 0.99, 0.95, 0.9, 0.75];

/// From so few calls of a kind nothing is told.
const FEWEST: usize = 100;

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
    /// Welch's t of the times of keys of which nothing is right against those of which all but the last character is,
    /// where they differ most of all shares that may count. Beyond ±4.5 they differ for certain.
    pub t: f64,
}

impl KeyTiming {
    /// Looks up wrong keys of each kind, `calls` of each, in random order.
    ///
    /// # Errors
    ///
    /// Where the system has no randomness, a wrong key is taken for a good one, or there are too few calls.
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
        let mut random = StdRng::try_from_rng(&mut random)?;
        Self::measure_with(good, calls, &mut random, |presented| {
            let began = Instant::now();
            let is_known = lookup.knows(black_box(presented));
            let time = began.elapsed();
            (black_box(is_known), time)
        })
    }

    /// Measures a look-up that tells whether it knows a key and how long it took.
    fn measure_with(
        good: &str,
        calls: usize,
        random: &mut StdRng,
        mut look_up: impl FnMut(&[u8]) -> (bool, Duration),
    ) -> Result<Self> {
        ensure!(look_up(good.as_bytes()).0, "the good key is not known");
        let length = good.len();
        let last = Wrong::Shares(length.saturating_sub(1));
        let mut kinds: Vec<Wrong> = (0..length).step_by(STEP).map(Wrong::Shares).collect();
        kinds.retain(|kind| *kind != last);
        kinds.extend([last, Wrong::Unknown, Wrong::Mistyped]);
        let presented = kinds
            .iter()
            .map(|kind| (0..VARIANTS).map(|_| make(*kind, good, random)).collect())
            .collect::<Result<Vec<Vec<Vec<u8>>>>>()?;
        let mut order: Vec<usize> = (0..kinds.len() * calls)
            .map(|call| call % kinds.len())
            .collect();
        order.shuffle(random);

        let mut times = vec![Vec::with_capacity(calls); kinds.len()];
        let mut present = vec![0u8; length];
        for kind in order {
            let Some(key) = presented.get(kind).and_then(|keys| keys.choose(random)) else {
                continue;
            };
            // Always from the same place, so that none of them is nearer at hand.
            present.copy_from_slice(key);
            let (is_known, time) = look_up(&present);
            ensure!(!is_known, "a wrong key is known");
            if let Some(times) = times.get_mut(kind) {
                times.push(u64::try_from(time.as_nanos())?);
            }
        }
        Self::judge(&kinds, last, length, &mut times)
    }

    fn judge(kinds: &[Wrong], last: Wrong, length: usize, times: &mut [Vec<u64>]) -> Result<Self> {
        let (mut medians, mut nothing, mut almost) = (Vec::new(), Vec::new(), Vec::new());
        for (kind, times) in kinds.iter().zip(times) {
            #[expect(clippy::cast_precision_loss, reason = "times far below 2^52")]
            medians.push((kind.name(length), percentile(times, 0.5) as f64));
            if *kind == Wrong::Shares(0) {
                nothing.clone_from(times);
            } else if *kind == last {
                almost.clone_from(times);
            }
        }
        let t = difference(&nothing, &almost)?;
        Ok(Self { medians, t })
    }
}

/// By how much the times of two kinds differ: the largest Welch's t over the shares that may count, each cut at a time
/// that is set from these two kinds alone.
fn difference(one: &[u64], other: &[u64]) -> Result<f64> {
    let mut both: Vec<u64> = one.iter().chain(other).copied().collect();
    let mut largest: f64 = 0.0;
    for share in COUNTED {
        let longest = percentile(&mut both, share);
        let counted = |times: &[u64]| {
            let counted = times.iter().copied().filter(|time| *time <= longest);
            counted.collect::<Vec<_>>()
        };
        let (one, other) = (counted(one), counted(other));
        let fewest = one.len().min(other.len());
        ensure!(
            fewest >= FEWEST,
            "{fewest} calls of a kind count, and fewer than {FEWEST} tell nothing"
        );
        let t = welch(&one, &other);
        if t.abs() > largest.abs() {
            largest = t;
        }
    }
    Ok(largest)
}

/// One wrong key of this kind, as long as the good one.
fn make(kind: Wrong, good: &str, random: &mut StdRng) -> Result<Vec<u8>> {
    let other = make_key(random)?;
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

fn letter(random: &mut StdRng) -> u8 {
    LETTERS.choose(random).copied().unwrap_or(b'A')
}

/// Welch's t: by how many of its own errors one mean differs from the other. Nought where there are too few, and without
/// end where all of one differ from all of the other by the same.
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
    let (difference, errors) = (mean - other_mean, (error + other_error).sqrt());
    if difference == 0.0 {
        return 0.0;
    }
    difference / errors
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

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
        let mut random = StdRng::seed_from_u64(1);
        let good = make_key(&mut random).unwrap();
        let good = good.expose_secret();
        for count in 0..good.len() {
            let key = make(Wrong::Shares(count), good, &mut random).unwrap();
            assert_eq!(in_common(good, &key), count);
        }
        for (kind, is_right) in [(Wrong::Unknown, true), (Wrong::Mistyped, false)] {
            let key = make(kind, good, &mut random).unwrap();
            assert_eq!(is_well_formed(std::str::from_utf8(&key).unwrap()), is_right);
        }
    }

    fn in_common(good: &str, presented: &[u8]) -> usize {
        let pairs = good.bytes().zip(presented);
        pairs.take_while(|(right, byte)| right == *byte).count()
    }

    /// Measures a look-up that takes 300 ns, so many more for each character that is right, up to 100 ns more as it
    /// happens, and each fiftieth time a hundred times as long.
    fn measure_known(nanoseconds_each: u64) -> KeyTiming {
        let mut random = StdRng::seed_from_u64(2);
        let good = make_key(&mut random).unwrap();
        let good = good.expose_secret();
        let mut noise = StdRng::seed_from_u64(3);
        KeyTiming::measure_with(good, 2_000, &mut random, |presented| {
            let right = in_common(good, presented);
            let time = 300 + nanoseconds_each * right as u64 + noise.random_range(0..100);
            let held_up = if noise.random_ratio(1, 50) { 100 } else { 1 };
            let time = Duration::from_nanos(time * held_up);
            (right == good.len(), time)
        })
        .unwrap()
    }

    #[test]
    fn a_lookup_that_stops_at_the_first_difference_is_found_out() {
        // By the least that a clock of whole nanoseconds can tell, and by so much that no time of one kind is one of another.
        for each in [1, 10, 1_000] {
            let timing = measure_known(each);
            assert!(timing.t < -4.5, "{each} ns: {timing:?}");
            assert_eq!(timing.medians.len(), 10, "{timing:?}");
        }
    }

    #[test]
    fn a_lookup_that_takes_the_same_time_for_all_is_not() {
        let timing = measure_known(0);
        assert!(timing.t.abs() < 4.5, "{timing:?}");
    }

    #[test]
    fn kinds_whose_times_never_vary_differ_without_end() {
        let (short, long) = ([300; FEWEST], [301; FEWEST]);
        assert!(difference(&short, &short).unwrap().abs() < f64::EPSILON);
        assert!(difference(&short, &long).unwrap() < -4.5);
        assert!(difference(&long, &short).unwrap() > 4.5);
    }

    #[test]
    fn too_few_calls_tell_nothing() {
        let times = [300; FEWEST];
        difference(&times, &times).unwrap();
        difference(&times, &times[1..]).unwrap_err();
        difference(&[], &times).unwrap_err();
    }

    /// How long it takes is for the benchmark to say.
    #[test]
    fn the_guards_own_lookup_knows_a_good_key_and_none_that_is_almost_one() {
        let timing = KeyTiming::measure(2 * FEWEST).unwrap();
        assert_eq!(timing.medians.len(), 10, "{timing:?}");
    }
}
