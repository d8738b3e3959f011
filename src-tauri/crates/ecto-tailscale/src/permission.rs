//! Gets HTTPS and Funnel allowed: shows the link and waits until the permission arrives.

use std::time::Duration;

use ecto_core::cause::Cause;
use ecto_core::step::{Reporter, Waiting};
use ecto_core::tailnet::{FunnelPermission, Link};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::bus::{Bus, INITIAL_STATE};
use crate::cause;
use crate::find::Node;
use crate::link;
use crate::local_api::{ApiError, LocalApi};
use crate::status::{FeatureAnswer, State, Status};

/// How long a permission that was given may take to arrive.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(20);
/// How long to wait before asking again where the node has no network map yet.
const MAP_RECHECK: Duration = Duration::from_secs(1);
/// While a person is busy elsewhere everything comes by the bus; this is for a notification that was lost.
const SLOW_RECHECK: Duration = Duration::from_secs(20);

/// Asks for HTTPS and Funnel, tells the link through `reporter`, and returns when both are allowed.
pub(crate) async fn allow_funnel(node: &Node, reporter: &Reporter) -> Result<(), Cause> {
    let api = &node.api;
    let mut bus = api
        .watch(INITIAL_STATE)
        .await
        .map_err(|error| cause::of(&error))?;
    let prefs = api.prefs().await.map_err(|error| cause::of(&error))?;
    let control = prefs
        .get("ControlURL")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut shown: Option<Link> = None;
    let mut arrives_by: Option<Instant> = None;
    loop {
        let status = running(api).await?;
        if status.funnel() == FunnelPermission::Allowed {
            return Ok(());
        }
        if shown.is_some() {
            wait(&mut bus, SLOW_RECHECK).await?;
            continue;
        }
        match ask(api, &status).await? {
            Asked::NoMap => {
                reporter.waiting(Waiting::Tailscale);
                wait(&mut bus, MAP_RECHECK).await?;
            }
            Asked::Granted => {
                let by = *arrives_by.get_or_insert_with(|| Instant::now() + ARRIVAL_LIMIT);
                if Instant::now() >= by {
                    return Err(Cause::FunnelNotAllowed {
                        detail: "Tailscale says that Funnel is on, and this machine may not use it"
                            .into(),
                        link: None,
                    });
                }
                reporter.waiting(Waiting::Tailscale);
                wait(&mut bus, MAP_RECHECK).await?;
            }
            Asked::Link(answer) => {
                let link = link::allow(control, &answer.link);
                match link {
                    Some(link) if answer.should_wait => {
                        reporter.waiting(Waiting::FunnelPermission { link: link.clone() });
                        shown = Some(link);
                    }
                    link => {
                        return Err(Cause::FunnelNotAllowed {
                            detail: answer.text.into(),
                            link,
                        });
                    }
                }
            }
        }
    }
}

enum Asked {
    /// The node has not heard from the control server yet.
    NoMap,
    /// It is on, and has to arrive.
    Granted,
    /// A person has to allow it.
    Link(FeatureAnswer),
}

/// Asks for Funnel, which brings HTTPS along, and for HTTPS alone where only that is missing.
async fn ask(api: &LocalApi, status: &Status) -> Result<Asked, Cause> {
    let funnel = match query(api, "funnel").await? {
        Asked::Granted if !status.https_allowed() => query(api, "serve").await?,
        asked @ (Asked::NoMap | Asked::Granted | Asked::Link(_)) => asked,
    };
    Ok(funnel)
}

async fn query(api: &LocalApi, feature: &str) -> Result<Asked, Cause> {
    match api.query_feature(feature).await {
        Ok(answer) if answer.complete => Ok(Asked::Granted),
        Ok(answer) => Ok(Asked::Link(answer)),
        Err(ApiError::Refused { status: 503, .. }) => Ok(Asked::NoMap),
        Err(ApiError::Refused { detail, .. }) => Err(Cause::FunnelNotAllowed {
            detail: detail.into(),
            link: None,
        }),
        Err(
            error @ (ApiError::Absent
            | ApiError::Unreachable { .. }
            | ApiError::Cut
            | ApiError::Denied { .. }
            | ApiError::Changed
            | ApiError::Protocol { .. }),
        ) => Err(cause::of(&error)),
    }
}

/// The status of a node that has not been switched off or signed out meanwhile.
async fn running(api: &LocalApi) -> Result<Status, Cause> {
    let status = api.status().await.map_err(|error| cause::of(&error))?;
    match &status.state {
        State::Running | State::Starting | State::Unset => Ok(status),
        State::NeedsLogin
        | State::NeedsMachineAuth
        | State::Stopped
        | State::InUseOtherUser
        | State::Unknown(_) => Err(Cause::TailscaleLost),
    }
}

async fn wait(bus: &mut Bus, recheck: Duration) -> Result<(), Cause> {
    match timeout(recheck, bus.changed(Duration::ZERO)).await {
        Ok(Ok(_)) | Err(_) => Ok(()),
        Ok(Err(_)) => Err(Cause::TailscaleLost),
    }
}
