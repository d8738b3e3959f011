//! The claim: Ecto's door in the serve configuration, tied to a session on the bus.
//!
//! tailscaled removes what a session serves when the session's connection ends, and ends the session when somebody
//! removes what it serves (tailscale 1.104, `ipn/ipnlocal/serve.go`, `DeleteForegroundSession` and
//! `setServeConfigLocked`). A session that is not connected cannot serve (`reloadServeConfigLocked`).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ecto_core::cause::Cause;
use ecto_core::ports::Claim;
use ecto_core::tailnet::{FunnelPermission, HostName, PublicAddress};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::bus::{Bus, INITIAL_STATE};
use crate::cause;
use crate::find::Node;
use crate::local_api::{ApiError, LocalApi};
use crate::serve_config::{Door, ServeConfig};
use crate::status::{State, Status};

/// How often a write is tried again because somebody else wrote meanwhile.
const CONTENTION_LIMIT: usize = 4;
/// How long taking the door out may take before the connection is ended all the same.
const REMOVE_LIMIT: Duration = Duration::from_millis(500);
/// How long tailscaled may take to notice that a connection ended.
const GONE_LIMIT: Duration = Duration::from_secs(1);
const GONE_RECHECK: Duration = Duration::from_millis(10);
/// Notifications of a moment are looked at together.
const SETTLE: Duration = Duration::from_millis(100);

/// Names of the sessions that this process ended, which tailscaled may still know for a moment.
pub(crate) type EndedSessions = Arc<Mutex<BTreeSet<String>>>;

/// Opens the door on the first free port, and reads it back.
pub(crate) async fn open(
    node: &Node,
    guard: SocketAddr,
    ended: &EndedSessions,
) -> Result<OpenClaim, Cause> {
    let api = &node.api;
    // Ending this connection, by dropping it on any error below, takes back whatever was done.
    let mut bus = api.watch(INITIAL_STATE).await.map_err(refused)?;
    let session = bus.session().await.map_err(refused)?;
    let status = api.status().await.map_err(refused)?;
    let host = claimable(&status)?;
    let mut refused_ports = BTreeSet::new();
    let mut contended = 0;
    loop {
        let config = settled_config(api, ended).await?;
        let used = config.used_ports(&BTreeSet::new());
        let port = status
            .funnel_ports()
            .into_iter()
            .find(|port| !used.contains(&port.number()) && !refused_ports.contains(port))
            .ok_or(Cause::PortsTaken)?;
        let door = Door {
            session: session.clone(),
            address: PublicAddress {
                host: host.clone(),
                port,
            },
            guard,
        };
        let wanted = config.with(&door).ok_or_else(|| Cause::ClaimRefused {
            detail: "the serve configuration is not what Tailscale writes".into(),
        })?;
        match api.set_serve_config(&wanted, config.etag()).await {
            Ok(()) => {}
            Err(ApiError::Changed) => {
                contended += 1;
                if contended >= CONTENTION_LIMIT {
                    return Err(Cause::ServeConfigContended);
                }
                continue;
            }
            Err(error) if is_taken(&error) => {
                refused_ports.insert(port);
                continue;
            }
            Err(error) => return Err(refused(error)),
        }
        // Some daemons say yes and lose it at once, so only what is read back counts.
        if !api.serve_config().await.map_err(refused)?.has(&door) {
            return Err(Cause::ClaimLost);
        }
        return Ok(OpenClaim::new(api.clone(), bus, door, ended.clone()));
    }
}

/// The name under which a node can hold a claim at this moment.
fn claimable(status: &Status) -> Result<HostName, Cause> {
    if status.state != State::Running {
        return Err(Cause::TailscaleLost);
    }
    if status.funnel() == FunnelPermission::Missing {
        return Err(Cause::FunnelNotAllowed {
            detail: "HTTPS and Funnel are not allowed for this machine".into(),
            link: None,
        });
    }
    status.host().ok_or(Cause::NoHostName)
}

