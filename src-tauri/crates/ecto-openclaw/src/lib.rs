//! Everything said to OpenClaw.

mod change;
pub mod config;
pub mod document;
pub mod edit;
pub mod environment;
pub mod file;
pub mod gateway;
pub mod journal;
pub mod needs;
mod path;
pub mod place;
pub mod probe;
mod reading;
mod restart;
pub mod rpc;
pub mod service;
mod setup;
mod token;
mod variables;
mod watching;

pub use environment::Environment;
pub use gateway::{OpenClaw, Options};
