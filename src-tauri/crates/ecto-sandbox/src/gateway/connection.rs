//! Connections to the gateway: accepted, recorded, broken where a test says so.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::http::Exchange;
use super::path::normalise;
use super::record::{Outcome, Request};
use super::response::{Body, respond};
use super::state::{Order, State};
use crate::faults::Fault;

/// The time a broken answer gets to reach the wire.
const FLUSH: Duration = Duration::from_millis(30);

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the gateway closes the connection")]
pub(crate) struct Closed;

/// Accepts connections until the process ends.
pub(crate) async fn accept(state: Arc<State>, listener: TcpListener, cut: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = cut.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(converse(Arc::clone(&state), stream, cut.clone()));
                }
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn converse(state: Arc<State>, stream: TcpStream, cut: CancellationToken) {
    match state.faults.pass("connect").await {
        None
        | Some(
            Fault::CloseAfter(_)
            | Fault::GarbageLine
            | Fault::HalfLine
            | Fault::LongLine(_)
            | Fault::Delay(_)
            | Fault::Hold(_),
        ) => {}
        Some(Fault::Silence) => {
            cut.cancelled().await;
            drop(stream);
            return;
        }
        Some(Fault::Die { back_after }) => return state.order(Order::Die(back_after)),
        Some(Fault::Refuse | Fault::Answer { .. }) => return,
    }
    let service = service_fn(move |request| handle(Arc::clone(&state), cut.clone(), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::trace!(%error, "a connection to the stand-in gateway ended early");
    }
}

/// One request in the record, until its answer was handed over whole.
struct Entry {
    state: Arc<State>,
    place: usize,
    done: bool,
}

impl Entry {
    fn finish(&mut self, status: StatusCode) {
        if !self.done {
            self.done = true;
            self.state.record.update(self.place, |request| {
                request.outcome = Outcome::Answered(status)
            });
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.done {
            self.state
                .record
                .update(self.place, |request| request.outcome = Outcome::CutOff);
        }
    }
}

/// A body that tells the record when it was handed over whole, and that can break off early.
struct Tracked {
    inner: Body,
    entry: Entry,
    status: StatusCode,
    break_after: Option<usize>,
    flushed: Pin<Box<Sleep>>,
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.break_after == Some(0) {
            // What was handed over must reach the wire before the connection breaks.
            ready!(self.flushed.as_mut().poll(context));
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        let status = self.status;
        match polled {
            Poll::Ready(None) => {
                self.entry.finish(status);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(frame))) => {
                let frame = match (self.break_after, frame.into_data()) {
                    (Some(left), Ok(mut data)) => {
                        data.truncate(left);
                        self.break_after = Some(left - data.len());
                        Frame::data(data)
                    }
                    (None, Ok(data)) => Frame::data(data),
                    (_, Err(frame)) => frame,
                };
                if self.break_after.is_none() && self.inner.is_end_stream() {
                    self.entry.finish(status);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            other @ (Poll::Ready(Some(Err(_))) | Poll::Pending) => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.break_after.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn track(response: Response<Body>, mut entry: Entry, break_after: Option<usize>) -> Response<Body> {
    let status = response.status();
    response.map(|inner| {
        if break_after.is_none() && inner.is_end_stream() {
            entry.finish(status);
        }
        Tracked {
            inner,
            entry,
            status,
            break_after,
            flushed: Box::pin(tokio::time::sleep(FLUSH)),
        }
        .boxed()
    })
}

async fn handle(
    state: Arc<State>,
    cut: CancellationToken,
    request: http::Request<Incoming>,
) -> Result<Response<Body>, Closed> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    let path = normalise(&target);
    let place = state.record.add_request(Request {
        method: request.method().clone(),
        target,
        path: path.clone(),
        headers: request.headers().clone(),
        body: Bytes::new(),
        agent: None,
        outcome: Outcome::Open,
    });
    let entry = Entry {
        state: Arc::clone(&state),
        place,
        done: false,
    };
    let point = format!("{} {path}", request.method());
    let mut break_after = None;
    match state.faults.pass(&point).await {
        None
        | Some(
            Fault::GarbageLine
            | Fault::HalfLine
            | Fault::LongLine(_)
            | Fault::Delay(_)
            | Fault::Hold(_),
        ) => {}
        Some(Fault::CloseAfter(bytes)) => break_after = Some(bytes),
        Some(Fault::Refuse) => return Err(Closed),
        Some(Fault::Die { back_after }) => {
            state.order(Order::Die(back_after));
            return Err(Closed);
        }
        Some(Fault::Silence) => {
            cut.cancelled().await;
            return Err(Closed);
        }
        Some(Fault::Answer {
            status,
            headers,
            body,
        }) => {
            return Ok(track(scripted(status, &headers, body), entry, None));
        }
    }
    let exchange = Exchange {
        state,
        cut,
        path,
        place,
    };
    let response = exchange.answer(request).await?;
    Ok(track(response, entry, break_after))
}

fn scripted(status: u16, headers: &[(String, String)], body: String) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(status, "text/plain; charset=utf-8", body);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::try_from(name),
            HeaderValue::from_str(value),
        ) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
