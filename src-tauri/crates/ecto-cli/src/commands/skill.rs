//! `ecto skill`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ecto_host::report::SCHEMA;
use ecto_host::world::WorldChoice;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

const NAME: &str = "ecto-connection";

/// Stands in the scripts where the absolute path of this program goes, so that they do not depend on the gateway's PATH.
const PROGRAM: &str = "@ECTO@";

const FILES: [(&str, &str); 4] = [
    ("SKILL.md", include_str!("../../skill/SKILL.md")),
    (
        "scripts/connect.sh",
        include_str!("../../skill/scripts/connect.sh"),
    ),
    (
        "scripts/status.sh",
        include_str!("../../skill/scripts/status.sh"),
    ),
    (
        "scripts/disconnect.sh",
        include_str!("../../skill/scripts/disconnect.sh"),
    ),
];

/// Puts the skill where OpenClaw finds it.
pub fn install(session: &Session) -> Result<Exit, Failure> {
    let folder = place(session)?;
    let program = std::env::current_exe().map_err(|fault| unusable(&folder, &fault))?;
    write(&folder, &program).map_err(|fault| unusable(&folder, &fault))?;
    if session.terminal.is_json() {
        session
            .terminal
            .print_json(&json!({ "schema": SCHEMA, "skill": NAME, "folder": folder }))?;
        return Ok(Exit::Done);
    }
    session.terminal.print(&format!(
        "The skill is in {}; OpenClaw finds it by itself.",
        folder.display()
    ))?;
    session
        .terminal
        .print("Ask OpenClaw, for example: is this gateway reachable from the internet?")?;
    Ok(Exit::Done)
}

/// Takes the skill away.
pub fn remove(session: &Session) -> Result<Exit, Failure> {
    let folder = place(session)?;
    let was_there = take_away(&folder).map_err(|fault| unusable(&folder, &fault))?;
    if session.terminal.is_json() {
        session
            .terminal
            .print_json(&json!({ "schema": SCHEMA, "skill": NAME, "removed": was_there }))?;
    } else if was_there {
        session.terminal.print("The skill is removed.")?;
    } else {
        session.terminal.print("The skill was not installed.")?;
    }
    Ok(Exit::Done)
}

/// Removes the skill's own files and says whether any were there.
pub fn take_away(folder: &Path) -> io::Result<bool> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(true),
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// The folder of the skill among the skills that OpenClaw manages (OpenClaw 2026.9.6, docs/tools/skills.md).
pub fn place(session: &Session) -> Result<PathBuf, Failure> {
    let named = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if session.world == WorldChoice::Sandbox {
        return Ok(session.folders.state().join("skills").join(NAME));
    }
    let state = named("OPENCLAW_STATE_DIR")
        .or_else(|| named("OPENCLAW_HOME").map(|home| home.join(".openclaw")))
        .or_else(|| named("HOME").map(|home| home.join(".openclaw")));
    let state = state.ok_or_else(|| {
        Failure::own(
            "no_home",
            "Ecto does not know where OpenClaw keeps its skills: HOME is not set.",
            "Set HOME, then try again.",
        )
    })?;
    Ok(state.join("skills").join(NAME))
}

fn write(folder: &Path, program: &Path) -> io::Result<()> {
    let quoted = format!("'{}'", program.display().to_string().replace('\'', "'\\''"));
    for (name, text) in FILES {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text.replace(PROGRAM, &quoted))?;
        if name.ends_with(".sh") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

fn unusable(folder: &Path, fault: &io::Error) -> Failure {
    Failure::own(
        "skill_unusable",
        format!(
            "The skill's folder {} cannot be written: {fault}.",
            folder.display()
        ),
        "Make it writable for your user, then try again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_call_this_very_program_whatever_its_path() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), Path::new("/Applications/It's Ecto.app/ecto")).unwrap();
        let script = fs::read_to_string(folder.path().join("scripts/status.sh")).unwrap();
        assert!(script.contains(r"exec '/Applications/It'\''s Ecto.app/ecto' status --json"));
        let mode = fs::metadata(folder.path().join("scripts/status.sh"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755);
        assert!(take_away(folder.path()).unwrap());
        assert!(!take_away(folder.path()).unwrap());
    }
}
