//! `ecto requests`.

use std::path::Path;
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::ports::RequestLine;
use ecto_core::words::Message;
use ecto_host::record::{self, Tail, Wanted};
use ecto_host::report::SCHEMA;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::key::{NO_KEYS, all_keys, read_name};
use crate::arguments::Requests;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::terminal::Terminal;

/// Nothing tells when a file grows in a way that every system shares.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// So many are shown where nobody says how many, or since when.
const USUAL: usize = 50;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    #[serde(flatten)]
    line: &'a RequestLine,
}

/// Shows the requests that are wanted, and goes on as they come where that is asked for. Reads the record's files, so it
/// works whether or not a host runs.
pub async fn run(requests: Requests, session: &Session) -> Result<Exit, Failure> {
    let folder = record::folder(session.folders.logs());
    if let Some(name) = &requests.key {
        expect_key(name, &folder, session).await?;
    }
    let wanted = Wanted {
        since: requests
            .since
            .and_then(|since| Timestamp::now().checked_sub(since).ok()),
        key: requests.key,
        limit: match (requests.last, requests.since) {
            (Some(last), _) => usize::try_from(last.get()).unwrap_or(usize::MAX),
            (None, Some(_)) => usize::MAX,
            (None, None) => USUAL,
        },
    };
    let terminal = session.terminal;
    let zone = TimeZone::system();
    let mut columns = Columns::USUAL;
    let mut tail = Tail::new(&folder, wanted);
    let mut show_more = move || {
        let lines = tail.read().map_err(|fault| unreadable(&folder, &fault))?;
        show(terminal, &lines, &mut columns, &zone)?;
        Ok((lines.len(), tail.left_out()))
    };
    if requests.follow {
        let interrupt = Interrupt::listen();
        let follow = interrupt.repeat(LOOK_EVERY, move || show_more().map(drop));
        // That is how one ends what goes on.
        return follow.await.map(|()| Exit::Done);
    }
    match show_more()? {
        (0, 0) => terminal
            .tell("No such request was recorded. Requests appear here as soon as somebody calls."),
        (shown, left_out @ 1..) if requests.last.is_none() => terminal.tell(&format!(
            "These are the last {shown}; {left_out} before them are on record too. See more with `--last NUMBER`, or all of a time with `--since 2d`."
        )),
        _ => {}
    }
    Ok(Exit::Done)
}

/// Refuses a name that no key has. That of a key which is no more stands in its lines.
async fn expect_key(name: &str, folder: &Path, session: &Session) -> Result<(), Failure> {
    let name = read_name(name)?;
    let one = Wanted {
        since: None,
        key: Some(name.to_string()),
        limit: 1,
    };
    let lines = record::read(folder, &one).map_err(|fault| unreadable(folder, &fault))?;
    if !lines.is_empty() {
        return Ok(());
    }
    // Where the keys cannot be known, any name may be right.
    let Ok(keys) = all_keys(session).await else {
        return Ok(());
    };
    if keys.iter().any(|key| key.name == name) {
        return Ok(());
    }
    let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    let next = if names.is_empty() {
        NO_KEYS.to_owned()
    } else {
        format!("The keys are: {}.", names.join(", "))
    };
    Err(Failure::own(
        "key_not_found",
        format!("There is no key named \"{name}\", and no request with one is on record."),
        next,
    ))
}

fn unreadable(folder: &Path, fault: &std::io::Error) -> Failure {
    Failure::Own {
        code: "record_unreadable",
        message: Message {
            what: format!(
                "The record of requests in {} cannot be read: {fault}.",
                folder.display()
            ),
            next: Some("Make the folder readable for your user, then try again.".to_owned()),
        },
        exit: Exit::Failed,
    }
}

fn show(
    terminal: Terminal,
    lines: &[RequestLine],
    columns: &mut Columns,
    zone: &TimeZone,
) -> Result<(), Failure> {
    columns.widen(lines);
    for line in lines {
        if terminal.is_json() {
            terminal.print_json(&Document {
                schema: SCHEMA,
                line,
            })?;
        } else {
            terminal.print_unchanged(&columns.words(line, zone))?;
        }
    }
    Ok(())
}

/// How wide what differs in length was so far, in characters.
#[derive(Debug)]
struct Columns {
    key: usize,
    address: usize,
}

impl Columns {
    /// As wide as most keys and addresses need.
    const USUAL: Self = Self {
        key: 7,
        address: 15,
    };

    fn widen(&mut self, lines: &[RequestLine]) {
        for line in lines {
            self.key = self.key.max(key_of(line).chars().count());
            self.address = self.address.max(address_of(line).chars().count());
        }
    }

    /// One line for a person. What was asked for is last: it may be of any length.
    fn words(&self, line: &RequestLine, zone: &TimeZone) -> String {
        let at = line.at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S");
        format!(
            "{at}  {:<key$}  {:<address$}  {}  {:>8}  {:>11}  {}",
            key_of(line),
            address_of(line),
            line.status,
            bytes(line.bytes),
            duration(line.milliseconds),
            line.route.as_str(),
            key = self.key,
            address = self.address,
        )
    }
}

fn key_of(line: &RequestLine) -> &str {
    line.key.as_deref().unwrap_or("-")
}

fn address_of(line: &RequestLine) -> &str {
    match line.address.as_str() {
        "" => "-",
        address => address,
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..1000 => format!("{count} B"),
        1000..1_000_000 => format!("{}.{} kB", count / 1000, count % 1000 / 100),
        _ => format!("{}.{} MB", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => format!(
            "{} min {} s",
            milliseconds / 60_000,
            milliseconds % 60_000 / 1000
        ),
    }
}

#[cfg(test)]
mod tests {
    use ecto_core::foreign::ForeignText;

    use super::*;

    #[test]
    fn a_request_is_one_line() {
        let line = |key: Option<&str>, route: &str, status, bytes, milliseconds| RequestLine {
            at: "2026-03-01T12:00:00Z".parse().unwrap(),
            key: key.map(str::to_owned),
            address: ForeignText::new("203.0.113.7"),
            route: ForeignText::new(route),
            status,
            bytes,
            milliseconds,
        };
        let unread = RequestLine {
            address: ForeignText::new("unknown address"),
            ..line(None, "(a connection too many)", 503, 0, 0)
        };
        let lines = [
            line(
                Some("phone"),
                "POST /v1/chat/completions",
                200,
                1_234,
                61_500,
            ),
            line(Some("laptop in the kitchen"), "GET /v1/models", 200, 12, 3),
            line(None, "GET /\u{202e}admin\n", 404, 2_500_000, 1_999),
            unread,
        ];
        let mut columns = Columns::USUAL;
        columns.widen(&lines);
        let shown: Vec<String> = lines
            .iter()
            .map(|line| columns.words(line, &TimeZone::UTC))
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        2026-03-01 12:00:00  phone                  203.0.113.7      200    1.2 kB    1 min 1 s  POST /v1/chat/completions
        2026-03-01 12:00:00  laptop in the kitchen  203.0.113.7      200      12 B         3 ms  GET /v1/models
        2026-03-01 12:00:00  -                      203.0.113.7      404    2.5 MB        1.9 s  GET /admin
        2026-03-01 12:00:00  -                      unknown address  503       0 B         0 ms  (a connection too many)
        ");
    }
}
