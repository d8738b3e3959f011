//! What is read from a typed value, and what is wrong with one that cannot be used.
//!
//! Each fault is the rest of a sentence that has named the value and its option.

use std::num::NonZeroU32;
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::key::Rate;

use super::{Expiry, OpenFor, Renewal};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest time for which a door may be asked to stay open.
const LONGEST_OPEN: Duration = DAY.saturating_mul(365);

/// The longest of all other times.
const LONGEST: Duration = LONGEST_OPEN.saturating_mul(10);

/// Why a text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadTime {
    Unreadable,
    Negative,
    TooLong,
}

impl BadTime {
    fn told(self, examples: &str, longest: &str) -> String {
        match self {
            Self::Unreadable => format!("that is no time; write it as {examples}"),
            Self::Negative => format!("a time cannot be negative; write it as {examples}"),
            Self::TooLong => format!("that is too long; it can be {longest} at most"),
        }
    }
}

/// Reads a time, which may have days and weeks.
fn read_time(text: &str, longest: Duration) -> Result<Duration, BadTime> {
    let span = text.parse::<jiff::Span>().map_err(|_| {
        // A number that is too large for a span stands where another makes one.
        match with_small_numbers(text).parse::<jiff::Span>() {
            Ok(span) if span.is_negative() => BadTime::Negative,
            Ok(_) => BadTime::TooLong,
            Err(_) => BadTime::Unreadable,
        }
    })?;
    // Months and years have no length of their own.
    let time = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(|_| BadTime::Unreadable)?;
    let time = Duration::try_from(time).map_err(|_| BadTime::Negative)?;
    if time > longest {
        return Err(BadTime::TooLong);
    }
    Ok(time)
}

fn with_small_numbers(text: &str) -> String {
    let mut small = String::new();
    for character in text.chars() {
        if !character.is_ascii_digit() {
            small.push(character);
        } else if !small.ends_with('1') {
            small.push('1');
        }
    }
    small
}

/// Reads how long a door is to stay open.
pub fn parse_open_for(text: &str) -> Result<OpenFor, String> {
    if text == "unlimited" {
        return Ok(OpenFor::Unlimited);
    }
    match read_time(text, LONGEST_OPEN) {
        Ok(time) if time < Duration::from_secs(1) => {
            Err("that is too short; it can be a second at least".to_owned())
        }
        Ok(time) => Ok(OpenFor::Time(time)),
        Err(bad) => Err(bad.told("15m, 1h, 2d or unlimited", "a year")),
    }
}

/// Reads how long an earlier key goes on.
pub fn parse_grace(text: &str) -> Result<Duration, String> {
    read_time(text, LONGEST).map_err(|bad| bad.told("15m, 1h or 7d", "ten years"))
}

/// Reads how far to look back.
pub fn parse_since(text: &str) -> Result<Duration, String> {
    match read_time(text, LONGEST) {
        Ok(Duration::ZERO) => {
            Err("nothing comes in no time; write it as 15m, 24h or 7d".to_owned())
        }
        time => time.map_err(|bad| bad.told("15m, 24h or 7d", "ten years")),
    }
}

/// Reads when a key ends.
pub fn parse_expiry(text: &str) -> Result<Expiry, String> {
    parse_end(text, "12h, 30d or 2027-01-31")
}

/// Reads when a key ends that takes the place of another.
pub fn parse_renewal(text: &str) -> Result<Renewal, String> {
    match text {
        "never" => Ok(Renewal::Never),
        text => parse_end(text, "12h, 30d, 2027-01-31 or never").map(Renewal::Ends),
    }
}

fn parse_end(text: &str, examples: &str) -> Result<Expiry, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(Expiry::At(moment));
    }
    let no_such_day = || "there is no such day".to_owned();
    if let Ok(day) = text.parse::<jiff::civil::Date>() {
        let begins = day.to_zoned(jiff::tz::TimeZone::system());
        return Ok(Expiry::At(begins.map_err(|_| no_such_day())?.timestamp()));
    }
    if is_written_as_day(text) {
        return Err(no_such_day());
    }
    match read_time(text, LONGEST) {
        Ok(Duration::ZERO) => Err(format!(
            "a key that has ended is of no use; write it as {examples}"
        )),
        Ok(time) => Ok(Expiry::After(time)),
        Err(bad) => Err(bad.told(examples, "ten years")),
    }
}

fn is_written_as_day(text: &str) -> bool {
    let form = text.replace(|character: char| character.is_ascii_digit(), "1");
    form == "1111-11-11"
}

