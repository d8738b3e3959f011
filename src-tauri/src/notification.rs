//! Telling the desktop.

use crate::notice::Notification;

/// The name under which the desktop knows the app, its icon and its entry, as they are installed.
#[cfg(target_os = "linux")]
const INSTALLED_AS: &str = "dev.ecto.app";

/// Shows a notification. One that the desktop does not take is no reason for anything: the icon tells the same.
#[cfg(target_os = "linux")]
pub async fn show(notification: Notification) {
    if let Err(fault) = call(&notification).await {
        tracing::info!(%fault, "the desktop took no notification");
    }
}

/// Desktop Notifications Specification 1.2. The body may be markup there, so what could be taken for it is escaped.
#[cfg(target_os = "linux")]
async fn call(notification: &Notification) -> zbus::Result<()> {
    use std::collections::HashMap;

    let connection = zbus::Connection::session().await?;
    let body = notification
        .body
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let hints = HashMap::from([("desktop-entry", zbus::zvariant::Value::from(INSTALLED_AS))]);
    let arguments = (
        "Ecto",
        0u32,
        INSTALLED_AS,
        notification.title.as_str(),
        body.as_str(),
        Vec::<&str>::new(),
        hints,
        -1i32,
    );
    connection
        .call_method(
            Some("org.freedesktop.Notifications"),
            "/org/freedesktop/Notifications",
            Some("org.freedesktop.Notifications"),
            "Notify",
            &arguments,
        )
        .await?;
    Ok(())
}

/// Shows a notification.
#[cfg(target_os = "macos")]
#[expect(
    clippy::unused_async,
    reason = "the other system waits for its desktop"
)]
pub async fn show(notification: Notification) {
    crate::macos::notification::show(&notification);
}
