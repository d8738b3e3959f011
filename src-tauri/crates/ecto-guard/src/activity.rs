//! What went through: one line for each request, and the counts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::foreign::ForeignText;
use ecto_core::key::PREFIX;
use ecto_core::ports::{Activity, Clock, Recorder, RequestLine};
use ecto_core::refusal::Refusal;
use http::Method;
use tokio::sync::{Notify, watch};

use crate::caller::UNREAD;

/// The status in the line of a request whose client went away, or was cut off, before an answer began. Never sent;
/// nginx uses the same number.
const CLIENT_WENT_AWAY: u16 = 499;

/// What stands for the route of a connection that there was no room for.
pub(crate) const TURNED_AWAY: &str = "(a connection too many)";

/// What stands for the route of a request whose head could not be read.
pub(crate) const UNREADABLE: &str = "(a head that could not be read)";

/// How long nothing is told after something was: whoever watches is not woken for each request.
const TELLING_PAUSE: Duration = Duration::from_secs(1);

/// Who keeps the lines. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Register(Arc<Book>);

struct Book {
    clock: Arc<dyn Clock>,
    recorder: Option<Arc<dyn Recorder>>,
    activity: Mutex<Activity>,
    changed: Notify,
    told: watch::Sender<Activity>,
}

impl Register {
    /// An empty one. Every line goes to `recorder` too.
    pub fn new(clock: Arc<dyn Clock>, recorder: Option<Arc<dyn Recorder>>) -> Self {
        Self(Arc::new(Book {
            clock,
            recorder,
            activity: Mutex::default(),
            changed: Notify::new(),
            told: watch::Sender::default(),
        }))
    }

    /// What went through, as far as it was told.
    pub fn watch(&self) -> watch::Receiver<Activity> {
        self.0.told.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Activity)) {
        let activity = &self.0.activity;
        change(&mut activity.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.changed.notify_one();
    }

    /// Tells whoever watches what went through so far.
    pub fn tell(&self) {
        let activity = self.0.activity.lock();
        let activity = activity.unwrap_or_else(PoisonError::into_inner).clone();
        self.0.told.send_if_modified(|told| {
            let is_new = *told != activity;
            *told = activity;
            is_new
        });
    }

    /// Tells of what changes, at once and then at most once in [`TELLING_PAUSE`]. Goes on until it is dropped.
    pub async fn keep_telling(&self) {
        loop {
            self.0.changed.notified().await;
            self.tell();
            tokio::time::sleep(TELLING_PAUSE).await;
        }
    }

    /// Writes the line of something that never became a request. Who called is not known.
    pub fn note(&self, what: &'static str, refusal: Refusal) {
        let mut line = self.line(ForeignText::new(UNREAD), ForeignText::new(what));
        line.set_refused(refusal.status());
    }

    /// Begins the line of a request. It is written when the line is dropped.
    pub fn begin(&self, caller: ForeignText, method: &Method, path: &str) -> Line {
        self.line(caller, describe_request(method, path))
    }

    fn line(&self, caller: ForeignText, route: ForeignText) -> Line {
        Line {
            register: self.clone(),
            at: self.0.clock.now(),
            began: self.0.clock.uptime(),
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

/// The longest path that is kept, in bytes, and the longest part of one. No route of the gateway has one as long; keys and
/// tokens do.
const LONGEST_PATH: usize = 160;
const LONGEST_PART: usize = 40;

/// What was asked for, for a person: never the query, and never something that looks like a key, however it is written.
fn describe_request(method: &Method, path: &str) -> ForeignText {
    // Only what is kept is looked at: looking takes longer the more often something is written as numbers of bytes.
    let end = path.floor_char_boundary(LONGEST_PATH);
    let (kept, rest) = path.split_at(end);
    let method = method.as_str();
    let method = if method.len() > LONGEST_PART || has_key(method.as_bytes()) {
        "(a method)"
    } else {
        method
    };
    if has_key(format!("{method} {kept}").as_bytes()) {
        return ForeignText::new(format!("{method} (a path with a key in it)"));
    }
    let parts = kept.split('/').map(|part| {
        if part.len() > LONGEST_PART {
            "…"
        } else {
            part
        }
    });
    let kept = parts.collect::<Vec<_>>().join("/");
    let is_cut = !rest.is_empty() && !kept.ends_with('…');
    let more = if is_cut { "…" } else { "" };
    ForeignText::new(format!("{method} {kept}{more}"))
}

/// Whether a key begins somewhere, in any case, and written as often as one likes as the numbers of its bytes.
fn has_key(text: &[u8]) -> bool {
    let mut text = text.to_ascii_lowercase();
    let prefix = PREFIX.as_bytes();
    loop {
        if text.windows(prefix.len()).any(|window| window == prefix) {
            return true;
        }
        let decoded = decode(&text);
        if decoded.len() == text.len() {
            return false;
        }
        text = decoded.to_ascii_lowercase();
    }
}

/// Takes every `%` with two digits for a byte.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digit = |place: usize| char::from(*after.get(place)?).to_digit(16);
        let byte = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            (_, _, _) => None,
        };
        decoded.push(byte.unwrap_or(*first));
        rest = after
            .get(if byte.is_some() { 2.. } else { 0.. })
            .unwrap_or_default();
    }
    decoded
}

