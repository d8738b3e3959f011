//! All that the page can ask for. Each is a line; [`Application`] does the work.

use std::sync::Arc;

use ecto_core::gateway::RestoredKey;
use ecto_host::preferences::{OpenFor, Preferences};
use ecto_host::request::Request;
use secrecy::ExposeSecret;
use tauri::ipc::Invoke;
use tauri::{Runtime, State, WebviewWindow};

use crate::application::{Application, CodeWhat, CopyWhat};
use crate::popover;
use crate::refusal::Refusal;
use crate::view::AppView;

type App<'app> = State<'app, Arc<Application>>;

/// What answers the page.
pub fn handler<R: Runtime>() -> impl Fn(Invoke<R>) -> bool + Send + Sync + 'static {
    tauri::generate_handler![
        view,
        connect,
        disconnect,
        reveal_key,
        copy,
        qr,
        open_link,
        check_outside,
        regenerate_key,
        restart_gateway,
        restore,
        set_preferences,
        set_launch_at_login,
        diagnostics,
        save_diagnostics,
        uninstall,
        hide,
    ]
}

#[tauri::command]
fn view(app: App<'_>) -> AppView {
    app.look_again();
    app.view()
}

#[tauri::command]
async fn connect(minutes: OpenFor, app: App<'_>) -> Result<(), Refusal> {
    app.connect(minutes).await
}

#[tauri::command]
async fn disconnect(app: App<'_>) -> Result<(), Refusal> {
    app.disconnect().await
}

#[tauri::command]
async fn reveal_key(app: App<'_>) -> Result<String, Refusal> {
    let key = app.reveal_key().await?;
    Ok(key.expose_secret().to_owned())
}

#[tauri::command]
async fn copy(what: CopyWhat, app: App<'_>) -> Result<(), Refusal> {
    app.copy(what).await
}

#[tauri::command]
async fn qr(what: CodeWhat, app: App<'_>) -> Result<String, Refusal> {
    app.qr(what).await
}

#[tauri::command]
async fn open_link(app: App<'_>) -> Result<(), Refusal> {
    app.open_link().await
}

#[tauri::command]
async fn check_outside(app: App<'_>) -> Result<(), Refusal> {
    app.ask(Request::CheckOutside).await
}

#[tauri::command]
async fn regenerate_key(app: App<'_>) -> Result<(), Refusal> {
    app.ask(Request::RegenerateKey).await
}

#[tauri::command]
async fn restart_gateway(app: App<'_>) -> Result<(), Refusal> {
    app.ask(Request::RestartGateway).await
}

#[tauri::command]
async fn restore(app: App<'_>) -> Result<Vec<RestoredKey>, Refusal> {
    app.restore().await
}

#[tauri::command]
fn set_preferences(preferences: Preferences, app: App<'_>) -> Result<AppView, Refusal> {
    app.keep_preferences(preferences)
}

#[tauri::command]
fn set_launch_at_login(on: bool, app: App<'_>) -> Result<AppView, Refusal> {
    app.set_launch_at_login(on)
}

#[tauri::command]
async fn diagnostics(app: App<'_>) -> Result<String, Refusal> {
    Ok(app.diagnostics().await)
}

#[tauri::command]
async fn save_diagnostics(app: App<'_>) -> Result<String, Refusal> {
    app.save_diagnostics().await
}

#[tauri::command]
async fn uninstall(app: App<'_>) -> Result<Vec<String>, Refusal> {
    app.uninstall().await
}

#[tauri::command]
fn hide<R: Runtime>(window: WebviewWindow<R>) {
    popover::hide(&window);
}
