//! What the gateway received, for tests to look at.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;
use tokio::sync::watch;

use crate::latest::Latest;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is still being answered.
    Open,
    /// The answer was handed over whole, with this status.
    Answered(StatusCode),
    /// The client went away first, or the gateway stopped.
    CutOff,
}

/// One HTTP request that reached the gateway.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The request target as it came over the wire.
    pub target: String,
    /// The path the gateway routed on.
    pub path: String,
    /// The headers as they came.
    pub headers: HeaderMap,
    /// The body, as far as it was read.
    pub body: Bytes,
    /// The agent that answered, for completions.
    pub agent: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Request {
    /// Returns the first value of a header, where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Shows the names of the headers only: one of them holds the token.
impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("method", &self.method)
            .field("target", &self.target)
            .field("path", &self.path)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("agent", &self.agent)
            .field("outcome", &self.outcome)
            .finish()
    }
}

/// One RPC request that reached the gateway.
#[derive(Clone, PartialEq)]
pub struct Call {
    /// The method, for example `config.patch`.
    pub method: String,
    /// The parameters.
    pub params: Value,
}

/// Shows the method only: the parameters may hold a token.
impl fmt::Debug for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Call")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// The latest of what was received.
#[derive(Debug)]
pub(crate) struct Record {
    requests: Mutex<Latest<Request>>,
    calls: Mutex<Latest<Call>>,
    lines: Mutex<Latest<String>>,
    changes: watch::Sender<u64>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            calls: Mutex::default(),
            lines: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same headers in memory of their own: as they come, they keep the whole buffer that they were read into.
fn apart(headers: &HeaderMap) -> HeaderMap {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let mut own = HeaderValue::from_bytes(value.as_bytes()).ok()?;
            own.set_sensitive(value.is_sensitive());
            Some((name.clone(), own))
        })
        .collect()
}

impl Record {
    /// Adds a request and returns its place in the list.
    pub(crate) fn add_request(&self, mut request: Request) -> usize {
        request.headers = apart(&request.headers);
        let place = locked(&self.requests).add(request);
        self.changed();
        place
    }

    pub(crate) fn update(&self, place: usize, change: impl FnOnce(&mut Request)) {
        if let Some(request) = locked(&self.requests).get_mut(place) {
            change(request);
        }
        self.changed();
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        locked(&self.requests).iter().cloned().collect()
    }

    pub(crate) fn add_call(&self, method: &str, params: Value) {
        locked(&self.calls).add(Call {
            method: method.to_owned(),
            params,
        });
        self.changed();
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        locked(&self.calls).iter().cloned().collect()
    }

    pub(crate) fn say(&self, line: impl Into<String>) {
        let line = line.into();
        tracing::debug!(target: "ecto_sandbox::gateway", "{line}");
        locked(&self.lines).add(line);
        self.changed();
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        locked(&self.lines).iter().cloned().collect()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}
