//! The serve configuration of a node and its rules (`ipn/serve.go`, `ipn/ipnlocal/serve.go`, v1.102.3).

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// What a port does, as far as the rules ask. Unknown fields are kept in the document.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PortHandler {
    #[serde(rename = "HTTPS")]
    https: bool,
    #[serde(rename = "HTTP")]
    http: bool,
    #[serde(rename = "TerminateTLS")]
    terminate_tls: String,
}

/// What a web server does at one path.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Handler {
    pub(crate) proxy: String,
    pub(crate) text: String,
    pub(crate) redirect: String,
    pub(crate) path: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WebServer {
    handlers: Option<BTreeMap<String, Handler>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Parsed {
    #[serde(rename = "TCP")]
    tcp: Option<BTreeMap<u16, PortHandler>>,
    web: Option<BTreeMap<String, WebServer>>,
    allow_funnel: Option<BTreeMap<String, bool>>,
    foreground: Option<BTreeMap<String, Parsed>>,
}

impl Parsed {
    fn ports(&self) -> impl Iterator<Item = (&u16, &PortHandler)> {
        self.tcp.iter().flatten()
    }

    fn sessions(&self) -> impl Iterator<Item = (&String, &Parsed)> {
        self.foreground.iter().flatten()
    }

    /// Foreground sessions first, as the daemon looks.
    fn layers(&self) -> impl Iterator<Item = &Parsed> {
        self.sessions().map(|(_, config)| config).chain([self])
    }

    fn foreground_port(&self, port: u16) -> Option<&PortHandler> {
        self.sessions()
            .find_map(|(_, config)| config.tcp.as_ref()?.get(&port))
    }

    fn port(&self, port: u16) -> Option<&PortHandler> {
        self.foreground_port(port)
            .or_else(|| self.tcp.as_ref()?.get(&port))
    }
}

/// A serve configuration: the document as it was sent, and what the rules read in it.
#[derive(Clone, Debug)]
pub(crate) struct ServeConfig {
    document: Value,
    parsed: Parsed,
}

impl Default for ServeConfig {
    /// Nothing was ever set: the document is `null`.
    fn default() -> Self {
        Self {
            document: Value::Null,
            parsed: Parsed::default(),
        }
    }
}

impl ServeConfig {
    /// Reads what a client posts. The error is the text after `decoding config: `.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, String> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err("EOF".to_owned());
        }
        let document: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let document = match document {
            Value::Null => Value::Object(Map::new()),
            other @ (Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_)) => other,
        };
        Self::from_document(document)
    }

    pub(crate) fn from_document(mut document: Value) -> Result<Self, String> {
        drop_empty(&mut document);
        let parsed = serde_json::from_value(document.clone()).map_err(|error| error.to_string())?;
        Ok(Self { document, parsed })
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    /// The entity tag: hexadecimal SHA-256 of the document, without quotes.
    pub(crate) fn etag(&self) -> String {
        HEXLOWER.encode(&Sha256::digest(self.document.to_string()))
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = &str> {
        self.parsed.sessions().map(|(session, _)| session.as_str())
    }

    pub(crate) fn has_session(&self, session: &str) -> bool {
        self.sessions().any(|held| held == session)
    }

    /// Takes the foreground sessions out that are not to be kept.
    pub(crate) fn retain_sessions(&mut self, keep: impl Fn(&str) -> bool) {
        if let Some(sessions) = self
            .document
            .get_mut("Foreground")
            .and_then(Value::as_object_mut)
        {
            sessions.retain(|session, _| keep(session));
        }
        drop_empty(&mut self.document);
        if let Some(sessions) = &mut self.parsed.foreground {
            sessions.retain(|session, _| keep(session));
        }
    }

    pub(crate) fn is_funnel_on(&self) -> bool {
        self.parsed.layers().any(|config| {
            config
                .allow_funnel
                .iter()
                .flatten()
                .any(|(_, allowed)| *allowed)
        })
    }

    /// Tells whether Funnel was ever asked for, even if every entry is `false` now: names stay published then.
    pub(crate) fn wants_ingress(&self) -> bool {
        self.parsed.layers().any(|config| {
            config
                .allow_funnel
                .as_ref()
                .is_some_and(|map| !map.is_empty())
        })
    }

    /// Tells whether Funnel is on for this host and port, and the port serves the web there.
    pub(crate) fn admits_funnel(&self, host: &str, port: u16) -> bool {
        let target = format!("{host}:{port}");
        let allowed = self.parsed.layers().any(|config| {
            config
                .allow_funnel
                .as_ref()
                .and_then(|map| map.get(&target))
                == Some(&true)
        });
        allowed && self.parsed.port(port).is_some_and(|handler| handler.https)
    }

    /// The handlers of the web server at this host and port, by mount point.
    pub(crate) fn handlers(&self, host: &str, port: u16) -> Option<&BTreeMap<String, Handler>> {
        let target = format!("{host}:{port}");
        self.parsed
            .layers()
            .find_map(|config| config.web.as_ref()?.get(&target))?
            .handlers
            .as_ref()
    }

    pub(crate) fn serves_path_or_socket(&self) -> bool {
        self.parsed.layers().any(|config| {
            config
                .web
                .iter()
                .flatten()
                .flat_map(|(_, server)| server.handlers.iter().flatten())
                .any(|(_, handler)| !handler.path.is_empty() || handler.proxy.starts_with("unix:"))
        })
    }

    /// Checks whether `next` may replace this configuration. The error is the text after `updating config: `.
    pub(crate) fn check_update(&self, next: &Self) -> Result<(), String> {
        for (session, config) in next.parsed.sessions() {
            if self.has_session(session) {
                continue;
            }
            if let Some((port, _)) = config
                .ports()
                .find(|(port, _)| self.parsed.port(**port).is_some())
            {
                return Err(format!("listener already exists for port {port}"));
            }
        }
        for (port, _) in next.parsed.ports() {
            if self.parsed.foreground_port(*port).is_some() {
                return Err(format!(
                    "foreground listener already exists for port {port}"
                ));
            }
        }
        for (port, handler) in next.parsed.ports() {
            let Some(existing) = self.parsed.port(*port) else {
                continue;
            };
            let (wanted, there) = (serve_type(handler), serve_type(existing));
            if wanted != there {
                return Err(format!(
                    "want to serve {wanted:?}, but port {port} is already serving {there:?}"
                ));
            }
        }
        Ok(())
    }
}

fn serve_type(handler: &PortHandler) -> &'static str {
    if handler.http {
        "http"
    } else if handler.https {
        "https"
    } else if handler.terminate_tls.is_empty() {
        "tcp"
    } else {
        "tls-terminated-tcp"
    }
}

