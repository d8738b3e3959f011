//! The part of a system that puts it to sleep: systemd-logind's `PrepareForSleep` and delay locks.

use std::io::{PipeReader, PipeWriter, Read as _};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use zbus::object_server::SignalEmitter;
use zbus::zvariant;
use zbus::{Connection, connection};

use super::{Display, LIMIT};

const PATH: &str = "/org/freedesktop/login1";

/// Puts the machine to sleep and wakes it. It goes when this is dropped.
pub struct SleepService {
    connection: Connection,
    held: mpsc::UnboundedReceiver<PipeReader>,
}

/// Somebody holds up sleep for as long as the other end of this is open.
pub struct Delay(PipeReader);

struct Manager {
    held: mpsc::UnboundedSender<PipeReader>,
}

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    fn inhibit(
        &self,
        what: &str,
        _who: &str,
        _why: &str,
        mode: &str,
    ) -> zbus::fdo::Result<zvariant::OwnedFd> {
        if (what, mode) != ("sleep", "delay") {
            return Err(zbus::fdo::Error::InvalidArgs(format!("{what} {mode}")));
        }
        let (reader, writer): (PipeReader, PipeWriter) =
            std::io::pipe().map_err(|fault| zbus::fdo::Error::Failed(fault.to_string()))?;
        let _ = self.held.send(reader);
        Ok(OwnedFd::from(writer).into())
    }

    #[zbus(signal)]
    async fn prepare_for_sleep(emitter: &SignalEmitter<'_>, start: bool) -> zbus::Result<()>;
}

impl SleepService {
    /// Puts it on the desktop's bus, which an app takes for the system's where `DBUS_SYSTEM_BUS_ADDRESS` says so.
    ///
    /// # Errors
    ///
    /// Where the bus does not answer.
    pub async fn start(display: &Display) -> Result<Self> {
        let (tell, held) = mpsc::unbounded_channel();
        let connection = connection::Builder::address(display.bus())?
            .serve_at(PATH, Manager { held: tell })?
            .name("org.freedesktop.login1")?
            .build()
            .await?;
        Ok(Self { connection, held })
    }

    /// Waits until somebody holds up sleep.
    ///
    /// # Errors
    ///
    /// Where nobody does.
    pub async fn delay(&mut self) -> Result<Delay> {
        let held = tokio::time::timeout(LIMIT, self.held.recv()).await;
        Ok(Delay(
            held.context("nobody holds up sleep")?
                .context("the bus has gone")?,
        ))
    }

    /// Tells that the machine is about to sleep (`true`), or woke up.
    ///
    /// # Errors
    ///
    /// Where the bus has gone.
    pub async fn tell(&self, sleeps: bool) -> Result<()> {
        let emitter = SignalEmitter::new(&self.connection, PATH)?;
        Ok(Manager::prepare_for_sleep(&emitter, sleeps).await?)
    }
}

impl Delay {
    /// Waits until sleep is no longer held up.
    ///
    /// # Errors
    ///
    /// Where it stays held up.
    pub async fn released(mut self) -> Result<()> {
        let end = tokio::task::spawn_blocking(move || self.0.read(&mut [0]));
        tokio::time::timeout(LIMIT, end)
            .await
            .context("sleep stays held up")???;
        Ok(())
    }
}
