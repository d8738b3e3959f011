//! The keys: made, shown, rotated, taken away, while whoever is not concerned notices nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::cause::Cause;
use crate::key::{
    AgentId, GuardKey, Key, KeyDigest, KeyGrant, KeyName, KeyRing, NewEnd, ValidDigest,
};
use crate::snapshot::KeyView;

use super::command::{FoundKey, RevealedKey};
use super::duties::settle;
use super::{Engine, Work};

const VAULT_LIMIT: Duration = Duration::from_secs(120);

/// How long looking for OpenClaw's agents may take.
const AGENTS_LIMIT: Duration = Duration::from_secs(10);

/// What came of it where the vault took part.
pub(super) fn settle_keys<T>(work: Work<Result<T, Cause>>) -> Result<T, Cause> {
    settle(work, late_vault())
}

/// A vault that took too long.
pub(super) fn late_vault() -> Cause {
    Cause::VaultUnreachable {
        detail: "it did not answer in time".into(),
    }
}

impl Engine {
    /// When each key was last used, as far as this engine has seen.
    pub(super) fn key_uses(&self) -> BTreeMap<KeyName, Timestamp> {
        let mut uses = self.uses.clone();
        uses.extend(self.ports.guard.key_uses());
        uses
    }

    /// When a key was last used. What was before this engine is known by name alone, so it counts where it was since the key
    /// was made or rotated: another key may have had the name before.
    fn last_use(&self, key: &Key, uses: &BTreeMap<KeyName, Timestamp>) -> Option<Timestamp> {
        let is_of_this = |used: &Timestamp| key.made.is_none_or(|made| made <= *used);
        let recalled = self.recalled_uses.get(&key.name).copied();
        let seen = uses.get(&key.name).copied();
        seen.or(recalled.filter(is_of_this))
    }

    /// What may be shown of the keys; none where they were not read yet.
    pub(super) fn key_views(&self) -> Vec<KeyView> {
        let Some(ring) = &self.keys else {
            return Vec::new();
        };
        let (now, uses) = (self.ports.clock.now(), self.key_uses());
        let view = |key: &Key| key.view(now, self.last_use(key, &uses));
        ring.keys.iter().map(view).collect()
    }

    /// A key of those that were read.
    pub(super) fn known_key(&self, name: &KeyName) -> Result<RevealedKey, Cause> {
        let key = self.keys.as_ref().and_then(|ring| ring.key(name.as_str()));
        let key = key.ok_or_else(|| Cause::KeyNotFound { name: name.clone() })?;
        let last_used = self.last_use(key, &self.key_uses());
        Ok(RevealedKey {
            secret: key.secret.clone(),
            view: key.view(self.ports.clock.now(), last_used),
        })
    }

    pub(super) async fn show_keys(&mut self, makes_default: bool) -> Result<Vec<KeyView>, Cause> {
        settle_keys(self.load_keys(makes_default).await)?;
        self.publish();
        Ok(self.key_views())
    }

    pub(super) async fn reveal_key(&mut self, name: &KeyName) -> Result<RevealedKey, Cause> {
        settle_keys(self.ensure_keys().await)?;
        self.publish();
        self.known_key(name)
    }

    /// Whose the secret with this digest is, of the keys that were read.
    pub(super) fn whose_key(&self, digest: &KeyDigest) -> Option<FoundKey> {
        let now = self.ports.clock.now();
        let (key, which) = self.keys.as_ref()?.whose(digest, now)?;
        Some(FoundKey {
            key: key.view(now, self.last_use(key, &self.key_uses())),
            which,
        })
    }

    pub(super) async fn find_key(&mut self, digest: &KeyDigest) -> Result<Option<FoundKey>, Cause> {
        settle_keys(self.load_keys(false).await)?;
        self.publish();
        Ok(self.whose_key(digest))
    }

    pub(super) async fn add_key(
        &mut self,
        name: KeyName,
        grant: KeyGrant,
    ) -> Result<RevealedKey, Cause> {
        if grant.names_agent_and_hooks() {
            return Err(Cause::AgentWithHooks);
        }
        if let Some(agent) = &grant.agent {
            self.look_for_agent(agent).await?;
        }
        let secret = self.make_key()?;
        let key = Key {
            name: name.clone(),
            grant,
            ..Key::first(secret, Some(self.ports.clock.now()))
        };
        settle_keys(self.change_keys(|ring| ring.add(key)).await)?;
        self.known_key(&name)
    }

    /// Refuses an agent that OpenClaw is known not to have. Where that cannot be known, any may be right.
    async fn look_for_agent(&mut self, agent: &AgentId) -> Result<(), Cause> {
        let gateway = Arc::clone(&self.ports.gateway);
        let look = async move { gateway.agents().await };
        match self.during(AGENTS_LIMIT, None, look).await {
            Work::Done(Some(known)) if !known.contains(agent) => Err(Cause::AgentUnknown {
                agent: agent.clone(),
                known,
            }),
            Work::Done(_) | Work::TimedOut => Ok(()),
            // The door is about to be closed: nothing more is begun.
            Work::Interrupted => Err(Cause::BrokenOff),
        }
    }

    pub(super) async fn rotate_key(
        &mut self,
        name: &KeyName,
        grace: Duration,
        end: NewEnd,
    ) -> Result<RevealedKey, Cause> {
        let secret = self.make_key()?;
        let now = self.ports.clock.now();
        settle_keys(
            self.change_keys(|ring| ring.rotate(name, secret, grace, end, now))
                .await,
        )?;
        self.known_key(name)
    }