enum Stage {
    Arrived,
    Answered,
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
    /// What Ecto itself asks leaves no line.
    pub fn keep_out(&mut self) {
        self.written = false;
    }

    /// When it came.
    pub fn began_at(&self) -> Timestamp {
        self.at
    }

    /// Whose key it was.
    pub fn set_key(&mut self, name: Arc<str>) {
        self.key = Some(name);
    }

    /// The request goes to the gateway.
    pub fn set_under_way(&mut self) {
        self.stage = Stage::UnderWay;
        if self.written {
            self.register.change(|activity| activity.in_flight += 1);
        }
    }

    /// The gateway answers.
    pub fn set_passed(&mut self, status: u16) {
        self.stage = match self.stage {
            Stage::UnderWay => Stage::Passed,
            Stage::Arrived | Stage::Answered | Stage::Passed => return,
        };
        self.status = status;
    }

    /// The guard answers by itself what the gateway knows nothing of: nothing was let through, and nothing refused.
    pub fn set_answered(&mut self, status: u16) {
        self.stage = Stage::Answered;
        self.status = status;
    }

    /// The guard refuses it.
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
        let duration = self.register.0.clock.uptime().saturating_sub(self.began);
        let line = RequestLine {
            at: self.at,
            key: self.key.as_deref().map(str::to_owned),
            address: std::mem::take(&mut self.caller),
            route: std::mem::take(&mut self.route),
            status: self.status,
            bytes: self.bytes,
            milliseconds: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        };
        // The record is bounded and the log is not: strangers must not fill a disk with it.
        tracing::debug!(
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
        if let Some(recorder) = &self.register.0.recorder {
            recorder.keep(&line);
        }
        self.register.change(|activity| {
            match self.stage {
                Stage::Arrived => activity.refused += 1,
                Stage::Answered => {}
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

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn uptime(&self) -> Duration {
            Duration::ZERO
        }
    }

    /// Each round of decoding takes off two bytes of what is written like this.
    #[test]
    fn a_line_is_soon_written_however_often_its_path_is_to_be_decoded() {
        let began = std::time::Instant::now();
        let path = format!("/%{}", "25".repeat(15_000));
        let method = Method::from_bytes(path.replace('/', "").as_bytes()).unwrap();
        let told = describe_request(&method, &path).to_string();
        assert_eq!(told, "(a method) /…");
        assert!(began.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn no_key_gets_into_a_line_however_it_is_written() {
        let described = |method: &str, path: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            describe_request(&method, path).to_string()
        };
        let all = |text: &str, write: fn(u8) -> String| text.bytes().map(write).collect::<String>();
        let once = all("ecto_", |byte| format!("%{byte:02x}"));
        let twice = all(&once, |byte| format!("%{byte:02X}"));
        for key in [
            "ecto_",
            "ECTO_",
            "%65cto_",
            "%65%43TO%5f",
            "%2565cto_",
            &once,
            &twice,
        ] {
            let path = format!("/v1/{key}abcdefghijklmnop/models");
            assert_eq!(
                described("GET", &path),
                "GET (a path with a key in it)",
                "{key}"
            );
        }
        assert_eq!(described("ecto_x", "/"), "(a method) /");
        let beyond = format!("{}ecto_abcdefghijklmnop", "/abc".repeat(60));
        assert!(!described("GET", &beyond).contains("ecto_"));
        // Without what it begins with, it is still too long to be the name of something.
        let bare = "x".repeat(43);
        assert_eq!(described("GET", &format!("/a/{bare}/b")), "GET /a/…/b");
        let long = "/abc".repeat(1000);
        let told = described("GET", &long);
        assert!(told.len() < 200 && told.ends_with('…'), "{told}");
        for path in [
            "/",
            "*",
            "/v1/chat/completions",
            "/v1/models/openclaw%2Fpublic",
            "/hooks/agent/some-mapping_of-mine",
            "/%zz%",
            "/v1/%E2%82%AC",
        ] {
            assert_eq!(described("GET", path), format!("GET {path}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_watches_is_told_at_once_and_then_once_a_second() {
        let register = Register::new(Arc::new(Still), None);
        let telling = register.clone();
        let _telling = tokio::spawn(async move { telling.keep_telling().await });
        let mut watching = register.watch();
        let began = Instant::now();
        let mut told = Vec::new();
        for request in 1..=10_u64 {
            register.note(UNREADABLE, Refusal::Malformed);
            if request == 1 {
                watching.changed().await.unwrap();
                assert_eq!(began.elapsed(), Duration::ZERO);
                told.push(watching.borrow_and_update().refused);
            }
            tokio::time::sleep(Duration::from_millis(230)).await;
            if watching.has_changed().unwrap() {
                told.push(watching.borrow_and_update().refused);
            }
        }
        assert_eq!(told, [1, 5, 9]);
        watching.changed().await.unwrap();
        assert_eq!(watching.borrow().refused, 10);
        let none = tokio::time::timeout(TELLING_PAUSE * 3, watching.changed()).await;
        assert!(none.is_err(), "told of nothing new");
    }
}
