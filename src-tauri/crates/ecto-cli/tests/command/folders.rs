//! Folders and disks that cannot be used: a sentence with a code, and nothing done.

use std::os::unix::fs::PermissionsExt;

use crate::machine::{Machine, Running, run};

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let machine = Machine::new();
    let taken = machine.folder().join("taken");
    std::fs::write(&taken, "mine").unwrap();
    let long = format!("/{}", "a".repeat(100));
    for (place, code) in [
        (taken.display().to_string(), "folders.unusable"),
        (
            taken.join("below").display().to_string(),
            "folders.unusable",
        ),
        ("relative".to_owned(), "folders.not_absolute"),
        (
            machine
                .folder()
                .join("l")
                .join(long.trim_start_matches('/'))
                .display()
                .to_string(),
            "folders.socket_path_too_long",
        ),
    ] {
        for command in [&["status"][..], &["connect"], &["doctor"]] {
            let mut asked = machine.ecto(command);
            asked.arg("--json").env("ECTO_HOME", &place);
            let ran = run(asked);
            assert_eq!(
                (ran.code, ran.error_code().as_str()),
                (1, code),
                "{place}: {ran:?}"
            );
        }
        let mut asked = machine.ecto(&["status"]);
        asked.env("ECTO_HOME", &place);
        let told = run(asked).stderr;
        assert!(told.contains("ECTO_HOME"), "says what to do: {told}");
    }
    assert_eq!(std::fs::read(&taken).unwrap(), b"mine");

    let mut asked = machine.ecto(&["status", "--json"]);
    asked.env_remove("ECTO_HOME").env_remove("HOME");
    assert_eq!(run(asked).error_code(), "folders.no_home");
}

#[test]
fn folders_are_for_their_owner_alone() {
    let machine = Machine::new();
    assert_eq!(machine.run(&["disconnect", "--sandbox"]).code, 0);
    for folder in [
        machine.state(),
        machine.sandbox(),
        machine.sandbox().join("run"),
    ] {
        let mode = folder.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
    }
}

/// A command for which every write to a file fails as on a full disk.
fn on_a_full_disk(machine: &Machine, arguments: &[&str]) -> Running {
    let mut command = machine.command("/bin/sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec ecto \"$@\"", "sh"])
        .args(arguments);
    Running::pipes(command)
}

#[test]
fn a_full_disk_is_told_and_nothing_is_opened() {
    let machine = Machine::new();
    // The folders are there from before, when there was room.
    assert_eq!(machine.run(&["status"]).code, 0);
    let config = machine.configure(b"{}");
    for arguments in [
        &["connect", "--json"][..],
        &["token", "--json"],
        &["restore", "--json"],
    ] {
        let ran = on_a_full_disk(&machine, arguments).end();
        assert_eq!(
            (ran.code, ran.error_code().as_str()),
            (1, "lock_unusable"),
            "{ran:?}"
        );
    }
    let status = on_a_full_disk(&machine, &["status", "--json"]).end();
    assert_eq!(status.code, 0, "the truth needs no room: {status:?}");
    assert_eq!(std::fs::read(config).unwrap(), b"{}");
}

#[test]
fn a_wish_that_cannot_be_stored_opens_nothing() {
    let machine = Machine::new();
    // In the way of the file that is put there.
    std::fs::create_dir_all(machine.sandbox().join("wanted.json")).unwrap();
    let ran = machine.run(&["connect", "--json", "--sandbox"]);
    assert_eq!(
        (ran.code, ran.error_code().as_str()),
        (1, "wanted_not_stored"),
        "{ran:?}"
    );
    let ran = machine.run(&["connect", "--detach", "--json", "--sandbox"]);
    assert_eq!(
        (ran.code, ran.error_code().as_str()),
        (1, "wanted_not_stored"),
        "{ran:?}"
    );
    // Nobody stays behind who holds nothing.
    assert_eq!(machine.status()["host"], serde_json::Value::Null);
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let machine = Machine::new();
    for command in [
        "completions bash",
        "--help",
        "status --json",
        "doctor --sandbox",
    ] {
        let ran = machine.shell(&format!("ecto {command} 2>stderr | true; cat stderr"));
        assert!(!ran.stdout.contains("panicked"), "{ran:?}");
    }
}
