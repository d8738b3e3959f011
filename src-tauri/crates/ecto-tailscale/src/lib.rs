//! Everything said to tailscaled.
//!
//! [`Tailscale`] is the engine's port to it, [`Places`] says where everything is. The room for each noun: `find` the
//! variants and which one answers, `local_api` the client, `bus` what tailscaled tells by itself, `watcher` who listens,
//! `status` what it says of itself, `sign_in` and `permission` the two links a person opens, `serve_config` the document
//! that the door stands in, `claim` the door, `own_node`, `system_node` and `homebrew` what brings a node about.

mod bus;
mod cause;
mod claim;
mod command;
mod find;
mod homebrew;
mod link;
mod local_api;
mod own_node;
mod permission;
mod places;
mod serve_config;
mod sign_in;
mod status;
mod system_node;
mod tailnet;
mod watcher;

pub use places::{OperatingSystem, OwnNodePlaces, Places};
pub use system_node::Administrator;
pub use tailnet::Tailscale;
