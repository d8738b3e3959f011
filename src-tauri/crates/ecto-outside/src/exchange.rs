//! Requests and answers on one connection, each with a limit: no redirect is followed, no proxy is asked.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Its status.
    pub status: u16,
    /// Its body, where it was asked for and came whole.
    pub body: Bytes,
}

/// The connection ended before an answer began, or spoke something else than HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoReply;

/// What becomes of the body of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyUse {
    /// It is read.
    Read,
    /// It is read where the status is no success. That of a success is left alone: it may never end, and its status
    /// has to be known at once.
    ReadRefusals,
}

/// One connection.
pub(crate) struct Exchange {
    sender: SendRequest<Empty<Bytes>>,
    driver: Driver,
}

struct Driver(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Driver {
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(driver) = &mut self.0
            && driver.as_mut().poll(context).is_ready()
        {
            self.0 = None;
        }
    }

    async fn while_driving<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.drive(context);
            work.as_mut().poll(context)
        })
        .await
    }
}

impl Exchange {
    /// Speaks HTTP/1.1 over a connection.
    pub async fn over<S>(stream: S) -> Result<Self, NoReply>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| NoReply)?;
        let driver = Box::pin(async move {
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            driver: Driver(Some(driver)),
        })
    }

    /// Whether it takes another request.
    pub fn is_open(&mut self) -> bool {
        self.driver.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.0.is_some() && self.sender.is_ready()
    }

    /// Sends one request and reads the answer.
    pub async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
        body_use: BodyUse,
    ) -> Result<Reply, NoReply> {
        let sending = self.sender.send_request(request);
        let response = self
            .driver
            .while_driving(sending)
            .await
            .map_err(|_| NoReply)?;
        let status = response.status();
        let body = match body_use {
            BodyUse::ReadRefusals if status.is_success() => Bytes::new(),
            BodyUse::Read | BodyUse::ReadRefusals => {
                let reading = Limited::new(response.into_body(), LONGEST_ANSWER).collect();
                match self.driver.while_driving(reading).await {
                    Ok(body) => body.to_bytes(),
                    Err(_) => Bytes::new(),
                }
            }
        };
        Ok(Reply {
            status: status.as_u16(),
            body,
        })
    }
}

/// Waits for the first answer that is good. Returns it, and those that came before it and were not.
pub(crate) async fn first_good<T>(
    waiting: Vec<Pin<Box<dyn Future<Output = T> + Send + '_>>>,
    is_good: impl Fn(&T) -> bool,
) -> (Option<T>, Vec<T>) {
    let mut waiting = waiting;
    let mut others = Vec::new();
    let found = poll_fn(|context| {
        let mut index = 0;
        while let Some(one) = waiting.get_mut(index) {
            match one.as_mut().poll(context) {
                Poll::Pending => index += 1,
                Poll::Ready(value) => {
                    drop(waiting.swap_remove(index));
                    if is_good(&value) {
                        return Poll::Ready(Some(value));
                    }
                    others.push(value);
                }
            }
        }
        if waiting.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await;
    (found, others)
}