/// The serve configuration once it holds no more of what this process has already let go of.
async fn settled_config(api: &LocalApi, ended: &EndedSessions) -> Result<ServeConfig, Cause> {
    let deadline = Instant::now() + GONE_LIMIT;
    loop {
        let config = api.serve_config().await.map_err(refused)?;
        let going = {
            let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.retain(|session| config.has_session(session));
            !ended.is_empty()
        };
        if !going || Instant::now() >= deadline {
            return Ok(config);
        }
        sleep(GONE_RECHECK).await;
    }
}

/// Whether tailscaled refused because of somebody who serves on the same port (tailscale 1.104, `ipn/ipnlocal/serve.go`,
/// `validateServeConfigUpdate`).
fn is_taken(error: &ApiError) -> bool {
    match error {
        ApiError::Refused { detail, .. } => {
            detail.contains("listener already exists")
                || (detail.contains("want to serve") && detail.contains("already serving"))
        }
        ApiError::Absent
        | ApiError::Unreachable { .. }
        | ApiError::Cut
        | ApiError::Denied { .. }
        | ApiError::Changed
        | ApiError::Protocol { .. } => false,
    }
}

fn refused(error: ApiError) -> Cause {
    match &error {
        ApiError::Refused { detail, .. } if detail.contains("shields-up") => Cause::ShieldsUp,
        ApiError::Refused { detail, .. }
            if detail.to_ascii_lowercase().contains("netmap is nil") =>
        {
            Cause::TailscaleUnreachable {
                detail: "it has not heard from the tailnet yet".into(),
            }
        }
        ApiError::Refused { detail, .. } => Cause::ClaimRefused {
            detail: detail.as_str().into(),
        },
        ApiError::Absent
        | ApiError::Unreachable { .. }
        | ApiError::Cut
        | ApiError::Denied { .. }
        | ApiError::Changed
        | ApiError::Protocol { .. } => cause::of(&error),
    }
}

/// A door that is open for as long as this value lives.
#[derive(Debug)]
pub(crate) struct OpenClaim {
    api: LocalApi,
    door: Door,
    lost: watch::Receiver<Option<Cause>>,
    watching: Option<AbortOnDropHandle<()>>,
    ended: EndedSessions,
}

impl OpenClaim {
    fn new(api: LocalApi, bus: Bus, door: Door, ended: EndedSessions) -> Self {
        let (sender, lost) = watch::channel(None);
        let watching = tokio::spawn(watch_session(api.clone(), bus, door.clone(), sender));
        Self {
            api,
            door,
            lost,
            watching: Some(AbortOnDropHandle::new(watching)),
            ended,
        }
    }

    /// Ends the connection that the claim is tied to.
    async fn hang_up(&mut self) {
        if let Some(watching) = self.watching.take() {
            watching.abort();
            // It ends by being aborted; its connection is closed once it is dropped.
            let _ = watching.await;
        }
    }

    /// Takes the door out of the configuration.
    async fn remove(&self) -> Result<(), ApiError> {
        let mut contended = 0;
        loop {
            let config = self.api.serve_config().await?;
            if !config.has_session(&self.door.session) {
                return Ok(());
            }
            let without = config.without(&self.door.session);
            match self.api.set_serve_config(&without, config.etag()).await {
                Err(ApiError::Changed) if contended < CONTENTION_LIMIT => contended += 1,
                result => return result,
            }
        }
    }

    /// Waits until tailscaled says that the door is gone. Where no tailscaled runs, nothing is served.
    async fn wait_until_gone(&self) -> Result<(), String> {
        let deadline = Instant::now() + GONE_LIMIT - GONE_RECHECK;
        loop {
            let doubt = match self.api.serve_config().await {
                Ok(config) if !config.has_session(&self.door.session) => return Ok(()),
                Ok(_) => "Tailscale still has the address".to_owned(),
                Err(ApiError::Absent) => return Ok(()),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(doubt);
            }
            sleep(GONE_RECHECK).await;
        }
    }
}

