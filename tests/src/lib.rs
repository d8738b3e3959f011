//! Journeys across crates, on the stand-ins and on the real things.

#[cfg(target_os = "linux")]
pub mod bench;
pub mod command;
pub mod contract;
#[cfg(target_os = "linux")]
pub mod desktop;
pub mod hostile;
pub mod lab;
