//! What differs by system: secret store, administrator prompt, opening links, folders, the clock.
//!
//! Everything here takes its folders, environment and programs as parameters; [`System`] says which system's
//! manners apply, so that both systems' rules are tested on either.

pub mod administrator;
pub mod clipboard;
pub mod clock;
pub mod desktop;
pub mod folders;
pub mod vault;

mod blocking;
mod private_file;
#[cfg(test)]
mod script;

/// The systems Ecto runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// macOS.
    MacOs,
    /// Linux, with or without a desktop.
    Linux,
}

impl System {
    /// The system this was built for.
    pub const fn current() -> Self {
        if cfg!(target_os = "macos") {
            Self::MacOs
        } else {
            Self::Linux
        }
    }
}

/// What `cargo xtask check-macos --seed-error` must catch.
#[cfg(all(target_os = "macos", ecto_seed_error))]
pub const SEEDED_ERROR: u8 = "a wrong type";