/// Go's encoder omits these when they are empty, so the daemon never shows them empty.
fn drop_empty(document: &mut Value) {
    let Some(fields) = document.as_object_mut() else {
        return;
    };
    for known in ["TCP", "Web", "Services", "AllowFunnel", "Foreground"] {
        let vanishes = match fields.get(known) {
            Some(Value::Null) => true,
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) | None => {
                false
            }
        };
        if vanishes {
            fields.shift_remove(known);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(document: Value) -> ServeConfig {
        ServeConfig::from_document(document).unwrap()
    }

    #[test]
    fn the_tag_of_nothing_is_the_hash_of_null() {
        assert_eq!(
            ServeConfig::default().etag(),
            "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"
        );
        assert_eq!(
            config(json!({"Foreground": {}, "TCP": null})).etag(),
            config(json!({})).etag()
        );
    }

    #[test]
    fn a_foreground_claim_needs_an_open_port() {
        let held = config(json!({"TCP": {"443": {"HTTPS": true}}}));
        let wanted = config(
            json!({"TCP": {"443": {"HTTPS": true}}, "Foreground": {"s": {"TCP": {"443": {"HTTPS": true}}}}}),
        );
        assert_eq!(
            held.check_update(&wanted),
            Err("listener already exists for port 443".to_owned())
        );
        let elsewhere = config(
            json!({"TCP": {"443": {"HTTPS": true}}, "Foreground": {"s": {"TCP": {"8443": {"HTTPS": true}}}}}),
        );
        assert_eq!(held.check_update(&elsewhere), Ok(()));
    }

    #[test]
    fn a_background_claim_never_takes_a_foreground_port() {
        let held = config(json!({"Foreground": {"s": {"TCP": {"443": {"HTTPS": true}}}}}));
        let wanted = config(
            json!({"TCP": {"443": {"HTTPS": true}}, "Foreground": {"s": {"TCP": {"443": {"HTTPS": true}}}}}),
        );
        assert_eq!(
            held.check_update(&wanted),
            Err("foreground listener already exists for port 443".to_owned())
        );
    }

    #[test]
    fn a_port_keeps_its_type() {
        let held = config(json!({"TCP": {"443": {"HTTPS": true}}}));
        let wanted = config(json!({"TCP": {"443": {"TCPForward": "127.0.0.1:22"}}}));
        assert_eq!(
            held.check_update(&wanted),
            Err("want to serve \"tcp\", but port 443 is already serving \"https\"".to_owned())
        );
    }

    #[test]
    fn fields_nobody_here_knows_are_kept() {
        let document = json!({"Future": {"a": [1, 2]}, "TCP": {"443": {"HTTPS": true, "New": 1}}});
        assert_eq!(config(document.clone()).document(), &document);
    }

    #[test]
    fn what_is_not_a_configuration_is_refused() {
        assert_eq!(ServeConfig::decode(b"").unwrap_err(), "EOF");
        assert!(ServeConfig::decode(b"{\"TCP\": {\"http\": {}}}").is_err());
        assert!(ServeConfig::decode(b"[1").is_err());
        assert_eq!(ServeConfig::decode(b"null").unwrap().document(), &json!({}));
    }
}
