//! What the command says about itself.

use crate::machine::Machine;

const COMMANDS: [&str; 23] = [
    "",
    "connect",
    "status",
    "disconnect",
    "token",
    "key",
    "key add",
    "key list",
    "key show",
    "key rotate",
    "key revoke",
    "key rename",
    "key which",
    "restart",
    "logs",
    "doctor",
    "restore",
    "uninstall",
    "serve",
    "skill",
    "skill install",
    "skill remove",
    "completions",
];

#[test]
fn every_command_explains_itself() {
    let machine = Machine::new();
    let mut told = Vec::new();
    for command in COMMANDS {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let ran = machine.run(&arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{command}");
        told.push(format!("$ ecto {}\n{}", arguments.join(" "), ran.stdout));
    }
    insta::assert_snapshot!("help", told.join("\n"));
}

#[test]
fn the_version_is_told() {
    let ran = Machine::new().run(&["--version"]);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.stdout, format!("ecto {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_made_for_every_shell_and_read_by_those_that_are_here() {
    let machine = Machine::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = machine.run(&["completions", shell]);
        assert_eq!(ran.code, 0, "{shell}");
        for command in COMMANDS {
            for word in command.split_whitespace() {
                assert!(ran.stdout.contains(word), "{shell} lacks {word}");
            }
        }
        let script = machine.folder().join(shell);
        std::fs::write(&script, &ran.stdout).unwrap();
        let read = machine.shell(&format!(
            "if command -v {shell} >/dev/null; then {shell} -n '{}'; fi",
            script.display()
        ));
        assert_eq!((read.code, read.stderr.as_str()), (0, ""), "{shell}");
    }
    let completed = machine.shell(
        "command -v bash >/dev/null || { echo disconnect; exit; }; \
         ecto completions bash > b; exec bash -c '. ./b; COMP_WORDS=(ecto disc); COMP_CWORD=1; _ecto ecto disc ecto; echo \"${COMPREPLY[@]}\"'",
    );
    assert_eq!(completed.stdout.trim(), "disconnect", "{completed:?}");
    assert_eq!(machine.run(&["completions", "tcsh"]).code, 2);
}
