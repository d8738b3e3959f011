//! What the sandbox tells to do next is done in the sandbox.

use crate::machine::Machine;

#[test]
fn what_is_told_to_run_next_is_for_the_sandbox() {
    let machine = Machine::new();
    let host = machine.connected();
    for (arguments, told) in [
        (&["uninstall"][..], "Run `ecto uninstall --yes --sandbox`."),
        (
            &["key", "rename", "default", "other"],
            "run `ecto key rotate default --sandbox`.",
        ),
        (&["key", "show", "nobody"], "`ecto key list --sandbox`."),
        (&["token"], "`ecto token --reveal --sandbox`"),
        (
            &["key", "add", "search", "--routes", "embeddings"],
            "`ecto route allow embeddings --sandbox`.",
        ),
        (&["serve"], "Look at it with `ecto status --sandbox`."),
    ] {
        let ran = machine.run(&[arguments, &["--sandbox"]].concat());
        assert!(ran.stderr.contains(told), "{arguments:?}: {ran:?}");
    }
    let refused = machine.run(&["key", "show", "nobody", "--sandbox", "--json"]);
    assert_eq!(
        refused.json()["error"]["next"],
        "See which there are with `ecto key list --sandbox`."
    );
    host.interrupt();
    // What is wanted and not there is told with how to have it again.
    let host = machine.start(&["connect", "--sandbox", "--detach"]);
    assert_eq!(host.end().code, 0);
    let process = i32::try_from(machine.status()["host"].as_i64().unwrap()).unwrap();
    let process = rustix::process::Pid::from_raw(process).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    machine.wait_for_status("nothing runs", |status| status["host"].is_null());
    let opens_again = "Public was asked for; `ecto connect --sandbox` opens it again.";
    assert_eq!(machine.status()["message"]["next"], opens_again);
    let ran = machine.run(&["status", "--sandbox"]);
    assert!(ran.stdout.contains(opens_again), "{ran:?}");
}

#[test]
fn outside_of_the_sandbox_it_is_for_the_real_ecto() {
    let machine = Machine::new();
    let ran = machine.run(&["uninstall"]);
    assert!(
        ran.stderr.contains("Run `ecto uninstall --yes`."),
        "{ran:?}"
    );
}
