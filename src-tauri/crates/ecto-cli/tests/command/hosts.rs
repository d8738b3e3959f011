//! One host at a time, whatever happens to it.

use std::os::unix::net::UnixStream;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::machine::{Machine, Running, wait_until};

fn is_alive(process: Pid) -> bool {
    test_kill_process(process).is_ok()
}

#[test]
fn a_second_connect_asks_the_first_host_and_returns() {
    let machine = Machine::new();
    let host = machine.connected();
    let second = machine.run(&["connect", "--sandbox", "--for", "1h"]);
    assert_eq!(second.code, 0, "{second:?}");
    assert_eq!(second.stdout, host.stdout.now());
    assert!(machine.status()["wanted"]["until"].is_string());
    let told = second.stderr.lines().rev().take(2).collect::<Vec<_>>();
    assert!(
        told[0].starts_with("Ecto goes on in the background; `ecto disconnect"),
        "{second:?}"
    );
    assert!(told[1].starts_with("It closes by itself at "), "{second:?}");

    let served = machine.run(&["serve", "--sandbox", "--json"]);
    assert_eq!(
        (served.code, served.error_code().as_str()),
        (1, "host_running")
    );

    let closed = machine.run(&["disconnect", "--sandbox"]);
    assert_eq!(closed.code, 0, "{closed:?}");
    assert!(closed.stdout.starts_with("Private: the door is closed"));
    let ended = host.end();
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn a_connect_that_names_no_time_and_no_node_leaves_both() {
    let machine = Machine::new();
    let detach = ["connect", "--sandbox", "--detach"];
    let connect = |more: &[&str]| {
        let ran = machine.run(&[&detach, more].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        (ran.stderr, machine.status()["wanted"].clone())
    };
    let (_, hour) = connect(&["--for", "1h", "--node", "system"]);
    assert_eq!(hour["node"], "system");
    assert!(hour["until"].is_string());
    let (told, again) = connect(&[]);
    assert_eq!(again, hour);
    let closes = told.lines().rev().nth(1).unwrap();
    assert!(closes.starts_with("It closes by itself at "), "{told}");

    // As OpenClaw's skill asks.
    let (_, again) = connect(&["--json"]);
    assert_eq!(again, hour);
    let process = machine.status()["host"].as_i64().unwrap();
    let process = Pid::from_raw(process.try_into().unwrap()).unwrap();
    kill_process(process, Signal::TERM).unwrap();
    wait_until("the process is gone", || (!is_alive(process)).then_some(()));
    let (_, again) = connect(&[]);
    assert_eq!(again, hour);

    let (told, unlimited) = connect(&["--for", "unlimited"]);
    assert_eq!(unlimited["until"], serde_json::Value::Null);
    assert_eq!(unlimited["node"], "system");
    assert!(!told.contains("It closes by itself"), "{told}");
    let (_, either) = connect(&["--node", "auto"]);
    assert_eq!(either["node"], "auto");
    assert_eq!(machine.run(&["disconnect", "--sandbox"]).code, 0);
    let (_, after) = connect(&["--for", "1h"]);
    assert_eq!(after["node"], "auto");
    assert_eq!(machine.run(&["disconnect", "--sandbox"]).code, 0);
}

#[test]
fn of_two_that_start_at_the_same_moment_one_is_the_host() {
    let machine = Machine::new();
    let both: Vec<Running> = (0..2)
        .map(|_| machine.start(&["connect", "--sandbox"]))
        .collect();
    for running in &both {
        running.stderr.wait_for("Reachable from the internet");
    }
    let closed = machine.run(&["disconnect", "--sandbox"]);
    assert_eq!(closed.code, 0, "{closed:?}");
    let ended: Vec<_> = both.into_iter().map(Running::end).collect();
    assert!(ended.iter().all(|ended| ended.code == 0), "{ended:?}");
    assert_eq!(ended[0].stdout, ended[1].stdout);
}

#[test]
fn a_host_in_the_background_goes_when_the_door_is_closed() {
    let machine = Machine::new();
    let connected = machine.run(&["connect", "--detach", "--sandbox"]);
    assert_eq!(connected.code, 0, "{connected:?}");
    assert!(connected.stdout.contains("URL  https://"));
    let process = machine.status()["host"].as_i64().unwrap();
    let process = Pid::from_raw(process.try_into().unwrap()).unwrap();
    assert!(is_alive(process));

    assert_eq!(machine.run(&["disconnect", "--sandbox"]).code, 0);
    wait_until("the process is gone", || (!is_alive(process)).then_some(()));
    assert!(!machine.sandbox().join("run/ecto.sock").exists());
    let lock = std::fs::File::open(machine.sandbox().join("run/host.lock")).unwrap();
    lock.try_lock().unwrap();
}

#[test]
fn after_a_kill_the_truth_is_told_at_once_and_nothing_is_in_the_way() {
    let machine = Machine::new();
    let host = machine.connected();
    let edge = machine.status()["client_access"]["edge"].clone();
    host.signal(Signal::KILL);
    assert_eq!(host.end().code, 137);
    // What it left behind is still there.
    assert!(machine.sandbox().join("run/ecto.sock").exists());
    assert!(machine.sandbox().join("run/host.lock").exists());

    let status = machine.status();
    assert_eq!(status["host"], serde_json::Value::Null);
    assert_eq!(status["exposure"]["state"], "private");
    assert_eq!(status["wanted"]["wanted"], "public");
    assert!(std::net::TcpStream::connect(edge.as_str().unwrap()).is_err());

    let again = machine.connected();
    assert_eq!(again.interrupt().code, 0);
}

#[test]
fn a_host_that_hangs_is_told_from_one_that_works() {
    let machine = Machine::new();
    let host = machine.start(&["connect", "--sandbox"]);
    host.stderr.wait_for("sign in");
    host.signal(Signal::STOP);
    let status = machine.run(&["status", "--json", "--sandbox"]);
    assert_eq!(
        (status.code, status.error_code().as_str()),
        (1, "host_silent")
    );
    host.signal(Signal::CONT);
    assert_eq!(machine.status()["wanted"]["wanted"], "public");
}

#[test]
fn a_host_whose_socket_is_gone_is_not_taken_for_none() {
    let machine = Machine::new();
    let host = machine.connected();
    std::fs::remove_file(machine.sandbox().join("run/ecto.sock")).unwrap();
    let status = machine.run(&["status", "--sandbox", "--json"]);
    assert_eq!(
        (status.code, status.error_code().as_str()),
        (4, "host_silent"),
        "{status:?}"
    );
    let ended = host.interrupt();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(machine.status()["exposure"]["state"], "private");
}

/// Whether a process hears Ctrl-C by itself: `SigCgt` in `proc(5)` has the second bit.
#[cfg(target_os = "linux")]
fn hears_interruptions(process: Pid) -> bool {
    let process = process.as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    u64::from_str_radix(caught.unwrap().trim(), 16).unwrap() & 0b10 != 0
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_is_heard_while_a_host_is_looked_for() {
    let machine = Machine::new();
    let host = machine.connected();
    std::fs::remove_file(machine.sandbox().join("run/ecto.sock")).unwrap();
    let watching = machine.start(&["status", "--watch", "--sandbox"]);
    wait_until("it hears Ctrl-C", || {
        hears_interruptions(watching.process()).then_some(())
    });
    let ended = watching.interrupt();
    // Not that the host is silent, which is told when it was looked for long enough.
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    assert_eq!(host.interrupt().code, 0);
}

#[test]
fn many_may_ask_at_once() {
    let machine = Machine::new();
    let host = machine.connected();
    let asking: Vec<Running> = (0..30)
        .map(|_| machine.start(&["status", "--json", "--sandbox"]))
        .collect();
    for running in asking {
        let ran = running.end();
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.json()["exposure"]["state"], "public");
    }
    assert_eq!(host.interrupt().code, 0);
}

#[test]
fn many_errands_without_a_host_wait_for_each_other() {
    let machine = Machine::new();
    let errands: Vec<Running> = (0..6)
        .map(|_| machine.start(&["disconnect", "--json", "--sandbox"]))
        .collect();
    for errand in errands {
        let ran = errand.end();
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.json()["exposure"]["state"], "private");
    }
}

#[test]
fn strangers_on_the_socket_get_no_answer_that_helps_them() {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;

    let machine = Machine::new();
    let host = machine.start(&["connect", "--sandbox"]);
    host.stderr.wait_for("sign in");
    let path = machine.sandbox().join("run/ecto.sock");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for said in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "{\"ask\":\"everything\"}\n".to_owned(),
        // What does not say whether the deadline goes or stays.
        "{\"ask\":\"connect\",\"until\":null}\n".to_owned(),
        "{\"ask\":\"connect\"}\n".to_owned(),
        "x".repeat(100_000),
    ] {
        let mut stream = UnixStream::connect(&path).unwrap();
        // It may hang up before it has read everything.
        let _ = stream.write_all(said.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(
            answer.is_empty() || answer == "{\"answer\":\"not_understood\"}\n",
            "{answer}"
        );
    }
    assert_eq!(machine.status()["exposure"]["state"], "preparing");
}

#[test]
fn the_host_outlives_whoever_started_it_in_the_background() {
    let machine = Machine::new();
    // The shell's whole session ends with this line.
    let ran = machine.shell("ecto connect --detach --sandbox >/dev/null 2>&1; kill -HUP $$");
    assert_eq!(ran.code, 129);
    let status = machine.status();
    assert_eq!(status["exposure"]["state"], "public");
    let process = status["host"].as_i64().unwrap();
    let process = Pid::from_raw(process.try_into().unwrap()).unwrap();
    kill_process(process, Signal::TERM).unwrap();
    wait_until("the process is gone", || (!is_alive(process)).then_some(()));
    assert_eq!(machine.status()["wanted"]["wanted"], "public");
}

#[test]
fn a_host_without_a_window_says_what_is_and_how_it_ends() {
    let machine = Machine::new();
    let host = machine.start(&["serve", "--sandbox"]);
    host.stderr.wait_for(
        "Private: nothing is reachable from the internet.\n\
         Press Ctrl-C to end Ecto; that closes the door.\n",
    );
    let connected = machine.run(&["connect", "--sandbox"]);
    assert_eq!(connected.code, 0, "{connected:?}");
    host.stderr.wait_for("Public at https://");
    let ended = host.interrupt();
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
    assert!(
        ended.stderr.ends_with(
            "Private: the door is closed, and nothing is reachable from the internet.\n"
        ),
        "{ended:?}"
    );
}
