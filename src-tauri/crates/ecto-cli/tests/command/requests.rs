//! `ecto requests` and the metrics.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::keys::send;
use crate::machine::{Machine, documents, wait_until};

fn lines(machine: &Machine, arguments: &[&str]) -> Vec<Value> {
    let mut all = vec!["requests", "--sandbox", "--json"];
    all.extend(arguments);
    let told = machine.run(&all);
    assert_eq!(told.code, 0, "{told:?}");
    told.lines()
}

fn scrape(machine: &Machine, path: &str) -> String {
    let mut socket = UnixStream::connect(machine.sandbox().join("run/ecto.sock")).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nhost: ecto\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn who_called_is_told_with_and_without_a_host_and_never_what_was_said() {
    let machine = Machine::new();
    let none = machine.run(&["requests", "--sandbox"]);
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));
    assert!(none.stderr.contains("No such request"), "{none:?}");

    let host = machine.start(&["connect", "--sandbox", "--metrics"]);
    host.stderr.wait_for("Reachable from the internet");
    assert_eq!(lines(&machine, &[]), [] as [Value; 0], "Ecto is no caller");
    let reveal = machine.run(&["token", "--reveal", "--sandbox"]).stdout;
    let key = reveal.trim();
    assert_eq!(send(&machine, key).0, "200");
    assert_eq!(send(&machine, "nobody-knows-this-key").0, "401");
    let seen = wait_until("both are on record", || {
        let lines = lines(&machine, &[]);
        (lines.len() == 2).then_some(lines)
    });
    let told = |line: &Value| (line["key"].clone(), line["status"].clone());
    assert_eq!(told(&seen[0]), ("default".into(), 200.into()));
    assert_eq!(told(&seen[1]), (Value::Null, 401.into()));
    let of_key = lines(&machine, &["--key", "default", "--since", "1h", "-n", "1"]);
    assert_eq!(of_key.len(), 1);
    assert_eq!(of_key[0]["key"], "default");
    let today = machine.status()["today"].clone();
    assert_eq!(today[0]["key"], "default");
    assert_eq!(today[1]["key"], Value::Null);
    let told = machine.run(&["status", "--sandbox"]).stdout;
    let today = told.lines().filter(|line| line.starts_with("Today "));
    let today: Vec<_> = today.filter_map(|line| line.split(';').next()).collect();
    assert_eq!(
        today,
        [
            "Today with the key \"default\": 1 request",
            "Today without a known key: 1 request, 1 refused or failed",
        ]
    );

    let metrics = scrape(&machine, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(
        metrics.contains("ecto_requests_total{key=\"default\",status=\"2xx\"}"),
        "{metrics}"
    );
    assert!(metrics.contains("ecto_public 1"), "{metrics}");
    assert!(metrics.trim_end().ends_with("# EOF"), "{metrics}");
    let again = machine.run(&["connect", "--metrics", "--detach", "--sandbox"]);
    assert!(!again.stderr.contains("without metrics"), "{again:?}");
    assert!(scrape(&machine, "/").contains("not_understood"));

    assert_eq!(machine.run(&["disconnect", "--sandbox"]).code, 0);
    host.end();
    assert_eq!(lines(&machine, &["--key", "default", "-n", "1"]).len(), 1);
    let shown = machine.run(&["requests", "--sandbox"]);
    assert!(
        shown.stdout.contains("POST /v1/chat/completions"),
        "{shown:?}"
    );
    assert!(!shown.stdout.contains("ecto_"), "{shown:?}");
}

/// The keys in what a follower printed, `-` for none.
fn keys_in(printed: &str) -> Vec<String> {
    let key = |line: Value| line["key"].as_str().unwrap_or("-").to_owned();
    documents(printed).into_iter().map(key).collect()
}

