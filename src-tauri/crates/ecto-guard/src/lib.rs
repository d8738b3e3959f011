//! The lock in front of the gateway: lets exact routes through, to the holders of a key, and nothing else.
//!
//! Each request goes through the rooms in this order: `connection` limits time, `framing` head and form, `caller` takes
//! the source address from what tailscaled sets, `route` finds the destination, `key` the holder, `address` what it takes up, `body` limits what is
//! sent, `room` what everything takes up together, `header` chooses what the gateway sees, `gateway` carries it over a kept-alive connection and `answer` streams
//! what comes back, with `keep_alive` in its silences. `activity` keeps one line of it; `prover` asks the questions that prove the lock.
//!
//! Everything for one client connection, the gateway's side included, happens in one task: when that task ends, for
//! whatever reason, nothing of the connection is left on either side.

mod activity;
mod address;
mod admission;
mod answer;
mod body;
mod caller;
mod connection;
mod cors;
mod framing;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod gateway;
mod guard;
mod header;
mod keep_alive;
mod key;
mod limits;
mod listener;
#[cfg(feature = "measure")]
pub mod measure;
mod passage;
#[cfg(test)]
mod paused;
mod prover;
mod rate;
mod room;
mod route;
mod together;

pub use guard::LoopbackGuard;
pub use limits::Limits;
pub use rate::{Allowance, Pace, RetryAfter};
