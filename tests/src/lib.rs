//! Journeys across crates, on the stand-ins and on the real things.

pub mod command;
pub mod contract;
pub mod lab;
