//! What a person should know of what is off until it is allowed.

use super::Message;
use crate::key::Route;

/// What a person should know before an optional route is allowed; nothing about the others.
pub fn route_warning(route: Route) -> Option<&'static str> {
    match route {
        Route::Chat | Route::Responses | Route::Models => None,
        Route::Embeddings => Some(
            "Whoever has a key for it can have text of any length turned into embeddings, and your provider bills you for all of it.",
        ),
        Route::Hooks => Some(
            "A hook starts OpenClaw's agents with whatever text a caller sends, without anybody at the keyboard, and an agent may act on that text. Give keys for it only to programs you trust.",
        ),
    }
}

/// What a person should know of a key for a route that is not offered.
pub fn not_offered(route: Route) -> Message {
    Message::new(
        format!("The route {route} is not offered right now, so the key does not open it."),
        format!("Allow it with `ecto route allow {route}`."),
    )
}

/// What a person should know of hooks that are allowed while OpenClaw has none.
pub fn hooks_off() -> Message {
    Message::new(
        "OpenClaw has no hooks right now, so callers get 404.",
        "In its configuration, set hooks.enabled to true and hooks.token to a secret of its own.",
    )
}

/// What a person should know before a web page may call.
pub const ORIGIN_WARNING: &str = "A key that a web page uses can be read by everybody who can open that page. Make a key for that page alone, with a rate and an end.";