#[test]
fn requests_are_followed_as_they_come_until_ctrl_c() {
    let machine = Machine::new();
    let host = machine.connected();
    let reveal = |name: &str| {
        let shown = machine.run(&["key", "show", name, "--sandbox"]);
        shown.stdout.trim().to_owned()
    };
    assert_eq!(machine.run(&["key", "add", "phone", "--sandbox"]).code, 0);
    let (default, phone) = (reveal("default"), reveal("phone"));
    assert_eq!(send(&machine, &phone).0, "200");
    assert_eq!(send(&machine, &default).0, "200");

    let follow = |more: &[&str]| {
        let mut all = vec!["requests", "-f", "--sandbox"];
        all.extend(more);
        machine.start(&all)
    };
    let words = follow(&[]);
    let all = follow(&["--json"]);
    let of_phone = follow(&["--json", "--key", "phone"]);
    words.stdout.wait_for("  default ");
    all.stdout.wait_for("\"default\"");
    of_phone.stdout.wait_for("\"phone\"");

    // Older than what is asked for by then, so that only what comes later is shown.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let late = follow(&["--json", "--since", "1s"]);
    let mut sent = 0;
    wait_until("the last follower goes on", || {
        assert_eq!(send(&machine, &default).0, "200");
        sent += 1;
        late.stdout.now().contains("\"default\"").then_some(())
    });
    assert_eq!(send(&machine, &phone).0, "200");
    for (follower, count) in [(&all, 2), (&of_phone, 2), (&late, 1)] {
        wait_until("what the phone sent later", || {
            let seen = follower.stdout.now().matches("\"phone\"").count();
            (seen == count).then_some(())
        });
    }
    assert_eq!(send(&machine, "nobody-knows-this-key").0, "401");
    words.stdout.wait_for("  401  ");
    for follower in [&all, &late] {
        follower.stdout.wait_for("\"status\":401");
    }

    let ended = [words, all, of_phone, late].map(|follower| follower.interrupt());
    for follower in &ended {
        assert_eq!(follower.code, 0, "{follower:?}");
        let mut told = follower.stderr.lines();
        let is_of_sandbox = |line: &str| line.starts_with("[sandbox:");
        assert!(told.all(is_of_sandbox), "{follower:?}");
    }
    let [words, all, of_phone, late] = ended.map(|follower| follower.stdout);
    let mut expected = vec!["phone", "default"];
    expected.extend(std::iter::repeat_n("default", sent));
    expected.extend(["phone", "-"]);
    assert_eq!(keys_in(&all), expected);
    assert_eq!(words.lines().count(), expected.len(), "{words}");
    assert_eq!(keys_in(&of_phone), ["phone", "phone"]);
    let late = keys_in(&late);
    assert!(
        late.len() <= sent + 2 && late.ends_with(&["phone".to_owned(), "-".to_owned()]),
        "{late:?}"
    );
    assert_eq!(late.iter().filter(|key| *key == "phone").count(), 1);
    assert_eq!(machine.run(&["disconnect", "--sandbox"]).code, 0);
    host.end();
}

#[test]
fn all_requests_of_a_time_are_shown_and_what_is_left_out_otherwise_is_said() {
    let machine = Machine::new();
    let folder = machine.sandbox().join("logs/requests");
    std::fs::create_dir_all(&folder).unwrap();
    let now = jiff::Timestamp::now();
    let lines = |days: i64, key: &str, count: usize| {
        let at = now - jiff::SignedDuration::from_hours(24 * days);
        let line = format!(
            r#"{{"at":"{at}","key":{key},"address":"203.0.113.7","route":"GET /v1/models","status":200,"bytes":12,"milliseconds":3}}"#
        );
        format!("{line}\n").repeat(count)
    };
    let file = |begin: &str, text: String| {
        let path = folder.join(format!("{begin}-20260301T120000000000.jsonl"));
        std::fs::write(path, text).unwrap();
    };
    let phone = "\"phone\"";
    file("requests", lines(5, phone, 60) + &lines(1, phone, 70));
    file("strangers", lines(1, "null", 10));

    let shown = |arguments: &[&str]| {
        let mut all = vec!["requests", "--sandbox"];
        all.extend(arguments);
        let told = machine.run(&all);
        assert_eq!(told.code, 0, "{told:?}");
        (told.stdout.lines().count(), told.stderr)
    };
    let (count, said) = shown(&[]);
    assert_eq!(count, 50);
    assert!(said.contains("the last 50; 90 before them"), "{said}");
    for (since, expected) in [("2d", 80), ("7d", 140), ("1w", 140)] {
        let (count, said) = shown(&["--since", since]);
        assert_eq!(count, expected, "{since}");
        assert!(!said.contains("before them"), "{said}");
    }
    let (count, said) = shown(&["--since", "7d", "--last", "3", "--key", "phone"]);
    assert_eq!(count, 3);
    assert!(!said.contains("before them"), "it was asked for: {said}");
}

