//! The bus: tailscaled tells what changes, one JSON object a line, for as long as the connection lives.

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::local_api::{ApiError, Connection};
use crate::status::State;

/// Tells the state and the session at once (tailscale 1.104, `ipn/backend.go`, `NotifyInitialState`).
pub(crate) const INITIAL_STATE: u32 = 2;
/// Tells the preferences at once (`NotifyInitialPrefs`).
pub(crate) const INITIAL_PREFS: u32 = 4;
/// Tells the health warnings at once (`NotifyInitialHealthState`).
pub(crate) const INITIAL_HEALTH: u32 = 128;

const SESSION_LIMIT: Duration = Duration::from_secs(5);

/// Lines of network maps can be longer than this in large tailnets. Nothing in them is needed but that they came.
const LINE_LIMIT: usize = 1024 * 1024;

/// What one line says, as far as Ecto needs it (tailscale 1.104, `ipn/backend.go`, `Notify`).
#[derive(Debug, Default, Deserialize)]
struct Message {
    #[serde(rename = "SessionID")]
    session: Option<String>,
    #[serde(rename = "ErrMessage")]
    error: Option<String>,
    #[serde(rename = "State")]
    state: Option<State>,
    #[serde(rename = "BrowseToURL")]
    browse_to: Option<String>,
    #[serde(rename = "LoginFinished")]
    login_finished: Option<IgnoredAny>,
    #[serde(rename = "Prefs")]
    prefs: Option<IgnoredAny>,
    #[serde(rename = "SelfChange")]
    self_change: Option<IgnoredAny>,
    #[serde(rename = "NetMap")]
    network_map: Option<IgnoredAny>,
    #[serde(rename = "Health")]
    health: Option<Value>,
}

impl Message {
    /// Whether what `status`, `prefs` or `serve-config` answer may be different.
    fn means_change(&self) -> bool {
        self.error.is_some()
            || self.state.is_some()
            || self.browse_to.is_some()
            || self.login_finished.is_some()
            || self.prefs.is_some()
            || self.self_change.is_some()
            || self.network_map.is_some()
            || self.health.is_some()
    }
}

/// One line of the bus.
#[derive(Debug)]
enum Line {
    /// It was understood.
    Message(Box<Message>),
    /// It was too long, or not what tailscaled says. It may have told of any change.
    Unreadable,
}

impl Line {
    fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        Some(match serde_json::from_slice(bytes) {
            Ok(message) => Self::Message(message),
            Err(_) => Self::Unreadable,
        })
    }
}

/// Puts lines together from whatever pieces they come in.
#[derive(Debug)]
struct LineDecoder {
    limit: usize,
    line: Vec<u8>,
    too_long: bool,
}

impl LineDecoder {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            too_long: false,
        }
    }

    fn push(&mut self, piece: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let ends = part.ends_with(b"\n");
            if self.too_long || self.line.len() + part.len() > self.limit {
                self.too_long = true;
                self.line = Vec::new();
            } else {
                self.line.extend_from_slice(part);
            }
            if !ends {
                continue;
            }
            if self.too_long {
                lines.push(Line::Unreadable);
            } else {
                lines.extend(Line::read(&self.line));
            }
            self.too_long = false;
            self.line.clear();
        }
        lines
    }
}

/// A session on the bus, which ends when this value is dropped.
#[derive(Debug)]
pub(crate) struct Bus {
    body: Incoming,
    decoder: LineDecoder,
    ready: VecDeque<Line>,
    seen: Change,
    settled_at: Option<Instant>,
    health: Option<Value>,
    _connection: Connection,
}

/// What the lines of a moment said together.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) error: Option<String>,
    pub(crate) browse_to: Option<String>,
}

impl Bus {
    pub(crate) fn new(connection: Connection, body: Incoming) -> Self {
        Self {
            body,
            decoder: LineDecoder::new(LINE_LIMIT),
            ready: VecDeque::new(),
            seen: Change::default(),
            settled_at: None,
            health: None,
            _connection: connection,
        }
    }

    /// Waits until something changed and `settle` has passed since, so that a burst is one change. May be dropped and
    /// called again without losing one. An error means that the session ended.
    pub(crate) async fn changed(&mut self, settle: Duration) -> Result<Change, ApiError> {
        loop {
            let line = match self.settled_at {
                Some(at) => tokio::select! {
                    biased;
                    () = sleep_until(at) => {
                        self.settled_at = None;
                        return Ok(std::mem::take(&mut self.seen));
                    }
                    line = self.next() => line?,
                },
                None => self.next().await?,
            };
            if self.marks_change(line) {
                self.settled_at.get_or_insert(Instant::now() + settle);
            }
        }
    }

