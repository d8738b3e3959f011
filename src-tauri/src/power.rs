//! Sleep and wake.

use std::sync::Arc;

use crate::application::Application;

/// Follows the machine's sleep until the app ends.
#[cfg(target_os = "linux")]
pub async fn follow(app: Arc<Application>) {
    if let Err(fault) = logind::follow(&app).await {
        tracing::info!(%fault, "this system does not tell when it sleeps");
    }
    app.take_sleep(false);
}

/// Follows the machine's sleep until the app ends.
#[cfg(target_os = "macos")]
pub async fn follow(app: Arc<Application>) {
    let mut told = crate::macos::workspace::observe_power();
    app.take_sleep(true);
    while let Some(change) = told.recv().await {
        match change {
            Change::Sleep(done) => {
                app.sleep().await;
                // Nobody waits any longer where it took too long.
                let _ = done.send(());
            }
            Change::Wake => app.hosting.wake().await,
        }
    }
}

/// Keeps the system from slowing the guard down while Public is wanted, until the app ends.
#[cfg(target_os = "macos")]
pub async fn stay_awake(mut views: tokio::sync::watch::Receiver<crate::view::AppView>) {
    use crate::macos::activity::Activity;

    let mut held: Option<Activity> = None;
    loop {
        let wanted = views.borrow_and_update().report.snapshot.wanted.is_public();
        if wanted != held.is_some() {
            held = wanted.then(Activity::begin);
        }
        if views.changed().await.is_err() {
            return;
        }
    }
}

/// What the machine does.
#[cfg(target_os = "macos")]
#[derive(Debug)]
pub enum Change {
    /// It is about to sleep, and waits for this to be told.
    Sleep(std::sync::mpsc::Sender<()>),
    /// It woke up.
    Wake,
}

#[cfg(target_os = "linux")]
mod logind {
    use std::future::poll_fn;
    use std::pin::pin;

    use zbus::export::futures_core::Stream;
    use zbus::zvariant::OwnedFd;

    use super::{Application, Arc};

    /// systemd-logind(5): `PrepareForSleep(true)` comes before sleep, and sleep waits for those who hold a delay lock.
    pub async fn follow(app: &Arc<Application>) -> zbus::Result<()> {
        let bus = zbus::Connection::system().await?;
        let manager = zbus::Proxy::new(
            &bus,
            "org.freedesktop.login1",
            "/org/freedesktop/login1",
            "org.freedesktop.login1.Manager",
        )
        .await?;
        let mut signals = pin!(manager.receive_signal("PrepareForSleep").await?);
        let mut delay = hold(&manager).await;
        app.take_sleep(delay.is_some());
        while let Some(signal) = poll_fn(|context| signals.as_mut().poll_next(context)).await {
            let sleeps: bool = signal.body().deserialize()?;
            if sleeps {
                app.sleep().await;
                drop(delay.take());
            } else {
                app.hosting.wake().await;
                delay = hold(&manager).await;
                app.take_sleep(delay.is_some());
            }
        }
        Ok(())
    }

    async fn hold(manager: &zbus::Proxy<'_>) -> Option<OwnedFd> {
        let arguments = ("sleep", "Ecto", "Closing the door", "delay");
        manager.call("Inhibit", &arguments).await.ok()
    }
}
