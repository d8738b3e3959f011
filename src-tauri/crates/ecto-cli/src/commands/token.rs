//! `ecto token`.

use std::time::Duration;

use ecto_core::key;
use ecto_host::report::SCHEMA;
use ecto_host::request::Request;
use ecto_platform::System;
use ecto_platform::clipboard::copy_secret;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// How long a copied key stays in the clipboard where the clipboard lives in this program.
const CLIPBOARD_TIME: Duration = Duration::from_secs(60);

/// Prints, copies or replaces the key.
pub async fn run(
    copy: bool,
    reveal: bool,
    regenerate: bool,
    session: &Session,
) -> Result<Exit, Failure> {
    let terminal = session.terminal;
    if regenerate {
        session.ask(Request::RegenerateKey).await?;
        terminal.tell("There is a new key, and the old one no longer works.");
    }
    let key = reveal_key(session).await?;
    if copy {
        if System::current() == System::Linux {
            terminal.tell("Copying the key; it stays in the clipboard until something else is copied, for a minute at most.");
        }
        let hint = key::hint(&key);
        let environment = |name: &str| std::env::var_os(name);
        copy_secret(System::current(), environment, key, CLIPBOARD_TIME)
            .await
            .map_err(|fault| Failure::Own {
                code: "clipboard_unusable",
                message: ecto_core::words::Message {
                    what: fault.to_string(),
                    next: None,
                },
                exit: Exit::Failed,
            })?;
        if terminal.is_json() {
            terminal.print_json(&json!({ "schema": SCHEMA, "hint": hint, "copied": true }))?;
        } else if System::current() == System::MacOs {
            terminal.tell("The key is in the clipboard.");
        }
        return Ok(Exit::Done);
    }
    let shown = reveal || (terminal.shows_secrets() && !terminal.is_json());
    if terminal.is_json() {
        let revealed = reveal.then(|| key.expose_secret().to_owned());
        terminal
            .print_json(&json!({ "schema": SCHEMA, "hint": key::hint(&key), "key": revealed }))?;
    } else if shown {
        terminal.print(key.expose_secret())?;
    } else {
        terminal.print(&key::hint(&key))?;
        terminal.tell("Only its end is shown here; `ecto token --reveal` prints all of it.");
    }
    Ok(Exit::Done)
}

/// The key itself, from the running host or from the vault.
pub async fn reveal_key(session: &Session) -> Result<SecretString, Failure> {
    Ok(session.ask(Request::RevealKey).await?.into_key()?)
}
