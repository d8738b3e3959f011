//! The port of the engine, on a real tailscaled.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use ecto_core::cause::Cause;
use ecto_core::ports::{Claim, Tailnet};
use ecto_core::proof::Opening;
use ecto_core::step::{Reporter, Waiting};
use ecto_core::tailnet::{Installer, NodeChoice, NodeKind, RunningNode, TailnetView};
use serde_json::Value;
use tokio::sync::{Mutex, watch};

use crate::claim::{self, EndedSessions};
use crate::find::{Finder, Found, Installed, Node};
use crate::local_api::ApiError;
use crate::own_node::OwnNode;
use crate::places::Places;
use crate::status::{State, Status, VersionFault};
use crate::system_node::{self, Administrator};
use crate::watcher::Watcher;
use crate::{cause, homebrew, permission, sign_in};

/// The tailscaled of this machine. Dropping it ends Ecto's own node, if it was started here.
pub struct Tailscale {
    finder: Arc<Finder>,
    watcher: Watcher,
    administrator: Arc<dyn Administrator>,
    own: Mutex<Option<OwnNode>>,
    ended: EndedSessions,
}

impl std::fmt::Debug for Tailscale {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tailscale").finish_non_exhaustive()
    }
}

impl Tailscale {
    /// Starts watching at these places. Has to be called within a Tokio runtime.
    pub fn new(places: Places, administrator: Arc<dyn Administrator>) -> Self {
        let finder = Arc::new(Finder::new(places));
        Self {
            watcher: Watcher::start(&finder),
            finder,
            administrator,
            own: Mutex::new(None),
            ended: EndedSessions::default(),
        }
    }

    /// The node to work with, which has to be there at this point of the journey.
    async fn node(&self, choice: NodeChoice) -> Result<Node, Cause> {
        match self.finder.find(choice).await {
            Found::Answering(node, _) => Ok(node),
            Found::Failing(error) => Err(cause::of(&error)),
            Found::Silent => Err(Cause::TailscaleLost),
        }
    }

    async fn start_own(&self, reporter: &Reporter) -> Result<(), Cause> {
        let program =
            self.finder
                .program("tailscaled")
                .ok_or_else(|| Cause::TailscaleNotStarted {
                    detail: "tailscaled is not installed".into(),
                })?;
        reporter.waiting(Waiting::Tailscale);
        let mut own = self.own.lock().await;
        OwnNode::start(&mut own, &program, self.finder.places()).await
    }
}

#[async_trait]
impl Tailnet for Tailscale {
    fn changes(&self) -> watch::Receiver<u64> {
        self.watcher.changes()
    }

    async fn observe(&self, choice: NodeChoice) -> TailnetView {
        match self.finder.find(choice).await {
            Found::Answering(node, status) => view(&node, &status).await,
            Found::Failing(error) => TailnetView::Refused {
                cause: cause::of(&error),
            },
            Found::Silent => match self.finder.installed(choice) {
                Installed::Startable(kind) => TailnetView::NotRunning { kind },
                Installed::Nothing(installer) => TailnetView::Missing { installer },
            },
        }
    }

    async fn install(&self, choice: NodeChoice, reporter: Reporter) -> Result<(), Cause> {
        match self.finder.installed(choice) {
            Installed::Startable(_) => Ok(()),
            Installed::Nothing(Installer::Person { command }) => {
                Err(Cause::TailscaleMissing { command })
            }
            Installed::Nothing(Installer::Download) => Err(Cause::TailscaleToDownload),
            Installed::Nothing(Installer::Homebrew) => {
                homebrew::install(&self.finder, &reporter).await
            }
        }
    }

    async fn start(&self, choice: NodeChoice, reporter: Reporter) -> Result<(), Cause> {
        if let Found::Answering(..) = self.finder.find(choice).await {
            return Ok(());
        }
        let started = match self.finder.installed(choice) {
            Installed::Startable(NodeKind::Own) => self.start_own(&reporter).await,
            Installed::Startable(
                kind @ (NodeKind::System | NodeKind::AppStore | NodeKind::Standalone),
            ) => {
                system_node::start(&self.finder, kind, self.administrator.as_ref(), &reporter).await
            }
            Installed::Nothing(_) => Err(Cause::TailscaleNotStarted {
                detail: "Tailscale is not installed".into(),
            }),
        };
        self.watcher.redial();
        started
    }

    async fn sign_in(&self, choice: NodeChoice, reporter: Reporter) -> Result<(), Cause> {
        let node = self.node(choice).await?;
        sign_in::sign_in(&node, self.finder.places(), &reporter).await
    }

    async fn allow_funnel(&self, choice: NodeChoice, reporter: Reporter) -> Result<(), Cause> {
        let node = self.node(choice).await?;
        permission::allow_funnel(&node, &reporter).await
    }

    async fn open(&self, choice: NodeChoice, opening: Opening) -> Result<Box<dyn Claim>, Cause> {
        let node = self.node(choice).await?;
        let claim = claim::open(&node, opening.guard(), &self.ended).await?;
        Ok(Box::new(claim))
    }

    async fn confirm_closed(&self, choice: NodeChoice, guard: SocketAddr) -> Result<(), Cause> {
        for source in self.finder.sources(choice) {
            match self.finder.node(&source).await {
                Ok(Some(node)) => claim::confirm_closed(&node.api, guard).await?,
                Ok(None) => {}
                Err(unknown) => {
                    return Err(Cause::CouldNotClose {
                        detail: unknown.to_string().into(),
                        node: None,
                    });
                }
            }
        }
        Ok(())
    }
}

/// How far a node that answers is from being able to hold a claim.
async fn view(node: &Node, status: &Status) -> TailnetView {
    let kind = node.kind;
    let refused = |cause| TailnetView::Refused { cause };
    match status.version_fault() {
        Some(VersionFault::TooOld) => {
            return refused(Cause::TailscaleTooOld {
                version: status.shown_version(),
            });
        }
        Some(VersionFault::BrokenFunnel) => {
            return refused(Cause::TailscaleBroken {
                version: status.shown_version(),
            });
        }
        None => {}
    }
    match &status.state {
        State::Unset | State::Starting => TailnetView::Starting { kind },
        State::InUseOtherUser => refused(Cause::TailscaleOtherUser),
        State::NeedsLogin => TailnetView::NeedsSignIn { kind },
        State::NeedsMachineAuth => TailnetView::NeedsApproval { kind },
        State::Stopped if status.have_node_key => TailnetView::Stopped { kind },
        State::Stopped => TailnetView::NeedsSignIn { kind },
        State::Running if status.expired() => TailnetView::NeedsSignIn { kind },
        State::Running => running_view(node, status).await,
        State::Unknown(state) => refused(cause::unknown_state(state)),
    }
}

async fn running_view(node: &Node, status: &Status) -> TailnetView {
    let refused = |cause| TailnetView::Refused { cause };
    match shields_up(node).await {
        Ok(false) => {}
        Ok(true) => return refused(Cause::ShieldsUp),
        Err(error) => return refused(cause::of(&error)),
    }
    match status.host() {
        Some(host) => TailnetView::Running(RunningNode {
            kind: node.kind,
            host,
            version: status.shown_version(),
            funnel: status.funnel(),
        }),
        None => refused(Cause::NoHostName),
    }
}

async fn shields_up(node: &Node) -> Result<bool, ApiError> {
    let prefs = node.api.prefs().await?;
    Ok(prefs
        .get("ShieldsUp")
        .and_then(Value::as_bool)
        .unwrap_or(false))
}
