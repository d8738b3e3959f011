//! All that the page can ask for. Each is a line; [`Application`] does the work.

use std::sync::Arc;

use ecto_core::Timestamp;
use ecto_core::gateway::RestoredKey;
use ecto_core::key::Route;
use ecto_core::offer::Origin;
use ecto_core::ports::RequestLine;
use ecto_core::snapshot::KeyView;
use ecto_host::preferences::{OpenFor, Preferences};
use ecto_host::request::Request;
use secrecy::ExposeSecret;
use tauri::ipc::Invoke;
use tauri::{AppHandle, Manager, State, WebviewWindow};

use crate::application::{Application, CodeWhat, CopyWhat, OpenWhat};
use crate::desktop::tell_if_unseen;
use crate::hosting::Quit;
use crate::keys::{End, Grace, NewKey, key_name};
use crate::popover;
use crate::refusal::Refusal;
use crate::view::AppView;

type App<'app> = State<'app, Arc<Application>>;

/// What answers the page.
pub fn handler() -> impl Fn(Invoke) -> bool + Send + Sync + 'static {
    tauri::generate_handler![
        view,
        look,
        connect,
        disconnect,
        reveal_key,
        copy,
        qr,
        open_link,
        check_outside,
        regenerate_key,
        read_keys,
        add_key,
        copy_key,
        rename_key,
        rotate_key,
        revoke_key,
        restart_gateway,
        restore,
        requests,
        set_route,
        set_origin,
        set_preferences,
        set_launch_at_login,
        diagnostics,
        save_diagnostics,
        uninstall,
        quit,
        hide,
        resize,
    ]
}

#[tauri::command]
fn view(app: App<'_>) -> AppView {
    app.look_again();
    app.view()
}

