//! The autostart entry: a desktop file in the folder that desktops read at login.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use crate::launch::Options;
use crate::refusal::Refusal;
use crate::view::LoginItem;

const NAME: &str = "ecto.desktop";

/// The entry, with a place for how the program is started.
const ENTRY: &str = include_str!("../../../packaging/linux/autostart.desktop");

/// Whether Ecto opens at login.
#[derive(Debug)]
pub struct Login {
    entry: Option<PathBuf>,
    command: Option<String>,
}

impl Login {
    /// Finds the folder (`XDG_CONFIG_HOME`, else `~/.config`), and how this program is started: by its own path, or by
    /// that of the AppImage it was unpacked from.
    pub fn find(options: &Options, environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let absolute = |name: &str| {
            environment(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let folder = absolute("XDG_CONFIG_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".config")));
        let program = absolute("APPIMAGE").or_else(|| std::env::current_exe().ok());
        Self {
            entry: folder.map(|folder| folder.join("autostart").join(NAME)),
            command: program.and_then(|program| command_line(&program, &options.to_arguments())),
        }
    }

    /// Whether it does.
    pub fn state(&self) -> LoginItem {
        let (Some(entry), Some(_)) = (&self.entry, &self.command) else {
            return LoginItem::Unavailable;
        };
        let Ok(text) = std::fs::read_to_string(entry) else {
            return LoginItem::Off;
        };
        let is_off = |line: &str| {
            let line: String = line.split_whitespace().collect();
            line == "Hidden=true" || line == "X-GNOME-Autostart-enabled=false"
        };
        if text.lines().any(is_off) {
            LoginItem::Off
        } else {
            LoginItem::On
        }
    }

    /// Has it do so, or no longer.
    pub fn set(&self, on: bool) -> Result<(), Refusal> {
        let (Some(entry), Some(command)) = (&self.entry, &self.command) else {
            return Err(Refusal::nothing(
                "This desktop has no place for programs that open at login.",
            ));
        };
        let done = if on {
            write(entry, command)
        } else {
            remove(entry)
        };
        done.map_err(|fault| {
            Refusal::new(
                "login_item_refused",
                format!("{} could not be changed: {fault}.", entry.display()),
                "Make the folder writable for your user, then try again.",
            )
        })
    }
}

fn write(entry: &Path, command: &str) -> io::Result<()> {
    if let Some(folder) = entry.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(entry, ENTRY.replace("@PROGRAM@", command))
}

fn remove(entry: &Path) -> io::Result<()> {
    match std::fs::remove_file(entry) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The value of `Exec`, as the Desktop Entry Specification 1.5 quotes it. `None` where a part cannot stand in it.
fn command_line(program: &Path, arguments: &[OsString]) -> Option<String> {
    std::iter::once(program.as_os_str())
        .chain(arguments.iter().map(OsString::as_os_str))
        .map(quote)
        .collect::<Option<Vec<_>>>()
        .map(|parts| parts.join(" "))
}

fn quote(part: &OsStr) -> Option<String> {
    let part = part.to_str()?;
    if part.contains(char::is_control) {
        return None;
    }
    let mut quoted = String::from("\"");
    for character in part.chars() {
        match character {
            // Escaped once for the quotes, and the backslash itself once more for the value.
            '"' | '`' | '$' => quoted.extend(["\\\\", &character.to_string()]),
            '\\' => quoted.push_str("\\\\\\\\"),
            '%' => quoted.push_str("%%"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    Some(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(home: &Path) -> Login {
        let options = Options::of_app(["ecto".into(), "--sandbox".into()]).unwrap();
        Login::find(&options, |name| match name {
            "HOME" => Some(home.into()),
            "APPIMAGE" => Some("/opt/50% \"Ecto\"/$x\\y.AppImage".into()),
            _ => None,
        })
    }

    #[test]
    fn it_is_turned_on_and_off_and_says_how_it_is() {
        let home = tempfile::tempdir().unwrap();
        let login = login(home.path());
        assert_eq!(login.state(), LoginItem::Off);
        login.set(false).unwrap();
        login.set(true).unwrap();
        assert_eq!(login.state(), LoginItem::On);
        let entry = home.path().join(".config/autostart/ecto.desktop");
        let text = std::fs::read_to_string(&entry).unwrap();
        assert!(
            text.contains(r#"Exec="/opt/50%% \\"Ecto\\"/\\$x\\\\y.AppImage" "--sandbox""#),
            "{text}"
        );
        assert!(text.contains("\nIcon=dev.ecto.app\n"), "{text}");
        std::fs::write(&entry, format!("{text}Hidden = true\n")).unwrap();
        assert_eq!(login.state(), LoginItem::Off);
        login.set(false).unwrap();
        assert!(!entry.exists());
    }

    #[test]
    fn where_it_cannot_be_written_there_is_a_sentence() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(".config"), "in the way").unwrap();
        let refusal = login(home.path()).set(true).unwrap_err();
        assert_eq!(refusal.code, "login_item_refused");
        let nowhere = Login::find(&Options::of_app(["ecto".into()]).unwrap(), |_| None);
        assert_eq!(nowhere.state(), LoginItem::Unavailable);
        assert!(nowhere.set(true).is_err());
    }

    #[test]
    fn a_path_that_cannot_stand_in_an_entry_is_not_written() {
        assert_eq!(command_line(Path::new("/a\nExec=evil"), &[]), None);
    }
}