    fn marks_change(&mut self, line: Line) -> bool {
        let mut message = match line {
            Line::Message(message) => message,
            Line::Unreadable => return true,
        };
        if message.health.is_some() {
            // The same warnings come a dozen times in a row.
            if message.health == self.health {
                message.health = None;
            } else {
                self.health.clone_from(&message.health);
            }
        }
        let marks = message.means_change();
        let told = |text: Option<String>| text.filter(|text| !text.is_empty());
        self.seen.error = told(message.error).or(self.seen.error.take());
        self.seen.browse_to = told(message.browse_to).or(self.seen.browse_to.take());
        marks
    }

    /// Waits for the name of the session, which stands in the first line where the mask has [`INITIAL_STATE`].
    pub(crate) async fn session(&mut self) -> Result<String, ApiError> {
        let named = async {
            loop {
                if let Line::Message(message) = self.next().await?
                    && let Some(session) = message.session
                {
                    return Ok(session);
                }
            }
        };
        match tokio::time::timeout(SESSION_LIMIT, named).await {
            Ok(session) => session,
            Err(_) => Err(ApiError::Unreachable {
                detail: "the bus stayed silent".to_owned(),
            }),
        }
    }

    /// Waits for the next line. May be dropped and called again without losing one. An error means that the session ended.
    async fn next(&mut self) -> Result<Line, ApiError> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(line);
            }
            let frame = match self.body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(_)) | None => return Err(ApiError::Cut),
            };
            if let Some(bytes) = frame.data_ref() {
                self.ready.extend(self.decoder.push(bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &str = concat!(
        r#"{"Version":"1.96.5-t0123456789","SessionID":"dc0ab029f41d1f45","ErrMessage":null,"LoginFinished":null,"State":2,"Prefs":{"WantRunning":false},"NetMap":null,"Engine":null,"BrowseToURL":null}"#,
        "\n",
        r#"{"Version":"1.96.5-t0123456789","ErrMessage":null,"State":null,"Prefs":null,"NetMap":null,"Engine":{"RBytes":0},"BrowseToURL":null}"#,
        "\n",
        r#"{"Version":"1.96.5-t0123456789","State":null,"BrowseToURL":"https://login.tailscale.com/a/0123"}"#,
        "\n",
        r#"{"Version":"9","LoginFinished":{}}"#,
        "\n",
        r#"{"Version":"9","State":77}"#,
        "\n",
    );

    fn told(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| format!("{line:?}")).collect()
    }

    #[test]
    fn the_lines_of_a_sign_in_are_understood() {
        let lines = LineDecoder::new(LINE_LIMIT).push(SAMPLE.as_bytes());
        let messages: Vec<&Message> = lines
            .iter()
            .map(|line| match line {
                Line::Message(message) => message.as_ref(),
                Line::Unreadable => panic!("a line was not understood"),
            })
            .collect();
        assert_eq!(messages[0].session.as_deref(), Some("dc0ab029f41d1f45"));
        assert_eq!(messages[0].state, Some(State::NeedsLogin));
        assert!(!messages[1].means_change());
        assert_eq!(
            messages[2].browse_to.as_deref(),
            Some("https://login.tailscale.com/a/0123")
        );
        assert!(messages[3].means_change());
        assert_eq!(messages[4].state, Some(State::Unknown("77".to_owned())));
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_and_the_next_one_understood() {
        let mut decoder = LineDecoder::new(64);
        assert!(decoder.push(&[b'x'; 200]).is_empty());
        let lines = decoder.push(b"xx\n{\"State\":6}\n");
        assert!(matches!(lines[0], Line::Unreadable));
        assert!(
            matches!(&lines[1], Line::Message(message) if message.state == Some(State::Running))
        );
    }

    proptest! {
        #[test]
        fn the_pieces_in_which_lines_come_do_not_matter(sizes in prop::collection::vec(1usize..40, 1..60)) {
            let whole = told(&LineDecoder::new(LINE_LIMIT).push(SAMPLE.as_bytes()));
            let mut decoder = LineDecoder::new(LINE_LIMIT);
            let mut lines = Vec::new();
            let mut rest = SAMPLE.as_bytes();
            for size in sizes.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                lines.extend(decoder.push(piece));
                rest = after;
            }
            prop_assert_eq!(told(&lines), whole);
        }

        #[test]
        fn garbage_costs_no_more_than_its_own_line(garbage in prop::collection::vec(any::<u8>(), 0..3000)) {
            let mut decoder = LineDecoder::new(1000);
            decoder.push(&garbage);
            decoder.push(b"\n");
            prop_assert!(decoder.line.capacity() <= 4000);
            let lines = decoder.push(b"{\"State\":6}\n");
            prop_assert!(matches!(&lines[..], [Line::Message(message)] if message.state == Some(State::Running)));
        }
    }
}
