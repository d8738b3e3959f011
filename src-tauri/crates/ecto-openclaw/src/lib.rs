//! Everything said to OpenClaw.

pub mod document;
pub mod edit;
pub mod environment;
mod path;
pub mod place;
pub mod service;
mod variables;
