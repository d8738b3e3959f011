//! What the daemon does: the node, its serve configuration and its bus, changed together under one lock.

use serde_json::{Map, Value, json};

use super::bus::Bus;
use super::node::{BackendState, Node};
use super::serve_config::ServeConfig;
use super::status::{self_node, status};
use super::{Access, Request};
use crate::latest::Latest;

/// Health messages come in bursts of identical ones.
const HEALTH_BURST: usize = 3;

/// A serve configuration was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServeRefusal {
    /// The configuration is not the one that the tag names.
    TagMismatch,
    /// It breaks a rule; the text follows `updating config: `.
    Invalid(String),
}

pub(super) struct Backend {
    pub(super) node: Node,
    pub(super) serve: ServeConfig,
    pub(super) bus: Bus,
    pub(super) access: Access,
    pub(super) requests: Latest<Request>,
    pub(super) machine_approval_required: bool,
    pub(super) sign_in_link_hidden: bool,
    /// Funnel was asked for once, so the name is in the public DNS.
    pub(super) name_published: bool,
    /// The name last asked for in the preferences.
    pub(super) asked_name: String,
    /// What `query-feature` answers where it does not refuse or complete.
    pub(super) feature_waits: bool,
}

impl Backend {
    pub(super) fn status(&self, peers: bool) -> Value {
        status(&self.node, peers)
    }

    pub(super) fn notify(&mut self, fields: &[(&str, Value)]) {
        self.bus.send(&self.node.version, fields);
    }

    pub(super) fn notify_health(&mut self) {
        let health = self.node.health();
        for _ in 0..HEALTH_BURST {
            self.notify(&[("Health", health.clone())]);
        }
    }

    pub(super) fn notify_prefs(&mut self) {
        let prefs = self.node.prefs.document();
        self.notify(&[("Prefs", prefs)]);
    }

    pub(super) fn notify_state(&mut self, state: BackendState) {
        self.notify(&[("State", json!(state.number()))]);
    }

    /// Tells that the node itself changed, in the way of the daemon's release.
    pub(super) fn notify_self(&mut self) {
        for field in self.network_map() {
            self.notify(&[field]);
        }
    }

    pub(super) fn network_map(&self) -> Vec<(&'static str, Value)> {
        if !self.node.is_in_network_map() {
            return Vec::new();
        }
        let own = self_node(&self.node);
        let mut fields = Vec::new();
        if self.node.release().sends_self_change() {
            fields.push(("SelfChange", own.clone()));
        }
        if self.node.release().sends_network_map() {
            fields.push((
                "NetMap",
                json!({"SelfNode": own, "Domain": self.node.tailnet}),
            ));
        }
        fields
    }

    /// The sign-in link, where the bus shows it.
    pub(super) fn sign_in_link_on_bus(&self) -> Option<&str> {
        if self.sign_in_link_hidden || self.node.state() != BackendState::NeedsLogin {
            return None;
        }
        self.node.sign_in_url.as_deref()
    }