impl Drop for OpenClaim {
    fn drop(&mut self) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.insert(self.door.session.clone());
    }
}

#[async_trait]
impl Claim for OpenClaim {
    fn address(&self) -> &PublicAddress {
        &self.door.address
    }

    async fn lost(&self) -> Cause {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await {
            Ok(cause) => cause.clone().unwrap_or(Cause::ClaimLost),
            Err(_) => Cause::ClaimLost,
        }
    }

    async fn verify(&self) -> Result<(), Cause> {
        if let Some(cause) = self.lost.borrow().clone() {
            return Err(cause);
        }
        find_loss(&self.api, &self.door)
            .await
            .map_err(refused)?
            .map_or(Ok(()), Err)
    }

    async fn close(mut self: Box<Self>) -> Result<(), Cause> {
        // Ending the connection closes the door too, so an error here is not the last word.
        match timeout(REMOVE_LIMIT, self.remove()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the door could not be taken out"),
            Err(_) => tracing::debug!("the door could not be taken out in time"),
        }
        self.hang_up().await;
        let gone = timeout(GONE_LIMIT, self.wait_until_gone()).await;
        let gone = gone.unwrap_or_else(|_| Err("Tailscale does not answer".to_owned()));
        gone.map_err(|doubt| Cause::CouldNotClose {
            detail: doubt.into(),
            node: None,
        })
    }
}

/// Watches the session until the claim is gone, and says why.
async fn watch_session(
    api: LocalApi,
    mut bus: Bus,
    door: Door,
    lost: watch::Sender<Option<Cause>>,
) {
    let cause = loop {
        if bus.changed(SETTLE).await.is_err() {
            break why_ended(&api).await;
        }
        match find_loss(&api, &door).await {
            Ok(None) => {}
            Ok(Some(cause)) => break cause,
            // What only could not be asked is no loss: the connection stands.
            Err(error) => tracing::debug!(%error, "the claim could not be read back"),
        }
    };
    lost.send_replace(Some(cause));
    // The door to an old name, or one that somebody changed, stays until the claim is closed or dropped.
    loop {
        if bus.changed(SETTLE).await.is_err() {
            return;
        }
    }
}

/// Why the session ended: tailscaled went away, or somebody took the claim out of the configuration.
async fn why_ended(api: &LocalApi) -> Cause {
    match api.status().await {
        Ok(status) if status.state == State::Running => Cause::ClaimLost,
        Ok(_) | Err(_) => Cause::TailscaleLost,
    }
}

/// Looks whether the claim still holds; returns why not.
async fn find_loss(api: &LocalApi, door: &Door) -> Result<Option<Cause>, ApiError> {
    let status = api.status().await?;
    match &status.state {
        State::Running | State::Starting | State::Unset => {}
        State::NeedsLogin
        | State::NeedsMachineAuth
        | State::Stopped
        | State::InUseOtherUser
        | State::Unknown(_) => return Ok(Some(Cause::TailscaleLost)),
    }
    let renamed = |host| host != door.address.host;
    if status.host().is_some_and(renamed) {
        return Ok(Some(Cause::HostRenamed));
    }
    let config = api.serve_config().await?;
    Ok((!config.has(door)).then_some(Cause::ClaimLost))
}

/// Makes sure that nothing leads to `guard` in the configuration of this tailscaled.
pub(crate) async fn confirm_closed(api: &LocalApi, guard: SocketAddr) -> Result<(), Cause> {
    let doubt = match api.serve_config().await {
        Ok(config) if !config.leads_to(guard) => return Ok(()),
        Ok(_) => "Tailscale still has the address".to_owned(),
        Err(ApiError::Absent) => return Ok(()),
        Err(error) => error.to_string(),
    };
    Err(Cause::CouldNotClose {
        detail: doubt.into(),
        node: None,
    })
}
