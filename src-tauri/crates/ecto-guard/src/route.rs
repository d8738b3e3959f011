//! Which paths lead somewhere. A path is compared byte by byte with the listed ones: nothing is decoded, cleaned or
//! completed, because the gateway does all of that and would see another path than the guard
//! (`POST /v1/%2e%2e/tools/invoke` is `/tools/invoke` there, OpenClaw 2026.9.6).

use std::borrow::Cow;

use ecto_core::key::Route;
use ecto_core::offer::Offer;
use ecto_core::refusal::Refusal;
use http::Method;

/// Where the models are.
pub(crate) const MODELS: &str = "/v1/models";

/// Where hooks are; the gateway may have them elsewhere.
pub(crate) const HOOKS: &str = "/hooks";

/// The most parts of a hook's name.
const HOOK_PARTS: usize = 4;

/// The longest part of a model's id or a hook's name, in bytes.
const LONGEST_PART: usize = 128;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// What a key must allow.
    pub route: Route,
    /// The path as the gateway is asked for it.
    pub path: Cow<'static, str>,
}

/// The method that a path takes, where it is offered, and where it leads.
fn offered(path: &str, offer: &Offer) -> Option<(Method, Destination)> {
    listed(path).filter(|(_, destination)| offer.has(destination.route))
}

/// The method that a path takes, where it leads anywhere.
fn listed(path: &str) -> Option<(Method, Destination)> {
    let fixed = |method, route, path| {
        let path = Cow::Borrowed(path);
        Some((method, Destination { route, path }))
    };
    match path {
        "/v1/chat/completions" => fixed(Method::POST, Route::Chat, "/v1/chat/completions"),
        "/v1/responses" => fixed(Method::POST, Route::Responses, "/v1/responses"),
        "/v1/embeddings" => fixed(Method::POST, Route::Embeddings, "/v1/embeddings"),
        MODELS => fixed(Method::GET, Route::Models, MODELS),
        hook if is_hook(hook) => {
            let path = Cow::Owned(hook.to_owned());
            let route = Route::Hooks;
            Some((Method::POST, Destination { route, path }))
        }
        other => {
            let path = model_path(other.strip_prefix("/v1/models/")?)?;
            let route = Route::Models;
            Some((Method::GET, Destination { route, path }))
        }
    }
}

/// The path of one model. OpenClaw's ids are `openclaw`, `openclaw/default` and `openclaw/<agent>`; client libraries
/// write the slash as it is or as `%2F`. The gateway decodes what follows `/v1/models/` once (2026.9.6,
/// `src/gateway/models-http.ts`), so `%2F` is what it is always sent.
fn model_path(id: &str) -> Option<Cow<'static, str>> {
    let parts = id
        .split_once('/')
        .or_else(|| id.split_once("%2F"))
        .or_else(|| id.split_once("%2f"));
    let path = match parts {
        Some((family, agent)) if is_plain(family) && is_plain(agent) => {
            format!("/v1/models/{family}%2F{agent}")
        }
        None if is_plain(id) => format!("/v1/models/{id}"),
        Some(_) | None => return None,
    };
    Some(Cow::Owned(path))
}

/// Whether a path names a hook: `/hooks/wake`, `/hooks/agent`, or a name of the owner's (OpenClaw 2026.9.6,
/// `src/gateway/hooks.ts`).
fn is_hook(path: &str) -> bool {
    path.strip_prefix(HOOKS)
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|rest| rest.split('/').count() <= HOOK_PARTS && rest.split('/').all(is_plain))
}

