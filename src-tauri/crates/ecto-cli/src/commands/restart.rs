//! `ecto restart`.

use ecto_host::request::Request;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use ecto_host::report::SCHEMA;

/// Restarts the gateway and waits until it is ready.
pub async fn run(session: &Session) -> Result<Exit, Failure> {
    session
        .terminal
        .tell("Restarting the OpenClaw gateway; that takes up to a minute. OpenClaw may put it off to finish what it is doing.");
    session.ask(Request::RestartGateway).await?;
    if session.terminal.is_json() {
        session
            .terminal
            .print_json(&json!({ "schema": SCHEMA, "restarted": true }))?;
    } else {
        session
            .terminal
            .print("The OpenClaw gateway was restarted and is ready.")?;
    }
    Ok(Exit::Done)
}
