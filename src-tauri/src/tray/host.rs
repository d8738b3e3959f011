//! Whether anything on this desktop shows tray icons.

use std::future::poll_fn;
use std::pin::pin;

use tauri::AppHandle;
use zbus::export::futures_core::Stream;
use zbus::fdo::DBusProxy;

use crate::desktop;

/// Who shows icons registers this name (StatusNotifierItem specification).
const WATCHER: &str = "org.kde.StatusNotifierWatcher";

/// Puts the icon in its place whenever a tray host appears, until the app ends.
pub async fn follow(app: AppHandle) {
    if let Err(fault) = try_to_follow(&app).await {
        tracing::info!(%fault, "there is no session bus, and so no tray");
    }
}

async fn try_to_follow(app: &AppHandle) -> zbus::Result<()> {
    let bus = zbus::Connection::session().await?;
    let names = DBusProxy::new(&bus).await?;
    let mut changes = pin!(
        names
            .receive_name_owner_changed_with_args(&[(0, WATCHER)])
            .await?
    );
    // One that came after the icon was tried, and before anybody listened, is told by nothing else.
    if names.name_has_owner(WATCHER.try_into()?).await? {
        tell(app, true);
    }
    while let Some(change) = poll_fn(|context| changes.as_mut().poll_next(context)).await {
        tell(app, change.args()?.new_owner().is_some());
    }
    Ok(())
}

fn tell(app: &AppHandle, appeared: bool) {
    let told = app.clone();
    // The icon is made on the main thread alone.
    let _ = app.run_on_main_thread(move || desktop::tray_host_changed(&told, appeared));
}
