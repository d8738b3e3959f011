//! `ecto route`: what the guard offers beside what it always does.

use ecto_core::gateway::{GatewayView, ReadyGateway};
use ecto_core::key::Route;
use ecto_core::offer::{Offer, Origin};
use ecto_core::words::{ORIGIN_WARNING, hooks_off, route_warning};
use ecto_host::report::SCHEMA;
use ecto_host::request::Request;
use serde_json::json;

use crate::arguments::RouteCommand;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Does what was asked for.
pub async fn run(command: RouteCommand, session: &Session) -> Result<Exit, Failure> {
    let (request, told) = match command {
        RouteCommand::List => (Request::Offer, Vec::new()),
        RouteCommand::Allow { route } => (set(route, true), allowed(route)),
        RouteCommand::Forbid { route } => (set(route, false), vec![forbidden(route)]),
        RouteCommand::AllowOrigin { origin } => {
            let told = allowed_origin(&origin);
            let allowed = true;
            (Request::SetOrigin { origin, allowed }, told)
        }
        RouteCommand::ForbidOrigin { origin } => {
            let offer = session.ask(Request::Offer).await?.into_offer()?;
            if !offer.origins.contains(&origin) {
                return Err(not_allowed(&origin, &offer));
            }
            let told = vec![format!("Pages of {origin} can no longer call.")];
            let allowed = false;
            (Request::SetOrigin { origin, allowed }, told)
        }
    };
    let allows_hooks = request == set(Route::Hooks, true);
    let is_list = request == Request::Offer;
    let offer = session.ask(request).await?.into_offer()?;
    if session.terminal.is_json() {
        let document = json!({
            "schema": SCHEMA,
            "always": Route::USUAL,
            "routes": offer.routes,
            "origins": offer.origins,
        });
        session.terminal.print_json(&document)?;
    } else if is_list {
        session.terminal.print(&list(&offer))?;
    } else {
        for line in &told {
            session.terminal.tell(line);
        }
        if allows_hooks && has_no_hooks(session).await? {
            session.terminal.tell(&hooks_off().to_string());
        }
    }
    Ok(Exit::Done)
}

/// Whether OpenClaw is known to have no hooks. Where it does not run, that is not known.
async fn has_no_hooks(session: &Session) -> Result<bool, Failure> {
    let report = session.ask(Request::Look).await?.into_report()?;
    Ok(matches!(
        report.snapshot.gateway,
        Some(GatewayView::Ready(ReadyGateway { hooks: false, .. }))
    ))
}

fn set(route: Route, allowed: bool) -> Request {
    Request::SetRoute { route, allowed }
}

fn path(route: Route) -> &'static str {
    match route {
        Route::Chat => "POST /v1/chat/completions",
        Route::Responses => "POST /v1/responses",
        Route::Models => "GET /v1/models",
        Route::Embeddings => "POST /v1/embeddings",
        Route::Hooks => "POST /hooks/…",
    }
}

fn allowed(route: Route) -> Vec<String> {
    let mut told = vec![format!(
        "{} is offered: to the default key, and to keys made with `--routes {route}`.",
        path(route)
    )];
    if route == Route::Hooks {
        told.push(
            "It is there only while hooks are enabled in OpenClaw's configuration.".to_owned(),
        );
    }
    told.extend(route_warning(route).map(|warning| format!("Mind: {warning}")));
    told
}

fn forbidden(route: Route) -> String {
    format!(
        "{} is no longer offered, and what was under way is cut.",
        path(route)
    )
}

fn allowed_origin(origin: &Origin) -> Vec<String> {
    vec![
        format!("Pages of {origin} can call, with a key."),
        format!("Mind: {ORIGIN_WARNING}"),
    ]
}

/// An origin that may be mistyped: the one that was meant is still allowed.
fn not_allowed(origin: &Origin, offer: &Offer) -> Failure {
    let allowed: Vec<&str> = offer.origins.iter().map(Origin::as_str).collect();
    Failure::own(
        "origin_not_allowed",
        format!("Pages of {origin} were not allowed to call. Nothing was changed."),
        if allowed.is_empty() {
            "No web page may call.".to_owned()
        } else {
            format!("Those that may call come from {}.", allowed.join(", "))
        },
    )
}

/// What is offered and what could be, a line each.
fn list(offer: &Offer) -> String {
    let mut lines: Vec<String> = Route::ALL
        .into_iter()
        .map(|route| {
            let state = match (offer.has(route), route.is_optional()) {
                (true, false) => "always offered",
                (true, true) => "allowed",
                (false, _) => "not offered",
            };
            format!("{:<10}  {:<25}  {state}", route.word(), path(route))
        })
        .collect();
    if offer.origins.is_empty() {
        lines.push("No web page may call.".to_owned());
    }
    for origin in &offer.origins {
        lines.push(format!("Pages of {origin} may call."));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_listed() {
        insta::assert_snapshot!(list(&Offer::default()), @r"
        chat        POST /v1/chat/completions  always offered
        responses   POST /v1/responses         always offered
        models      GET /v1/models             always offered
        embeddings  POST /v1/embeddings        not offered
        hooks       POST /hooks/…              not offered
        No web page may call.
        ");
        let offer = Offer {
            routes: [Route::Hooks].into(),
            origins: ["https://app.example".parse().unwrap()].into(),
        };
        insta::assert_snapshot!(list(&offer), @r"
        chat        POST /v1/chat/completions  always offered
        responses   POST /v1/responses         always offered
        models      GET /v1/models             always offered
        embeddings  POST /v1/embeddings        not offered
        hooks       POST /hooks/…              allowed
        Pages of https://app.example may call.
        ");
    }

    #[test]
    fn whoever_allows_something_is_told_what_it_means() {
        let told: Vec<String> = Route::OPTIONAL
            .into_iter()
            .flat_map(allowed)
            .chain(allowed_origin(&"https://app.example".parse().unwrap()))
            .chain([forbidden(Route::Hooks)])
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        POST /v1/embeddings is offered: to the default key, and to keys made with `--routes embeddings`.
        Mind: Whoever has a key for it can have text of any length turned into embeddings, and your provider bills you for all of it.
        POST /hooks/… is offered: to the default key, and to keys made with `--routes hooks`.
        It is there only while hooks are enabled in OpenClaw's configuration.
        Mind: A hook starts OpenClaw's agents with whatever text a caller sends, without anybody at the keyboard, and an agent may act on that text. Give keys for it only to programs you trust.
        Pages of https://app.example can call, with a key.
        Mind: A key that a web page uses can be read by everybody who can open that page. Make a key for that page alone, with a rate and an end.
        POST /hooks/… is no longer offered, and what was under way is cut.
        ");
    }
}
