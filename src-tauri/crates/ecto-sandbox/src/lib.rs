//! Stand-ins that speak the real protocols: tailscaled, the OpenClaw gateway, the public edge.

pub mod faults;
