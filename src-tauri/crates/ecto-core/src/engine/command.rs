//! What others may ask of the engine, and the handle with which they do.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::cause::Cause;
use crate::gateway::RestoredKey;
use crate::key::{KeyDigest, KeyGrant, KeyName, NewEnd, Route, WhichSecret};
use crate::offer::Offer;
use crate::snapshot::{KeyView, Notice, Snapshot};
use crate::tailnet::NodeChoice;
use crate::wanted::{NewDeadline, Wanted};

use super::{Engine, STORE_LIMIT};
use crate::exposure::Exposure;

pub(super) type Reply<T> = oneshot::Sender<Result<T, Cause>>;

/// What others may ask of the engine.
#[derive(Debug)]
pub(super) enum Command {
    Connect {
        until: NewDeadline,
        node: Option<NodeChoice>,
        reply: Reply<()>,
    },
    Disconnect {
        for_sleep: bool,
        reply: Reply<()>,
    },
    Act(Action),
    SetOffer {
        offer: Offer,
        reply: Reply<()>,
    },
    CheckOutside,
    RecallUses {
        uses: BTreeMap<KeyName, Timestamp>,
    },
    Wake,
    Quit {
        reply: Reply<()>,
    },
}

/// What is done between two rounds.
#[derive(Debug)]
pub(super) enum Action {
    Look {
        reply: Reply<()>,
    },
    RegenerateKey {
        reply: Reply<()>,
    },
    ShowKeys {
        makes_default: bool,
        reply: Reply<Vec<KeyView>>,
    },
    RevealKey {
        name: KeyName,
        reply: Reply<RevealedKey>,
    },
    FindKey {
        digest: KeyDigest,
        reply: Reply<Option<FoundKey>>,
    },
    AddKey {
        name: KeyName,
        grant: KeyGrant,
        reply: Reply<RevealedKey>,
    },
    RotateKey {
        name: KeyName,
        grace: Duration,
        end: NewEnd,
        reply: Reply<RevealedKey>,
    },
    RevokeKey {
        name: KeyName,
        reply: Reply<()>,
    },
    RenameKey {
        name: KeyName,
        to: KeyName,
        reply: Reply<()>,
    },
    RestartGateway {
        reply: Reply<()>,
    },
    Restore {
        reply: Reply<Vec<RestoredKey>>,
    },
}

/// A key, and what may be shown of it.
#[derive(Debug)]
pub struct RevealedKey {
    /// What the client presents.
    pub secret: SecretString,
    /// What may be shown.
    pub view: KeyView,
}

/// Whose something is that a client presents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundKey {
    /// What may be shown of that key.
    pub key: KeyView,
    /// Which of its secrets it is.
    pub which: WhichSecret,
}

/// The way to the engine. Cheap to clone. When the last one is dropped, the engine closes the door and ends.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    snapshots: watch::Receiver<Snapshot>,
}

