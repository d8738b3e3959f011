//! The people and powers at the other end: who signs in, who administers the tailnet, what befalls the daemon.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::backend::{Backend, ServeRefusal};
use super::node::{CertificateState, Warning};
use super::serve_config::ServeConfig;
use super::{Access, StartError, Tailnet};

impl Tailnet {
    /// The link at which somebody is to sign in, if one was asked for.
    pub fn sign_in_link(&self) -> Option<String> {
        self.inner.backend().node.sign_in_url.clone()
    }

    /// The person opens the link and signs in. Returns `false` if there is no link.
    pub fn approve_sign_in(&self) -> bool {
        if self.sign_in_link().is_none() {
            return false;
        }
        self.inner.moving(Backend::finish_sign_in);
        true
    }

    /// The link expires unused; the next sign-in makes another.
    pub fn expire_sign_in_link(&self) {
        self.inner.backend().node.sign_in_url = None;
    }

    /// From now on new machines wait for an admin.
    pub fn require_machine_approval(&self) {
        self.inner.backend().machine_approval_required = true;
    }

    /// An admin approves this machine.
    pub fn approve_machine(&self) {
        self.inner.approve_machine();
    }

    /// An admin opens the "allow Funnel" link and agrees: HTTPS and Funnel are granted.
    pub fn allow_funnel(&self) {
        self.inner.allow_funnel();
    }

    /// An admin takes Funnel away. The claim stays and nobody gets in.
    pub fn forbid_funnel(&self) {
        let mut backend = self.inner.backend();
        backend.node.grants.funnel = false;
        backend.notify_self();
    }

    /// An admin grants these ports for Funnel, such as `443,8443-8444`.
    pub fn set_funnel_ports(&self, ports: &str) {
        let mut backend = self.inner.backend();
        backend.node.grants.ports = ports.to_owned();
        backend.notify_self();
    }

    /// The node's key expires: somebody must sign in again.
    pub fn expire_key(&self) {
        let mut backend = self.inner.backend();
        backend.change(|backend| {
            backend.node.key_expired = true;
            backend.notify_self();
        });
    }

    /// The node gets another name. Claims under the old name stay in the serve configuration and serve nobody.
    pub fn rename_host(&self, name: &str) {
        let mut backend = self.inner.backend();
        backend.node.host_name = name.to_owned();
        backend.notify_self();
    }

    /// The person switches to another tailnet with this MagicDNS suffix, such as `other9.ts.net`.
    pub fn change_tailnet(&self, suffix: &str) {
        self.inner.backend().change_tailnet(suffix);
    }

    /// The person signs out by other means, such as the app or `tailscale logout`.
    pub fn log_out_elsewhere(&self) {
        self.inner.backend().log_out();
    }

    /// The person switches Tailscale off or on by other means.
    pub fn set_running_elsewhere(&self, running: bool) {
        self.edit_prefs_elsewhere("WantRunning", json!(running));
    }

    /// The person blocks incoming connections, or no longer.
    pub fn set_shields_up(&self, up: bool) {
        self.edit_prefs_elsewhere("ShieldsUp", json!(up));
    }

    fn edit_prefs_elsewhere(&self, name: &str, value: Value) {
        let mut masked = Map::new();
        masked.insert(name.to_owned(), value);
        masked.insert(format!("{name}Set"), json!(true));
        // The fields set here have the types that are checked.
        let _ = self.inner.moving(|backend| backend.edit_prefs(&masked));
    }

    /// Another client replaces the serve configuration, without regard to a tag. The error is the daemon's text.
    pub fn set_serve_config(&self, document: Value) -> Result<(), String> {
        let config = ServeConfig::from_document(document)?;
        match self.inner.backend().set_serve_config(config, "") {
            Ok(()) => Ok(()),
            Err(ServeRefusal::Invalid(text)) => Err(text),
            Err(ServeRefusal::TagMismatch) => Err("etag mismatch".to_owned()),
        }
    }

    /// Sets what a client of the LocalAPI may do.
    pub fn set_access(&self, access: Access) {
        self.inner.backend().access = access;
    }

    /// Another user of this machine takes the daemon, or gives it back.
    pub fn set_in_use_by_other(&self, in_use: bool) {
        self.inner
            .backend()
            .change(|backend| backend.node.in_use_by_other = in_use);
    }

    /// Sets how the certificate of the node's name stands.
    pub fn set_certificate(&self, state: CertificateState) {
        let mut backend = self.inner.backend();
        backend.node.certificate = state;
        backend.notify_health();
    }

    /// The daemon is replaced by another version, without a restart being played.
    pub fn set_version(&self, version: &str) {
        self.inner.backend().node.version = version.to_owned();
    }

    /// A health warning comes up, in a burst of identical messages.
    pub fn raise_warning(&self, warning: Warning) {
        let mut backend = self.inner.backend();
        backend.node.raised.insert(warning.code.clone(), warning);
        backend.notify_health();
    }

    /// A health warning goes away.
    pub fn clear_warning(&self, code: &str) {
        let mut backend = self.inner.backend();
        backend.node.raised.remove(code);
        backend.notify_health();
    }

    /// Writes a message on the bus as it is, such as an unknown state: `{"State": 99}`.
    pub fn notify(&self, fields: &Map<String, Value>) {
        let fields: Vec<(&str, Value)> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        self.inner.backend().notify(&fields);
    }

    /// Ends every watcher's connection, while the daemon lives on.
    pub fn cut_watchers(&self) {
        self.inner.backend().bus.close_all();
    }

    /// From now on the person signs in this long after a link is there; `None`: only when told.
    pub fn approve_sign_in_after(&self, time: Option<Duration>) {
        self.inner
            .pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .approves_sign_in = time;
    }

    /// From now on an admin allows Funnel this long after it is asked for; `None`: only when told.
    pub fn allow_funnel_after(&self, time: Option<Duration>) {
        self.inner
            .pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .allows_funnel = time;
    }

    /// The daemon dies: sockets closed, listeners gone, foreground claims lost. The socket file stays and refuses.
    pub async fn die(&self) {
        self.inner.life.die().await;
    }

    /// The daemon comes back at the same addresses, with what it had stored.
    pub fn come_back(&self) -> Result<(), StartError> {
        self.inner.come_back()
    }

    /// Tells whether the daemon lives.
    pub fn is_alive(&self) -> bool {
        self.inner.life.is_alive()
    }
}
