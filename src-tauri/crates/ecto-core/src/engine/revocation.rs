//! Taking keys away: at once from the guard, then from the vault, whatever comes in between.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::cause::Cause;
use crate::key::{GuardKey, Key, KeyDigest, KeyName, KeyRing};
use crate::ports::VaultFault;

use super::command::{Action, Reply};
use super::{Engine, Work};

/// How long the vault may take to let go of what is still to be taken away when the engine ends. Together with the closing
/// that is less than the ten seconds for which whoever wants to be the next host waits.
const LAST_VAULT_LIMIT: Duration = Duration::from_secs(3);

/// A key that is to be taken away: the one that had the name when that was asked.
#[derive(Debug, Clone)]
pub(super) struct Revocation {
    asked: KeyName,
    /// What it is called by now.
    name: KeyName,
    /// Its secrets by now, where it is known. What is done to a key changes its name or its secrets, and never both at once.
    digests: Vec<KeyDigest>,
}

impl Revocation {
    fn of(asked: &KeyName) -> Self {
        Self {
            asked: asked.clone(),
            name: asked.clone(),
            digests: Vec::new(),
        }
    }

    fn find<'ring>(&self, ring: &'ring KeyRing) -> Option<&'ring Key> {
        let mut keys = ring.keys.iter();
        keys.find(|key| {
            let mut digests = digests(key);
            digests.any(|digest| self.digests.contains(&digest))
        })
        .or_else(|| ring.key(self.name.as_str()))
    }

    fn follow(&mut self, ring: &KeyRing) {
        if let Some(key) = self.find(ring) {
            self.digests = digests(key).collect();
            self.name = key.name.clone();
        }
    }

    /// Takes the key away. One that was there when that was asked and is not any more has been taken away.
    fn take_from(&self, ring: &mut KeyRing) -> Result<(), Cause> {
        let name = self.find(ring).map(|key| key.name.clone());
        match name {
            Some(name) => ring.revoke(&name),
            None if self.digests.is_empty() => Err(Cause::KeyNotFound {
                name: self.asked.clone(),
            }),
            None => Ok(()),
        }
    }

    fn failed(&self, detail: String) -> Cause {
        Cause::KeyNotRevoked {
            name: self.name.clone(),
            detail: detail.into(),
        }
    }

    /// What a vault that does not let go of it means for the key. One that cannot be read at all has a remedy of its own.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is not of the vault says itself what it means"
    )]
    fn stays_for(&self, cause: Cause) -> Cause {
        match cause {
            Cause::VaultDenied => self.failed(VaultFault::Denied.to_string()),
            Cause::VaultUnreachable { detail } => {
                self.failed(VaultFault::Unreachable { detail }.to_string())
            }
            other => other,
        }
    }

    fn timed_out(&self) -> Cause {
        self.failed("the secret store did not answer in time".to_owned())
    }
}

fn digests(key: &Key) -> impl Iterator<Item = KeyDigest> {
    let digests = key.for_the_guard().digests;
    digests.into_iter().map(|valid| valid.digest)
}

impl Engine {
    /// Ends a key at once, whatever else is being done before it is taken out of the vault.
    pub(super) fn begin_revoking(&mut self, name: &KeyName) {
        if name.is_default() {
            return;
        }
        let mut revocation = Revocation::of(name);
        if let Some(ring) = &self.keys {
            revocation.follow(ring);
        }
        self.revoking.push(revocation);
        self.tell_guard();
    }

    /// Takes a key out of the vault. Broken off, it still lets nobody in, and is to be taken out before anything else.
    pub(super) async fn revoke_key(&mut self, asked: &KeyName) -> Work<Result<(), Cause>> {
        let begun = self.revoking.iter().find(|begun| begun.asked == *asked);
        let revocation = begun.cloned().unwrap_or_else(|| Revocation::of(asked));
        let change = |ring: &mut KeyRing| revocation.take_from(ring);
        let revoked = match self.change_keys(change).await {
            Work::Interrupted => return Work::Interrupted,
            Work::Done(revoked) => revoked,
            Work::TimedOut => Err(revocation.timed_out()),
        };
        let revocation = self.end_revocation(asked);
        let revoked = revoked.map_err(|cause| revocation.stays_for(cause));
        match &revoked {
            Ok(()) => {
                self.uses.remove(&revocation.name);
                self.recalled_uses.remove(&revocation.name);
            }
            Err(_) => self.tell_guard(),
        }
        Work::Done(revoked)
    }

