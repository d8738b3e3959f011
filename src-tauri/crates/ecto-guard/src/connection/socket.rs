//! The socket under a connection: what is read goes through the framing, request by request, before hyper sees it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use ecto_core::refusal::Refusal;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{FREE, Phase, Progress};
use crate::framing::{Breach, Framing};
use crate::limits::Limits;
use crate::room::Taken;
use crate::together::poll_write_together;

/// How much is read at once of what comes too early, in bytes.
const READ: usize = 1024;

/// The socket, telling what it sees to [`Progress`], and keeping from hyper what breaks the framing.
pub(super) struct Socket<S> {
    stream: S,
    progress: Progress,
    framing: Framing,
    /// What came behind the request that is on its way, or under way. hyper never sees it before its turn, so that it
    /// reads on meanwhile, and notices that a client left.
    ahead: BytesMut,
    /// The most that is read ahead.
    most_ahead: usize,
    /// What the head that is on its way and what came ahead take up.
    held: Taken,
    /// Whether everything that was written before has left.
    flushed: bool,
}

impl<S> Socket<S> {
    /// Takes up room out of which `held` takes nothing yet.
    pub fn new(stream: S, progress: Progress, limits: &Limits, held: Taken) -> Self {
        Self {
            stream,
            progress,
            framing: Framing::new(limits.head_bytes),
            ahead: BytesMut::new(),
            most_ahead: limits.head_bytes,
            held,
            flushed: true,
        }
    }

    /// What is below, and whether everything that was written has left.
    pub fn into_parts(self) -> (S, bool) {
        (self.stream, self.flushed)
    }

    /// Whether what is held finds room, with so much more.
    fn has_room_for(&mut self, more: usize) -> bool {
        let held = self.framing.head_so_far() + self.ahead.len() + more;
        if held <= FREE {
            self.held.give_back();
            return true;
        }
        self.held.grow_to(held)
    }

    fn breach(&mut self, breach: Breach) {
        self.progress.state().breach = Some(breach);
        self.ahead = BytesMut::new();
    }

    /// What is read after a breach. While an answer is under way, or not gone yet, nothing: it is finished first.
    fn read_after_breach(&self, breach: &Breach, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.progress.state();
        if !breach.in_body && (state.phase == Phase::Serving || !self.flushed) {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }

    /// Gives hyper what belongs to one request, of what stands behind `before` in its buffer. The rest waits ahead.
    fn follow(
        &mut self,
        before: usize,
        buffer: &mut ReadBuf<'_>,
        context: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        let read = buffer.filled().get(before..).unwrap_or_default();
        let too_busy = Breach {
            refusal: Refusal::TooBusy,
            good: 0,
            in_body: false,
        };
        match self.framing.follow(read) {
            Ok(taken) => {
                // What came from ahead is still there.
                let rest = read.get(taken..).unwrap_or_default();
                if self.ahead.is_empty() {
                    self.ahead.extend_from_slice(rest);
                } else {
                    self.ahead.advance(taken);
                    if self.ahead.is_empty() {
                        self.ahead = BytesMut::new();
                    }
                }
                buffer.set_filled(before + taken);
                if self.has_room_for(0) {
                    return Poll::Ready(Ok(()));
                }
                self.breach(too_busy);
                if self.framing.head_so_far() == 0 {
                    // What was read belongs to a request that is whole.
                    return Poll::Ready(Ok(()));
                }
                buffer.set_filled(before);
                self.read_after_breach(&too_busy, context)
            }
            Err(breach) => {
                self.breach(breach);
                buffer.set_filled(before + breach.good);
                if breach.good > 0 {
                    return Poll::Ready(Ok(()));
                }
                self.read_after_breach(&breach, context)
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Socket<S> {
    /// While a request is under way: reads ahead as far as there is room, and is ready when the client has left. One that
    /// sent more than that is noticed to have left when something is written.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let is_full = self.ahead.len() + READ > self.most_ahead;
            if is_full || !self.has_room_for(READ) {
                self.wait(context);
                return Poll::Pending;
            }
            let mut space = [MaybeUninit::uninit(); READ];
            let mut buffer = ReadBuf::uninit(&mut space);
            let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, &mut buffer)
            else {
                if !self.ahead.is_empty() {
                    self.wait(context);
                }
                return Poll::Pending;
            };
            if read.is_err() || buffer.filled().is_empty() {
                self.progress.state().client_closed = true;
                return Poll::Ready(read);
            }
            self.ahead.extend_from_slice(buffer.filled());
        }
    }

    /// hyper does not ask again by itself for what is there already.
    fn wait(&self, context: &Context<'_>) {
        self.progress.state().reader = Some(context.waker().clone());
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (breach, phase) = {
            let state = self.progress.state();
            (state.breach, state.phase)
        };
        if let Some(breach) = breach {
            return self.read_after_breach(&breach, context);
        }
        if phase == Phase::Serving && self.framing.is_between_requests() {
            return self.poll_left(context);
        }
        let before = buffer.filled().len();
        if self.ahead.is_empty() {
            let result = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
            if result.is_err() || (buffer.filled().len() == before && buffer.remaining() > 0) {
                self.progress.state().client_closed = true;
                return Poll::Ready(result);
            }
        } else {
            let count = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(self.ahead.get(..count).unwrap_or_default());
        }
        self.progress.saw_bytes();
        self.follow(before, buffer, context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.flushed = false;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.progress
            .wrote(written.is_ready(), left(bytes.len(), &written));
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushed = true;
        let reader = {
            let mut state = self.progress.state();
            let waits = state.breach.is_some() && state.phase != Phase::Serving;
            state.reader.take_if(|_| waits)
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.flushed = false;
        let written = poll_write_together(Pin::new(&mut self.stream), context, slices);
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.progress
            .wrote(written.is_ready(), left(length, &written));
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// How much of so many bytes was not written.
fn left(length: usize, written: &Poll<io::Result<usize>>) -> usize {
    match written {
        Poll::Ready(Ok(count)) => length.saturating_sub(*count),
        Poll::Ready(Err(_)) | Poll::Pending => length,
    }
}
