//! `ecto uninstall`.

use std::fs;
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use ecto_host::client::ClientFault;
use ecto_host::report::SCHEMA;
use ecto_host::request::Request;
use serde_json::json;

use super::{restore, skill};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::session::{Session, Turn};

/// What Ecto keeps in its state folder.
const KEPT: [&str; 11] = [
    "routes.json",
    "routes.json.bad",
    "wanted.json",
    "vault.json",
    "settings.json",
    "settings.json.bad",
    "openclaw-journal.json",
    "tailscale",
    "sandbox",
    "stand-ins",
    "skills",
];

/// What the vault puts aside beside the credentials and never removes by itself.
const PUT_ASIDE: [&str; 2] = ["imported.json", "damaged.json"];

/// Takes Ecto off this machine and says what it leaves.
pub async fn run(yes: bool, session: &Session) -> Result<Exit, Failure> {
    if !yes {
        match ask(session).await? {
            Agreement::Given => {}
            Agreement::Withheld => {
                session.terminal.tell("Nothing was changed.");
                return Ok(Exit::Done);
            }
            Agreement::Interrupted => {
                session.terminal.tell("\nNothing was changed.");
                return Ok(Exit::Interrupted);
            }
        }
    }
    let keys = restore::restore(session).await?;
    let lock = loop {
        match session.take_turn().await? {
            Turn::Ours(lock) => break lock,
            Turn::Theirs(mut client) => match client.ask(&Request::Quit).await {
                // It was ending by itself.
                Err(ClientFault::Ended) => {}
                answer => {
                    answer?.settle()?;
                }
            },
        }
    };
    let world = session.open_world(&lock).await?;
    world
        .ports
        .vault
        .erase()
        .await
        .map_err(|fault| Failure::Cause(fault.into()))?;
    let skill_folder = skill::place(session)?;
    let had_skill = skill::take_away(&skill_folder).unwrap_or(false);
    remove_files(session);
    let left = left(session);
    if session.terminal.is_json() {
        session.terminal.print_json(&json!({
            "schema": SCHEMA,
            "uninstalled": true,
            "restored": keys,
            "skill_removed": had_skill,
            "left": left,
        }))?;
        return Ok(Exit::Done);
    }
    restore::tell(session, &keys)?;
    let terminal = session.terminal;
    terminal.print("The key, the logs and the settings are removed.")?;
    if had_skill {
        terminal.print("The skill is removed from OpenClaw.")?;
    }
    for path in &left {
        terminal.print(&format!(
            "Left, since you may still need it: {}",
            path.display()
        ))?;
    }
    terminal.print("Left as they are: Tailscale, OpenClaw, and the program `ecto` itself.")?;
    terminal.print(
        "If Ecto ran its own node, remove the machine named ecto-… at https://login.tailscale.com/admin/machines.",
    )?;
    Ok(Exit::Done)
}

enum Agreement {
    Given,
    Withheld,
    Interrupted,
}

async fn ask(session: &Session) -> Result<Agreement, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::own(
            "not_confirmed",
            "Ecto does not take itself off without being told twice.",
            "Run `ecto uninstall --yes`.",
        ));
    }
    // Heard from before the question on.
    let mut interrupt = Interrupt::listen();
    session.terminal.tell(
        "This closes the door, undoes what Ecto changed in OpenClaw, and removes the key, the skill and the logs.",
    );
    session.terminal.write_live("Go on? [y/N] ");
    let reading = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        // A stream that ends is no agreement.
        let _ = io::stdin().lock().read_line(&mut answer);
        answer
    });
    let answer = tokio::select! {
        answer = reading => answer.unwrap_or_default(),
        () = interrupt.came() => return Ok(Agreement::Interrupted),
    };
    Ok(match answer.trim() {
        "y" | "Y" | "yes" => Agreement::Given,
        _ => Agreement::Withheld,
    })
}

fn remove_files(session: &Session) {
    let state = session.folders.state();
    for name in KEPT {
        remove(&state.join(name));
    }
    remove(session.folders.logs());
    remove(session.folders.runtime());
    // Whatever else lies there is not Ecto's.
    let _ = fs::remove_dir(state);
}

/// What is still there of what Ecto made or found.
fn left(session: &Session) -> Vec<PathBuf> {
    let credentials = session.folders.credentials();
    let mut left: Vec<PathBuf> = PUT_ASIDE
        .iter()
        .map(|extension| credentials.with_extension(extension))
        .filter(|path| path.exists())
        .collect();
    let state = session.folders.state();
    if state.exists() && !left.iter().any(|path| path.starts_with(state)) {
        left.push(state.to_owned());
    }
    left
}

fn remove(path: &Path) {
    // What cannot be removed holds no secret: the vault was erased before, and said so.
    let _ = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
}
