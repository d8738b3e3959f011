//! The serve configuration: everything that this node serves, Ecto's door among it.
//!
//! It belongs to everybody on the machine. Ecto writes one entry of `Foreground`, under its own session, and keeps the
//! rest as it was read, also what this version does not know (tailscale 1.104, `ipn/serve.go`, `ServeConfig`).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ecto_core::tailnet::PublicAddress;
use serde_json::{Map, Value, json};

/// The serve configuration as it was at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServeConfig {
    fields: Map<String, Value>,
    etag: String,
}

/// Ecto's door: from the public address to the guard.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) session: String,
    pub(crate) address: PublicAddress,
    pub(crate) guard: SocketAddr,
}

impl Door {
    fn host_and_port(&self) -> String {
        format!(
            "{}:{}",
            self.address.host.as_str(),
            self.address.port.number()
        )
    }

    fn target(&self) -> String {
        format!("http://{}", self.guard)
    }

    fn entry(&self) -> Value {
        let host_and_port = self.host_and_port();
        json!({
            "TCP": { self.address.port.number().to_string(): {"HTTPS": true} },
            "Web": { host_and_port.as_str(): {"Handlers": {"/": {"Proxy": self.target()}}} },
            "AllowFunnel": { host_and_port.as_str(): true },
        })
    }

    /// Whether an entry is this door and nothing beside it.
    fn is(&self, entry: &Value) -> bool {
        let host_and_port = self.host_and_port();
        let port = self.address.port.number().to_string();
        let only = |part: &str, key: &str| {
            let part = entry.get(part).and_then(Value::as_object)?;
            part.get(key).filter(|_| part.len() == 1)
        };
        let handlers = only("Web", &host_and_port)
            .and_then(|web| web.get("Handlers"))
            .and_then(Value::as_object);
        let target = handlers
            .filter(|handlers| handlers.len() == 1)
            .and_then(|handlers| handlers.get("/"))
            .and_then(|handler| handler.get("Proxy"));
        let secure = only("TCP", &port).and_then(|handler| handler.get("HTTPS"));
        target.and_then(Value::as_str) == Some(&self.target())
            && secure == Some(&Value::Bool(true))
            && only("AllowFunnel", &host_and_port) == Some(&Value::Bool(true))
    }
}

impl ServeConfig {
    /// Takes what was read. `null` stands for nothing at all. Returns `None` for anything else that is not an object.
    pub(crate) fn new(value: Value, etag: String) -> Option<Self> {
        let fields = match value {
            Value::Null => Map::new(),
            Value::Object(fields) => fields,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return None,
        };
        Some(Self { fields, etag })
    }

    pub(crate) fn etag(&self) -> &str {
        &self.etag
    }

    /// The same with the door in it. Returns `None` where `Foreground` is not what tailscaled makes it.
    pub(crate) fn with(&self, door: &Door) -> Option<Value> {
        let mut fields = self.fields.clone();
        let foreground = fields.entry("Foreground").or_insert(Value::Null);
        if foreground.is_null() {
            *foreground = Value::Object(Map::new());
        }
        foreground
            .as_object_mut()?
            .insert(door.session.clone(), door.entry());
        Some(Value::Object(fields))
    }

    /// The same without what a session serves.
    pub(crate) fn without(&self, session: &str) -> Value {
        let mut fields = self.fields.clone();
        if let Some(Value::Object(foreground)) = fields.get_mut("Foreground") {
            foreground.shift_remove(session);
            if foreground.is_empty() {
                fields.shift_remove("Foreground");
            }
        }
        Value::Object(fields)
    }

    pub(crate) fn has_session(&self, session: &str) -> bool {
        self.foreground().any(|(name, _)| name == session)
    }

    /// Whether the door is there as it was made.
    pub(crate) fn has(&self, door: &Door) -> bool {
        self.foreground()
            .any(|(name, entry)| name == door.session && door.is(entry))
    }

    /// Whether anything at all leads to the guard.
    pub(crate) fn leads_to(&self, guard: SocketAddr) -> bool {
        self.fields.values().any(|value| leads_to(value, guard))
    }

    /// The sessions that serve something, by name, and what each serves.
    fn foreground(&self) -> impl Iterator<Item = (&str, &Value)> {
        members(self.fields.get("Foreground"))
    }

    /// The ports in use by anybody but the sessions in `except`.
    pub(crate) fn used_ports(&self, except: &BTreeSet<String>) -> BTreeSet<u16> {
        let mut used = BTreeSet::new();
        collect_ports(&self.fields, &mut used);
        let sessions = self
            .foreground()
            .filter(|(name, _)| !except.contains(*name));
        let services = members(self.fields.get("Services"));
        for (_, part) in sessions.chain(services) {
            if let Value::Object(part) = part {
                collect_ports(part, &mut used);
            }
        }
        used
    }
}

fn leads_to(value: &Value, guard: SocketAddr) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(target) => {
            let target = target
                .split_once("://")
                .map_or(target.as_str(), |(_, rest)| rest);
            let target = target.split('/').next().unwrap_or_default();
            target == guard.to_string() || target == format!("localhost:{}", guard.port())
        }
        Value::Array(values) => values.iter().any(|value| leads_to(value, guard)),
        Value::Object(fields) => fields.values().any(|value| leads_to(value, guard)),
    }
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
}

