//! All that the page can ask for. Each is a line; [`Application`] does the work.

use std::sync::Arc;

use ecto_core::gateway::RestoredKey;
use ecto_host::preferences::{OpenFor, Preferences};
use ecto_host::request::Request;
use secrecy::ExposeSecret;
use tauri::ipc::Invoke;
use tauri::{State, WebviewWindow};

use crate::application::{Application, CodeWhat, CopyWhat};
use crate::popover;
use crate::refusal::Refusal;
use crate::view::AppView;

type App<'app> = State<'app, Arc<Application>>;

/// What answers the page.
pub fn handler() -> impl Fn(Invoke) -> bool + Send + Sync + 'static {
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
fn hide(window: WebviewWindow) {
    popover::hide(&window);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// All that the page can call. Whoever adds one says so here.
    const AGREED: [&str; 17] = [
        "view",
        "connect",
        "disconnect",
        "reveal_key",
        "copy",
        "qr",
        "open_link",
        "check_outside",
        "regenerate_key",
        "restart_gateway",
        "restore",
        "set_preferences",
        "set_launch_at_login",
        "diagnostics",
        "save_diagnostics",
        "uninstall",
        "hide",
    ];

    #[test]
    fn the_page_can_call_what_was_agreed_and_nothing_else() {
        let capability: serde_json::Value =
            serde_json::from_str(include_str!("../capabilities/popover.json")).unwrap();
        let permitted: BTreeSet<String> = capability["permissions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|permission| permission.as_str().unwrap().to_owned())
            .collect();
        let agreed: BTreeSet<String> = AGREED
            .iter()
            .map(|command| format!("allow-{}", command.replace('_', "-")))
            .chain([
                "core:event:allow-listen".to_owned(),
                "core:event:allow-unlisten".to_owned(),
            ])
            .collect();
        assert_eq!(permitted, agreed);
        assert_eq!(
            capability["windows"],
            serde_json::json!([crate::popover::LABEL])
        );
        assert_eq!(capability.get("remote"), None);
        // What Tauri is told at build time, and what answers.
        let told = include_str!("../build.rs");
        let answers = include_str!("commands.rs");
        for command in AGREED {
            assert!(told.contains(&format!("\"{command}\"")), "{command}");
            assert!(answers.contains(&format!("fn {command}(")), "{command}");
        }
        assert_eq!(
            answers.matches("\n#[tauri::command]\n").count(),
            AGREED.len()
        );
    }

    #[test]
    fn the_page_comes_from_this_program_alone() {
        let configuration: serde_json::Value =
            serde_json::from_str(include_str!("../tauri.conf.json")).unwrap();
        let policy = configuration["app"]["security"]["csp"].as_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert!(
            !policy.contains("unsafe") && !policy.contains('*') && !policy.contains("https:"),
            "{policy}"
        );
        // The stand-in host of the tests is not shipped.
        let page = configuration["build"]["frontendDist"].to_string();
        assert!(!page.contains("stand-in"), "{page}");
    }
}
