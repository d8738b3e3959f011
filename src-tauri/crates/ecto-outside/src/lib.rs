//! The check from outside: what a stranger on the internet finds at the public address.
//!
//! Asking the machine itself proves nothing: its MagicDNS may lead to the node directly, past Funnel. So `resolver` asks
//! public resolvers over HTTPS, `address` refuses what is not public, `visit` connects to those addresses and to no
//! other with the certificate verified, and `check` asks without a key, with a wrong one and with the right one, in
//! this order. `finding` gives each failure its meaning.

mod address;
mod check;
mod exchange;
mod finding;
mod resolver;
mod trust;
mod visit;

pub use check::{Limits, PublicCheck, Setup, cloudflare_and_google};
pub use trust::{NoCertificate, Trust};
pub use visit::Dial;
