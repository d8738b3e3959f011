//! The questions, in the order in which they may be asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ecto_core::cause::ReachCause;
use ecto_core::foreign::ForeignText;
use ecto_core::key::{NoRandomness, make_key};
use ecto_core::ports::{Outside, OutsideFinding};
use ecto_core::tailnet::PublicAddress;
use ecto_core::watchword::Watchword;
use rand::TryRng;
use rustls::ClientConfig;
use secrecy::SecretString;
use url::Url;

use crate::address::is_public;
use crate::finding::{Trouble, judge_right_key, judge_without_key, judge_wrong_key};
use crate::resolver::{Resolved, resolve};
use crate::trust::Trust;
use crate::visit::{Dial, Visit};

/// How long the parts of a check may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For one resolver.
    pub resolve: Duration,
    /// For a connection to a relay.
    pub connect: Duration,
    /// For TLS. Before 1.100 tailscaled asks for its certificate at the first handshake and lets it wait for up to a
    /// minute (`ipn/ipnlocal/serve.go`).
    pub handshake: Duration,
    /// For an answer.
    pub answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(35),
            answer: Duration::from_secs(15),
        }
    }
}

/// What a check goes by.
#[derive(Clone)]
pub struct Setup {
    /// Resolvers that answer DNS over HTTPS in JSON, named by their IP addresses. Each is asked; one that answers is
    /// enough.
    pub resolvers: Vec<Url>,
    /// Whose certificates are believed: the resolvers' and the node's.
    pub trust: Trust,
    /// Which socket is behind a public one. The resolvers are dialled as they are.
    pub dial: Dial,
    /// How long the parts may take.
    pub limits: Limits,
}

impl Setup {
    /// The real internet.
    pub fn production() -> Self {
        Self {
            resolvers: cloudflare_and_google(),
            trust: Trust::System,
            dial: Arc::new(|public| public),
            limits: Limits::default(),
        }
    }
}

/// The resolvers of two providers, so that one that is blocked or wrong is not the end.
pub fn cloudflare_and_google() -> Vec<Url> {
    ["https://1.1.1.1/dns-query", "https://8.8.8.8/resolve"]
        .into_iter()
        .filter_map(|address| Url::parse(address).ok())
        .collect()
}

/// The check from outside.
pub struct PublicCheck {
    setup: Setup,
    tls: Result<Arc<ClientConfig>, rustls::Error>,
    wrong_key: SecretString,
    watchword: Watchword,
}

impl PublicCheck {
    /// Makes a check, which the guard knows by `watchword`. `random` is asked for the wrong key.
    pub fn new<R: TryRng>(
        setup: Setup,
        watchword: Watchword,
        random: &mut R,
    ) -> Result<Self, NoRandomness> {
        let tls = setup.trust.client();
        Ok(Self {
            setup,
            tls,
            wrong_key: make_key(random)?,
            watchword,
        })
    }

    async fn find(
        &self,
        address: &PublicAddress,
        key: &SecretString,
    ) -> Result<OutsideFinding, OutsideFinding> {
        let tls = self.tls.as_ref().map_err(|fault| {
            OutsideFinding::Unreachable(ReachCause::CertificateInvalid {
                detail: ForeignText::new(format!(
                    "this machine's trusted certificates cannot be used: {fault}"
                )),
            })
        })?;
        let limits = &self.setup.limits;
        let resolved = resolve(&address.host, &self.setup.resolvers, tls, limits.resolve).await;
        let places = match resolved {
            Resolved::Addresses(places) => places,
            Resolved::NotPublished => {
                return Err(OutsideFinding::Unreachable(ReachCause::NotPublished));
            }
            Resolved::NoResolver(detail) => {
                return Err(OutsideFinding::Unreachable(ReachCause::Offline {
                    detail: ForeignText::new(detail),
                }));
            }
        };
        if let Some(private) = places.iter().find(|place| !is_public(**place)) {
            return Err(OutsideFinding::Unreachable(ReachCause::PrivateAddress {
                address: private.to_string(),
            }));
        }
        let mut visit = Visit::begin(
            address,
            &self.watchword,
            &places,
            &self.setup.dial,
            tls.clone(),
            limits,
        )
        .await
        .map_err(unreachable)?;

        let reply = visit.ask(None).await.map_err(unreachable)?;
        judge_without_key(&reply)?;
        let reply = visit
            .ask(Some(&self.wrong_key))
            .await
            .map_err(unreachable)?;
        judge_wrong_key(&reply)?;
        match visit.ask(Some(key)).await {
            Ok(reply) => Ok(judge_right_key(&reply)),
            Err(Trouble::TooSlow) => Err(OutsideFinding::Unreachable(ReachCause::GatewayAway)),
            Err(trouble) => Err(unreachable(trouble)),
        }
    }
}

fn unreachable(trouble: Trouble) -> OutsideFinding {
    OutsideFinding::Unreachable(trouble.into())
}

#[async_trait]
impl Outside for PublicCheck {
    async fn check(&self, address: &PublicAddress, key: &SecretString) -> OutsideFinding {
        let finding = match self.find(address, key).await {
            Ok(finding) | Err(finding) => finding,
        };
        tracing::info!(origin = address.origin(), ?finding, "checked from outside");
        finding
    }
}