fn is_plain(part: &str) -> bool {
    (1..=LONGEST_PART).contains(&part.len())
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Finds where a request goes: a path that is not offered is unknown whatever the method.
pub(crate) fn find_destination(
    method: &Method,
    path: &str,
    offer: &Offer,
) -> Result<Destination, Refusal> {
    match offered(path, offer) {
        None => Err(Refusal::UnknownRoute),
        Some((expected, destination)) if expected == *method => Ok(destination),
        Some(_) => Err(Refusal::WrongMethod),
    }
}

/// The method that a path takes, for the `Allow` header.
pub(crate) fn allowed_method(path: &str, offer: &Offer) -> Option<Method> {
    offered(path, offer).map(|(method, _)| method)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(method: &Method, path: &str) -> Option<String> {
        find_destination(method, path, &Offer::default())
            .ok()
            .map(|destination| destination.path.into_owned())
    }

    #[test]
    fn the_listed_paths_are_found() {
        for (method, path, route) in [
            (Method::POST, "/v1/chat/completions", Route::Chat),
            (Method::POST, "/v1/responses", Route::Responses),
            (Method::GET, "/v1/models", Route::Models),
            (Method::GET, "/v1/models/openclaw", Route::Models),
        ] {
            let destination = find_destination(&method, path, &Offer::default()).unwrap();
            assert_eq!((destination.route, &*destination.path), (route, path));
        }
    }

    fn everything() -> Offer {
        Offer {
            routes: Route::OPTIONAL.into(),
            ..Offer::default()
        }
    }

    #[test]
    fn what_is_optional_is_there_once_it_is_allowed_and_by_its_exact_name_alone() {
        let led = |path: &str| {
            let found = find_destination(&Method::POST, path, &everything());
            found.ok().map(|destination| destination.route)
        };
        assert_eq!(led("/v1/embeddings"), Some(Route::Embeddings));
        for path in ["/hooks/wake", "/hooks/agent", "/hooks/git-hub/issues/new_1"] {
            assert_eq!(led(path), Some(Route::Hooks), "{path}");
            assert_eq!(found(&Method::POST, path), None, "{path}");
        }
        for path in [
            "/v1/embeddings/",
            "/v1/embeddings/openclaw",
            "/hooks",
            "/hooks/",
            "/hooks//wake",
            "/hooks/wake/",
            "/hooks/../tools/invoke",
            "/hooks/..",
            "/hooks/.",
            "/hooks/wake.json",
            "/hooks/%77ake",
            "/hooks/wake%2f..",
            "/hooks/wake\\x",
            "/hooks/wake;x",
            "/hooks/wake%00",
            "/hooks/a/b/c/d/e",
            "/hookswake",
            "/Hooks/wake",
            "//hooks/wake",
            "/v1/hooks/wake",
        ] {
            assert_eq!(led(path), None, "{path}");
        }
        let long = format!("/hooks/{}", "a".repeat(129));
        assert_eq!(led(&long), None);
        assert_eq!(
            find_destination(&Method::GET, "/hooks/wake", &everything()),
            Err(Refusal::WrongMethod)
        );
    }

    #[test]
    fn a_model_with_a_slash_is_asked_for_in_one_way() {
        for path in [
            "/v1/models/openclaw/main",
            "/v1/models/openclaw%2Fmain",
            "/v1/models/openclaw%2fmain",
        ] {
            assert_eq!(
                found(&Method::GET, path).as_deref(),
                Some("/v1/models/openclaw%2Fmain")
            );
        }
    }

    #[test]
    fn other_methods_are_told_apart_from_other_paths() {
        assert_eq!(
            find_destination(&Method::DELETE, "/v1/models", &Offer::default()),
            Err(Refusal::WrongMethod)
        );
        assert_eq!(
            find_destination(&Method::OPTIONS, "/v1/chat/completions", &Offer::default()),
            Err(Refusal::WrongMethod)
        );
        assert_eq!(
            find_destination(&Method::POST, "/tools/invoke", &Offer::default()),
            Err(Refusal::UnknownRoute)
        );
    }

    #[test]
    fn known_tricks_lead_nowhere() {
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v1/models/",
            "/v1/models/.",
            "/v1/models/..",
            "/v1/models/../responses",
            "/v1/models/..%2f..%2ftools%2finvoke",
            "/v1/models/%2e%2e",
            "/v1/models/a/b/c",
            "/v1/models/a%2Fb%2Fc",
            "/v1/models/a%2Fb/c",
            "/v1/models/a%252Fb",
            "/v1/models/a\\b",
            "/v1/models/a%5Cb",
            "/v1/models/a;b",
            "/v1/models/a%00",
            "/v1/chat/completions/",
            "/v1//chat/completions",
            "//v1/chat/completions",
            "/v1/./chat/completions",
            "/v1/../tools/invoke",
            "/v1/%2e%2e/tools/invoke",
            "/v1/..\\tools\\invoke",
            "/V1/chat/completions",
            "/v1/chat/Completions",
            "/v1/chat%2fcompletions",
            "/v1/chat/completions;x",
            "/v1/chat/completions%00",
            "/v1/embeddings",
            "/hooks/wake",
            "*",
            "",
        ] {
            for method in [Method::GET, Method::POST] {
                assert_eq!(found(&method, path), None, "{path}");
            }
        }
        assert_eq!(
            found(&Method::GET, &format!("/v1/models/{}", "a".repeat(129))),
            None
        );
    }

    /// How the gateway understands a path, as a model: WHATWG URL parsing (`new URL(…).pathname` in Node), where `\` is
    /// `/`, tabs and line ends are dropped, and `.`, `..` are resolved also when written with `%2e`.
    fn as_the_gateway_sees_it(path: &str) -> String {
        let text: String = path
            .chars()
            .filter(|character| !matches!(character, '\t' | '\n' | '\r'))
            .map(|character| if character == '\\' { '/' } else { character })
            .collect();
        let mut kept: Vec<String> = Vec::new();
        let mut parts = text.split('/').skip(1).peekable();
        while let Some(part) = parts.next() {
            let plain = part.to_ascii_lowercase().replace("%2e", ".");
            match (plain.as_str(), parts.peek().is_none()) {
                ("..", last) => {
                    kept.pop();
                    if last {
                        kept.push(String::new());
                    }
                }
                (".", true) => kept.push(String::new()),
                (".", false) => {}
                (_, _) => kept.push(part.to_owned()),
            }
        }
        format!("/{}", kept.join("/"))
    }

    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => Just("v1".to_owned()),
            3 => Just("chat".to_owned()),
            3 => Just("completions".to_owned()),
            3 => Just("models".to_owned()),
            2 => Just("responses".to_owned()),
            1 => Just("embeddings".to_owned()),
            2 => Just("hooks".to_owned()),
            1 => Just("wake".to_owned()),
            2 => Just("tools".to_owned()),
            2 => Just("invoke".to_owned()),
            2 => Just("openclaw".to_owned()),
            2 => Just("..".to_owned()),
            1 => Just(".".to_owned()),
            1 => Just("%2e%2E".to_owned()),
            1 => Just(".%2e".to_owned()),
            1 => Just(String::new()),
            1 => "[a-zA-Z0-9._~%;:@-]{0,6}",
        ]
    }

    fn hostile_path() -> impl Strategy<Value = String> {
        let separator = prop_oneof![6 => Just("/"), 1 => Just("\\"), 1 => Just("%2f"), 1 => Just("%5c"), 1 => Just("//")];
        prop::collection::vec((separator, piece()), 1..7).prop_map(|parts| {
            parts
                .into_iter()
                .map(|(separator, piece)| format!("{separator}{piece}"))
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn what_passes_means_the_same_to_the_gateway(path in hostile_path(), post in any::<bool>()) {
            let method = if post { Method::POST } else { Method::GET };
            if let Ok(destination) = find_destination(&method, &path, &everything()) {
                prop_assert_eq!(as_the_gateway_sees_it(&destination.path), destination.path.as_ref());
                prop_assert_eq!(as_the_gateway_sees_it(&path), path.clone());
                let same = match destination.route {
                    Route::Chat => path == "/v1/chat/completions" && post,
                    Route::Responses => path == "/v1/responses" && post,
                    Route::Models => path.starts_with("/v1/models") && !post,
                    Route::Embeddings => path == "/v1/embeddings" && post,
                    Route::Hooks => path.starts_with("/hooks/") && post,
                };
                prop_assert!(same);
                let usual = find_destination(&method, &path, &Offer::default());
                prop_assert_eq!(usual.is_ok(), !destination.route.is_optional());
            }
        }

        #[test]
        fn any_text_but_the_listed_leads_nowhere(path in "\\PC{0,60}") {
            let listed = ["/v1/chat/completions", "/v1/responses", "/v1/models"];
            prop_assume!(!listed.contains(&path.as_str()) && !path.starts_with("/v1/models/"));
            prop_assert_eq!(find_destination(&Method::GET, &path, &Offer::default()), Err(Refusal::UnknownRoute));
            prop_assert_eq!(find_destination(&Method::POST, &path, &Offer::default()), Err(Refusal::UnknownRoute));
        }
    }
}
