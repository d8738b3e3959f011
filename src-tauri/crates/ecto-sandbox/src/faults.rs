//! Scripted faults, shared by all stand-ins.
//!
//! A stand-in names the points at which it can fail (an endpoint such as `GET status`, a moment such as `connect`) and asks
//! [`Faults::pass`] each time it comes by one. A test scripts what happens there.
//!
//! ```
//! use ecto_sandbox::faults::{Fault, Faults};
//!
//! let faults = Faults::new();
//! faults.fail("POST serve-config", 2, Fault::answer(500, "disk full"));
//! assert_eq!(faults.meet("POST serve-config"), None);
//! assert_eq!(faults.meet("POST serve-config"), Some(Fault::answer(500, "disk full")));
//! assert_eq!(faults.meet("POST serve-config"), None);
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What happens at a point instead of, or before, what would have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is closed before one byte of an answer. At the point `connect`: before one byte is read.
    Refuse,
    /// The answer starts as usual and the connection is closed after this many bytes of its body.
    CloseAfter(usize),
    /// This status and body are answered, and nothing is done. On a WebSocket RPC the gateway stand-in reads it as an error frame.
    Answer {
        /// HTTP status, 100 to 599.
        status: u16,
        /// Header lines to add, as name and value.
        headers: Vec<(String, String)>,
        /// The body, as it is.
        body: String,
    },
    /// Streams only: a line that is not what the protocol says, then on as usual.
    GarbageLine,
    /// Streams only: the first half of the next line without its end, then the stream ends.
    HalfLine,
    /// Streams only: one line of this many bytes, then on as usual.
    LongLine(usize),
    /// Streams and answers: nothing more is written, and the connection stays open.
    Silence,
    /// This long before anything else happens.
    Delay(Duration),
    /// Nothing happens before the gate opens.
    Hold(Gate),
    /// The stand-in dies: its listeners go away and every connection is cut.
    Die {
        /// When it comes back by itself, at the same addresses; `None`: only when told.
        back_after: Option<Duration>,
    },
}

impl Fault {
    /// Answers with this status and body, without further headers.
    pub fn answer(status: u16, body: impl Into<String>) -> Self {
        Self::Answer {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }
}

/// A gate that a [`Fault::Hold`] waits at; once open it stays open.
#[derive(Clone, Debug, Default)]
pub struct Gate(CancellationToken);

impl Gate {
    /// Makes a closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate for all who wait and for all who come.
    pub fn open(&self) {
        self.0.cancel();
    }

    /// Waits until the gate is open.
    pub async fn opened(&self) {
        self.0.cancelled().await;
    }
}

/// Two gates are equal if they are the same state: open or closed.
impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_cancelled() == other.0.is_cancelled()
    }
}

impl Eq for Gate {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Passage(u64),
    Always,
}

#[derive(Debug)]
struct Rule {
    when: When,
    fault: Fault,
}

#[derive(Debug)]
struct Point {
    passed: watch::Sender<u64>,
    rules: Vec<Rule>,
}

impl Default for Point {
    fn default() -> Self {
        Self {
            passed: watch::Sender::new(0),
            rules: Vec::new(),
        }
    }
}

/// The script of faults of one stand-in, and the count of how often each point was passed. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    points: Arc<Mutex<HashMap<String, Point>>>,
}

impl Faults {
    /// Makes a script without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Scripts a fault for the nth passage from now on; 1 is the next one, 0 counts as 1.
    /// Delays and holds of the same passage come first, then the first other fault scripted for it.
    pub fn fail(&self, point: impl Into<String>, nth: u64, fault: Fault) {
        let mut points = self.lock();
        let point = points.entry(point.into()).or_default();
        let passage = point.passed.borrow().saturating_add(nth.max(1));
        point.rules.push(Rule {
            when: When::Passage(passage),
            fault,
        });
    }

    /// Scripts a fault for every passage until [`Faults::clear`].
    pub fn fail_always(&self, point: impl Into<String>, fault: Fault) {
        self.lock()
            .entry(point.into())
            .or_default()
            .rules
            .push(Rule {
                when: When::Always,
                fault,
            });
    }

