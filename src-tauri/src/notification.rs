//! Telling the desktop. A click on what it shows opens the popover.

#[cfg(target_os = "linux")]
pub use linux::{Desktop, standing, without_markup};
#[cfg(target_os = "macos")]
pub use mac::standing;

use std::sync::Arc;
use std::time::Duration;

use tauri::{AppHandle, Manager};

#[cfg(target_os = "linux")]
use self::linux as system;
#[cfg(target_os = "macos")]
use self::mac as system;
use crate::application::Application;
use crate::notice::Notification;

/// How long the desktop may take for one notification: as long as it may take to start what shows it (libdbus' own limit for an
/// answer). A Mac asks the person first whether there may be any; that question stays, and what waited for it is shown then.
const TAKES_WITHIN: Duration = Duration::from_secs(25);

/// What macOS answers where the person or an administrator switched notifications off (`UNAuthorizationStatusDenied`).
#[cfg(any(target_os = "macos", test))]
pub const DENIED: isize = 1;

/// What macOS's answer means; there is none outside of a bundle. Before the person was asked, nothing is refused.
#[cfg(any(target_os = "macos", test))]
fn standing_of(status: Option<isize>) -> crate::view::NotificationStanding {
    use crate::view::NotificationStanding;
    match status {
        Some(DENIED) => NotificationStanding::Refused,
        Some(_) => NotificationStanding::Shown,
        None => NotificationStanding::Unavailable,
    }
}

/// Looks whether the desktop shows what Ecto tells; what is found is shown once it is known.
pub fn look(app: &AppHandle) {
    let application = Arc::clone(&app.state::<Arc<Application>>());
    tauri::async_runtime::spawn(async move {
        let found = standing().await;
        application.take_notifications(found);
    });
}

/// Shows a notification.
pub async fn show(app: &AppHandle, notification: Notification) -> Result<(), NotShown> {
    taken(system::show(app, notification)).await
}

/// Shows one that outlives the app: nobody hears a click on it any more.
pub async fn show_last(app: &AppHandle, notification: Notification) -> Result<(), NotShown> {
    taken(system::show_last(app, notification)).await
}

async fn taken(shown: impl Future<Output = Result<(), NotShown>>) -> Result<(), NotShown> {
    let taken = tokio::time::timeout(TAKES_WITHIN, shown).await;
    let taken = taken.unwrap_or(Err(NotShown::Silent));
    if let Err(fault) = &taken {
        tracing::info!(%fault, "the desktop took no notification");
    }
    taken
}

/// Why a notification is not seen.
#[derive(Debug, thiserror::Error)]
pub enum NotShown {
    /// The desktop did not say in time that it took it.
    #[error("the desktop does not answer")]
    Silent,
    /// There is nothing that shows any, or it does not take this one.
    #[cfg(target_os = "linux")]
    #[error("{0}")]
    Bus(#[from] zbus::Error),
    /// The person or an administrator forbade it, or it runs outside of a bundle.
    #[cfg(target_os = "macos")]
    #[error("the system does not let Ecto show any")]
    Forbidden,
}

#[cfg(target_os = "linux")]
mod linux {
    //! Desktop Notifications Specification 1.2.

    use std::collections::{HashMap, VecDeque};
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::Arc;

    use tauri::{AppHandle, Manager};
    use tokio::sync::{Mutex, OnceCell};
    use zbus::export::futures_core::Stream;
    use zbus::fdo::DBusProxy;
    use zbus::names::OwnedBusName;
    use zbus::zvariant;

    use super::NotShown;
    use crate::notice::Notification;
    use crate::view::NotificationStanding;

    /// The name under which the desktop knows the app, its icon and its entry, as they are installed.
    const INSTALLED_AS: &str = "dev.ecto.app";

    /// The action of a click on the notification itself.
    const CLICK: &str = "default";

    /// Of how many notifications a click is still known. Older ones are gone from any screen.
    const KNOWN: usize = 16;

    type Ids = Arc<Mutex<VecDeque<u32>>>;

    /// The part of the desktop that shows notifications, once it was asked for.
    #[derive(Debug, Default)]
    pub struct Desktop {
        notifications: OnceCell<zbus::Proxy<'static>>,
        shown: Ids,
    }

    /// Who shows notifications has this name.
    const SERVER: &str = "org.freedesktop.Notifications";

    /// Whether anything on this desktop shows them, or would be started to.
    pub async fn standing() -> NotificationStanding {
        match is_there().await {
            Ok(true) => NotificationStanding::Shown,
            Ok(false) | Err(_) => NotificationStanding::Unavailable,
        }
    }

