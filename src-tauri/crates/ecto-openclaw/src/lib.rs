//! Everything said to OpenClaw: find it, read and change its configuration, ask it, start it, watch it.
//!
//! [`OpenClaw`] is the port. Behind it, in the order in which it uses them: [`environment`], [`launch_agent`] and [`place`] say where
//! OpenClaw is; [`config`] and [`document`] read what it is told, [`needs`] says what is missing and what must not be fought;
//! [`edit`] and [`mod@file`] change the file and nothing else in it, [`journal`] remembers it; [`rpc`] and [`probe`] talk to the
//! running gateway.
//!
//! A change is made by the gateway's own RPC where its writer would lose nothing, and by an edit of the file otherwise; a
//! running gateway takes the edit over by itself within a second.

mod agents;
mod change;
pub mod config;
pub mod document;
pub mod edit;
pub mod environment;
pub mod file;
pub mod gateway;
mod hooks;
pub mod journal;
pub mod launch_agent;
pub mod needs;
mod path;
pub mod place;
pub mod probe;
mod reading;
mod restart;
pub mod rpc;
mod setup;
mod token;
mod variables;
mod watching;

pub use environment::Environment;
pub use gateway::{OpenClaw, Options};
