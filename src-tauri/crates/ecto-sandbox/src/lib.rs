//! Stand-ins that speak the real protocols: tailscaled, the OpenClaw gateway, the public edge.

mod answer;
pub mod authority;
pub mod edge;
pub mod faults;
pub mod gateway;
mod life;
pub mod tailnet;
