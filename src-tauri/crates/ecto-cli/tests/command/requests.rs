//! `ecto requests` and the metrics.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::keys::send;
use crate::machine::{Machine, wait_until};

fn lines(machine: &Machine, arguments: &[&str]) -> Vec<Value> {
    let mut all = vec!["requests", "--sandbox", "--json"];
    all.extend(arguments);
    let told = machine.run(&all);
    assert_eq!(told.code, 0, "{told:?}");
    told.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
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

    let metrics = scrape(&machine, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
    assert!(
        metrics.contains("ecto_requests_total{key=\"default\",status=\"2xx\"}"),
        "{metrics}"
    );
    assert!(metrics.contains("ecto_public 1"), "{metrics}");
    assert!(metrics.trim_end().ends_with("# EOF"), "{metrics}");
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

#[test]
fn metrics_are_off_unless_asked_for() {
    let machine = Machine::new();
    let host = machine.connected();
    let refused = scrape(&machine, "/metrics");
    assert!(refused.starts_with("HTTP/1.1 404"), "{refused}");
    assert!(refused.contains("--metrics"), "{refused}");
    assert_eq!(machine.run(&["disconnect", "--sandbox"]).code, 0);
    host.end();
}
