//! The engine: what is wanted, what is, and the next step between them.
//!
//! Nothing here reads a file, opens a socket or asks the clock of the machine: all of that comes in through [`ports`].
//! The room for each noun: [`wanted`] what the person asked for, [`exposure`] what is, [`step`] one thing on the way,
//! [`cause`] why it is blocked and [`words`] the sentences for it, [`proof`] the right to open the door, [`plan`] the
//! pure choice of the next step, [`engine`] the one task that owns the state, [`snapshot`] what everybody else sees.

pub mod cause;
pub mod engine;

pub mod exposure;
pub mod foreign;
pub mod gateway;
pub mod key;
pub mod offer;
pub mod plan;

pub mod ports;
pub mod proof;
pub mod refusal;
pub mod settings;
pub mod snapshot;

pub mod step;
pub mod tailnet;
pub mod wanted;
pub mod watchword;
pub mod words;

/// A moment on the wall clock.
pub use jiff::Timestamp;