    /// Runs a change and tells the bus how the state moved. Going to Running passes through Starting.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Self)) {
        let before = self.node.state();
        change(self);
        // A name asked for in the preferences is the node's name, as long as no admin says otherwise.
        let asked = self.node.prefs.text("Hostname").to_owned();
        if !asked.is_empty() && asked != self.asked_name {
            self.node.host_name.clone_from(&asked);
            self.asked_name = asked;
            self.notify_self();
        }
        let after = self.node.state();
        if before == after {
            return;
        }
        if after == BackendState::Running && before != BackendState::Starting {
            self.notify_state(BackendState::Starting);
            self.notify(&[(
                "Engine",
                json!({"RBytes": 0, "WBytes": 0, "NumLive": 0, "LiveDERPs": 0, "LivePeers": {}}),
            )]);
        }
        self.notify_state(after);
        self.notify_health();
    }

    /// `POST start`.
    pub(super) fn start(&mut self, options: &Map<String, Value>) -> Result<(), String> {
        if let Some(prefs) = options.get("UpdatePrefs").and_then(Value::as_object) {
            let mut next = self.node.prefs.clone();
            next.replace(prefs)?;
            self.change(|backend| {
                backend.node.prefs = next;
                backend.notify_prefs();
            });
            if self.node.state() == BackendState::NeedsLogin {
                self.notify_state(BackendState::NeedsLogin);
                self.notify_health();
            }
        }
        let key = options
            .get("AuthKey")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !key.is_empty() {
            self.finish_sign_in();
        }
        Ok(())
    }

    /// `POST login-interactive`: makes a link, or shows again the one there is.
    pub(super) fn sign_in_interactively(&mut self) {
        if self.node.sign_in_url.is_none() {
            let code = data_encoding::HEXLOWER.encode(&rand::random::<[u8; 7]>());
            self.node.sign_in_url = Some(format!("https://login.tailscale.com/a/{code}"));
        }
        if self.sign_in_link_hidden {
            return;
        }
        if let Some(url) = self.node.sign_in_url.clone() {
            self.notify(&[("BrowseToURL", json!(url))]);
        }
    }

    /// The person signed in at the link.
    pub(super) fn finish_sign_in(&mut self) {
        let approved = !self.machine_approval_required;
        self.change(|backend| {
            backend.notify(&[("LoginFinished", json!({}))]);
            let node = &mut backend.node;
            if !node.has_key {
                node.machine_approved = approved;
            }
            node.has_key = true;
            node.key_expired = false;
            node.sign_in_url = None;
            node.prefs.set("LoggedOut", json!(false));
            node.prefs.set(
                "Config",
                json!({
                    "UserProfile": {"ID": 123, "LoginName": node.login, "DisplayName": "User 123"},
                    "NodeID": "TESTCTRL00000002"
                }),
            );
            backend.notify_prefs();
            backend.notify_self();
        });
    }

    /// `POST logout`, or the same from elsewhere.
    pub(super) fn log_out(&mut self) {
        if self.node.is_in_network_map() {
            self.notify_state(BackendState::Stopped);
        }
        self.node.prefs.set("WantRunning", json!(false));
        self.node.prefs.set("LoggedOut", json!(true));
        self.node.prefs.set("Config", Value::Null);
        self.node.has_key = false;
        self.node.key_expired = false;
        self.node.sign_in_url = None;
        self.forget_serve_config();
        self.notify_prefs();
        self.notify_health();
        self.notify_state(BackendState::NoState);
        self.notify_state(BackendState::NeedsLogin);
        self.notify_health();
    }

    /// `POST reset-auth`: as if nobody had ever signed in.
    pub(super) fn reset(&mut self) {
        self.log_out();
        self.node.prefs = super::prefs::Prefs::signed_out();
        self.notify_prefs();
    }

    /// `PATCH prefs`. The error is the text of a 400.
    pub(super) fn edit_prefs(&mut self, masked: &Map<String, Value>) -> Result<Value, String> {
        let mut next = self.node.prefs.clone();
        let changed = next.edit(masked)?;
        if !changed.is_empty() {
            self.change(|backend| {
                backend.node.prefs = next;
                backend.notify_prefs();
            });
        }
        Ok(self.node.prefs.document())
    }

    /// `POST serve-config`, with the tag of `If-Match` or none.
    pub(super) fn set_serve_config(
        &mut self,
        mut next: ServeConfig,
        tag: &str,
    ) -> Result<(), ServeRefusal> {
        if next.is_funnel_on() && self.node.prefs.flag("ShieldsUp") {
            return Err(ServeRefusal::Invalid(
                "Unable to turn on Funnel while shields-up is enabled".to_owned(),
            ));
        }
        if !self.node.is_in_network_map() {
            return Err(ServeRefusal::Invalid("netMap is nil".to_owned()));
        }
        if !tag.is_empty() && tag != self.serve.etag() {
            return Err(ServeRefusal::TagMismatch);
        }
        self.serve
            .check_update(&next)
            .map_err(ServeRefusal::Invalid)?;
        next.retain_sessions(|session| self.bus.has(session));
        // A session whose claim was taken out by somebody is ended, so that its holder notices.
        let overruled: Vec<String> = self
            .serve
            .sessions()
            .filter(|session| !next.has_session(session))
            .map(str::to_owned)
            .collect();
        self.replace_serve_config(next);
        for session in overruled {
            self.bus.close(&session);
        }
        Ok(())
    }

    fn replace_serve_config(&mut self, next: ServeConfig) {
        let was_on = self.serve.is_funnel_on();
        self.serve = next;
        self.name_published |= self.serve.wants_ingress();
        // Control hears of it and answers with an update of the node. Other changes pass in silence.
        if was_on != self.serve.is_funnel_on() {
            self.notify_self();
        }
    }

    /// The configuration goes away with its profile; the watchers that held claims in it stay connected.
    fn forget_serve_config(&mut self) {
        self.serve = ServeConfig::default();
    }

    /// The connection of a watcher ended.
    pub(super) fn end_session(&mut self, id: &str) {
        self.bus.close(id);
        if self.serve.has_session(id) {
            let mut next = self.serve.clone();
            next.retain_sessions(|session| session != id);
            self.replace_serve_config(next);
        }
    }

    /// Signs in to another tailnet: another profile, with another name and no serve configuration.
    pub(super) fn change_tailnet(&mut self, suffix: &str) {
        let held: Vec<String> = self.serve.sessions().map(str::to_owned).collect();
        self.forget_serve_config();
        for session in held {
            self.bus.close(&session);
        }
        self.node.suffix = suffix.to_owned();
        self.node.tailnet = format!("{}.example", suffix.split('.').next().unwrap_or(suffix));
        self.name_published = false;
        self.notify_prefs();
        self.notify_self();
    }

    /// Tells whether a public connection to this host and port is let in.
    pub(super) fn admits(&self, host: &str, port: u16) -> bool {
        self.node.state() == BackendState::Running
            && self.node.grants.allows_port(port)
            && !self.node.release().refuses_ingress()
            && host == self.node.host()
            && self.serve.admits_funnel(host, port)
    }
}
