//! One connection to the gateway. It holds bytes only while there are some: a quiet stream costs a socket and no buffer.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

use super::body::Measure;
use super::head::{self, Head, Outgoing, Unreadable};
use crate::body::RequestBody;
use crate::together::poll_write_together;

/// How much is read at once, in bytes.
const READ: usize = 16 * 1024;
/// The most parts that are written at once: a head, and a chunk with what stands around it.
const PARTS: usize = 4;

/// A request as far as it is not written yet.
pub(super) struct Sending {
    parts: VecDeque<Bytes>,
    body: Option<RequestBody>,
    is_chunked: bool,
    began: bool,
}

impl Sending {
    /// All of it.
    pub fn new(request: Outgoing) -> Self {
        let (head, is_chunked) = head::write(&request);
        let body = request.body;
        Self {
            parts: VecDeque::from([head]),
            body: Some(body).filter(|body| !body.is_end_stream()),
            is_chunked,
            began: false,
        }
    }

    /// What was not read of its body.
    pub fn into_body(self) -> RequestBody {
        self.body.unwrap_or_else(RequestBody::none)
    }

    /// Takes the next part of the body, where there is one.
    fn poll_part(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Ok(()));
        };
        let data = match std::task::ready!(Pin::new(body).poll_frame(context)) {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => return Poll::Ready(Err(Stopped::Client)),
            None => {
                self.body = None;
                if self.is_chunked {
                    self.parts.push_back(Bytes::from_static(b"0\r\n\r\n"));
                }
                return Poll::Ready(Ok(()));
            }
        };
        if data.is_empty() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.is_chunked {
            let size = format!("{:X}\r\n", data.len());
            self.parts.push_back(Bytes::from(size));
            self.parts.push_back(data);
            self.parts.push_back(Bytes::from_static(b"\r\n"));
        } else {
            self.parts.push_back(data);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes as far as that goes. Ready when all is written, or when it cannot go on.
    fn poll(
        &mut self,
        stream: &mut TcpStream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Stopped>> {
        loop {
            if self.parts.len() < PARTS
                && let Poll::Ready(Err(stopped)) = self.poll_part(context)
            {
                return Poll::Ready(Err(stopped));
            }
            if self.parts.is_empty() {
                if self.body.is_some() {
                    return Poll::Pending;
                }
                return Poll::Ready(Ok(()));
            }
            let mut slices = [io::IoSlice::new(&[]); PARTS];
            for (slice, part) in slices.iter_mut().zip(&self.parts) {
                *slice = io::IoSlice::new(part);
            }
            let Poll::Ready(written) =
                poll_write_together(Pin::new(&mut *stream), context, &slices)
            else {
                let body = self.body.as_mut();
                let overdue = body.map_or(Poll::Pending, |body| body.poll_overdue(context));
                return overdue.map(|()| Err(Stopped::Overdue));
            };
            match written {
                Ok(count) if count > 0 => {
                    self.began = true;
                    self.wrote(count);
                }
                Ok(_) | Err(_) => return Poll::Ready(Err(Stopped::Gateway)),
            }
        }
    }

    fn wrote(&mut self, mut count: usize) {
        while let Some(part) = self.parts.front_mut() {
            if count < part.len() {
                part.advance(count);
                return;
            }
            count -= part.len();
            self.parts.pop_front();
        }
    }
}

/// Why a request does not go on being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// Its body does not arrive as it should.
    Client,
    /// The gateway left it unread for too long.
    Overdue,
    /// The gateway takes no more.
    Gateway,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// Not one byte was written.
    Unsent(Box<Sending>),
    /// Some was.
    Sent,
}

/// The gateway broke off, or sent what cannot be understood, in the middle of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the gateway's answer did not arrive whole")]
pub(crate) struct BrokenAnswer;

impl From<Unreadable> for BrokenAnswer {
    fn from(_: Unreadable) -> Self {
        Self
    }
}

/// One connection to the gateway.
pub(super) struct Link {
    stream: TcpStream,
    read: BytesMut,
}

