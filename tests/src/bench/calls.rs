//! Requests at a steady pace or as fast as answers come, each with a nonce that the answer has to echo.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::wires::{Wires, monotonic};

/// How long answers that are still to come are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// When requests are due.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So many each second, at even distances, whatever became of the earlier ones.
    Even(u32),
    /// The next on each connection as soon as the last was answered.
    Unpaced,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// A completion, by somebody who may.
    Completion,
    /// The models, with a key that is none.
    WithWrongKey,
}

/// Where requests come from, as tailscaled would tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// All from this address.
    One(&'static str),
    /// One after the other, each from the next of [`NETWORKS`]: more than the guard remembers.
    Many,
}

/// How many networks of IPv6 there are to come from, each a customer's own.
pub const NETWORKS: u64 = 1 << 16;

impl Callers {
    fn address(self, number: u64) -> Cow<'static, str> {
        match self {
            Self::One(address) => Cow::Borrowed(address),
            Self::Many => Cow::Owned(format!("2001:db8:1:{:x}::1", number % NETWORKS)),
        }
    }
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Calls {
    /// Whom to ask.
    pub address: SocketAddr,
    /// What to present as the key.
    pub key: String,
    /// What is asked.
    pub asking: Asking,
    /// Where they come from.
    pub callers: Callers,
    /// Over how many connections.
    pub connections: usize,
    /// When.
    pub pace: Pace,
    /// How long before it counts.
    pub warm_up: Duration,
    /// How long it counts.
    pub measured: Duration,
}

/// What became of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Called {
    /// Nanoseconds from the moment each request was due to the end of its answer, of those that count.
    #[serde(skip)]
    pub times: Vec<u64>,
    /// How many of those that count were answered, by status.
    pub statuses: BTreeMap<u16, u64>,
    /// All that were sent, counted or not.
    pub sent: u64,
    /// All that were answered as they should be, counted or not.
    pub good: u64,
    /// Never answered, or the connection ended in the middle.
    pub lost: u64,
    /// Answered with something that was meant for another.
    pub mixed: u64,
    /// How long it counted, in seconds.
    pub seconds: f64,
}

impl Called {
    /// How many were answered each second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let answered = self.statuses.values().sum::<u64>() as f64;
        answered / self.seconds.max(f64::EPSILON)
    }
}

/// One request that was sent.
#[derive(Debug, Clone, Copy)]
struct Asked {
    nonce: u64,
    due: u64,
}

impl Calls {
    /// Does it. `at_edges` is called as counting begins and as it ends.
    ///
    /// # Errors
    ///
    /// Where nobody can be connected to.
    pub fn run(&self, mut at_edges: impl FnMut()) -> Result<Called> {
        let mut round = Round::new(self)?;
        let started = monotonic();
        let counting = started + nanoseconds(self.warm_up);
        let ending = counting + nanoseconds(self.measured);
        let mut is_counting = false;
        let mut next_due = started;
        let mut ready = Vec::new();
        loop {
            let now = monotonic();
            if !is_counting && now >= counting {
                is_counting = true;
                at_edges();
            }
            if now >= ending {
                break;
            }
            let wake = match self.pace {
                Pace::Even(rate) => {
                    while next_due <= monotonic() {
                        round.waiting.push_back(next_due);
                        next_due += 1_000_000_000 / u64::from(rate.max(1));
                    }
                    round.send_waiting();
                    next_due
                }
                Pace::Unpaced => {
                    round.send_everywhere();
                    ending
                }
            };
            let until = if is_counting {
                wake
            } else {
                wake.min(counting)
            };
            round.take_answers(until.min(ending), &mut ready, counting, ending)?;
        }
        at_edges();
        round.called.seconds = self.measured.as_secs_f64();
        // What was due is sent, and what was sent is waited for.
        let last = monotonic() + nanoseconds(PATIENCE);
        while monotonic() < last && round.is_owed() {
            round.send_waiting();
            round.take_answers(last, &mut ready, counting, ending)?;
        }
        let owed = round.asked.iter().flatten().count() + round.waiting.len();
        round.called.lost += owed as u64;
        Ok(round.called)
    }

    fn request(&self, nonce: u64, number: u64) -> String {
        let (line, body) = match self.asking {
            Asking::Completion => (
                "POST /v1/chat/completions",
                format!(
                    r#"{{"model":"openclaw","nonce":"{nonce:016x}","messages":[{{"role":"user","content":"What is the weather like today, and what should I wear?"}}]}}"#
                ),
            ),
            Asking::WithWrongKey => ("GET /v1/models", String::new()),
        };
        request(line, &self.key, &self.callers.address(number), &body)
    }
}

/// The text of a request.
pub(super) fn request(line: &str, key: &str, caller: &str, body: &str) -> String {
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
    };
    format!(
        "{line} HTTP/1.1\r\nHost: bench.example\r\nAccept: application/json\r\nAuthorization: Bearer {key}\r\n\
         User-Agent: ecto-bench\r\nX-Forwarded-For: {caller}\r\n{length}\r\n{body}"
    )
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

struct Round<'a> {
    calls: &'a Calls,
    wires: Wires,
    asked: Vec<Option<Asked>>,
    idle: VecDeque<usize>,
    waiting: VecDeque<u64>,
    buffer: Vec<u8>,
    first_nonce: u64,
    called: Called,
}