fn collect_ports(part: &Map<String, Value>, used: &mut BTreeSet<u16>) {
    let tcp = members(part.get("TCP")).map(|(port, _)| port);
    let web = members(part.get("Web")).map(|(address, _)| port_of(address));
    let funnel = members(part.get("AllowFunnel"))
        .filter(|(_, allowed)| **allowed == Value::Bool(true))
        .map(|(address, _)| port_of(address));
    used.extend(
        tcp.chain(web)
            .chain(funnel)
            .filter_map(|port| port.parse::<u16>().ok()),
    );
}

fn port_of(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use ecto_core::tailnet::{FunnelPort, HostName};
    use proptest::prelude::*;

    use super::*;

    fn door() -> Door {
        Door {
            session: "9ee7c9f207fb0cbb".to_owned(),
            address: PublicAddress {
                host: HostName::new("mac.tail1234.ts.net").unwrap(),
                port: FunnelPort::Https,
            },
            guard: "127.0.0.1:41000".parse().unwrap(),
        }
    }

    fn config(value: Value) -> ServeConfig {
        ServeConfig::new(value, "tag".to_owned()).unwrap()
    }

    #[test]
    fn the_door_is_one_foreground_entry() {
        let written = config(Value::Null).with(&door()).unwrap();
        insta::assert_json_snapshot!(written, @r#"
        {
          "Foreground": {
            "9ee7c9f207fb0cbb": {
              "TCP": {
                "443": {
                  "HTTPS": true
                }
              },
              "Web": {
                "mac.tail1234.ts.net:443": {
                  "Handlers": {
                    "/": {
                      "Proxy": "http://127.0.0.1:41000"
                    }
                  }
                }
              },
              "AllowFunnel": {
                "mac.tail1234.ts.net:443": true
              }
            }
          }
        }
        "#);
        assert!(config(written).has(&door()));
    }

    #[test]
    fn a_port_is_in_use_wherever_it_stands() {
        let used = |value: Value| config(value).used_ports(&BTreeSet::new());
        assert_eq!(used(json!({"TCP": {"443": {"HTTPS": true}}})), [443].into());
        assert_eq!(used(json!({"Web": {"h.ts.net:8443": {}}})), [8443].into());
        assert_eq!(
            used(json!({"AllowFunnel": {"h.ts.net:443": true, "h.ts.net:8443": false}})),
            [443].into()
        );
        assert_eq!(
            used(json!({"Foreground": {"a": {"TCP": {"10000": {}}}}})),
            [10000].into()
        );
        assert_eq!(
            used(json!({"Services": {"svc:a": {"TCP": {"443": {}}}}})),
            [443].into()
        );
        let own = config(json!({"Foreground": {"a": {"TCP": {"443": {}}}}}));
        assert!(own.used_ports(&["a".to_owned()].into()).is_empty());
    }

    #[test]
    fn a_door_that_somebody_changed_is_not_ours() {
        let written = config(Value::Null).with(&door()).unwrap();
        for (place, value) in [
            (
                "/Foreground/9ee7c9f207fb0cbb/Web/mac.tail1234.ts.net:443/Handlers/~1/Proxy",
                json!("http://127.0.0.1:18789"),
            ),
            (
                "/Foreground/9ee7c9f207fb0cbb/Web/mac.tail1234.ts.net:443/Handlers",
                json!({"/": {"Proxy": "http://127.0.0.1:41000"}, "/x": {"Text": "x"}}),
            ),
            ("/Foreground/9ee7c9f207fb0cbb/AllowFunnel", json!({})),
            (
                "/Foreground/9ee7c9f207fb0cbb/TCP",
                json!({"443": {"TCPForward": "127.0.0.1:1"}}),
            ),
        ] {
            let mut changed = written.clone();
            *changed.pointer_mut(place).unwrap() = value;
            assert!(!config(changed).has(&door()), "{place}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,8}", inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    fn any_config() -> impl Strategy<Value = Value> {
        let known = prop_oneof![
            Just("TCP".to_owned()),
            Just("Web".to_owned()),
            Just("AllowFunnel".to_owned()),
            Just("Services".to_owned()),
            "[A-Za-z]{1,8}",
        ];
        let sessions = prop::collection::vec(("[0-9a-f]{1,15}", any_json()), 1..4);
        let fields = prop::collection::vec((known, any_json()), 0..6);
        (
            fields,
            prop::option::of(sessions),
            any::<prop::sample::Index>(),
        )
            .prop_map(|(fields, sessions, place)| {
                let mut fields: Vec<(String, Value)> = fields
                    .into_iter()
                    .filter(|(name, _)| name != "Foreground")
                    .collect();
                if let Some(sessions) = sessions {
                    let place = place.index(fields.len() + 1);
                    fields.insert(
                        place,
                        (
                            "Foreground".to_owned(),
                            Value::Object(sessions.into_iter().collect()),
                        ),
                    );
                }
                Value::Object(fields.into_iter().collect())
            })
    }

    proptest! {
        #[test]
        fn opening_and_closing_leave_every_byte_as_it_was(before in any_config()) {
            let opened = config(before.clone()).with(&door()).unwrap();
            prop_assert!(config(opened.clone()).has(&door()));
            let closed = config(opened).without(&door().session);
            prop_assert_eq!(closed.to_string(), before.to_string());
        }

        #[test]
        fn reading_ports_takes_anything(value in any_json()) {
            if let Some(config) = ServeConfig::new(value, String::new()) {
                config.used_ports(&BTreeSet::new());
            }
        }
    }
}