#[tauri::command]
async fn look(app: App<'_>) -> Result<(), Refusal> {
    app.ask(Request::Look).await
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
async fn open_link(what: OpenWhat, app: App<'_>) -> Result<(), Refusal> {
    app.open_link(what).await
}

#[tauri::command]
async fn check_outside(app: App<'_>) -> Result<(), Refusal> {
    app.ask(Request::CheckOutside).await
}

#[tauri::command]
async fn regenerate_key(app: App<'_>, handle: AppHandle) -> Result<(), Refusal> {
    let done = app.ask(Request::RegenerateKey).await;
    tell_if_unseen(&handle, done)
}

#[tauri::command]
async fn read_keys(app: App<'_>) -> Result<(), Refusal> {
    let makes_default = true;
    app.ask(Request::Keys { makes_default }).await
}

#[tauri::command]
async fn add_key(key: NewKey, app: App<'_>, handle: AppHandle) -> Result<KeyView, Refusal> {
    let done = app.add_key(key).await;
    tell_if_unseen(&handle, done)
}

#[tauri::command]
async fn copy_key(name: String, app: App<'_>) -> Result<(), Refusal> {
    app.copy_key(&name).await
}

#[tauri::command]
async fn rename_key(
    name: String,
    to: String,
    app: App<'_>,
    handle: AppHandle,
) -> Result<(), Refusal> {
    let (name, to) = (key_name(&name)?, key_name(&to)?);
    let done = app.ask(Request::RenameKey { name, to }).await;
    tell_if_unseen(&handle, done)
}

#[tauri::command]
async fn rotate_key(
    name: String,
    grace: Grace,
    end: End,
    app: App<'_>,
    handle: AppHandle,
) -> Result<(), Refusal> {
    let rotate = Request::RotateKey {
        name: key_name(&name)?,
        grace_seconds: grace.seconds(),
        end: end.after(Timestamp::now()),
    };
    tell_if_unseen(&handle, app.ask(rotate).await)
}

#[tauri::command]
async fn revoke_key(name: String, app: App<'_>, handle: AppHandle) -> Result<(), Refusal> {
    let name = key_name(&name)?;
    let done = app.ask(Request::RevokeKey { name }).await;
    tell_if_unseen(&handle, done)
}

#[tauri::command]
async fn restart_gateway(app: App<'_>, handle: AppHandle) -> Result<(), Refusal> {
    let done = app.ask(Request::RestartGateway).await;
    tell_if_unseen(&handle, done)
}

#[tauri::command]
async fn restore(app: App<'_>, handle: AppHandle) -> Result<Vec<RestoredKey>, Refusal> {
    let done = app.restore().await;
    tell_if_unseen(&handle, done)
}

#[tauri::command]
async fn requests(app: App<'_>) -> Result<Vec<RequestLine>, Refusal> {
    app.requests().await
}

#[tauri::command]
async fn set_route(route: Route, allowed: bool, app: App<'_>) -> Result<(), Refusal> {
    app.ask(Request::SetRoute { route, allowed }).await
}

#[tauri::command]
async fn set_origin(origin: String, allowed: bool, app: App<'_>) -> Result<(), Refusal> {
    let origin = read_origin(&origin)?;
    app.ask(Request::SetOrigin { origin, allowed }).await
}

/// Reads an origin as it was typed.
fn read_origin(text: &str) -> Result<Origin, Refusal> {
    text.trim().parse().map_err(|fault| {
        Refusal::new(
            "origin_unusable",
            format!("That cannot be an origin: {fault}."),
            "Copy it from the page's address, up to the third slash.",
        )
    })
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
async fn uninstall(app: App<'_>, window: WebviewWindow) -> Result<Vec<String>, Refusal> {
    let lines = app.uninstall().await?;
    if !popover::is_seen(window.app_handle()) {
        // Nobody is there to read the last words.
        window.app_handle().exit(0);
    }
    Ok(lines)
}

#[tauri::command]
fn quit(app: App<'_>) {
    app.quit(Quit::Person);
}

#[tauri::command]
fn hide(window: WebviewWindow) {
    popover::hide(&window);
}

#[tauri::command]
fn resize(height: f64, window: WebviewWindow) {
    if let Err(fault) = popover::resize(&window, height) {
        tracing::warn!(%fault, "the window did not follow the page");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ecto_core::words::{ORIGIN_WARNING, hooks_off, route_warning};

    use super::*;

    /// All that the page can call. Whoever adds one says so here.
    const AGREED: [&str; 29] = [
        "view",
        "look",
        "connect",
        "disconnect",
        "reveal_key",
        "copy",
        "qr",
        "open_link",
        "check_outside",
        "regenerate_key",
        "read_keys",
        "add_key",
        "copy_key",
        "rename_key",
        "rotate_key",
        "revoke_key",
        "restart_gateway",
        "restore",
        "requests",
        "set_route",
        "set_origin",
        "set_preferences",
        "set_launch_at_login",
        "diagnostics",
        "save_diagnostics",
        "uninstall",
        "quit",
        "hide",
        "resize",
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
        // What Tauri is told at build time, what is handed to it, what answers, and what the page is checked with.
        let build = include_str!("../build.rs");
        let source = include_str!("commands.rs");
        let page = include_str!("../../ui/commands.d.ts");
        let agreed = BTreeSet::from(AGREED);
        assert_eq!(agreed.len(), AGREED.len());
        let told = between(build, "const COMMANDS: &[&str] = &[", "];");
        assert_eq!(words(told, |line| line.trim_matches(['"', ','])), agreed);
        let handed = between(source, "tauri::generate_handler![", "]\n");
        assert_eq!(words(handed, |line| line.trim_end_matches(',')), agreed);
        let typed = between(page, "interface Commands {", "\n}");
        let before_bracket = |line: &'static str| line.split('(').next().unwrap_or_default();
        assert_eq!(words(typed, before_bracket), agreed);
        let answers: BTreeSet<&str> = source
            .split("\n#[tauri::command]\n")
            .skip(1)
            .map(|function| between(function, "fn ", "("))
            .collect();
        assert_eq!(answers, agreed);
    }

    fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
        let (_, rest) = text.split_once(begin).unwrap();
        rest.split_once(end).unwrap().0
    }

    fn words(
        lines: &'static str,
        word: impl Fn(&'static str) -> &'static str,
    ) -> BTreeSet<&'static str> {
        lines
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('/'))
            .map(word)
            .collect()
    }

    /// What the pictures show is what a newcomer finds.
    #[test]
    fn the_stand_in_of_the_page_begins_with_the_preferences_that_nobody_has_changed() {
        let page = include_str!("../../ui/stand-in.js");
        let told = format!("{{ {}", between(page, "preferences: { ", " },"));
        let preferences = serde_json::json!(ecto_host::preferences::Preferences::default());
        for (name, value) in preferences.as_object().unwrap() {
            let wanted = format!("{name}: {value}");
            assert!(told.contains(&wanted), "{wanted} in {told}");
        }
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
        // Not taken over from `default-src`, but for the objects.
        for closed in ["base-uri", "form-action", "frame-ancestors", "object-src"] {
            assert!(policy.contains(&format!("; {closed} 'none'")), "{policy}");
        }
        // The page says the same itself, but for what counts as a header alone.
        let page = include_str!("../../ui/index.html");
        let own = policy.replace("; frame-ancestors 'none'", "");
        assert!(page.contains(&format!("content=\"{own}\"")), "{page}");
        // The stand-in host of the tests is not shipped.
        let page = configuration["build"]["frontendDist"].to_string();
        assert!(!page.contains("stand-in"), "{page}");
    }

    #[test]
    fn the_page_warns_in_the_words_of_the_command() {
        // The page has the curly apostrophe.
        let page = include_str!("../../ui/words.js").replace('\u{2019}', "'");
        let hooks_off = hooks_off();
        let warnings = Route::OPTIONAL
            .into_iter()
            .filter_map(route_warning)
            .chain([ORIGIN_WARNING])
            .map(str::to_owned)
            .chain([hooks_off.what])
            .chain(hooks_off.next);
        for warning in warnings {
            assert!(page.contains(&warning), "{warning}");
        }
    }

    #[test]
    fn an_origin_is_read_as_it_was_typed_or_refused_in_words() {
        let origin = read_origin(" https://app.example\n").unwrap();
        assert_eq!(origin.as_str(), "https://app.example");
        let refused = read_origin("app.example").unwrap_err();
        assert_eq!(refused.code, "origin_unusable");
    }
}