impl<'a> Round<'a> {
    fn new(calls: &'a Calls) -> Result<Self> {
        Ok(Self {
            calls,
            wires: Wires::connect(calls.address, calls.connections)?,
            asked: vec![None; calls.connections],
            idle: (0..calls.connections).collect(),
            waiting: VecDeque::new(),
            buffer: vec![0; 64 * 1024],
            // Less than one request a nanosecond: nobody ever has the same.
            first_nonce: monotonic(),
            called: Called::default(),
        })
    }

    fn is_owed(&self) -> bool {
        !self.waiting.is_empty() || self.asked.iter().any(Option::is_some)
    }

    fn send_waiting(&mut self) {
        while !self.waiting.is_empty()
            && let Some(number) = self.idle.pop_front()
            && let Some(due) = self.waiting.pop_front()
        {
            self.send(number, due);
        }
    }

    fn send_everywhere(&mut self) {
        while let Some(number) = self.idle.pop_front() {
            self.send(number, monotonic());
        }
    }

    fn send(&mut self, number: usize, due: u64) {
        let before = self.called.sent;
        let nonce = self.first_nonce + before;
        self.called.sent += 1;
        let request = self.calls.request(nonce, before);
        if let (Some(wire), Some(asked)) =
            (self.wires.wires.get_mut(number), self.asked.get_mut(number))
        {
            *asked = Some(Asked { nonce, due });
            // A connection that is broken says so when it is read.
            let _ = wire.send(request.as_bytes());
        }
    }

    fn take_answers(
        &mut self,
        until: u64,
        ready: &mut Vec<usize>,
        counting: u64,
        ending: u64,
    ) -> Result<()> {
        self.wires.wait(until, ready)?;
        for number in ready.iter().copied() {
            let Some(wire) = self.wires.wires.get_mut(number) else {
                continue;
            };
            let read = wire.read(&mut self.buffer);
            let now = monotonic();
            match read {
                Ok(false) => {}
                Ok(true) => {
                    let Some(asked) = self.asked.get_mut(number).and_then(Option::take) else {
                        bail!("an answer that nobody asked for");
                    };
                    let status = wire.answer.status;
                    match judge(self.calls.asking, asked.nonce, status, &wire.answer.body) {
                        Verdict::Good => self.called.good += 1,
                        Verdict::Refused => {}
                        Verdict::Mixed => self.called.mixed += 1,
                    }
                    let closes = wire.answer.closes;
                    if (counting..ending).contains(&asked.due) {
                        self.called.times.push(now - asked.due);
                    }
                    if (counting..ending).contains(&now) {
                        *self.called.statuses.entry(status).or_default() += 1;
                    }
                    if closes {
                        self.wires.connect_again(number)?;
                    }
                    self.idle.push_back(number);
                }
                Err(_) => {
                    if self.asked.get_mut(number).and_then(Option::take).is_some() {
                        self.called.lost += 1;
                        self.idle.push_back(number);
                    }
                    self.wires.connect_again(number)?;
                }
            }
        }
        Ok(())
    }
}

enum Verdict {
    Good,
    Refused,
    Mixed,
}

fn judge(asking: Asking, nonce: u64, status: u16, body: &[u8]) -> Verdict {
    let echo = format!("\"nonce\":\"{nonce:016x}\"");
    let has = |text: &str| {
        body.windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    match (asking, status) {
        (Asking::Completion, 200) if has(&echo) => Verdict::Good,
        (Asking::Completion, 200) => Verdict::Mixed,
        // Whatever it is, a refusal has nothing of an answer in it.
        (_, 200..=299) => Verdict::Mixed,
        (_, _) if has("\"nonce\"") => Verdict::Mixed,
        (Asking::WithWrongKey, 401 | 403 | 429) => Verdict::Good,
        (_, _) => Verdict::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_one_or_each_time_another_of_many() {
        let one = Callers::One("203.0.113.9");
        assert_eq!(one.address(1), one.address(2));
        let all: std::collections::BTreeSet<_> = (0..NETWORKS)
            .map(|number| Callers::Many.address(number))
            .collect();
        assert_eq!(all.len() as u64, NETWORKS);
        let are_addresses = |address: &Cow<str>| address.parse::<std::net::Ipv6Addr>().is_ok();
        assert!(all.iter().all(are_addresses));
        assert_eq!(Callers::Many.address(NETWORKS), Callers::Many.address(0));
    }

    #[test]
    fn an_answer_is_good_for_the_request_that_it_echoes_alone() {
        let body = br#"{"nonce":"0000000000000007"}"#;
        assert!(matches!(
            judge(Asking::Completion, 7, 200, body),
            Verdict::Good
        ));
        assert!(matches!(
            judge(Asking::Completion, 8, 200, body),
            Verdict::Mixed
        ));
        assert!(matches!(
            judge(Asking::Completion, 7, 502, b"{}"),
            Verdict::Refused
        ));
        assert!(matches!(
            judge(Asking::WithWrongKey, 7, 401, b"{}"),
            Verdict::Good
        ));
        assert!(matches!(
            judge(Asking::WithWrongKey, 7, 200, b"{}"),
            Verdict::Mixed
        ));
    }
}