    /// Takes back every fault scripted for a point.
    pub fn clear(&self, point: &str) {
        if let Some(point) = self.lock().get_mut(point) {
            point.rules.clear();
        }
    }

    /// Tells how often a point was passed.
    pub fn passed(&self, point: &str) -> u64 {
        self.lock()
            .get(point)
            .map_or(0, |point| *point.passed.borrow())
    }

    /// Waits until a point was passed this often in all.
    pub async fn reached(&self, point: impl Into<String>, times: u64) {
        let mut passed = self
            .lock()
            .entry(point.into())
            .or_default()
            .passed
            .subscribe();
        // The sender lives as long as `self`, so this ends only by the count.
        let _ = passed.wait_for(|passed| *passed >= times).await;
    }

    /// Counts a passage, waits through its delays and holds, and returns the fault to act out, if one is scripted.
    /// For the stand-ins.
    pub async fn pass(&self, point: &str) -> Option<Fault> {
        let mut verdict = None;
        for fault in self.count(point) {
            match fault {
                Fault::Delay(time) => tokio::time::sleep(time).await,
                Fault::Hold(gate) => gate.opened().await,
                other @ (Fault::Refuse
                | Fault::CloseAfter(_)
                | Fault::Answer { .. }
                | Fault::GarbageLine
                | Fault::HalfLine
                | Fault::LongLine(_)
                | Fault::Silence
                | Fault::Die { .. }) => verdict = verdict.or(Some(other)),
            }
        }
        verdict
    }

    /// Counts a passage and returns the first fault scripted for it, without waiting. For the stand-ins.
    pub fn meet(&self, point: &str) -> Option<Fault> {
        self.count(point).into_iter().next()
    }

    fn count(&self, point: &str) -> Vec<Fault> {
        let mut points = self.lock();
        let point = points.entry(point.to_owned()).or_default();
        point.passed.send_modify(|passed| *passed += 1);
        let passage = *point.passed.borrow();
        let due = point
            .rules
            .iter()
            .filter(|rule| rule.when == When::Always || rule.when == When::Passage(passage))
            .map(|rule| rule.fault.clone())
            .collect();
        point
            .rules
            .retain(|rule| rule.when != When::Passage(passage));
        due
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Point>> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_at_its_passage_only() {
        let faults = Faults::new();
        assert_eq!(faults.meet("GET status"), None);
        faults.fail("GET status", 2, Fault::Refuse);
        assert_eq!(faults.meet("GET status"), None);
        assert_eq!(faults.meet("GET prefs"), None);
        assert_eq!(faults.meet("GET status"), Some(Fault::Refuse));
        assert_eq!(faults.meet("GET status"), None);
        assert_eq!(faults.passed("GET status"), 4);
    }

    #[test]
    fn a_fault_for_always_ends_when_it_is_cleared() {
        let faults = Faults::new();
        faults.fail_always("connect", Fault::Silence);
        assert_eq!(faults.meet("connect"), Some(Fault::Silence));
        assert_eq!(faults.meet("connect"), Some(Fault::Silence));
        faults.clear("connect");
        assert_eq!(faults.meet("connect"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn delays_come_before_the_fault_of_the_same_passage() {
        let faults = Faults::new();
        faults.fail("connect", 1, Fault::answer(500, "no"));
        faults.fail("connect", 1, Fault::Delay(Duration::from_secs(7)));
        let start = tokio::time::Instant::now();
        assert_eq!(faults.pass("connect").await, Some(Fault::answer(500, "no")));
        assert_eq!(start.elapsed(), Duration::from_secs(7));
    }

    #[tokio::test]
    async fn a_held_point_goes_on_when_the_gate_opens() {
        let faults = Faults::new();
        let gate = Gate::new();
        faults.fail("connect", 1, Fault::Hold(gate.clone()));
        let held = tokio::spawn({
            let faults = faults.clone();
            async move { faults.pass("connect").await }
        });
        faults.reached("connect", 1).await;
        assert!(!held.is_finished());
        gate.open();
        assert_eq!(held.await.unwrap(), None);
    }
}
