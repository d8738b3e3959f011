//! One connection of a client: its time limits, and what ends it.

mod socket;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ecto_core::refusal::Refusal;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::activity::UNREADABLE;
use crate::address::Visit;
use crate::answer::refusal_bytes;
use crate::framing::Breach;
use crate::key::Place;
use crate::limits::Limits;
use crate::passage::{Passage, Shared};
use crate::room::Taken;

use socket::Socket;

/// The smallest buffer that hyper works with.
const SMALLEST_BUFFER: usize = 8 * 1024;
/// The largest buffer for what was read and not yet taken, in bytes. Larger than a head, for bodies.
pub(crate) const BUFFER: usize = 64 * 1024;
/// How much of a head, and of an answer that waits to be written, is not counted.
const FREE: usize = 4 * 1024;

/// What a connection is doing, seen from the task that serves it, the socket and the request under way.
#[derive(Clone)]
pub(crate) struct Progress(Arc<Mutex<State>>);

struct State {
    limits: Arc<Limits>,
    phase: Phase,
    turn: u64,
    cut: Option<CancellationToken>,
    client_closed: bool,
    breach: Option<Breach>,
    /// When a client that leaves unread what it is sent is given up.
    unread_until: Option<Instant>,
    /// How much of answers waits to be written.
    unwritten: usize,
    /// What that takes up.
    answer: Taken,
    /// Whoever reads, where nothing but the end of the turn or of a writing brings it on.
    reader: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Before the first request, or between two.
    Resting { until: Instant },
    /// A head is on its way.
    Head { until: Instant },
    /// A request is under way.
    Serving,
}

