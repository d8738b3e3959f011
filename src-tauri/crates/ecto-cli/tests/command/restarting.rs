//! `ecto restart` while OpenClaw answers somebody.

use crate::machine::{Machine, Running};
use crate::routes::{address, curl};

/// A streamed answer that takes longer than any test.
fn long_answer(machine: &Machine) -> Running {
    let words = "word ".repeat(60_000);
    let question = format!(
        r#"{{"model":"openclaw","stream":true,"messages":[{{"role":"user","content":"{words}"}}]}}"#
    );
    std::fs::write(machine.folder().join("question.json"), question).unwrap();
    let line = format!(
        "exec {} -N -d @'{}' '{}'",
        curl(machine),
        machine.folder().join("question.json").display(),
        address(machine, "/v1/chat/completions")
    );
    let mut command = machine.command("/bin/sh");
    command.arg("-c").arg(line);
    Running::pipes(command)
}

#[test]
fn a_restart_that_is_put_off_is_said_to_be_and_comes_by_itself() {
    let machine = Machine::new();
    let host = machine.connected();
    let answered = long_answer(&machine);
    answered.stdout.wait_for("word");
    let told = machine.run(&["restart", "--json", "--sandbox"]);
    assert_eq!(
        (told.code, told.error_code().as_str()),
        (1, "gateway_restart_deferred"),
        "{told:?}"
    );
    let next = told.json()["error"]["next"].clone();
    assert!(next.to_string().contains("It restarts by itself"), "{next}");
    let exposure = machine.status()["exposure"].clone();
    assert_eq!(exposure["state"], "public", "{exposure}");
    assert!(exposure["held"].is_null(), "{exposure}");

    // Whoever was answered hangs up.
    let before = machine.status()["gateway"].clone();
    drop(answered);
    machine.wait_for_status("the restart", |status| {
        status["gateway"] != before && status["gateway"]["gateway"] == "ready"
    });
    machine.wait_for_proof();
    assert_eq!(host.interrupt().code, 0);
}