/// More than a pipe holds, for a reader that stopped reading.
#[test]
fn ctrl_c_is_heard_while_what_is_shown_first_is_not_read() {
    let machine = Machine::new();
    let logs = machine.sandbox().join("logs");
    std::fs::create_dir_all(logs.join("requests")).unwrap();
    let request = r#"{"at":"2026-03-01T12:00:00Z","key":"phone","address":"203.0.113.7","route":"POST /v1/chat/completions","status":200,"bytes":12,"milliseconds":3}"#;
    let requests = logs.join("requests/requests-20260301T120000000000.jsonl");
    std::fs::write(requests, format!("{request}\n").repeat(20_000)).unwrap();
    let entry =
        r#"{"timestamp":"2026-03-01T12:00:00Z","level":"INFO","fields":{"message":"opened"}}"#;
    let mut log = std::fs::File::create(logs.join("ecto.2099-01-01")).unwrap();
    writeln!(log, "{entry}").unwrap();
    let requests = ["requests", "-f", "--json", "--last", "20000", "--sandbox"];
    for arguments in [&requests[..], &["logs", "-f", "--sandbox"]] {
        let mut command = machine.ecto(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 16]).unwrap();
        let entries = format!("{entry}\n").repeat(20_000);
        log.write_all(entries.as_bytes()).unwrap();
        // Whatever is still to be printed waits for somebody who reads.
        wait_until("the pipe is full", || {
            let before = rustix::io::ioctl_fionread(&stdout).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50));
            let after = rustix::io::ioctl_fionread(&stdout).unwrap();
            (before == after && after > 4096).then_some(())
        });
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let ended = wait_until("it ends", || child.try_wait().unwrap());
        assert_eq!(
            (ended.code(), ended.signal()),
            (Some(0), None),
            "{arguments:?}"
        );
        drop(stdout);
    }
}

#[test]
fn metrics_are_off_unless_asked_for() {
    let machine = Machine::new();
    let host = machine.connected();
    let refused = scrape(&machine, "/metrics");
    assert!(refused.starts_with("HTTP/1.1 404"), "{refused}");
    assert!(
        refused.contains("--metrics") && refused.contains("settings.json"),
        "{refused}"
    );
    // Asked for when it is too late, that is said.
    let late = machine.run(&["connect", "--metrics", "--detach", "--sandbox"]);
    assert_eq!(late.code, 0, "{late:?}");
    assert!(late.stderr.contains("without metrics"), "{late:?}");
    let plain = machine.run(&["connect", "--detach", "--sandbox"]);
    assert!(!plain.stderr.contains("metrics"), "{plain:?}");
    assert_eq!(machine.run(&["disconnect", "--sandbox"]).code, 0);
    host.end();
}

#[test]
fn a_name_that_no_key_has_is_told_and_not_waited_for() {
    let machine = Machine::new();
    let host = machine.connected();
    let added = machine.run(&["key", "add", "phone", "--sandbox"]);
    for more in [&[][..], &["-f"], &["--since", "1h"]] {
        let ran = machine.run(&[&["requests", "--key", "fone", "--sandbox"], more].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        assert!(
            ran.stderr.ends_with(
                "There is no key named \"fone\", and no request with one is on record.\n\
                 The keys are: default, phone.\n"
            ),
            "{ran:?}"
        );
    }
    let refused = machine.run(&["requests", "--key", "fone", "--sandbox", "--json"]);
    assert_eq!(refused.error_code(), "key_not_found");
    // One that nobody used yet is no fault.
    assert_eq!(lines(&machine, &["--key", "phone"]), [] as [Value; 0]);
    assert_eq!(send(&machine, added.stdout.trim()).0, "200");
    wait_until("it is on record", || {
        (lines(&machine, &["--key", "phone"]).len() == 1).then_some(())
    });
    assert_eq!(
        machine.run(&["key", "revoke", "phone", "--sandbox"]).code,
        0
    );
    assert_eq!(lines(&machine, &["--key", "phone"]).len(), 1);
    assert_eq!(
        machine
            .run(&["requests", "--key", &added.stdout, "--sandbox"])
            .code,
        2
    );
    host.interrupt();
}
