//! What Ecto needs of the configuration, and what it must not fight.

use ecto_core::cause::{Cause, ConfigProblem};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::config::{Config, shown};
use crate::place::Place;
use crate::token::{self, Lookup, ProviderAnswers};
use crate::variables::{Substituted, substitute};

/// `gateway.mode`.
pub const MODE: &[&str] = &["gateway", "mode"];
/// `gateway.auth.mode`.
pub const AUTH_MODE: &[&str] = &["gateway", "auth", "mode"];
/// `gateway.auth.token`.
pub const TOKEN: &[&str] = &["gateway", "auth", "token"];
/// `gateway.http.endpoints.chatCompletions.enabled`.
pub const CHAT: &[&str] = &["gateway", "http", "endpoints", "chatCompletions", "enabled"];
/// `gateway.http.endpoints.responses.enabled`.
pub const RESPONSES: &[&str] = &["gateway", "http", "endpoints", "responses", "enabled"];

/// All keys that Ecto may set.
pub const KEYS: [&[&str]; 5] = [MODE, AUTH_MODE, TOKEN, CHAT, RESPONSES];

/// A key that has to be set.
#[derive(Debug, Clone)]
pub struct Need {
    /// Its name.
    pub key: &'static [&'static str],
    /// What it has to be.
    pub value: Needed,
}

/// What a key has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needed {
    /// This value.
    Value(Value),
    /// A new token.
    NewToken,
}

/// The configuration as far as it concerns Ecto.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The port on which the gateway listens, or will.
    pub port: u16,
    /// Its token, where there is one.
    pub token: Option<SecretString>,
    /// What has to be set, in the order in which it is written.
    pub needs: Vec<Need>,
}

impl Effective {
    /// Reads what concerns Ecto, and refuses by name what it must not fight: see design §5.
    pub fn read(place: &Place, config: &Config, answers: &ProviderAnswers) -> Result<Self, Cause> {
        let reader = Reader { place, config };
        for part in [
            &["gateway"][..],
            &["gateway", "auth"],
            &["gateway", "tailscale"],
            &["gateway", "http"],
            &["gateway", "http", "endpoints"],
            &["gateway", "http", "endpoints", "chatCompletions"],
            &["gateway", "http", "endpoints", "responses"],
        ] {
            reader.object(part)?;
        }
        let port = reader.port()?;

        let tailscale = reader.text(&["gateway", "tailscale", "mode"])?;
        if let Some(mode) = tailscale.filter(|mode| mode != "off") {
            return Err(Cause::GatewayTailscale { mode: mode.into() });
        }
        let mode = reader.text(MODE)?;
        if let Some(mode) = mode.as_ref().filter(|mode| *mode != "local") {
            return Err(Cause::GatewayMode {
                mode: mode.as_str().into(),
            });
        }
        let bind = reader.text(&["gateway", "bind"])?;
        if let Some(bind) = bind.filter(|bind| bind != "loopback") {
            return Err(Cause::GatewayBind { bind: bind.into() });
        }
        let auth_mode = reader.text(AUTH_MODE)?;
        if let Some(mode) = auth_mode.as_ref().filter(|mode| *mode != "token") {
            return Err(Cause::GatewayAuth {
                mode: mode.as_str().into(),
            });
        }
        if auth_mode.is_none() && reader.has_password() {
            return Err(Cause::GatewayAuth {
                mode: "password".into(),
            });
        }
        let token = token::find(place, config, answers)?;
        reader.hooks_token_differs(token.as_ref())?;

        let mut needs = Vec::new();
        if mode.is_none() {
            needs.push(Need {
                key: MODE,
                value: Needed::Value(json!("local")),
            });
        }
        if token.is_none() {
            // A gateway that had no auth section takes a token alone only with its next start, so both are written.
            if auth_mode.is_none() {
                needs.push(Need {
                    key: AUTH_MODE,
                    value: Needed::Value(json!("token")),
                });
            }
            needs.push(Need {
                key: TOKEN,
                value: Needed::NewToken,
            });
        }
        for key in [CHAT, RESPONSES] {
            if reader.flag(key)? != Some(true) {
                needs.push(Need {
                    key,
                    value: Needed::Value(json!(true)),
                });
            }
        }
        Ok(Self { port, token, needs })
    }
}

struct Reader<'a> {
    place: &'a Place,
    config: &'a Config,
}

impl Reader<'_> {
    fn unusable(&self, problem: ConfigProblem) -> Cause {
        Cause::ConfigUnusable {
            path: shown(&self.place.config),
            problem,
        }
    }

    fn wrong_type(&self, key: &[&str]) -> Cause {
        self.unusable(ConfigProblem::WrongType { key: key.join(".") })
    }

    fn object(&self, key: &[&str]) -> Result<(), Cause> {
        match self.config.get(key) {
            None | Some(Value::Object(_)) => Ok(()),
            Some(_) => Err(self.unusable(ConfigProblem::NotAnObject { key: key.join(".") })),
        }
    }

    /// A text with its variables put in; `None` where it is absent.
    fn text(&self, key: &[&str]) -> Result<Option<String>, Cause> {
        match self.config.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => {
                let lookup = Lookup::new(self.place, self.config);
                Ok(Some(match substitute(text, |name| lookup.get(name)) {
                    Substituted::Whole(text) => text,
                    Substituted::Missing(_) => text.clone(),
                }))
            }
            Some(_) => Err(self.wrong_type(key)),
        }
    }

    fn flag(&self, key: &[&str]) -> Result<Option<bool>, Cause> {
        match self.config.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong_type(key)),
        }
    }

    fn port(&self) -> Result<u16, Cause> {
        let key = ["gateway", "port"];
        let configured = match self.config.get(&key) {
            None => None,
            Some(Value::Number(number)) => Some(
                number
                    .as_f64()
                    .filter(|port| port.fract() == 0.0 && (1.0..=65535.0).contains(port))
                    .ok_or_else(|| self.wrong_type(&key))?,
            ),
            Some(_) => return Err(self.wrong_type(&key)),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range is checked above"
        )]
        let configured = configured.map(|port| port as u16);
        Ok(self
            .place
            .port
            .or(configured)
            .unwrap_or(self.place.default_port))
    }

    fn has_password(&self) -> bool {
        let configured = self
            .config
            .get(&["gateway", "auth", "password"])
            .is_some_and(|password| !password.is_null());
        configured
            || Lookup::new(self.place, self.config)
                .get("OPENCLAW_GATEWAY_PASSWORD")
                .is_some()
    }

    fn hooks_token_differs(&self, token: Option<&SecretString>) -> Result<(), Cause> {
        let (Some(token), Some(hooks)) = (token, self.config.get(&["hooks", "token"])) else {
            return Ok(());
        };
        if hooks.is_object() {
            // A hooks token from a provider is not asked for: it is none of Ecto's, and costs a program's start.
            let same = self.config.get(TOKEN) == Some(hooks);
            return if same {
                Err(Cause::HooksTokenShared)
            } else {
                Ok(())
            };
        }
        match token::resolve(hooks, self.place, self.config, "hooks.token") {
            Ok(hooks) if hooks.expose_secret() == token.expose_secret() => {
                Err(Cause::HooksTokenShared)
            }
            // What the hooks' own token is, is not Ecto's business.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