    async fn is_there() -> zbus::Result<bool> {
        let bus = zbus::Connection::session().await?;
        let names = DBusProxy::new(&bus).await?;
        let is_running = names.name_has_owner(SERVER.try_into()?).await?;
        let is_known = |names: Vec<OwnedBusName>| names.iter().any(|name| name.as_str() == SERVER);
        Ok(is_running || is_known(names.list_activatable_names().await?))
    }

    pub(super) async fn show(app: &AppHandle, notification: Notification) -> Result<(), NotShown> {
        Ok(call(app, &notification, true).await?)
    }

    /// GNOME takes those away that are known to be of an app that has ended (gnome-shell 43,
    /// `js/ui/notificationDaemon.js`), so it is not said of which it is.
    pub(super) async fn show_last(
        app: &AppHandle,
        notification: Notification,
    ) -> Result<(), NotShown> {
        Ok(call(app, &notification, false).await?)
    }

    /// A text as it stands, where the desktop may take it for markup.
    pub fn without_markup(text: &str) -> String {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    }

    async fn call(
        app: &AppHandle,
        notification: &Notification,
        is_heard: bool,
    ) -> zbus::Result<()> {
        let desktop = app.state::<Desktop>();
        let proxy = desktop
            .notifications
            .get_or_try_init(|| begin(app, Arc::clone(&desktop.shown)))
            .await?;
        let able: Vec<String> = proxy.call("GetCapabilities", &()).await?;
        // Some that know no actions would ask a question in their place.
        let actions: &[&str] = if is_heard && able.iter().any(|able| able == "actions") {
            &[CLICK, "Open Ecto"]
        } else {
            &[]
        };
        let body = without_markup(&notification.body);
        let entry = ("desktop-entry", zvariant::Value::from(INSTALLED_AS));
        let hints: HashMap<_, _> = is_heard.then_some(entry).into_iter().collect();
        let arguments = (
            "Ecto",
            0u32,
            INSTALLED_AS,
            notification.title.as_str(),
            body.as_str(),
            actions,
            hints,
            -1i32,
        );
        // Held until the number is known: the click may come first.
        let mut shown = desktop.shown.lock().await;
        shown.push_back(proxy.call("Notify", &arguments).await?);
        if shown.len() > KNOWN {
            shown.pop_front();
        }
        Ok(())
    }

    /// Begins to hear the clicks.
    async fn begin(app: &AppHandle, shown: Ids) -> zbus::Result<zbus::Proxy<'static>> {
        let bus = zbus::Connection::session().await?;
        let proxy =
            zbus::Proxy::new(&bus, SERVER, "/org/freedesktop/Notifications", SERVER).await?;
        let clicks = proxy.receive_signal("ActionInvoked").await?;
        let app = app.clone();
        tauri::async_runtime::spawn(async move {
            let mut clicks = pin!(clicks);
            while let Some(click) = poll_fn(|context| clicks.as_mut().poll_next(context)).await {
                let Ok((id, action)) = click.body().deserialize::<(u32, String)>() else {
                    continue;
                };
                // Those of other programs are told to everybody.
                if action == CLICK && shown.lock().await.contains(&id) {
                    crate::desktop::open(&app);
                }
            }
        });
        Ok(proxy)
    }
}

#[cfg(target_os = "macos")]
mod mac {
    use tauri::AppHandle;

    use super::{NotShown, standing_of};
    use crate::notice::Notification;
    use crate::view::NotificationStanding;

    /// Whether the system lets Ecto show any.
    pub async fn standing() -> NotificationStanding {
        standing_of(crate::macos::notification::status().recv().await)
    }

    pub(super) use show as show_last;

    /// The first one waits until the person has answered whether there may be any.
    pub(super) async fn show(_app: &AppHandle, notification: Notification) -> Result<(), NotShown> {
        let mut told = crate::macos::notification::show(&notification);
        match told.recv().await {
            Some(true) => Ok(()),
            Some(false) | None => Err(NotShown::Forbidden),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::NotificationStanding;

    #[test]
    fn only_what_was_switched_off_is_refused() {
        // Not asked yet, switched off, allowed, allowed quietly, allowed for now.
        let standings = [0, DENIED, 2, 3, 4].map(|status| standing_of(Some(status)));
        let (shown, refused) = (NotificationStanding::Shown, NotificationStanding::Refused);
        assert_eq!(standings, [shown, refused, shown, shown, shown]);
        assert_eq!(standing_of(None), NotificationStanding::Unavailable);
    }
}
