//! The part of a desktop that shows notifications: Desktop Notifications Specification 1.2.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, oneshot};
use zbus::zvariant::OwnedValue;
use zbus::{Connection, connection};

use super::{Display, LIMIT};

/// What a person would see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Who shows it.
    pub program: String,
    /// The name of the icon beside it.
    pub icon: String,
    /// The entry by which the desktop knows who shows it.
    pub entry: Option<String>,
    /// In a few words.
    pub title: String,
    /// In a sentence; may be markup.
    pub body: String,
    /// What a person can do with it, by name; `default` is a click on it.
    pub actions: Vec<String>,
}

/// Takes notifications. It goes when this is dropped.
pub struct Notifications {
    connection: Connection,
    shown: mpsc::UnboundedReceiver<Shown>,
    busy: Busy,
}

/// Until when the next question waits for its answer.
type Busy = Arc<Mutex<Option<oneshot::Receiver<()>>>>;

/// The number of every notification.
const NUMBER: u32 = 1;

struct Server {
    shown: mpsc::UnboundedSender<Shown>,
    busy: Busy,
}

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Server {
    #[expect(clippy::too_many_arguments, reason = "the specification has as many")]
    fn notify(
        &self,
        program: String,
        _replaces: u32,
        icon: String,
        title: String,
        body: String,
        actions: Vec<String>,
        hints: HashMap<String, OwnedValue>,
        _timeout: i32,
    ) -> u32 {
        let _ = self.shown.send(Shown {
            program,
            icon,
            entry: hints
                .get("desktop-entry")
                .and_then(|entry| entry.downcast_ref::<String>().ok()),
            title,
            body,
            // Names and labels take turns.
            actions: actions.into_iter().step_by(2).collect(),
        });
        NUMBER
    }

    async fn get_capabilities(&self) -> Vec<&'static str> {
        let busy = locked(&self.busy).take();
        if let Some(busy) = busy {
            // It ends with what holds it.
            let _ = busy.await;
        }
        vec!["actions", "body", "body-markup"]
    }
}

fn locked(busy: &Busy) -> std::sync::MutexGuard<'_, Option<oneshot::Receiver<()>>> {
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notifications {
    /// Begins to take them.
    ///
    /// # Errors
    ///
    /// Where the bus does not answer.
    pub async fn start(display: &Display) -> Result<Self> {
        let (tell, shown) = mpsc::unbounded_channel();
        let busy = Busy::default();
        let server = Server {
            shown: tell,
            busy: Arc::clone(&busy),
        };
        let connection = connection::Builder::address(display.bus())?
            .serve_at("/org/freedesktop/Notifications", server)?
            .name("org.freedesktop.Notifications")?
            .build()
            .await?;
        Ok(Self {
            connection,
            shown,
            busy,
        })
    }

    /// Lets whoever asks next what this desktop is able to show wait until what this gives is dropped; others do not wait.
    #[must_use]
    pub fn hold_next(&self) -> oneshot::Sender<()> {
        let (hold, held) = oneshot::channel();
        *locked(&self.busy) = Some(held);
        hold
    }

    /// Waits for the next one.
    ///
    /// # Errors
    ///
    /// Where none comes.
    pub async fn next(&mut self) -> Result<Shown> {
        tokio::time::timeout(LIMIT, self.shown.recv())
            .await
            .context("no notification comes")?
            .context("the bus has gone")
    }

    /// Clicks the last one.
    ///
    /// # Errors
    ///
    /// Where the bus has gone.
    pub async fn click(&self) -> Result<()> {
        let (path, interface) = (
            "/org/freedesktop/Notifications",
            "org.freedesktop.Notifications",
        );
        let clicked = (NUMBER, "default");
        Ok(self
            .connection
            .emit_signal(None::<&str>, path, interface, "ActionInvoked", &clicked)
            .await?)
    }

    /// Those that came and were not taken yet.
    pub fn rest(&mut self) -> Vec<Shown> {
        std::iter::from_fn(|| self.shown.try_recv().ok()).collect()
    }
}
