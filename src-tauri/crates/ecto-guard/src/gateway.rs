//! The gateway's side: a few kept-alive connections to it, each driven by the task of the request that uses it.
//!
//! It is written without hyper's client, whose buffers stay for as long as a stream is open: `link` is a connection that
//! holds bytes only while there are some, `head` writes and reads heads, `body` tells where an answer ends.

mod body;
mod head;
mod link;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ecto_core::cause::Cause;
use ecto_core::gateway::{GatewayAccess, GatewayFingerprint, HooksAccess};
use http::{HeaderValue, Response};
use rustix::io::Errno;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use subtle::ConstantTimeEq;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::body::RequestBody;
use crate::header::GatewayHeaders;
use crate::limits::Limits;

use link::{Link, Sending, Unanswered};

pub(crate) use head::Outgoing;
pub(crate) use link::{Answer, BrokenAnswer};

/// The gateway, as the guard reaches it.
pub(crate) struct Gateway {
    address: SocketAddr,
    token: SecretString,
    fingerprint: GatewayFingerprint,
    /// How it is addressed.
    pub headers: GatewayHeaders,
    /// How its hooks are reached, where they are enabled and offered.
    pub hooks: Option<Hooks>,
    limits: Arc<Limits>,
    /// Those that rested the longest come first. `None` once another gateway has taken its place. A connection is only made
    /// where none rests, so that those that rest and those in use are together never more than there are clients' ones.
    resting: Mutex<Option<Vec<(Link, Instant)>>>,
    rested: Arc<Notify>,
}

/// The gateway's hooks, as the guard reaches them.
pub(crate) struct Hooks {
    access: HooksAccess,
    /// How they are addressed: with their own token.
    pub headers: GatewayHeaders,
}

impl Hooks {
    fn new(access: &HooksAccess, host: &HeaderValue) -> Result<Self, Cause> {
        Ok(Self {
            access: access.clone(),
            headers: GatewayHeaders {
                host: host.clone(),
                authorization: bearer(&access.token)?,
            },
        })
    }

    /// The path of a hook, of which the guard knows what follows its own `/hooks`.
    pub fn path(&self, rest: &str) -> String {
        format!("{}{rest}", self.access.path)
    }

    fn is(&self, access: &HooksAccess) -> bool {
        self.access.path == access.path && is_same_token(&self.access.token, &access.token)
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, Cause> {
    let bearer = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
    let mut authorization = HeaderValue::from_str(&bearer).map_err(|_| Cause::GuardFailed {
        detail: "the gateway's token has characters that no header may have".into(),
    })?;
    authorization.set_sensitive(true);
    Ok(authorization)
}

fn is_same_token(left: &SecretString, right: &SecretString) -> bool {
    let right = right.expose_secret().as_bytes();
    left.expose_secret().as_bytes().ct_eq(right).into()
}

/// Why the gateway did not answer.
pub(crate) enum Silence {
    /// It could not be reached, and has not seen the request. Gives back what was not read of its body.
    Away(RequestBody),
    /// This machine has nothing left to reach it with, so that it has not seen the request either.
    Exhausted(RequestBody),
    /// It may have seen the request, and may have acted.
    BrokeOff,
}

/// Why there is no connection to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unconnected {
    /// Nobody takes it.
    Away,
    /// The system has no file, port or memory left for one.
    Exhausted,
}

impl From<io::Error> for Unconnected {
    fn from(fault: io::Error) -> Self {
        match Errno::from_io_error(&fault) {
            Some(
                Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRNOTAVAIL,
            ) => Self::Exhausted,
            Some(_) | None => Self::Away,
        }
    }
}

impl Gateway {
    /// Takes down how the gateway is reached. Connects to nothing yet. Notifies `rested` when a connection begins to rest
    /// and no other did.
    pub fn new(
        access: &GatewayAccess,
        limits: Arc<Limits>,
        rested: Arc<Notify>,
    ) -> Result<Self, Cause> {
        if !access.address.ip().is_loopback() {
            return Err(Cause::GuardFailed {
                detail: "the gateway's address is not on this machine".into(),
            });
        }
        let host =
            HeaderValue::from_str(&access.address.to_string()).map_err(|_| Cause::GuardFailed {
                detail: "the gateway's address cannot stand in a header".into(),
            })?;
        let hooks = access.hooks.as_ref();
        Ok(Self {
            hooks: hooks.map(|hooks| Hooks::new(hooks, &host)).transpose()?,
            address: access.address,
            token: access.token.clone(),
            fingerprint: access.fingerprint.clone(),
            headers: GatewayHeaders {
                host,
                authorization: bearer(&access.token)?,
            },
            limits,
            resting: Mutex::new(Some(Vec::new())),
            rested,
        })
    }

