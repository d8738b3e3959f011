//! What helps to find a fault: shown to the person before it is saved, without secrets and without names of theirs.

use std::ffi::OsString;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_platform::folders::Folders;

use crate::launch::Launch;
use crate::refusal::Refusal;
use crate::view::AppView;

/// How many lines of the log are taken along.
const LOG_LINES: usize = 60;

/// How long the look at everything may take.
const DOCTOR_LIMIT: Duration = Duration::from_secs(30);

/// What a look at everything finds, as the command tells it.
pub async fn doctor(launch: &Launch) -> String {
    let run = async {
        let output = tokio::process::Command::new(std::env::current_exe().ok()?)
            .arg("doctor")
            .args(launch.options.to_arguments())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    match tokio::time::timeout(DOCTOR_LIMIT, run).await {
        Ok(Some(found)) => found,
        Ok(None) | Err(_) => "This machine could not be looked at in time.".to_owned(),
    }
}

/// Makes the text.
pub fn text(view: &AppView, findings: &str, folders: &Folders, home: Option<OsString>) -> String {
    let report = serde_json::to_string_pretty(&view.report).unwrap_or_default();
    let preferences = serde_json::to_string_pretty(&view.preferences).unwrap_or_default();
    let text = format!(
        "Ecto {} on {} ({})\n\nWhat was found\n{findings}\n\nSettings\n{preferences}\n\nReport\n{report}\n\nLog\n{}\n",
        view.report.version,
        std::env::consts::OS,
        std::env::consts::ARCH,
        log_end(folders.logs()),
    );
    redact(&text, &names(view), home.as_deref().map(Path::new))
}

/// The names that belong to this person: the machine's and the tailnet's, the longest first.
fn names(view: &AppView) -> Vec<String> {
    let snapshot = serde_json::to_value(&view.report.snapshot).unwrap_or_default();
    let mut names = Vec::new();
    collect_names(&snapshot, &mut names);
    let short: Vec<String> = names.iter().filter_map(|name| short_name(name)).collect();
    names.extend(short);
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names.dedup();
    names
}

/// What a machine is called without its network. One that is called as Ecto is does not tell anything.
fn short_name(name: &str) -> Option<String> {
    let (short, _) = name.split_once('.')?;
    let is_telling = short.len() > 1 && short != "ecto" && name.parse::<IpAddr>().is_err();
    is_telling.then(|| short.to_owned())
}

fn collect_names(value: &serde_json::Value, names: &mut Vec<String>) {
    const TELLING: [&str; 3] = ["host", "hostname", "host_name"];
    match value {
        serde_json::Value::Object(fields) => {
            for (field, value) in fields {
                // A name without dots may be that of a key.
                let is_name = |text: &&str| {
                    TELLING.contains(&field.as_str()) || field == "name" && text.contains('.')
                };
                match value.as_str().filter(is_name) {
                    Some(name) => names.push(name.to_owned()),
                    None => collect_names(value, names),
                }
            }
        }
        serde_json::Value::Array(values) => {
            for value in values {
                collect_names(value, names);
            }
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// Takes out what looks like a key or a link to sign in, callers' addresses, the names given, and the home folder.
fn redact(text: &str, names: &[String], home: Option<&Path>) -> String {
    let mut text = text.to_owned();
    if let Some(home) = home.and_then(Path::to_str).filter(|home| home.len() > 1) {
        text = text.replace(home, "~");
    }
    for (begin, least) in [("ecto_", 16), ("tskey-", 1)] {
        text = without_keys(&text, begin, least);
    }
    for name in names {
        text = without_name(&text, name);
    }
    text.split_inclusive(|character: char| !is_word(character))
        .map(redact_word)
        .collect()
}

fn is_of_key(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_".contains(character)
}

/// Takes out keys, wherever they stand: those that begin so and go on for at least so many characters.
fn without_keys(text: &str, begin: &str, least: usize) -> String {
    let mut parts = text.split(begin);
    let mut redacted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let length = part.find(|c| !is_of_key(c)).unwrap_or(part.len());
        let (secret, rest) = part.split_at(length);
        if length < least {
            redacted.extend([begin, secret, rest]);
        } else {
            redacted.extend(["<key>", rest]);
        }
    }
    redacted
}

/// Takes out a name where it is not part of a longer one.
fn without_name(text: &str, name: &str) -> String {
    let is_of_name = |character: char| character.is_alphanumeric() || character == '-';
    let mut redacted = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, _) in text.match_indices(name) {
        let end = at + name.len();
        let is_part = text[..at].ends_with(is_of_name) || text[end..].starts_with(is_of_name);
        if !is_part {
            redacted.extend([&text[copied..at], "<this machine>"]);
            copied = end;
        }
    }
    redacted.push_str(&text[copied..]);
    redacted
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || "-_./:%?=#".contains(character)
}

/// A word may hold several things, as in `from=203.0.113.7:5123`.
fn redact_word(word: &str) -> String {
    let link = word.find("http").filter(|at| {
        let link = &word[*at..];
        link.starts_with("https://login.tailscale.com/") || link.contains("/a/")
    });
    let (word, link) = word.split_at(link.unwrap_or(word.len()));
    let mut redacted: String = word
        .split_inclusive(['=', '/', '?', '#'])
        .map(redact_part)
        .collect();
    if !link.is_empty() {
        let rest = link.trim_start_matches(is_word);
        redacted.extend(["<link>", rest]);
    }
    redacted
}

fn redact_part(part: &str) -> String {
    let is_rest = |character: char| !character.is_ascii_alphanumeric();
    let bare = part.trim_end_matches(is_rest);
    let rest = &part[bare.len()..];
    let address = bare
        .parse::<IpAddr>()
        .or_else(|_| bare.parse::<SocketAddr>().map(|address| address.ip()));
    if address.is_ok_and(|address| !address.is_loopback() && !address.is_unspecified()) {
        format!("<address>{rest}")
    } else if bare.contains(".ts.net") {
        format!("<this machine>{rest}")
    } else {
        part.to_owned()
    }
}

fn log_end(folder: &Path) -> String {
    let newest = std::fs::read_dir(folder)
        .ok()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max();
    let Some(text) = newest.and_then(|path| std::fs::read_to_string(path).ok()) else {
        return "There is no log.".to_owned();
    };
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// Where a person looks for what a program saved: `~/Downloads`, else Ecto's own folder.
pub fn folder(folders: &Folders, environment: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let downloads = environment("HOME").map(|home| PathBuf::from(home).join("Downloads"));
    match downloads {
        Some(downloads) if downloads.is_dir() => downloads,
        Some(_) | None => folders.state().to_owned(),
    }
}

/// Saves the text for its owner alone, under a name of its own.
pub fn save(text: &str, folder: &Path) -> Result<String, Refusal> {
    let now = Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let path = folder.join(format!("ecto-diagnostics-{now}.txt"));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => Ok(path.display().to_string()),
        Err(fault) => Err(Refusal::new(
            "diagnostics_not_saved",
            format!("{} could not be written: {fault}.", path.display()),
            "Free some space or make the folder writable, then save again.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::view_of;

    #[test]
    fn no_key_no_link_no_address_and_no_name_stays() {
        let key = "ecto_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"; // not a secret
        let text = format!(
            "key {key}, link https://login.tailscale.com/a/1b2c3d. From 203.0.113.7: fine; 2001:db8::1 too; \
             me at https://ada.tail1234.ts.net/v1 in /home/ada/.openclaw, guard 127.0.0.1"
        );
        let names = ["ada.tail1234.ts.net".to_owned()];
        insta::assert_snapshot!(
            redact(&text, &names, Some(Path::new("/home/ada"))),
            @"key <key>, link <link> From <address>: fine; <address> too; me at https://<this machine>/v1 in ~/.openclaw, guard 127.0.0.1"
        );
    }

    #[test]
    fn nothing_stays_because_of_what_stands_beside_it() {
        let key = "ecto_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"; // not a secret
        let text = format!(
            "key={key} OPENAI_API_KEY={key}; x{key}/ tskey-auth-k1 \"--key=tskey-client-2\" ecto_tailscale::bus \
             from=203.0.113.7:5123 [2001:db8::1]:443 http://203.0.113.7:80/x?y=198.51.100.1, link=https://login.tailscale.com/a/1?b=c) \
             127.0.0.1:18789 ada to ada-2 and radar, at ada.tail1234.ts.net. b.other.ts.net:443"
        );
        let names = ["ada.tail1234.ts.net".to_owned(), "ada".to_owned()];
        insta::assert_snapshot!(
            redact(&text, &names, None),
            @r#"key=<key> OPENAI_API_KEY=<key>; x<key>/ <key> "--key=<key>" ecto_tailscale::bus from=<address> [<address>]:443 http://<address>/x?y=<address>, link=<link>) 127.0.0.1:18789 <this machine> to ada-2 and radar, at <this machine>. <this machine>"#
        );
    }

    #[test]
    fn the_short_name_of_the_machine_is_taken_for_a_name_and_that_of_a_key_is_not() {
        let names = names(&view_of("public"));
        assert_eq!(names, ["ecto.example.ts.net"]);
        assert_eq!(short_name("ada.tail1234.ts.net").as_deref(), Some("ada"));
        assert_eq!(short_name("127.0.0.1"), None);
    }

    #[test]
    fn the_whole_text_names_neither_machine_nor_link() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().as_os_str().to_owned();
        let folders = Folders::locate(ecto_platform::System::Linux, |name| {
            (name == "HOME").then(|| home.clone())
        })
        .unwrap();
        for state in ["public", "sign in"] {
            let text = text(&view_of(state), "all is well", &folders, Some(home.clone()));
            assert!(text.contains("all is well") && text.contains("exposure"));
            assert!(!text.contains("example.ts.net"), "{text}");
            assert!(!text.contains("login.tailscale.com/a/1"), "{text}");
            assert!(!text.contains(folder.path().to_str().unwrap()), "{text}");
        }
    }

    #[test]
    fn it_is_saved_for_its_owner_alone_and_never_over_another_file() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = save("text", folder.path()).unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        let refusal = save("text", &folder.path().join("gone")).unwrap_err();
        assert_eq!(refusal.code, "diagnostics_not_saved");
    }
}
