//! What differs by system: secret store, administrator prompt, opening links, folders.

/// What `cargo xtask check-macos --seed-error` must catch.
#[cfg(all(target_os = "macos", ecto_seed_error))]
pub const SEEDED_ERROR: u8 = "a wrong type";
