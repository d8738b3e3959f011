//! What went through: one line for each request, and the counts.

use std::sync::Arc;
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::foreign::ForeignText;
use ecto_core::key::PREFIX;
use ecto_core::ports::{Activity, Clock, Recorder, RequestLine};
use ecto_core::refusal::Refusal;
use http::Method;
use tokio::sync::watch;

use crate::caller::describe_caller;

/// The status in the line of a request whose client went away, or was cut off, before an answer began. Never sent;
/// nginx uses the same number.
const CLIENT_WENT_AWAY: u16 = 499;

/// What stands for the route of a connection that there was no room for.
pub(crate) const TURNED_AWAY: &str = "(a connection too many)";

/// What stands for the route of a request whose head could not be read.
pub(crate) const UNREADABLE: &str = "(a head that could not be read)";

/// Who keeps the lines.
#[derive(Clone)]
pub(crate) struct Register {
    clock: Arc<dyn Clock>,
    activity: Arc<watch::Sender<Activity>>,
    recorder: Option<Arc<dyn Recorder>>,
}

impl Register {
    /// An empty one. Every line goes to `recorder` too.
    pub fn new(clock: Arc<dyn Clock>, recorder: Option<Arc<dyn Recorder>>) -> Self {
        Self {
            clock,
            recorder,
            activity: Arc::new(watch::Sender::new(Activity::default())),
        }
    }

    /// What went through.
    pub fn watch(&self) -> watch::Receiver<Activity> {
        self.activity.subscribe()
    }

    /// Writes the line of something that never became a request. Who called is not known.
    pub fn note(&self, what: &'static str, refusal: Refusal) {
        let mut line = self.line(describe_caller(None), ForeignText::new(what));
        line.set_refused(refusal.status());
    }

    /// Begins the line of a request. It is written when the line is dropped.
    pub fn begin(&self, caller: ForeignText, method: &Method, path: &str) -> Line {
        self.line(caller, describe_request(method, path))
    }

    fn line(&self, caller: ForeignText, route: ForeignText) -> Line {
        Line {
            register: self.clone(),
            at: self.clock.now(),
            began: self.clock.uptime(),
            caller,
            route,
            key: None,
            stage: Stage::Arrived,
            status: CLIENT_WENT_AWAY,
            bytes: 0,
            written: true,
        }
    }
}

/// What was asked for, for a person: never the query, and never something that looks like a key.
fn describe_request(method: &Method, path: &str) -> ForeignText {
    if path.contains(PREFIX) {
        return ForeignText::new(format!("{method} (a path with a key in it)"));
    }
    ForeignText::new(format!("{method} {path}"))
}

enum Stage {
    Arrived,
    UnderWay,
    Passed,
}

/// The line of one request, while it is under way.
pub(crate) struct Line {
    register: Register,
    at: Timestamp,
    began: Duration,
    caller: ForeignText,
    route: ForeignText,
    key: Option<Arc<str>>,
    stage: Stage,
    status: u16,
    bytes: u64,
    written: bool,
}

impl Line {
    /// The prover's questions leave no line.
    pub fn keep_out(&mut self) {
        self.written = false;
    }

    /// Whose key it was.
    pub fn set_key(&mut self, name: Arc<str>) {
        self.key = Some(name);
    }

    /// The request goes to the gateway.
    pub fn set_under_way(&mut self) {
        self.stage = Stage::UnderWay;
        if self.written {
            self.register
                .activity
                .send_modify(|activity| activity.in_flight += 1);
        }
    }

    /// The gateway answers.
    pub fn set_passed(&mut self, status: u16) {
        self.stage = match self.stage {
            Stage::UnderWay => Stage::Passed,
            Stage::Arrived | Stage::Passed => return,
        };
        self.status = status;
    }

    /// The guard answers by itself.
    pub fn set_refused(&mut self, status: u16) {
        self.status = status;
    }

    /// Counts bytes of the answer's body.
    pub fn add_bytes(&mut self, count: usize) {
        self.bytes = self.bytes.saturating_add(count as u64);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.written {
            return;
        }
        let duration = self.register.clock.uptime().saturating_sub(self.began);
        let line = RequestLine {
            at: self.at,
            key: self.key.as_deref().map(str::to_owned),
            address: std::mem::take(&mut self.caller),
            route: std::mem::take(&mut self.route),
            status: self.status,
            bytes: self.bytes,
            milliseconds: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        };
        tracing::info!(
            target: "ecto_guard::request",
            at = %line.at,
            key = line.key.as_deref(),
            address = %line.address,
            route = %line.route,
            status = line.status,
            bytes = line.bytes,
            milliseconds = line.milliseconds,
            "request",
        );
        if let Some(recorder) = &self.register.recorder {
            recorder.keep(&line);
        }
        self.register.activity.send_modify(|activity| {
            match self.stage {
                Stage::Arrived => activity.refused += 1,
                Stage::UnderWay => {
                    activity.in_flight -= 1;
                    activity.refused += 1;
                }
                Stage::Passed => {
                    activity.in_flight -= 1;
                    activity.passed += 1;
                }
            }
            activity.last = Some(line);
        });
    }
}