impl Handle {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        snapshots: watch::Receiver<Snapshot>,
    ) -> Self {
        Self {
            commands,
            snapshots,
        }
    }

    /// Whether the engine has ended, so that nothing that is asked of it will be done.
    pub fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }

    /// What there is to see, now and from now on.
    pub fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.clone()
    }

    /// Asks for Public. Returns once the wish is stored; watch the snapshots for the rest. Asked for again, keeps the
    /// deadline and the node where nothing is said of them, and tries again at once where it is blocked. Where Public is not
    /// wanted, or its deadline has passed, that is no deadline, and whichever node there is.
    pub async fn connect(&self, until: NewDeadline, node: Option<NodeChoice>) -> Result<(), Cause> {
        self.ask(|reply| Command::Connect { until, node, reply })
            .await
    }

    /// Asks for Private. Returns once the door is closed, and seen to be. An error says that it is not, or that it is
    /// and could not be remembered.
    pub async fn disconnect(&self) -> Result<(), Cause> {
        self.ask(|reply| Command::Disconnect {
            for_sleep: false,
            reply,
        })
        .await
    }

    /// The same, because the machine goes to sleep: where Public was wanted, the notice tells why it no longer is.
    pub async fn disconnect_for_sleep(&self) -> Result<(), Cause> {
        self.ask(|reply| Command::Disconnect {
            for_sleep: true,
            reply,
        })
        .await
    }

    /// Looks at node and gateway, changing nothing, so that the snapshot tells of them while Private.
    pub async fn look(&self) -> Result<(), Cause> {
        self.ask(|reply| Command::Act(Action::Look { reply })).await
    }

    /// The default key, made where there is none yet.
    pub async fn reveal_key(&self) -> Result<SecretString, Cause> {
        let name = KeyName::default();
        Ok(self.reveal_named_key(name).await?.secret)
    }

    /// All keys, as far as they may be shown. The default one is made where there is none yet.
    pub async fn show_keys(&self) -> Result<Vec<KeyView>, Cause> {
        self.keys(true).await
    }

    /// All keys that there are, as far as they may be shown; none is made.
    pub async fn list_keys(&self) -> Result<Vec<KeyView>, Cause> {
        self.keys(false).await
    }

    async fn keys(&self, makes_default: bool) -> Result<Vec<KeyView>, Cause> {
        self.ask(|reply| {
            Command::Act(Action::ShowKeys {
                makes_default,
                reply,
            })
        })
        .await
    }

    /// The key with this name.
    pub async fn reveal_named_key(&self, name: KeyName) -> Result<RevealedKey, Cause> {
        self.ask(|reply| Command::Act(Action::RevealKey { name, reply }))
            .await
    }

    /// Whose the secret with this digest is; `None` where it opens nothing.
    pub async fn find_key(&self, digest: KeyDigest) -> Result<Option<FoundKey>, Cause> {
        self.ask(|reply| Command::Act(Action::FindKey { digest, reply }))
            .await
    }

    /// Makes a key. Whoever is connected notices nothing.
    pub async fn add_key(&self, name: KeyName, grant: KeyGrant) -> Result<RevealedKey, Cause> {
        self.ask(|reply| Command::Act(Action::AddKey { name, grant, reply }))
            .await
    }

    /// Replaces the secret of a key, and gives the new one its end. The one before stays good for `grace`, and what was
    /// opened with it is cut then.
    pub async fn rotate_key(
        &self,
        name: KeyName,
        grace: Duration,
        end: NewEnd,
    ) -> Result<RevealedKey, Cause> {
        self.ask(|reply| {
            Command::Act(Action::RotateKey {
                name,
                grace,
                end,
                reply,
            })
        })
        .await
    }

    /// Takes a key away and cuts what its holders have open.
    pub async fn revoke_key(&self, name: KeyName) -> Result<(), Cause> {
        self.ask(|reply| Command::Act(Action::RevokeKey { name, reply }))
            .await
    }

    /// Gives a key another name. Its holders notice nothing.
    pub async fn rename_key(&self, name: KeyName, to: KeyName) -> Result<(), Cause> {
        self.ask(|reply| Command::Act(Action::RenameKey { name, to, reply }))
            .await
    }

    /// Replaces the default key. Streams opened with the old one are cut.
    pub async fn regenerate_key(&self) -> Result<(), Cause> {
        self.ask(|reply| Command::Act(Action::RegenerateKey { reply }))
            .await
    }

    /// Changes what is offered beside what always is. What is in flight for a route that is not offered any more is cut;
    /// the lock is proven anew.
    pub async fn set_offer(&self, offer: Offer) -> Result<(), Cause> {
        self.ask(|reply| Command::SetOffer { offer, reply }).await
    }

    /// Restarts the gateway and waits until it is ready.
    pub async fn restart_gateway(&self) -> Result<(), Cause> {
        self.ask(|reply| Command::Act(Action::RestartGateway { reply }))
            .await
    }

    /// Goes Private and undoes what Ecto changed in OpenClaw's configuration.
    pub async fn restore(&self) -> Result<Vec<RestoredKey>, Cause> {
        self.ask(|reply| Command::Act(Action::Restore { reply }))
            .await
    }

    /// Has the check from outside made now, where the door is open.
    pub async fn check_outside(&self) {
        // An engine that has ended has nothing to check.
        let _ = self.commands.send(Command::CheckOutside).await;
    }

    /// Tells when each key was last used before there was this engine.
    pub async fn recall_uses(&self, uses: BTreeMap<KeyName, Timestamp>) {
        // An engine that has ended shows no keys.
        let _ = self.commands.send(Command::RecallUses { uses }).await;
    }

    /// Tells that the machine woke up.
    pub async fn wake(&self) {
        // An engine that has ended needs no waking.
        let _ = self.commands.send(Command::Wake).await;
    }

    /// Closes the door and ends the engine. What is wanted stays wanted, for the next start.
    pub async fn quit(&self) -> Result<(), Cause> {
        self.ask(|reply| Command::Quit { reply }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Cause> {
        let (reply, answer) = oneshot::channel();
        let ended = || Cause::Internal {
            detail: "the engine has ended".into(),
        };
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Engine {
    /// Hears a command. Returns whether what is being done should be dropped, to look again.
    pub(super) async fn hear(&mut self, command: Option<Command>) -> bool {
        let Some(command) = command else {
            self.finished = true;
            return true;
        };
        match command {
            Command::Connect { until, node, reply } => self.hear_connect(until, node, reply).await,
            Command::Disconnect { for_sleep, reply } => {
                // What was told before stays true where there was nothing to end.
                if !for_sleep {
                    self.notice = None;
                    self.found = None;
                } else if self.wanted.is_public() {
                    self.notice = Some(Notice::EndedBySleep);
                }
                self.want(Wanted::Private);
                self.when_private.push(reply);
                self.void_proof();
                self.store_present().await;
                true
            }
            Command::Act(action) => match self.answer_at_once(action) {
                None => false,
                Some(action) => {
                    if let Action::RevokeKey { name, .. } = &action {
                        self.begin_revoking(name);
                    }
                    self.actions.push_back(action);
                    !self.acting
                }
            },
            Command::SetOffer { offer, reply } => {
                let is_other = self.set_offer(offer);
                let _ = reply.send(Ok(()));
                // No step before the guard's rests on what is offered.
                is_other && self.guard_up && !self.acting
            }
            Command::CheckOutside => {
                self.check_soon();
                false
            }
            Command::RecallUses { uses } => {
                self.recalled_uses = uses;
                self.publish();
                false
            }
            Command::Wake => {
                self.verify_at = Some(tokio::time::Instant::now());
                !self.acting
            }
            Command::Quit { reply } => {
                self.quit = Some(reply);
                self.finished = true;
                true
            }
        }
    }

    /// Hands over what is offered at once, whatever else is being done: what is forbidden must not wait for a vault. Returns
    /// whether that is something else than before.
    fn set_offer(&mut self, offer: Offer) -> bool {
        let before = self.ports.guard.offer();
        if before == offer {
            return false;
        }
        self.expect_new_proof();
        if before.has(Route::Hooks) != offer.has(Route::Hooks) {
            // It is started anew with what it needs for them, or without that.
            self.guard = None;
        }
        self.ports.guard.set_offer(offer);
        self.void_proof();
        self.show_public();
        // What is offered stands beside the snapshot in what is told, so it is told also where that is the same.
        self.snapshots.send_modify(|_| {});
        true
    }

    /// Answers what needs no work, so that nothing is interrupted for it. Gives back what does.
    fn answer_at_once(&self, action: Action) -> Option<Action> {
        match action {
            Action::Look { reply } if self.wanted.is_public() && self.seen.is_some() => {
                let _ = reply.send(Ok(()));
                None
            }
            Action::RevealKey { name, reply } => match &self.keys {
                Some(_) => {
                    let _ = reply.send(self.known_key(&name));
                    None
                }
                None => Some(Action::RevealKey { name, reply }),
            },
            Action::ShowKeys {
                makes_default,
                reply,
            } => match &self.keys {
                Some(_) => {
                    let _ = reply.send(Ok(self.key_views()));
                    None
                }
                None => Some(Action::ShowKeys {
                    makes_default,
                    reply,
                }),
            },
            Action::FindKey { digest, reply } => match &self.keys {
                Some(_) => {
                    let _ = reply.send(Ok(self.whose_key(&digest)));
                    None
                }
                None => Some(Action::FindKey { digest, reply }),
            },
            Action::Look { .. }
            | Action::RegenerateKey { .. }
            | Action::AddKey { .. }
            | Action::RotateKey { .. }
            | Action::RevokeKey { .. }
            | Action::RenameKey { .. }
            | Action::RestartGateway { .. }
            | Action::Restore { .. } => Some(action),
        }
    }

    async fn hear_connect(
        &mut self,
        until: NewDeadline,
        node: Option<NodeChoice>,
        reply: Reply<()>,
    ) -> bool {
        let before = self.wanted_before().await;
        let wanted = before.public_again(until, node);
        let node = wanted.node();
        if let Err(cause) = self.store_wanted(&wanted).await {
            // It may have got there all the same, and must not be followed after a restart.
            self.store_present().await;
            let _ = reply.send(Err(cause));
            return false;
        }
        let same_node = self.wanted.is_public() && self.node() == node;
        let under_way = matches!(
            self.exposure,
            Exposure::Preparing { .. } | Exposure::Public { .. }
        );
        self.notice = None;
        self.found = None;
        let deadline = self.deadline.take();
        let until = wanted.deadline();
        self.want(wanted);
        if let Some(kept) = deadline
            && Some(kept.until) == until
        {
            // Counted anew from a clock that was set back, it would come later.
            self.deadline = Some(kept);
        }
        for waiting in self.when_private.drain(..) {
            let _ = waiting.send(Err(Cause::BrokenOff));
        }
        self.give_up_restoring();
        if let Exposure::Public { until: shown, .. } = &mut self.exposure {
            *shown = until;
        }
        self.publish();
        let _ = reply.send(Ok(()));
        !(self.acting || same_node && under_way)
    }

    /// What is wanted while somebody asks for Public: without a wish of this engine's, the one that outlived the engine
    /// before. One whose time is over is none.
    async fn wanted_before(&mut self) -> Wanted {
        if self.deadline_passed() {
            return Wanted::Private;
        }
        if self.has_wish {
            return self.wanted.clone();
        }
        match timeout(STORE_LIMIT, self.ports.wanted.load()).await {
            Ok(Ok(Some(record))) => Wanted::from_record(&record, self.ports.clock.now()).0,
            Ok(Ok(None) | Err(_)) | Err(_) => Wanted::Private,
        }
    }

    /// Takes back what was asked for earlier and has not begun: it would make Private what is wanted by now.
    fn give_up_restoring(&mut self) {
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Restore { reply } => {
                    let _ = reply.send(Err(Cause::BrokenOff));
                }
                Action::Look { .. }
                | Action::RegenerateKey { .. }
                | Action::ShowKeys { .. }
                | Action::RevealKey { .. }
                | Action::FindKey { .. }
                | Action::AddKey { .. }
                | Action::RotateKey { .. }
                | Action::RevokeKey { .. }
                | Action::RenameKey { .. }
                | Action::RestartGateway { .. } => self.actions.push_back(action),
            }
        }
    }
}