    pub(super) async fn rename_key(&mut self, name: &KeyName, to: KeyName) -> Result<(), Cause> {
        let renamed = to.clone();
        settle_keys(self.change_keys(|ring| ring.rename(name, renamed)).await)?;
        if let Some(used) = self.uses.remove(name) {
            self.uses.insert(to.clone(), used);
        }
        match self.recalled_uses.remove(name) {
            Some(used) => drop(self.recalled_uses.insert(to, used)),
            None => drop(self.recalled_uses.remove(&to)),
        }
        self.publish();
        Ok(())
    }

    /// Replaces the first key, also where what is in the vault cannot be read.
    pub(super) async fn regenerate_key(&mut self) -> Result<(), Cause> {
        match settle_keys(self.ensure_keys().await) {
            // Asked for by name, a new key may take the place of what cannot be read.
            Ok(()) | Err(Cause::VaultDamaged { .. }) => {}
            Err(cause) => return Err(cause),
        }
        let secret = self.make_key()?;
        let now = self.ports.clock.now();
        let mut ring = self.keys.clone().unwrap_or_default();
        if ring.first_key().is_some() {
            let default = KeyName::default();
            ring.rotate(&default, secret, Duration::ZERO, NewEnd::Never, now)?;
        } else {
            ring.keys.insert(0, Key::first(secret, Some(now)));
        }
        settle_keys(self.take_keys(ring).await)
    }

    fn make_key(&self) -> Result<SecretString, Cause> {
        (self.ports.make_key)().map_err(|fault| Cause::Internal {
            detail: fault.to_string().into(),
        })
    }

    pub(super) async fn change_keys(
        &mut self,
        change: impl FnOnce(&mut KeyRing) -> Result<(), Cause>,
    ) -> Work<Result<(), Cause>> {
        match self.ensure_keys().await {
            Work::Done(Ok(())) => {}
            unsettled @ (Work::Done(Err(_)) | Work::Interrupted | Work::TimedOut) => {
                return unsettled;
            }
        }
        let mut ring = self.keys.clone().unwrap_or_default();
        ring.forget_ended(self.ports.clock.now());
        match change(&mut ring) {
            Ok(()) => self.take_keys(ring).await,
            Err(cause) => Work::Done(Err(cause)),
        }
    }

    /// Has the guard let nobody in with the keys that are not among these any more. One that only gets another secret stays
    /// until that is stored.
    fn cut_revoked(&self, ring: &KeyRing) {
        let next = ring.for_the_guard();
        let stays = |key: &GuardKey| {
            next.iter().any(|other| {
                let shared = |secret: &ValidDigest| {
                    let mut digests = key.digests.iter();
                    digests.any(|known| known.digest == secret.digest)
                };
                other.name == key.name || other.digests.iter().any(shared)
            })
        };
        let mut known = self.guard_keys();
        let mut is_less = false;
        for key in &mut known {
            if !key.digests.is_empty() && !stays(key) {
                key.digests.clear();
                is_less = true;
            }
        }
        if is_less {
            self.ports.guard.set_keys(known);
        }
    }

    /// Stores the keys and hands them to the guard. What is revoked ends at once: the vault may take its time, or ask a
    /// person. Where that is not stored, it is good again, and that is said. Another first key voids the proof that was
    /// made with the one before; any other change leaves everybody but the holders of that key alone.
    async fn take_keys(&mut self, ring: KeyRing) -> Work<Result<(), Cause>> {
        self.cut_revoked(&ring);
        let vault = Arc::clone(&self.ports.vault);
        let stored = ring.clone();
        let store = async move { vault.store(&stored).await.map_err(Cause::from) };
        let failed = match self.during(VAULT_LIMIT, None, store).await {
            Work::Done(Ok(())) => None,
            failed @ (Work::Done(Err(_)) | Work::Interrupted | Work::TimedOut) => Some(failed),
        };
        if let Some(failed) = failed {
            let known = match failed {
                // The door is about to be closed: nothing more is asked.
                Work::Interrupted => Work::Interrupted,
                Work::Done(_) | Work::TimedOut => self.is_stored(&ring).await,
            };
            match known {
                Work::Done(true) => {}
                Work::Done(false) | Work::TimedOut => {
                    self.tell_guard();
                    return failed;
                }
                Work::Interrupted => {
                    // Which are stored shows when the vault is read anew, before the next use.
                    self.keys = None;
                    return Work::Interrupted;
                }
            }
        }
        let first = |ring: &KeyRing| {
            let secret = ring.first_key();
            secret.map(|secret| secret.expose_secret().to_owned())
        };
        let same_first = self.keys.as_ref().and_then(first) == first(&ring);
        self.know_keys(ring);
        if let Some(Cause::VaultDamaged { .. }) = self.given_up {
            self.given_up = None;
        }
        if !same_first {
            self.expect_new_proof();
            self.void_proof();
            self.show_public();
        }
        self.tell_guard();
        self.publish();
        Work::Done(Ok(()))
    }

    /// Whether the vault holds these keys although storing them failed.
    async fn is_stored(&mut self, ring: &KeyRing) -> Work<bool> {
        let vault = Arc::clone(&self.ports.vault);
        let load = async move { vault.load().await };
        match self.during(Duration::from_secs(10), None, load).await {
            Work::Done(Ok(Some(stored))) => Work::Done(stored.is(ring)),
            Work::Done(Ok(None) | Err(_)) => Work::Done(false),
            Work::TimedOut => Work::TimedOut,
            Work::Interrupted => Work::Interrupted,
        }
    }
}
