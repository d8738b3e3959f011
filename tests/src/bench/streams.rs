//! Event streams: how soon their first event comes, how late each one is, and many that say nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::answer::Answer;
use super::calls::{nanoseconds, request};
use super::wires::{Wires, monotonic};

/// How many quiet streams are begun before the first of them is waited for.
const AT_ONCE: usize = 100;

/// How long a stream may take to begin.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to do.
#[derive(Debug, Clone)]
pub struct Streams {
    /// Whom to ask.
    pub address: SocketAddr,
    /// What to present as the key.
    pub key: String,
    /// How many at once, each on its own connection.
    pub count: usize,
    /// How many events each has.
    pub events: u64,
    /// How long the upstream waits between two.
    pub pause: Duration,
    /// How long before it counts: everybody's first connections and first pages of memory are not what is asked for.
    pub warm_up: Duration,
    /// How long new ones are begun.
    pub measured: Duration,
}

/// What became of it.
#[derive(Debug, Clone, Default)]
pub struct Listened {
    /// Nanoseconds from the request to the first event of each stream.
    pub first_event: Vec<u64>,
    /// Nanoseconds from the moment that the upstream wrote each later event.
    pub event: Vec<u64>,
    /// Streams that were begun.
    pub begun: u64,
    /// Streams that ended in another way than with their last event.
    pub broken: u64,
    /// Events of another stream, twice, or out of order.
    pub mixed: u64,
}

#[derive(Deserialize)]
struct Event {
    nonce: String,
    number: u64,
    sent: u64,
}

/// One connection's stream.
#[derive(Default)]
struct Listening {
    nonce: String,
    asked: u64,
    counts: bool,
    seen: u64,
    read: usize,
    done: bool,
    due: Option<u64>,
}

impl Streams {
    /// Does it.
    ///
    /// # Errors
    ///
    /// Where nobody can be connected to.
    pub fn run(&self) -> Result<Listened> {
        let mut listened = Listened::default();
        let mut wires = Wires::connect(self.address, self.count)?;
        let mut buffer = vec![0; 64 * 1024];
        let mut ready = Vec::new();
        let started = monotonic();
        let counting = started + nanoseconds(self.warm_up);
        let ending = counting + nanoseconds(self.measured);
        // Spread over one pause, so that the events do not all come in one moment.
        let step = nanoseconds(self.pause) / self.count.max(1) as u64;
        let mut listening: Vec<Listening> = (0..self.count as u64)
            .map(|number| Listening {
                due: Some(started + number * step),
                ..Listening::default()
            })
            .collect();
        let whole = self.pause * u32::try_from(self.events).unwrap_or(u32::MAX);
        let last = ending + nanoseconds(whole) + nanoseconds(PATIENCE);
        loop {
            let now = monotonic();
            let mut wake = last;
            let mut open = false;
            for (number, listening) in listening.iter_mut().enumerate() {
                match listening.due {
                    Some(_) if now >= ending => listening.due = None,
                    Some(due) if due <= now => {
                        let text = self.begin(listening, started + listened.begun);
                        listened.begun += 1;
                        let wire = wires.wires.get_mut(number).context("no such wire")?;
                        listening.asked = monotonic();
                        listening.counts = listening.asked >= counting;
                        let _ = wire.send(text.as_bytes());
                        open = true;
                    }
                    Some(due) => {
                        wake = wake.min(due);
                        open = true;
                    }
                    None => open |= !listening.done,
                }
            }
            if !open {
                break;
            }
            if now >= last {
                listened.broken += listening.iter().filter(|one| !one.done).count() as u64;
                break;
            }
            wires.wait(wake, &mut ready)?;
            for number in ready.iter().copied() {
                let (Some(wire), Some(listening)) =
                    (wires.wires.get_mut(number), listening.get_mut(number))
                else {
                    continue;
                };
                let read = wire.read(&mut buffer);
                let now = monotonic();
                listening.hear(&wire.answer.body, now, &mut listened)?;
                match read {
                    Ok(false) => continue,
                    Ok(true) if wire.answer.status == 200 && listening.seen == self.events => {
                        if !wire.answer.body.ends_with(b"data: [DONE]\n\n") {
                            listened.broken += 1;
                        }
                    }
                    Ok(true) => listened.broken += 1,
                    Err(_) => {
                        listened.broken += 1;
                        wires.connect_again(number)?;
                    }
                }
                listening.done = true;
                listening.due = Some(now);
            }
        }
        Ok(listened)
    }

    fn begin(&self, listening: &mut Listening, number: u64) -> String {
        *listening = Listening {
            nonce: format!("{number:016x}"),
            ..Listening::default()
        };
        stream_request(
            &self.key,
            &listening.nonce,
            self.events,
            self.pause.as_millis(),
            false,
        )
    }
}

impl Listening {
    fn hear(&mut self, body: &[u8], now: u64, listened: &mut Listened) -> Result<()> {
        while let Some(rest) = body.get(self.read..)
            && let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n")
        {
            let text = std::str::from_utf8(rest.get(..end).unwrap_or_default())?;
            self.read += end + 2;
            let data = match text.strip_prefix("data: ") {
                Some("[DONE]") | None => continue,
                Some(data) => data,
            };
            let event: Event = serde_json::from_str(data)?;
            if event.nonce != self.nonce || event.number != self.seen {
                listened.mixed += 1;
            }
            match self.seen {
                _ if !self.counts => {}
                0 => listened.first_event.push(now.saturating_sub(self.asked)),
                _ => listened.event.push(now.saturating_sub(event.sent)),
            }
            self.seen += 1;
        }
        Ok(())
    }
}

fn stream_request(key: &str, nonce: &str, events: u64, pause_ms: u128, quiet: bool) -> String {
    let body = format!(
        r#"{{"model":"openclaw","stream":true,"nonce":"{nonce}","events":{events},"pause_ms":{pause_ms},"quiet":{quiet},"messages":[{{"role":"user","content":"Tell me a long story."}}]}}"#
    );
    request("POST /v1/chat/completions", key, "203.0.113.9", &body)
}

/// Begins streams that say one thing and then nothing, until so many are held.
///
/// # Errors
///
/// Where one does not begin.
pub fn hold_quiet_streams(
    held: &mut Vec<TcpStream>,
    count: usize,
    address: SocketAddr,
    key: &str,
) -> Result<()> {
    let first_nonce = monotonic();
    while held.len() < count {
        let first = held.len();
        for number in first..(first + AT_ONCE).min(count) {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let nonce = format!("{:016x}", first_nonce + number as u64);
            let text = stream_request(key, &nonce, 1, 0, true);
            stream.write_all(text.as_bytes())?;
            held.push(stream);
        }
        for stream in held.iter_mut().skip(first) {
            let mut answer = Answer::default();
            let mut buffer = [0; 4096];
            while answer.body.is_empty() {
                let count = stream
                    .read(&mut buffer)
                    .context("a stream does not begin")?;
                if count == 0 || answer.take(buffer.get(..count).unwrap_or_default())? {
                    bail!("a stream ended as it began, with status {}", answer.status);
                }
            }
        }
    }
    Ok(())
}
