//! The keys that clients present to the guard: the [`secret`], what it may do ([`grant`], [`rate`]), how it is kept
//! ([`ring`]) and what of it the guard is handed ([`guard_key`]).

pub mod grant;
pub mod guard_key;
pub mod name;
pub mod rate;
pub mod ring;
pub mod secret;

pub use grant::{KeyGrant, NewEnd, Route};
pub use guard_key::{GuardKey, KeyDigest, ValidDigest};
pub use name::{AgentId, KeyName};
pub use rate::{Period, Rate};
pub use ring::{EarlierSecret, Key, KeyRing, WhichSecret};
pub use secret::{NoRandomness, PREFIX, hint, is_well_formed, make_gateway_token, make_key};

/// The name of the key that is there from the start.
pub const DEFAULT_KEY: &str = "default";
