//! Everything said to OpenClaw.
