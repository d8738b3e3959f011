//! The notification bus: `GET watch-ipn-bus` (`ipn/backend.go`, `ipn/ipnlocal/bus.go`).

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::backend::Backend;
use super::{Inner, POINT_BUS_LINE};
use crate::answer::{Body, BoxError};
use crate::faults::Fault;

pub(super) const ENGINE_UPDATES: u64 = 1;
pub(super) const INITIAL_STATE: u64 = 2;
pub(super) const INITIAL_PREFS: u64 = 4;
pub(super) const INITIAL_NETWORK_MAP: u64 = 8;
pub(super) const INITIAL_HEALTH: u64 = 128;
const RATE_LIMIT: u64 = 256;
const NOT_WITH_RATE_LIMIT: u64 = 4096 | 8192 | 16384 | 32768;

/// A reader that falls this many messages behind is cut.
const QUEUE: usize = 128;

/// Reads the mask of a request. The error is the body of a 400.
pub(super) fn mask(text: Option<&str>) -> Result<u64, &'static str> {
    let mask = match text {
        None | Some("") => 0,
        Some(text) => text.parse().map_err(|_| "bad mask")?,
    };
    if mask & RATE_LIMIT != 0 && mask & NOT_WITH_RATE_LIMIT != 0 {
        return Err("NotifyRateLimit is incompatible with new-style IPN bus subscription bits");
    }
    Ok(mask)
}

struct Session {
    mask: u64,
    sender: mpsc::Sender<String>,
}

/// The sessions that watch, by their id.
#[derive(Default)]
pub(super) struct Bus {
    sessions: BTreeMap<String, Session>,
}

impl Bus {
    pub(super) fn open(&mut self, id: &str, mask: u64) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.sessions
            .insert(id.to_owned(), Session { mask, sender });
        receiver
    }

    pub(super) fn close(&mut self, id: &str) {
        self.sessions.remove(id);
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.sessions.contains_key(id)
    }

    pub(super) fn count(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn close_all(&mut self) {
        self.sessions.clear();
    }

    /// Sends a message to every session that asked for its kind. Sessions that fell behind are cut.
    pub(super) fn send(&mut self, version: &str, fields: &[(&str, Value)]) {
        let line = notification(version, fields);
        let engine = fields.iter().any(|(name, _)| *name == "Engine");
        self.sessions.retain(|_, session| {
            let wanted = !engine || session.mask & ENGINE_UPDATES != 0;
            !wanted || session.sender.try_send(line.clone()).is_ok()
        });
    }
}

/// Writes a message as Go's encoder does: some fields are there as `null`, newer ones only with a value.
pub(super) fn notification(version: &str, fields: &[(&str, Value)]) -> String {
    let mut message = Map::new();
    message.insert("Version".to_owned(), json!(version));
    if let Some((_, session)) = fields.iter().find(|(name, _)| *name == "SessionID") {
        message.insert("SessionID".to_owned(), session.clone());
    }
    for name in [
        "ErrMessage",
        "LoginFinished",
        "State",
        "Prefs",
        "NetMap",
        "Engine",
        "BrowseToURL",
        "DriveShares",
    ] {
        message.insert(name.to_owned(), Value::Null);
    }
    for (name, value) in fields {
        message.insert((*name).to_owned(), value.clone());
    }
    Value::Object(message).to_string()
}

/// Takes the session away when its connection ends, and its foreground claims with it.
struct Watch {
    inner: std::sync::Arc<Inner>,
    id: String,
    /// What is written before anything from the queue.
    first: Option<String>,
    queue: mpsc::Receiver<String>,
    /// The rest of what a fault put before a line.
    waiting: Option<String>,
    ended: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.inner.backend().end_session(&self.id);
    }
}

impl Watch {
    /// The next bytes of the stream, or `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(line) = self.waiting.take() {
            return Some(line.into());
        }
        let line = match self.first.take() {
            Some(line) => line,
            None => self.queue.recv().await?,
        };
        let line = format!("{line}\n");
        match self.inner.faults.pass(POINT_BUS_LINE).await {
            Some(Fault::GarbageLine) => {
                self.waiting = Some(line);
                Some(Bytes::from_static(b"{\"Version\":\"1.\xff\x00 not json\n"))
            }
            Some(Fault::LongLine(length)) => {
                self.waiting = Some(line);
                let mut long = vec![b'x'; length];
                long.push(b'\n');
                Some(long.into())
            }
            Some(Fault::HalfLine) => {
                self.ended = true;
                let half: Vec<u8> = line.bytes().take(line.len() / 2).collect();
                Some(half.into())
            }
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Die { back_after }) => {
                self.inner.die_soon(back_after);
                std::future::pending().await
            }
            Some(Fault::Refuse | Fault::CloseAfter(_)) => None,
            Some(Fault::Answer { body, .. }) => Some(format!("{body}\n").into()),
            None | Some(Fault::Delay(_) | Fault::Hold(_)) => Some(line.into()),
        }
    }
}

/// Answers a watcher with a stream that lives as long as its connection.
pub(super) fn watch(inner: &std::sync::Arc<Inner>, mask: u64) -> Response<Body> {
    let (id, first, queue) = inner.backend().open_session(mask);
    let watch = Watch {
        inner: std::sync::Arc::clone(inner),
        id,
        first,
        queue,
        waiting: None,
        ended: false,
    };
    let frames = stream::unfold(watch, |mut watch| async move {
        let bytes = watch.next().await?;
        Some((Ok::<_, BoxError>(Frame::data(bytes)), watch))
    });
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

impl Backend {
    /// Registers a session and makes its first message, in one step, so that nothing falls between.
    fn open_session(&mut self, mask: u64) -> (String, Option<String>, mpsc::Receiver<String>) {
        let id = data_encoding::HEXLOWER.encode(&rand::random::<[u8; 8]>());
        let queue = self.bus.open(&id, mask);
        let mut fields = Vec::new();
        if mask & INITIAL_STATE != 0 {
            fields.push(("SessionID", json!(id)));
            fields.push(("State", json!(self.node.state().number())));
            if let Some(url) = self.sign_in_link_on_bus() {
                fields.push(("BrowseToURL", json!(url)));
            }
        }
        if mask & INITIAL_PREFS != 0 {
            fields.push(("Prefs", self.node.prefs.document()));
        }
        if mask & INITIAL_NETWORK_MAP != 0 {
            fields.extend(self.network_map());
        }
        if mask & INITIAL_HEALTH != 0 && !fields.is_empty() {
            fields.push(("Health", self.node.health()));
        }
        let first = (!fields.is_empty()).then(|| notification(&self.node.version, &fields));
        (id, first, queue)
    }
}
