//! Copying a secret to the clipboard.

use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};

use arboard::Clipboard;
#[cfg(target_os = "macos")]
use arboard::SetExtApple;
#[cfg(target_os = "linux")]
use arboard::SetExtLinux;
use ecto_core::foreign::ForeignText;
use secrecy::{ExposeSecret, SecretString};

use crate::{System, blocking};

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyFault {
    /// There is no display, and so no clipboard.
    #[error(
        "There is no clipboard here: no display is in use. Show the key with `ecto token --reveal` instead."
    )]
    NoDisplay,
    /// The clipboard refused.
    #[error("The clipboard cannot be used: {0}. Show the key with `ecto token --reveal` instead.")]
    Unavailable(ForeignText),
    /// The system could not start a thread.
    #[error("The clipboard cannot be used: {0}.")]
    Thread(#[from] io::Error),
}

/// Copies a secret and asks clipboard histories not to keep it.
///
/// On X11 the content lives in the program that copied it: there this returns when something else was copied or when
/// `hold` is over, and the content is gone when the program ends. On macOS it returns at once.
pub async fn copy_secret(
    system: System,
    environment: impl Fn(&str) -> Option<OsString>,
    secret: SecretString,
    hold: Duration,
) -> Result<(), CopyFault> {
    let set = |name| environment(name).is_some_and(|value| !value.is_empty());
    if system == System::Linux && !set("DISPLAY") && !set("WAYLAND_DISPLAY") {
        return Err(CopyFault::NoDisplay);
    }
    let until = Instant::now() + hold;
    blocking::run("clipboard", move || copy(&secret, until))
        .await?
        .map_err(|error| CopyFault::Unavailable(ForeignText::new(error.to_string())))
}

#[cfg(target_os = "macos")]
fn copy(secret: &SecretString, _until: Instant) -> Result<(), arboard::Error> {
    Clipboard::new()?
        .set()
        .exclude_from_history()
        .text(secret.expose_secret())
}

#[cfg(target_os = "linux")]
fn copy(secret: &SecretString, until: Instant) -> Result<(), arboard::Error> {
    Clipboard::new()?
        .set()
        .exclude_from_history()
        .wait_until(until)
        .text(secret.expose_secret())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_display_there_is_a_sentence() {
        let secret = SecretString::from("made-up");
        let fault = copy_secret(System::Linux, |_| None, secret, Duration::ZERO)
            .await
            .unwrap_err();
        assert!(matches!(fault, CopyFault::NoDisplay));
        assert!(fault.to_string().contains("--reveal"));
    }
}
