//! Everything said to tailscaled.
