//! `ecto restore`.

use ecto_core::gateway::RestoredKey;
use ecto_core::words;
use ecto_host::report::SCHEMA;
use ecto_host::request::Request;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Closes the door and undoes what Ecto changed in OpenClaw's configuration.
pub async fn run(session: &Session) -> Result<Exit, Failure> {
    let keys = restore(session).await?;
    if session.terminal.is_json() {
        session
            .terminal
            .print_json(&json!({ "schema": SCHEMA, "restored": keys }))?;
        return Ok(Exit::Done);
    }
    tell(session, &keys)?;
    Ok(Exit::Done)
}

/// Does it, and gives what became of each key.
pub async fn restore(session: &Session) -> Result<Vec<RestoredKey>, Failure> {
    Ok(session.ask(Request::Restore).await?.into_restored()?)
}

/// Tells what became of each key.
pub fn tell(session: &Session, keys: &[RestoredKey]) -> Result<(), Failure> {
    if keys.is_empty() {
        session
            .terminal
            .print("Private. Ecto had changed nothing in OpenClaw's configuration.")?;
        return Ok(());
    }
    session
        .terminal
        .print("Private, and OpenClaw's configuration is restored:")?;
    for key in keys {
        session
            .terminal
            .print(&format!("  {}: {}", key.key, words::restored(key.outcome)))?;
    }
    Ok(())
}