    /// Takes out of the vault what is still to be taken away when the engine ends, and answers whoever asked for it. Gives
    /// back why a key stays.
    pub(super) async fn finish_revoking(&mut self) -> Option<Cause> {
        let mut asked: Vec<(Revocation, Reply<()>)> = Vec::new();
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::RevokeKey { name, reply } => {
                    asked.push((self.end_revocation(&name), reply));
                }
                other @ (Action::Look { .. }
                | Action::RegenerateKey { .. }
                | Action::ShowKeys { .. }
                | Action::RevealKey { .. }
                | Action::FindKey { .. }
                | Action::AddKey { .. }
                | Action::RotateKey { .. }
                | Action::RenameKey { .. }
                | Action::RestartGateway { .. }
                | Action::Restore { .. }) => self.actions.push_back(other),
            }
        }
        if asked.is_empty() {
            return None;
        }
        let (vault, known) = (Arc::clone(&self.ports.vault), self.keys.take());
        let revoke = async {
            let mut ring = match known {
                Some(ring) => ring,
                None => vault.load().await?.unwrap_or_default(),
            };
            let take = |(revocation, _): &(Revocation, _)| revocation.take_from(&mut ring);
            let revoked: Vec<_> = asked.iter().map(take).collect();
            if revoked.iter().any(Result::is_ok) {
                vault.store(&ring).await?;
            }
            Ok::<_, VaultFault>(revoked)
        };
        let outcome = timeout(LAST_VAULT_LIMIT, revoke).await;
        let mut stays = None;
        for (at, (revocation, reply)) in asked.into_iter().enumerate() {
            let revoked = match &outcome {
                Ok(Ok(revoked)) => revoked.get(at).cloned().unwrap_or(Ok(())),
                Ok(Err(fault)) => Err(revocation.failed(fault.to_string())),
                Err(_) => Err(revocation.timed_out()),
            };
            if let Err(cause @ Cause::KeyNotRevoked { .. }) = &revoked {
                tracing::error!(
                    code = cause.code(),
                    key = %revocation.name,
                    "a key stays that was to be revoked"
                );
                stays = Some(cause.clone());
            }
            let _ = reply.send(revoked);
        }
        stays
    }

    /// Takes the first that was begun under this name off the list.
    fn end_revocation(&mut self, asked: &KeyName) -> Revocation {
        let mut begun = self.revoking.iter();
        match begun.position(|revocation| revocation.asked == *asked) {
            Some(at) => self.revoking.remove(at),
            None => Revocation::of(asked),
        }
    }

    /// Takes over what the vault holds.
    pub(super) fn know_keys(&mut self, ring: KeyRing) {
        for revocation in &mut self.revoking {
            revocation.follow(&ring);
        }
        self.keys = Some(ring);
    }

    /// The keys that the guard is to know: those that were read. One that is about to go opens nothing any more; it stays
    /// known, so that it comes back as it was where the vault does not let go of it.
    pub(super) fn guard_keys(&self) -> Vec<GuardKey> {
        let ring = self.keys.as_ref();
        let mut keys = ring.map_or_else(Vec::new, KeyRing::for_the_guard);
        for key in &mut keys {
            if self.revoking.iter().any(|begun| begun.name == key.name) {
                key.digests.clear();
            }
        }
        keys
    }

    /// Hands the keys to the guard, where they are known.
    pub(super) fn tell_guard(&self) {
        if self.keys.is_some() {
            self.ports.guard.set_keys(self.guard_keys());
        }
    }
}
