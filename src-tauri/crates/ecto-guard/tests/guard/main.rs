//! The guard as clients and the gateway meet it: over sockets.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod crossing;
mod cutting;
mod granting;
mod hostile;
mod limits;
mod links;
mod offering;
mod proving;
mod refusing;
mod stand_in;