/// Reads a count, or says what it is instead.
fn read_count(text: &str, most: u32) -> Result<NonZeroU32, &'static str> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("no whole number");
    }
    if text.starts_with('-') || digits.bytes().all(|byte| byte == b'0') {
        return Err("too small");
    }
    let count = digits
        .parse()
        .ok()
        .filter(|count: &NonZeroU32| count.get() <= most);
    count.ok_or("too large")
}

/// Reads how many.
pub fn parse_count(text: &str) -> Result<NonZeroU32, String> {
    read_count(text, u32::MAX)
        .map_err(|wrong| format!("that is {wrong}; write one from 1 to {}", u32::MAX))
}

/// Reads how often a key may be used.
pub fn parse_rate(text: &str) -> Result<Rate, String> {
    let Some((count, _)) = text.split_once('/') else {
        return Err("a rate has a number and a time; write it as 60/min".to_owned());
    };
    read_count(count.trim(), Rate::MOST).map_err(|wrong| {
        format!(
            "its number is {wrong}; write one from 1 to {}, as in 60/min",
            Rate::MOST
        )
    })?;
    text.parse()
        .map_err(|_| "its time is none of sec, min, hour and day; write it as 60/min".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_people_write_it() {
        for (text, time) in [
            ("15m", DAY / 96),
            ("1h30m", Duration::from_secs(5400)),
            ("2d", DAY * 2),
            ("1w", DAY * 7),
            ("365d", LONGEST_OPEN),
        ] {
            assert_eq!(parse_open_for(text), Ok(OpenFor::Time(time)), "{text}");
            assert_eq!(parse_since(text), Ok(time), "{text}");
            assert_eq!(parse_expiry(text), Ok(Expiry::After(time)), "{text}");
            assert_eq!(parse_grace(text), Ok(time), "{text}");
        }
        assert_eq!(parse_open_for("unlimited"), Ok(OpenFor::Unlimited));
        assert_eq!(parse_grace("0s"), Ok(Duration::ZERO));
        let moment: Timestamp = "2027-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(parse_expiry("2027-01-31T12:00:00Z"), Ok(Expiry::At(moment)));
        assert!(matches!(parse_expiry("2027-01-31"), Ok(Expiry::At(_))));
        assert_eq!(parse_renewal("never"), Ok(Renewal::Never));
        let in_a_day = Renewal::Ends(Expiry::After(DAY));
        assert_eq!(parse_renewal("1d"), Ok(in_a_day));
    }

    #[test]
    fn a_rate_and_a_count_are_read_as_people_write_them() {
        assert_eq!(parse_rate("60/min"), Ok("60/min".parse().unwrap()));
        assert_eq!(parse_rate(" 60 / min"), Ok("60/min".parse().unwrap()));
        assert_eq!(
            parse_rate("1000000/day"),
            Ok("1000000/day".parse().unwrap())
        );
        assert_eq!(parse_count("4").map(NonZeroU32::get), Ok(4));
        assert_eq!(parse_count("4294967295"), Ok(NonZeroU32::MAX));
    }

    /// Each text with what is wrong with it.
    fn faults<T: std::fmt::Debug>(
        of: &str,
        parse: fn(&str) -> Result<T, String>,
        texts: &[&str],
    ) -> String {
        let fault = |text: &&str| format!("{of} {text:?}: {}\n", parse(text).unwrap_err());
        texts.iter().map(fault).collect()
    }

    #[test]
    fn what_is_wrong_with_a_value_is_said() {
        let told = [
            faults(
                "--for",
                parse_open_for,
                &[
                    "",
                    "soon",
                    "1mo",
                    "15",
                    "0s",
                    "10ms",
                    "-1h",
                    "366d",
                    "9000h",
                    "1000000d",
                    "-99999999d",
                ],
            ),
            faults("--grace", parse_grace, &["soon", "-1h", "11000d"]),
            faults(
                "--since",
                parse_since,
                &["yesterday", "0d", "-1d", "99999999d"],
            ),
            faults(
                "--expires",
                parse_expiry,
                &[
                    "",
                    "soon",
                    "0s",
                    "-1d",
                    "2027-02-30",
                    "11y",
                    "99999d",
                    "99999999d",
                ],
            ),
            faults("rotate --expires", parse_renewal, &["always", "0s"]),
            faults(
                "--concurrent",
                parse_count,
                &[
                    "",
                    "x",
                    "1.5",
                    "0",
                    "-1",
                    "4294967296",
                    "99999999999999999999999",
                ],
            ),
            faults(
                "--rate",
                parse_rate,
                &[
                    "",
                    "60",
                    "x/min",
                    "0/min",
                    "-1/min",
                    "1000001/day",
                    "60/week",
                    "60/",
                    "/min",
                    "6 0/min",
                ],
            ),
        ];
        insta::assert_snapshot!("faults", told.concat());
    }
}
