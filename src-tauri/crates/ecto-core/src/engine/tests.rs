//! The engine against a world of stand-ins, on paused time.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a stand-in plays the cases that a story names, and does nothing in all others"
)]

mod closing;
mod faults;
mod journey;
mod keeping;
mod keys;
mod offering;
mod random;
mod remembering;
mod story;
mod world;
