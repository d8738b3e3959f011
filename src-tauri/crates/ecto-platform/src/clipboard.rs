//! Copying to the clipboard, secrets above all.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
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
    if !has_display(system, environment) {
        return Err(CopyFault::NoDisplay);
    }
    let until = Instant::now() + hold;
    blocking::run("clipboard", move || copy(&secret, until))
        .await?
        .map_err(unavailable)
}

/// The clipboard for a program that stays. On X11 the content lives in the program that copied it, so this holds on to it.
/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<Option<Clipboard>>>);

impl fmt::Debug for Board {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Board")
    }
}

impl Board {
    /// Copies a text that is no secret.
    pub async fn copy(
        &self,
        system: System,
        environment: impl Fn(&str) -> Option<OsString>,
        text: String,
    ) -> Result<(), CopyFault> {
        self.with(system, environment, move |clipboard| {
            clipboard.set_text(text)
        })
        .await
    }

    /// Copies a secret and asks clipboard histories not to keep it. Stays until something else is copied or
    /// [`Board::clear_secret`] is called.
    pub async fn copy_secret(
        &self,
        system: System,
        environment: impl Fn(&str) -> Option<OsString>,
        secret: SecretString,
    ) -> Result<(), CopyFault> {
        self.with(system, environment, move |clipboard| {
            clipboard
                .set()
                .exclude_from_history()
                .text(secret.expose_secret())
        })
        .await
    }

    /// Empties the clipboard where this secret is still in it.
    pub async fn clear_secret(&self, secret: SecretString) -> Result<(), CopyFault> {
        let board = self.clone();
        let cleared = blocking::run("clipboard", move || {
            let mut held = board.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(clipboard) = held.as_mut() else {
                return Ok(());
            };
            match clipboard.get_text() {
                Ok(text) if text == secret.expose_secret() => clipboard.clear(),
                // Something else than text, or nothing at all, is in it.
                Ok(_) | Err(arboard::Error::ContentNotAvailable) => Ok(()),
                Err(error) => Err(error),
            }
        });
        cleared.await?.map_err(unavailable)
    }

    async fn with(
        &self,
        system: System,
        environment: impl Fn(&str) -> Option<OsString>,
        work: impl FnOnce(&mut Clipboard) -> Result<(), arboard::Error> + Send + 'static,
    ) -> Result<(), CopyFault> {
        if !has_display(system, environment) {
            return Err(CopyFault::NoDisplay);
        }
        let board = self.clone();
        let done = blocking::run("clipboard", move || {
            let mut held = board.0.lock().unwrap_or_else(PoisonError::into_inner);
            let clipboard = match held.as_mut() {
                Some(clipboard) => clipboard,
                None => held.insert(Clipboard::new()?),
            };
            work(clipboard)
        });
        done.await?.map_err(unavailable)
    }
}

fn unavailable(error: arboard::Error) -> CopyFault {
    CopyFault::Unavailable(ForeignText::new(error.to_string()))
}

fn has_display(system: System, environment: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = |name| environment(name).is_some_and(|value| !value.is_empty());
    system == System::MacOs || set("DISPLAY") || set("WAYLAND_DISPLAY")
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
