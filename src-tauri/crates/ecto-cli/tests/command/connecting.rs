//! `ecto connect` in the foreground, and what comes with it.

use rustix::process::Signal;

use crate::machine::Machine;

/// The example that `ecto connect` prints.
fn curl_of(stdout: &str) -> String {
    let start = stdout.find("curl ").unwrap();
    stdout[start..].trim_end().to_owned()
}

#[test]
fn the_journey_is_told_on_stderr_and_the_result_stands_on_stdout() {
    let machine = Machine::new();
    let host = machine.connected();
    let printed = host.stdout.now();
    let told = host.stderr.now();
    let ended = host.interrupt();

    assert_eq!(ended.code, 0);
    assert!(
        !told.contains('\u{1b}') && !printed.contains('\u{1b}'),
        "no colour in a pipe"
    );
    insta::assert_snapshot!("result", machine.redact(&printed));
    insta::assert_snapshot!("journey", without_times(&machine.redact(&ended.stderr)));
    assert!(told.contains(" ms\n"), "steps have times: {told}");
    assert_eq!(machine.status()["exposure"]["state"], "private");
    assert_eq!(machine.status()["wanted"]["wanted"], "private");
}

/// Replaces how long each step took.
fn without_times(told: &str) -> String {
    let lines = told.lines().map(|line| match line.rsplit_once("  ") {
        Some((step, _)) if line.contains('✓') => format!("{step}  [time]"),
        Some(_) | None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_works_when_it_is_pasted() {
    let machine = Machine::new();
    let host = machine.connected();
    let curl = curl_of(&host.stdout.now());
    let answered = machine.shell(&format!("{curl} -sS -w '\\n%{{http_code}}'"));
    assert!(answered.stdout.ends_with("\n200"), "{answered:?}");
    let completion: serde_json::Value =
        serde_json::from_str(answered.stdout.trim_end_matches("200")).unwrap();
    assert_eq!(completion["object"], "chat.completion", "{answered:?}");
    // What went through is told once a second.
    machine.wait_for_status("the request", |status| {
        status["activity"]["last"]["route"] == "POST /v1/chat/completions"
    });
}

#[test]
fn an_interruption_on_the_way_is_no_error_and_leaves_it_private() {
    let machine = Machine::new();
    let host = machine.start(&["connect", "--sandbox"]);
    host.stderr.wait_for("sign in to Tailscale: https://");
    let ended = host.interrupt();
    assert_eq!(ended.code, 130);
    assert_eq!(ended.stdout, "");
    assert!(
        ended.stderr.ends_with(
            "Private: the door is closed, and nothing is reachable from the internet.\n"
        )
    );
    assert_eq!(machine.status()["wanted"]["wanted"], "private");
}

#[test]
fn being_told_to_end_closes_the_door_and_keeps_the_wish() {
    let machine = Machine::new();
    let host = machine.connected();
    host.signal(Signal::TERM);
    let ended = host.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("Private: the door is closed"));

    let status = machine.run(&["status", "--sandbox"]);
    assert!(status.stdout.contains("Ecto is not running"), "{status:?}");
    assert!(
        status
            .stdout
            .contains("`ecto connect --sandbox` opens it again"),
        "{status:?}"
    );

    let again = machine.start(&["serve", "--sandbox"]);
    machine.wait_for_status("it serves", |status| status["host"].is_u64());
    let watch = machine.start(&["status", "--watch", "--sandbox"]);
    watch.stdout.wait_for("Public at https://");
    again.signal(Signal::TERM);
    assert_eq!(again.end().code, 0);
    let watched = watch.end();
    assert_eq!(watched.code, 0);
    assert!(
        watched.stdout.contains("Ecto is not running"),
        "{watched:?}"
    );
}

#[test]
fn the_door_closes_by_itself_when_its_time_is_over() {
    let machine = Machine::new();
    let ended = machine.run(&["connect", "--sandbox", "--for", "4s"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("URL  https://"), "{ended:?}");
    assert!(
        ended.stderr.contains("It closes by itself at "),
        "{ended:?}"
    );
    assert!(
        ended
            .stderr
            .contains("The time you had set is over, so the door is closed."),
        "{ended:?}"
    );
    assert_eq!(machine.status()["wanted"]["wanted"], "private");
}

#[test]
fn a_deadline_that_passed_while_nothing_ran_stays_passed() {
    let machine = Machine::new();
    let host = machine.start(&["connect", "--sandbox", "--for", "1s"]);
    host.stderr.wait_for("sandbox: stand-ins");
    host.stderr.wait_for("sign in");
    host.signal(Signal::KILL);
    assert_eq!(host.end().code, 137);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let status = machine.status();
    assert_eq!(status["exposure"]["state"], "private");
    assert_eq!(status["notice"]["notice"], "deadline_passed", "{status}");
}
