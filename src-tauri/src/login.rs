//! Whether Ecto opens at login: an autostart entry on Linux, the system's own list on a Mac.

#[cfg(any(target_os = "macos", test))]
pub mod approval;
#[cfg(target_os = "linux")]
mod autostart;

#[cfg(target_os = "linux")]
pub use autostart::Login;

#[cfg(target_os = "macos")]
pub use crate::macos::login_item::Login;
