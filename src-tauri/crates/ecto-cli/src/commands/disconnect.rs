//! `ecto disconnect`.

use ecto_host::request::Request;

use super::status;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// Closes the door and says that it is closed.
pub async fn run(session: &Session) -> Result<Exit, Failure> {
    session.ask(Request::DISCONNECT).await?;
    if session.terminal.is_json() {
        return status::run(session).await;
    }
    session
        .terminal
        .print("Private: the door is closed, and nothing is reachable from the internet.")?;
    Ok(Exit::Done)
}