impl Link {
    /// On a connection that is open.
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
        }
    }

    /// Whether nothing came that was not asked for, the end least of all.
    pub fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let read = self.stream.try_read(&mut byte);
        self.read.is_empty() && read.is_err_and(|fault| fault.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads what is there: how much.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // On the stack, so that it is there for this moment alone.
        let mut space = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        self.read.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, Unreadable>> {
        loop {
            match head::read(&mut self.read) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(unreadable) => return Poll::Ready(Err(unreadable)),
            }
            match std::task::ready!(self.poll_read(context)) {
                Ok(count) if count > 0 => {}
                Ok(_) | Err(_) => return Poll::Ready(Err(Unreadable)),
            }
        }
    }

    /// Sends a request and waits for the head of the answer, which may come before all is sent.
    pub async fn exchange(mut self, sending: Sending) -> Result<Response<Answer>, Unanswered> {
        let mut sending = Some(Box::new(sending));
        let mut cut_short = false;
        let head = poll_fn(|context| {
            if let Some(going) = &mut sending {
                match going.poll(&mut self.stream, context) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => sending = None,
                    Poll::Ready(Err(Stopped::Client | Stopped::Overdue)) => {
                        cut_short = true;
                        sending = None;
                        // It may have answered already. What it says of half a request is not waited for.
                        return Poll::Ready(match self.poll_head(context) {
                            Poll::Ready(head) => head.ok(),
                            Poll::Pending => None,
                        });
                    }
                    Poll::Ready(Err(Stopped::Gateway)) if !going.began => return Poll::Ready(None),
                    // It may have answered before.
                    Poll::Ready(Err(Stopped::Gateway)) => {
                        cut_short = true;
                        sending = None;
                    }
                }
            }
            self.poll_head(context).map(Result::ok)
        })
        .await;
        let Some(head) = head else {
            return Err(match sending {
                Some(sending) if !sending.began => Unanswered::Unsent(sending),
                Some(_) | None => Unanswered::Sent,
            });
        };
        let Head {
            answer,
            measure,
            keeps,
        } = head;
        Ok(answer.map(|()| Answer {
            link: self,
            sending,
            measure,
            keeps: keeps && !cut_short,
        }))
    }
}

/// The body of an answer as it comes, on its connection. Dropping it ends the connection.
pub(crate) struct Answer {
    link: Link,
    /// What is left of the request, where the gateway answered early.
    sending: Option<Box<Sending>>,
    measure: Measure,
    keeps: bool,
}

impl Answer {
    /// The connection, where it can take another request.
    pub(super) fn into_link(self) -> Option<Link> {
        let is_over = self.measure.is_ended() && self.sending.is_none();
        (is_over && self.keeps && self.link.is_quiet()).then_some(self.link)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        let this = &mut *self;
        if let Some(sending) = &mut this.sending {
            match sending.poll(&mut this.link.stream, context) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => this.sending = None,
                // The gateway answers all the same.
                Poll::Ready(Err(Stopped::Client | Stopped::Overdue | Stopped::Gateway)) => {
                    this.sending = None;
                    this.keeps = false;
                }
            }
        }
        loop {
            let data = this.measure.take(&mut this.link.read)?;
            if this.link.read.is_empty() {
                this.link.read = BytesMut::new();
            }
            if let Some(data) = data {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if this.measure.is_ended() {
                return Poll::Ready(None);
            }
            match std::task::ready!(this.link.poll_read(context)) {
                Ok(count) if count > 0 => {}
                Ok(_) if this.measure == Measure::UntilClose => this.measure = Measure::Ended,
                Ok(_) | Err(_) => return Poll::Ready(Some(Err(BrokenAnswer))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.measure.is_ended()
    }

    fn size_hint(&self) -> SizeHint {
        match self.measure {
            Measure::Left(left) => SizeHint::with_exact(left),
            Measure::Ended => SizeHint::with_exact(0),
            Measure::UntilClose | Measure::Chunks(_) => SizeHint::default(),
        }
    }
}