    /// Whether this is the same gateway in the same state, so that its connections may be kept.
    pub fn is(&self, access: &GatewayAccess) -> bool {
        let same_hooks = match (&self.hooks, &access.hooks) {
            (None, None) => true,
            (Some(hooks), Some(access)) => hooks.is(access),
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.address == access.address
            && self.fingerprint == access.fingerprint
            && same_hooks
            && is_same_token(&self.token, &access.token)
    }

    /// Sends a request and waits for the head of the answer. It is sent a second time only where not one byte of it was
    /// written the first time. Dropping the future, or later the answer, ends the connection, which tells the gateway to
    /// stop.
    pub async fn send(&self, request: Outgoing) -> Result<Response<Answer>, Silence> {
        let sending = Sending::new(request);
        let sending = match self.take() {
            None => sending,
            Some(link) => match link.exchange(sending).await {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::Unsent(sending)) => *sending,
                Err(Unanswered::Sent) => return Err(Silence::BrokeOff),
            },
        };
        // Set aside: it is rarely needed, and would make every request larger.
        let link = match Box::pin(self.connect()).await {
            Ok(link) => link,
            Err(Unconnected::Away) => return Err(Silence::Away(sending.into_body())),
            Err(Unconnected::Exhausted) => return Err(Silence::Exhausted(sending.into_body())),
        };
        match link.exchange(sending).await {
            Ok(answer) => Ok(answer),
            Err(Unanswered::Unsent(sending)) => Err(Silence::Away(sending.into_body())),
            Err(Unanswered::Sent) => Err(Silence::BrokeOff),
        }
    }

    async fn connect(&self) -> Result<Link, Unconnected> {
        let connecting = TcpStream::connect(self.address);
        let stream = timeout(self.limits.gateway_connect, connecting)
            .await
            .map_err(|_| Unconnected::Away)??;
        stream.set_nodelay(true)?;
        Ok(Link::new(stream))
    }

    fn resting(&self) -> MutexGuard<'_, Option<Vec<(Link, Instant)>>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection that rested the shortest, if it is still good.
    fn take(&self) -> Option<Link> {
        let mut resting = self.resting();
        let resting = resting.as_mut()?;
        while let Some((link, since)) = resting.pop() {
            if since.elapsed() > self.limits.gateway_rest {
                resting.clear();
                return None;
            }
            if link.is_quiet() {
                return Some(link);
            }
        }
        None
    }

    /// Takes the connection of an answer back, where it has been read to the end.
    pub fn rest(&self, answer: Answer) {
        let Some(link) = answer.into_link() else {
            return;
        };
        if let Some(resting) = &mut *self.resting()
            && resting.len() < self.limits.gateway_connections
        {
            if resting.is_empty() {
                self.rested.notify_one();
            }
            resting.push((link, Instant::now()));
        }
    }

    /// Closes the connections that rested long enough, or that the gateway has closed. Returns when the next one will
    /// have; `None` where none rests.
    pub fn close_rested(&self) -> Option<Instant> {
        let mut resting = self.resting();
        let resting = resting.as_mut()?;
        let longest = self.limits.gateway_rest;
        resting.retain(|(link, since)| since.elapsed() < longest && link.is_quiet());
        resting.first().map(|(_, since)| *since + longest)
    }

    /// Closes every connection that rests, and lets none rest any more. What is under way goes on.
    pub fn retire(&self) {
        *self.resting() = None;
    }
}
