//! The skill with which OpenClaw itself can connect, tell and disconnect.

use std::os::unix::fs::PermissionsExt;

use crate::machine::{Machine, Ran, documents, files};

fn script(machine: &Machine, name: &str, arguments: &str) -> Ran {
    let folder = machine
        .home()
        .join(".openclaw/skills/ecto-connection/scripts");
    // As the gateway runs it: without the person's own path.
    machine.shell(&format!(
        "PATH=/usr/bin:/bin exec '{}' {arguments}",
        folder.join(name).display()
    ))
}

#[test]
fn its_scripts_tell_statuses_and_never_the_key() {
    let machine = Machine::new();
    let installed = machine.run(&["skill", "install"]);
    assert_eq!(installed.code, 0, "{installed:?}");
    let folder = machine.home().join(".openclaw/skills/ecto-connection");
    let modes: Vec<_> = files(&folder)
        .iter()
        .map(|(path, _)| {
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            (
                path.strip_prefix(&folder).unwrap().display().to_string(),
                mode & 0o111 != 0,
            )
        })
        .collect();
    assert_eq!(
        modes,
        [
            ("SKILL.md".to_owned(), false),
            ("scripts/connect.sh".to_owned(), true),
            ("scripts/disconnect.sh".to_owned(), true),
            ("scripts/status.sh".to_owned(), true),
        ]
    );

    let mut told = String::new();
    let asked = script(&machine, "connect.sh", "--sandbox");
    assert_eq!(asked.code, 3, "{asked:?}");
    assert_eq!(asked.json()["exposure"]["waiting"]["for"], "sign_in");
    told.push_str(&asked.stdout);
    let watch = machine.start(&["status", "--watch", "--json", "--sandbox"]);
    watch.stdout.wait_for("\"reach\":\"reachable\"");
    let key = machine
        .run(&["token", "--reveal", "--sandbox"])
        .stdout
        .trim()
        .to_owned();
    for (name, arguments, state) in [
        ("connect.sh", "--sandbox", "public"),
        ("status.sh", "--sandbox", "public"),
        ("connect.sh", "--sandbox --restart", "public"),
        ("connect.sh", "--sandbox --regenerate-token", "public"),
        ("disconnect.sh", "--sandbox", "private"),
        ("status.sh", "--sandbox", "private"),
    ] {
        let ran = script(&machine, name, arguments);
        assert_eq!(ran.code, 0, "{name} {arguments}: {ran:?}");
        let document = ran.json();
        assert_eq!(
            document["exposure"]["state"], state,
            "{name} {arguments}: {ran:?}"
        );
        assert!(document["message"]["what"].is_string());
        told.push_str(&ran.stdout);
        told.push_str(&ran.stderr);
    }
    told.push_str(&watch.end().stdout);
    assert!(!told.contains(&key));
    assert!(
        documents(
            &told
                .lines()
                .filter(|line| line.starts_with('{'))
                .collect::<Vec<_>>()
                .join("\n")
        )
        .len()
            > 6
    );

    assert_eq!(
        machine.run(&["skill", "remove"]).stdout,
        "The skill is removed.\n"
    );
    assert!(!folder.exists());
    assert_eq!(
        machine.run(&["skill", "remove"]).stdout,
        "The skill was not installed.\n"
    );
}

#[test]
fn its_name_and_its_commands_are_what_openclaw_looks_for() {
    let machine = Machine::new();
    machine.run(&["skill", "install"]);
    let text = std::fs::read_to_string(
        machine
            .home()
            .join(".openclaw/skills/ecto-connection/SKILL.md"),
    )
    .unwrap();
    assert!(text.starts_with("---\nname: ecto-connection\ndescription: "));
    for word in [
        "connect.sh",
        "status.sh",
        "disconnect.sh",
        "--regenerate-token",
        "--restart",
    ] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let machine = Machine::new();
    std::fs::write(machine.home().join(".openclaw"), "").unwrap();
    let ran = machine.run(&["skill", "install", "--json"]);
    assert_eq!(
        (ran.code, ran.error_code().as_str()),
        (1, "skill_unusable"),
        "{ran:?}"
    );
}
