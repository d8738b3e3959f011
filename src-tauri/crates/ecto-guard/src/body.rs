//! The request's body on its way to the gateway: counted, and not waited for without end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use ecto_core::refusal::Refusal;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::connection::BUFFER;
use crate::limits::Limits;
use crate::room::Taken;

/// How much of one body is held at most, in bytes: on the client's side, and on the gateway's.
pub(crate) const MOST_HELD: usize = 2 * BUFFER;

/// The longest body that is read although nobody wants it, in bytes.
const SHORT: u64 = 64 * 1024;

/// Reads a short body that nobody wants, for at most `within`, and says whether it came to its end. Over HTTP/2 an answer
/// that ends before the client's body has left resets the stream, and curl (7.88) shows that in place of the answer.
pub(crate) async fn hear_out<B>(mut body: B, within: Duration) -> bool
where
    B: Body + Unpin,
{
    if body.is_end_stream() {
        return true;
    }
    if body.size_hint().upper().is_none_or(|length| length > SHORT) {
        return false;
    }
    let heard = timeout(within, async {
        loop {
            match poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                None => return true,
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
            }
        }
    });
    heard.await.unwrap_or(false)
}

/// The body did not arrive as it should. Carries nothing: see [`BodyFault`] for why.
#[derive(Debug, thiserror::Error)]
#[error("the request's body did not arrive whole")]
pub(crate) struct BodyBroken;

/// Why a body that was on its way to the gateway did not arrive, for whoever waits for the gateway's answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct BodyFault(Arc<OnceLock<Refusal>>);

impl BodyFault {
    /// Why, where the body is at fault.
    pub fn get(&self) -> Option<Refusal> {
        self.0.get().copied()
    }

    fn set(&self, refusal: Refusal) -> BodyBroken {
        let _ = self.0.set(refusal);
        BodyBroken
    }
}

/// The body of a request to the gateway.
pub(crate) struct RequestBody(Option<Flow>);

struct Flow {
    incoming: Incoming,
    limit: u64,
    seen: u64,
    silence: Duration,
    until: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
    /// Whether it is the gateway that takes no more of it, so that no silence is the client's.
    is_held_back: bool,
    fault: BodyFault,
    _room: Taken,
}

impl RequestBody {
    /// No body.
    pub fn none() -> Self {
        Self(None)
    }

    /// What the client sends, as much and for as long as the limits say.
    pub fn new(incoming: Incoming, limits: &Limits, room: Taken, fault: BodyFault) -> Self {
        Self(Some(Flow {
            incoming,
            limit: limits.body_bytes,
            seen: 0,
            silence: limits.body_silence,
            until: Instant::now() + limits.body_time,
            alarm: None,
            is_held_back: false,
            fault,
            _room: room,
        }))
    }
}

impl Flow {
    /// Sets the alarm to this moment, where there is none or it stands for something else.
    fn poll_alarm(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        if alarm.deadline() != until {
            alarm.as_mut().reset(until);
        }
        alarm.as_mut().poll(context)
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) else {
                let until = match &self.alarm {
                    Some(alarm) if !self.is_held_back => alarm.deadline(),
                    Some(_) | None => self.until.min(Instant::now() + self.silence),
                };
                self.is_held_back = false;
                ready!(self.poll_alarm(until, context));
                return Poll::Ready(Some(Err(self.fault.set(Refusal::BodyTooSlow))));
            };
            self.is_held_back = false;
            if let Some(alarm) = &mut self.alarm {
                let until = self.until.min(Instant::now() + self.silence);
                alarm.as_mut().reset(until);
            }
            match frame {
                None => return Poll::Ready(None),
                Some(Err(_)) => {
                    return Poll::Ready(Some(Err(self.fault.set(Refusal::Malformed))));
                }
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    self.seen = self.seen.saturating_add(data.len() as u64);
                    if self.seen > self.limit {
                        return Poll::Ready(Some(Err(self.fault.set(Refusal::BodyTooLarge))));
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
            }
        }
    }
}

impl RequestBody {
    /// Ready when the time for the whole body is over although it is the gateway that takes no more of it.
    pub fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(flow) = &mut self.0 else {
            return Poll::Pending;
        };
        flow.is_held_back = true;
        flow.poll_alarm(flow.until, context)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyBroken>>> {
        match &mut self.0 {
            None => Poll::Ready(None),
            Some(flow) => flow.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|flow| flow.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(flow) => flow.incoming.size_hint(),
        }
    }
}
