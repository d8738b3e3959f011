//! The gateway's side: a few kept-alive connections to it, each driven by the task of the request that uses it.
//!
//! It is written without hyper's client, whose buffers stay for as long as a stream is open: `link` is a connection that
//! holds bytes only while there are some, `head` writes and reads heads, `body` tells where an answer ends.

mod body;
mod head;
mod link;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ecto_core::cause::Cause;
use ecto_core::gateway::{GatewayAccess, GatewayFingerprint, HooksAccess};
use http::{HeaderValue, Response};
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use subtle::ConstantTimeEq;
use tokio::net::TcpStream;
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
    /// How its hooks are reached, where they are enabled.
    pub hooks: Option<Hooks>,
    limits: Arc<Limits>,
    resting: Mutex<Vec<(Link, Instant)>>,
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
    /// It may have seen the request, and may have acted.
    BrokeOff,
}

impl Gateway {
    /// Takes down how the gateway is reached. Connects to nothing yet.
    pub fn new(access: &GatewayAccess, limits: Arc<Limits>) -> Result<Self, Cause> {
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
            resting: Mutex::new(Vec::new()),
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
        let Some(link) = Box::pin(self.connect()).await else {
            return Err(Silence::Away(sending.into_body()));
        };
        match link.exchange(sending).await {
            Ok(answer) => Ok(answer),
            Err(Unanswered::Unsent(sending)) => Err(Silence::Away(sending.into_body())),
            Err(Unanswered::Sent) => Err(Silence::BrokeOff),
        }
    }

    async fn connect(&self) -> Option<Link> {
        let stream = timeout(
            self.limits.gateway_connect,
            TcpStream::connect(self.address),
        )
        .await
        .ok()?
        .ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Link::new(stream))
    }

    fn resting(&self) -> std::sync::MutexGuard<'_, Vec<(Link, Instant)>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection that rested the shortest, if it is still good.
    fn take(&self) -> Option<Link> {
        let mut resting = self.resting();
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
        let mut resting = self.resting();
        let now = Instant::now();
        let good = |(_, since): &(Link, Instant)| now - *since <= self.limits.gateway_rest;
        if resting.first().is_some_and(|oldest| !good(oldest)) {
            resting.retain(good);
        }
        if resting.len() < self.limits.gateway_connections {
            resting.push((link, now));
        }
    }
}
