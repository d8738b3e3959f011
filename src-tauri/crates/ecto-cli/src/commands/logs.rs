//! `ecto logs`.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ecto_host::world::gateway_log;
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::logging::PREFIX;
use crate::session::Session;
use crate::terminal::Terminal;

/// How much of the newest file is shown first.
const TAIL_BYTES: u64 = 64 * 1024;
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Shows the end of the newest log, and goes on as it grows where that is asked for.
pub async fn run(follow: bool, session: &Session) -> Result<Exit, Failure> {
    let interrupt = follow.then(Interrupt::listen);
    let folder = session.folders.logs().to_owned();
    let terminal = session.terminal;
    terminal.tell(&format!("Ecto's logs are in {}.", folder.display()));
    if let Some(log) = gateway_log(&session.world, &std::env::vars_os().collect()) {
        terminal.tell(&format!(
            "The OpenClaw gateway's own log is {}.",
            log.display()
        ));
    }
    let mut shown: Option<(PathBuf, u64)> = None;
    if let Some(interrupt) = interrupt {
        let show_more = move || show_newest(terminal, &folder, &mut shown);
        // Ctrl-C is how one ends what goes on.
        let followed = interrupt.repeat(LOOK_EVERY, show_more).await;
        return followed.map(|()| Exit::Done);
    }
    show_newest(terminal, &folder, &mut shown)?;
    if shown.is_none() {
        terminal.tell("There is no log yet.");
    }
    Ok(Exit::Done)
}

/// Shows what the newest log has more than was shown, which is a file and how many of its bytes.
fn show_newest(
    terminal: Terminal,
    folder: &Path,
    shown: &mut Option<(PathBuf, u64)>,
) -> Result<(), Failure> {
    let Some(newest) = newest(folder) else {
        return Ok(());
    };
    let from = match shown {
        Some((path, length)) if *path == newest => *length,
        Some(_) => 0,
        None => length(&newest).saturating_sub(TAIL_BYTES),
    };
    let (text, length) = read(&newest, from).unwrap_or_default();
    // A start in the middle of a line is not shown.
    let skip = if shown.is_none() && from > 0 {
        text.find('\n').map_or(text.len(), |end| end + 1)
    } else {
        0
    };
    for line in text[skip..].lines() {
        show(terminal, line)?;
    }
    *shown = Some((newest, from + length));
    Ok(())
}

fn show(terminal: Terminal, line: &str) -> Result<(), Failure> {
    if terminal.is_json() {
        return terminal.print_unchanged(line);
    }
    let Ok(entry) = serde_json::from_str::<Value>(line) else {
        return terminal.print_unchanged(&plain(line));
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut shown = format!(
        "{} {:5}",
        text(entry.get("timestamp")),
        text(entry.get("level"))
    );
    if let Some(Value::Object(fields)) = entry.get("fields") {
        shown.push_str(&format!(" {}", text(fields.get("message"))));
        for (name, value) in fields.iter().filter(|(name, _)| *name != "message") {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            shown.push_str(&format!(" {name}={value}"));
        }
    }
    terminal.print_unchanged(&plain(&shown))
}

/// Without anything that a terminal would take for a command.
fn plain(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .collect()
}

fn newest(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
        })
        .max()
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

/// Reads whole lines from `from` on, and says how many bytes they have.
fn read(path: &Path, from: u64) -> std::io::Result<(String, u64)> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    bytes.truncate(whole);
    Ok((String::from_utf8_lossy(&bytes).into_owned(), whole as u64))
}
