//! `ecto uninstall`: nothing of ours stays, and what stays is told.

use crate::machine::{Machine, files};

#[test]
fn nothing_of_ours_stays() {
    let machine = Machine::new();
    let config = machine.configure(b"// mine\n{ gateway: { port: 1 } }\n");
    let before = files(&machine.home());
    for arguments in [
        &["token"][..],
        &["skill", "install"],
        &["route", "allow", "hooks"],
        &["disconnect"],
        &["disconnect", "--sandbox"],
    ] {
        assert_eq!(machine.run(arguments).code, 0, "{arguments:?}");
    }
    let host = machine.start(&["serve"]);
    crate::machine::wait_until("it serves", || {
        let status = machine.run(&["status", "--json"]).json();
        status["host"].is_number().then_some(())
    });
    let ran = machine.run(&["uninstall", "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!("uninstalled", machine.redact(&ran.stdout));
    assert_eq!(host.end().code, 0);
    assert!(!machine.state().exists(), "{:?}", files(&machine.state()));
    let after: Vec<_> = files(&machine.home());
    assert_eq!(after, before);
    assert!(config.exists());
}

#[test]
fn without_a_person_it_is_told_twice() {
    let machine = Machine::new();
    let key = machine.run(&["token", "--reveal"]).stdout;
    let ran = machine.run(&["uninstall", "--json"]);
    assert_eq!(
        (ran.code, ran.error_code().as_str()),
        (1, "not_confirmed"),
        "{ran:?}"
    );
    assert_eq!(machine.run(&["token", "--reveal"]).stdout, key);
}

#[test]
fn what_is_not_ours_stays_and_is_named() {
    let machine = Machine::new();
    machine.run(&["status"]);
    let foreign = machine.state().join("notes.txt");
    std::fs::write(&foreign, "mine").unwrap();
    let ran = machine.run(&["uninstall", "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(std::fs::read(&foreign).unwrap(), b"mine");
    assert!(
        ran.stdout.contains(&machine.state().display().to_string()),
        "{ran:?}"
    );
}

#[test]
fn an_open_door_is_closed_first() {
    let machine = Machine::new();
    let host = machine.connected();
    let ran = machine.run(&["uninstall", "--yes", "--sandbox"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ended = host.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("Private: the door is closed"));
    assert!(!machine.sandbox().exists());
}
