//! The right to open the door. Only [`prove`] makes a [`Proof`], and opening takes one.

use std::net::SocketAddr;

use secrecy::SecretString;

use crate::cause::Cause;
use crate::gateway::{GatewayAccess, GatewayFingerprint};
use crate::key::Route;
use crate::offer::Offer;
use crate::ports::{Gateway, Guard};
use crate::refusal::Refusal;

/// What the prover asks the guard, over its real listener.
#[derive(Debug, Clone)]
pub enum ProofQuestion {
    /// `GET /v1/models` without a key.
    NoKey,
    /// `GET /v1/models` with a key that is well formed and not known.
    WrongKey,
    /// `GET /v1/models` with this key.
    RightKey(SecretString),
    /// `POST /tools/invoke` with this key: a route that the gateway has and the guard must not let through.
    UnlistedRoute(SecretString),
    /// `POST /v1/embeddings` or `POST /hooks/wake`, with this key or without one.
    OptionalRoute(Route, Option<SecretString>),
}

/// What the guard answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofAnswer {
    /// The status.
    pub status: u16,
    /// Whether the body is a list of OpenClaw's models, which only the gateway behind the guard can have made.
    pub lists_models: bool,
    /// The `error.type` of a body in OpenAI's shape, where there is one.
    pub error_type: Option<String>,
    /// Why the guard itself refused, where it did.
    pub refusal: Option<Refusal>,
}

/// That the lock held a moment ago, for this guard in front of this gateway. Cannot be copied: opening uses it up.
#[derive(Debug, PartialEq, Eq)]
pub struct Proof {
    guard: SocketAddr,
    gateway: GatewayFingerprint,
}

impl Proof {
    /// The gateway for which it was made.
    pub fn gateway(&self) -> &GatewayFingerprint {
        &self.gateway
    }
}

/// The door as it is to be opened: where it leads, and the proof that the lock there holds.
#[derive(Debug)]
pub struct Opening {
    proof: Proof,
}

impl Opening {
    /// Uses the proof up.
    pub fn new(proof: Proof) -> Self {
        Self { proof }
    }

    /// The guard that the door leads to.
    pub fn guard(&self) -> SocketAddr {
        self.proof.guard
    }

    /// Makes an opening without a proof, for tests of adapters.
    #[doc(hidden)]
    pub fn unproven_for_test(guard: SocketAddr) -> Self {
        Self {
            proof: Proof {
                guard,
                gateway: GatewayFingerprint("test".to_owned()),
            },
        }
    }
}

/// Proves that the lock holds: the gateway itself refuses whoever has no token, and the guard that listens at
/// `listener` refuses no key, a wrong key and an unlisted route by itself (the gateway may have the same statuses for
/// reasons of its own), and lets the right key through to the gateway.
///
/// Errors say which of these did not hold.
pub async fn prove(
    guard: &dyn Guard,
    gateway: &dyn Gateway,
    listener: SocketAddr,
    access: &GatewayAccess,
    key: &SecretString,
) -> Result<Proof, Cause> {
    gateway.refuses_without_token(access).await?;
    for (question, words, expected) in [
        (
            ProofQuestion::NoKey,
            "a request without a key",
            Refusal::MissingKey,
        ),
        (
            ProofQuestion::WrongKey,
            "a request with a wrong key",
            Refusal::WrongKey,
        ),
        (
            ProofQuestion::UnlistedRoute(key.clone()),
            "a request for something the guard does not offer",
            Refusal::UnknownRoute,
        ),
    ]
    .into_iter()
    .chain(Route::OPTIONAL.map(|route| ask_optional(route, &guard.offer(), access, key)))
    {
        let answer = guard.ask(question).await?;
        if answer.refusal == Some(Refusal::TooBusy) {
            return Err(Cause::GuardFull);
        }
        if answer.status != expected.status() || answer.refusal != Some(expected) {
            return Err(Cause::ProofFailed {
                question: words.to_owned(),
                expected: format!("{} {}", expected.status(), expected.code()),
                got: answer.status,
            });
        }
    }
    let answer = guard.ask(ProofQuestion::RightKey(key.clone())).await?;
    judge_right_key(&answer)?;
    Ok(Proof {
        guard: listener,
        gateway: access.fingerprint.clone(),
    })
}

/// An optional route that is not allowed must not be there even for the right key; one that is must ask for a key.
fn ask_optional(
    route: Route,
    offer: &Offer,
    access: &GatewayAccess,
    key: &SecretString,
) -> (ProofQuestion, &'static str, Refusal) {
    let is_there = route != Route::Hooks || access.hooks.is_some();
    if is_there && offer.has(route) {
        (
            ProofQuestion::OptionalRoute(route, None),
            "a request without a key for an optional route",
            Refusal::MissingKey,
        )
    } else {
        (
            ProofQuestion::OptionalRoute(route, Some(key.clone())),
            "a request for an optional route that is not allowed",
            Refusal::UnknownRoute,
        )
    }
}

fn judge_right_key(answer: &ProofAnswer) -> Result<(), Cause> {
    match answer.status {
        200 if answer.lists_models => Ok(()),
        200 => Err(Cause::GatewayUnexpected {
            detail: "the list of models is not OpenClaw's".into(),
        }),
        502 if answer.refusal == Some(Refusal::GatewayRefusedToken) => {
            Err(Cause::GatewayTokenRefused)
        }
        403 if answer.error_type.as_deref() == Some("proxy_attribution_required") => {
            Err(Cause::GatewayRejectsProxy)
        }
        404 => Err(Cause::GatewayEndpointMissing {
            route: "/v1/models".to_owned(),
        }),
        429 => Err(Cause::GatewayLockedOut { seconds: 300 }),
        503 if answer.refusal == Some(Refusal::TooBusy) => Err(Cause::GuardFull),
        502..=504 => Err(Cause::GatewayNotReady { log: None }),
        got => Err(Cause::ProofFailed {
            question: "a request with the right key".to_owned(),
            expected: "200".to_owned(),
            got,
        }),
    }
}