impl Progress {
    fn new(limits: Arc<Limits>, answer: Taken) -> Self {
        let until = Instant::now() + limits.rest;
        Self(Arc::new(Mutex::new(State {
            limits,
            phase: Phase::Resting { until },
            turn: 0,
            cut: None,
            client_closed: false,
            breach: None,
            unread_until: None,
            unwritten: 0,
            answer,
            reader: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request. It lasts until the turn is dropped.
    pub fn begin(&self) -> Turn {
        let mut state = self.state();
        state.phase = Phase::Serving;
        state.turn += 1;
        state.cut = None;
        Turn {
            progress: self.clone(),
            place: None,
            visit: None,
        }
    }

    fn saw_bytes(&self) {
        let mut state = self.state();
        if let Phase::Resting { .. } = state.phase {
            let until = Instant::now() + state.limits.head_time;
            state.phase = Phase::Head { until };
        }
    }

    /// What is said of a head that breaks the framing.
    fn breached_head(&self) -> Option<Refusal> {
        let breach = self.state().breach?;
        (!breach.in_body).then_some(breach.refusal)
    }

    /// Whether a head has begun, and not ended.
    fn is_inside_head(&self) -> bool {
        let state = self.state();
        matches!(state.phase, Phase::Head { .. }) && state.unread_until.is_none()
    }

    fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        match state.phase {
            Phase::Resting { until } | Phase::Head { until } => {
                Some(state.unread_until.map_or(until, |unread| unread.min(until)))
            }
            Phase::Serving => state.unread_until,
        }
    }

    /// Takes down whether the client takes what it is sent, and how much is left of it.
    fn wrote(&self, is_taken: bool, left: usize) {
        let mut state = self.state();
        state.unwritten = left;
        if left <= FREE {
            state.answer.give_back();
        }
        if is_taken {
            state.unread_until = None;
        } else if state.unread_until.is_none() {
            state.unread_until = Some(Instant::now() + state.limits.write_silence);
        }
    }
}

/// One request under way on a connection.
pub(crate) struct Turn {
    progress: Progress,
    place: Option<Place>,
    visit: Option<Visit>,
}

impl Turn {
    /// Ends the connection as soon as `cut` is cancelled.
    pub fn end_with(&self, cut: CancellationToken) {
        self.progress.state().cut = Some(cut);
    }

    /// Whether more of an answer may be taken from the gateway: what waits to be written has to find room. Where it may
    /// not, the task is woken when that changes.
    pub fn may_take_more(&self, context: &Context<'_>) -> bool {
        let mut state = self.progress.state();
        let unwritten = state.unwritten;
        if unwritten <= FREE || state.answer.grow_to(unwritten) {
            return true;
        }
        if state.unread_until.is_none() {
            // It is written as soon as nothing more is to be had.
            context.waker().wake_by_ref();
        }
        false
    }

    /// Takes down how much of an answer was handed over to be written.
    pub fn hand_over(&self, bytes: usize) {
        self.progress.state().unwritten += bytes;
    }

    /// Gives its places back before it ends, where it is refused.
    pub fn give_back(&mut self) {
        self.place = None;
        self.visit = None;
    }

    /// Keeps the place among the requests of its key, until it ends.
    pub fn keep(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// Keeps the place among the requests of its address, until it ends.
    pub fn keep_visit(&mut self, visit: Option<Visit>) {
        self.visit = visit;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.progress.state();
        state.cut = None;
        let until = Instant::now() + state.limits.rest;
        state.phase = Phase::Resting { until };
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// How serving came to an end.
enum Ending {
    /// Everything was said, by either side.
    Said,
    /// Too long at rest, or its key was taken away.
    CutOff,
    /// A head that began and did not come to its end in time.
    HeadTooSlow,
}

/// Serves one client until one side ends the connection, a limit is reached, or the holder of the request under way
/// loses its key. Dropping the future ends everything at once, on both sides.
pub(crate) async fn serve<S>(stream: S, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = &shared.limits;
    let progress = Progress::new(limits.clone(), shared.room.nothing());
    let socket = Socket::new(stream, progress.clone(), limits, shared.room.nothing());
    let passage = Passage::new(shared.clone(), progress.clone());
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(BUFFER.max(limits.head_bytes).max(SMALLEST_BUFFER))
        .serve_connection(TokioIo::new(socket), passage);

    let mut alarm = Box::pin(sleep_until(Instant::now()));
    let mut watched_turn = 0;
    let mut watched_cut = pin!(None);
    let ending = poll_fn(|context| {
        if connection.poll_without_shutdown(context).is_ready() {
            return Poll::Ready(Ending::Said);
        }
        if let Some(deadline) = progress.deadline() {
            if alarm.deadline() != deadline {
                alarm.as_mut().reset(deadline);
            }
            if alarm.as_mut().poll(context).is_ready() {
                return Poll::Ready(if progress.is_inside_head() {
                    Ending::HeadTooSlow
                } else {
                    Ending::CutOff
                });
            }
        }
        {
            let state = progress.state();
            match &state.cut {
                None => watched_cut.set(None),
                Some(cut) if watched_cut.is_none() || state.turn != watched_turn => {
                    watched_turn = state.turn;
                    watched_cut.set(Some(cut.clone().cancelled_owned()));
                }
                Some(_) => {}
            }
        }
        match watched_cut.as_mut().as_pin_mut() {
            Some(cut) => cut.poll(context).map(|()| Ending::CutOff),
            None => Poll::Pending,
        }
    })
    .await;

    let refusal = match ending {
        Ending::CutOff => return,
        Ending::Said if progress.state().client_closed => return,
        Ending::HeadTooSlow => Some(Refusal::HeadTooSlow),
        Ending::Said => progress.breached_head(),
    };
    let socket = connection.into_parts().io.into_inner();
    if let Some(refusal) = refusal {
        shared.register.note(UNREADABLE, refusal);
    }
    // Set aside only now: it would make every connection as large as its buffer.
    Box::pin(say_farewell(socket, refusal, limits)).await;
}

/// Turns away a client for whom there is no room.
pub(crate) async fn turn_away<S>(mut stream: S, refusal: Refusal, limits: &Limits)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // What comes before a client has asked anything is no answer for it: Go's transport drops such a connection.
    let mut begun = vec![0; 4096];
    if let Ok(Ok(0) | Err(_)) = timeout(limits.farewell, stream.read(&mut begun)).await {
        return;
    }
    close(stream, Some(refusal), begun, limits).await;
}

async fn say_farewell<S>(socket: Socket<S>, refusal: Option<Refusal>, limits: &Limits)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, flushed) = socket.into_parts();
    let refusal = refusal.filter(|_| flushed);
    close(stream, refusal, vec![0; 4096], limits).await;
}

/// Says why, closes the guard's side, and reads what the client still sends, for a moment: closing with bytes unread would
/// reset the connection, and the client might never read why it was refused.
async fn close<S>(mut stream: S, refusal: Option<Refusal>, mut waste: Vec<u8>, limits: &Limits)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = timeout(limits.farewell, async {
        if let Some(refusal) = refusal {
            let answer = refusal_bytes(refusal);
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        if stream.shutdown().await.is_err() {
            return;
        }
        while matches!(stream.read(&mut waste).await, Ok(count) if count > 0) {}
    })
    .await;
}

#[cfg(test)]
mod tests;
