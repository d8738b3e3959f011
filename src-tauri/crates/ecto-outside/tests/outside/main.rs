//! The check from outside against relays and resolvers of all kinds.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod asking;
mod resolving;
mod sandbox;
mod stand_in;
mod verifying;
