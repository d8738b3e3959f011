//! Comment lines in a silent event stream, so that nobody on the way takes it for dead. OpenClaw sends none for 40 s and
//! more (2026.9.6).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use tokio::time::{Instant, Sleep, sleep};

/// A comment without a blank line after it: some client libraries take a blank line for an event where the last one had
/// an id.
const COMMENT: &[u8] = b": keep-alive\n";

/// Watches one event stream.
pub(crate) struct KeepAlive {
    silence: Duration,
    heard: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
    /// The last bytes, oldest first; as after an event at the start.
    tail: [u8; 3],
}

impl KeepAlive {
    /// For an answer that is an event stream in plain text. Others are not touched.
    pub fn new(headers: &HeaderMap, silence: Duration) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next()?.trim();
        if !kind.eq_ignore_ascii_case("text/event-stream") || headers.contains_key(CONTENT_ENCODING)
        {
            return None;
        }
        Some(Self {
            silence,
            heard: Instant::now(),
            alarm: None,
            tail: *b"\n\n\n",
        })
    }

    /// Sees what goes through.
    pub fn saw(&mut self, data: &[u8]) {
        self.heard = Instant::now();
        let skipped = data.len().saturating_sub(self.tail.len());
        for byte in data.iter().skip(skipped) {
            let [_, second, third] = self.tail;
            self.tail = [second, third, *byte];
        }
    }

    /// A comment, as soon as the stream was silent for long enough.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        let silence = self.silence;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(silence)));
        loop {
            ready!(alarm.as_mut().poll(context));
            let due = self.heard + silence;
            let now = Instant::now();
            if due > now {
                alarm.as_mut().reset(due);
                continue;
            }
            alarm.as_mut().reset(now + silence);
            self.heard = now;
            // In the middle of an event, or of a line, a comment would tear it.
            if self.tail.ends_with(b"\n\n") || self.tail == *b"\n\r\n" {
                return Poll::Ready(Bytes::from_static(COMMENT));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    const SILENCE: Duration = Duration::from_secs(15);

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn watch() -> KeepAlive {
        let stream = headers(&[("content-type", "text/event-stream; charset=utf-8")]);
        KeepAlive::new(&stream, SILENCE).unwrap()
    }

    async fn comes_within(keep_alive: &mut KeepAlive, time: Duration) -> bool {
        timeout(time, poll_fn(|context| keep_alive.poll(context)))
            .await
            .is_ok()
    }

    #[test]
    fn only_plain_event_streams_are_touched() {
        for fields in [
            &[][..],
            &[("content-type", "application/json")],
            &[("content-type", "text/event-streams")],
            &[
                ("content-type", "text/event-stream"),
                ("content-encoding", "gzip"),
            ],
        ] {
            assert!(
                KeepAlive::new(&headers(fields), SILENCE).is_none(),
                "{fields:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_comment_comes_after_each_silence() {
        let mut keep_alive = watch();
        for data in ["", "data: 1\n\n", "data: 1\r\n\r\n", "data: 1\r\n\n"] {
            keep_alive.saw(data.as_bytes());
            assert!(!comes_within(&mut keep_alive, SILENCE - Duration::from_millis(10)).await);
            assert!(
                comes_within(&mut keep_alive, Duration::from_millis(20)).await,
                "{data:?}"
            );
        }
        assert!(comes_within(&mut keep_alive, SILENCE * 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_comes_inside_an_event() {
        for data in [
            "data: 1",
            "data: 1\n",
            "data: 1\r\n",
            "data: 1\r\n\r",
            "\n\ndata",
            "data: 1\r\r",
        ] {
            let mut keep_alive = watch();
            for byte in data.as_bytes() {
                keep_alive.saw(std::slice::from_ref(byte));
            }
            assert!(
                !comes_within(&mut keep_alive, SILENCE * 9).await,
                "{data:?}"
            );
        }
    }
}
