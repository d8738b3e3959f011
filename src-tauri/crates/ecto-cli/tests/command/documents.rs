//! What `--json` prints: one schema, and what docs/json.md says.

use serde_json::Value;

use crate::machine::{Machine, documents};

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

fn states(documents: &[Value]) -> Vec<String> {
    let mut states: Vec<String> = Vec::new();
    for document in documents {
        let state = document["exposure"]["state"].as_str().unwrap().to_owned();
        if states.last() != Some(&state) {
            states.push(state);
        }
    }
    states
}

#[test]
fn connect_tells_as_it_happens_one_document_a_line() {
    let machine = Machine::new();
    let host = machine.start(&["connect", "--json", "--sandbox"]);
    host.stdout.wait_for("\"reach\":\"reachable\"");
    let ended = host.interrupt();
    assert_eq!(ended.code, 0, "{ended:?}");
    let documents = ended.lines();
    // What passes quickly may be passed over; what stays is told in order.
    let states = states(&documents);
    let lasting: Vec<&str> = states
        .iter()
        .map(String::as_str)
        .skip_while(|state| *state == "private")
        .filter(|state| *state != "closing")
        .collect();
    assert_eq!(lasting, ["preparing", "public", "private"]);

    let waiting = documents
        .iter()
        .find(|document| document["exposure"]["waiting"]["for"] == "sign_in")
        .unwrap();
    insta::assert_snapshot!("waiting", pretty(&machine.redact_json(waiting)));
    let public = documents
        .iter()
        .find(|document| document["exposure"]["state"] == "public")
        .unwrap();
    assert!(
        public["curl"]
            .as_str()
            .unwrap()
            .contains("$(ecto token --reveal --sandbox)")
    );
    assert!(public.get("key_secret").is_none());
    let last = documents.last().unwrap();
    assert_eq!(last["url"], Value::Null);
    assert_eq!(last["wanted"]["wanted"], "private");
}

#[test]
fn connect_gives_the_key_only_where_it_was_asked_for() {
    let machine = Machine::new();
    let ran = machine.run(&["connect", "--detach", "--json", "--reveal", "--sandbox"]);
    assert_eq!(ran.code, 3, "a person has to sign in first: {ran:?}");
    assert_eq!(ran.json()["exposure"]["waiting"]["for"], "sign_in");
    // The people of the sandbox sign in by themselves.
    let watch = machine.start(&["status", "--watch", "--json", "--sandbox"]);
    watch.stdout.wait_for("\"reach\":\"reachable\"");
    let ran = machine.run(&["connect", "--detach", "--json", "--reveal", "--sandbox"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let document = ran.json();
    let key = document["key_secret"].as_str().unwrap();
    assert!(document["curl"].as_str().unwrap().contains(key));

    let status = machine.status();
    insta::assert_snapshot!("status_public", pretty(&machine.redact_json(&status)));
    assert!(!status.to_string().contains(key));

    let closed = machine.run(&["disconnect", "--json", "--sandbox"]);
    assert_eq!(closed.code, 0, "{closed:?}");
    assert_eq!(closed.json()["exposure"]["state"], "private");
    let watched = watch.end();
    assert_eq!(watched.code, 0, "{watched:?}");
    let documents = documents(&watched.stdout);
    let last = documents.last().unwrap();
    assert_eq!(last["host"], Value::Null, "the host has ended");
    assert!(states(&documents).starts_with(&["preparing".to_owned(), "public".to_owned()]));
    assert!(!watched.stdout.contains(key));
}

#[test]
fn status_where_nothing_runs() {
    let machine = Machine::new();
    let status = machine.status();
    insta::assert_snapshot!("status_nothing", pretty(&machine.redact_json(&status)));
    let watch = machine.run(&["status", "--watch", "--json", "--sandbox"]);
    assert_eq!(watch.code, 0, "{watch:?}");
    assert_eq!(watch.json(), status);
}

#[test]
fn a_wish_that_cannot_be_read_means_private() {
    let machine = Machine::new();
    let wanted = machine.state().join("wanted.json");
    std::fs::create_dir_all(machine.state()).unwrap();
    for bytes in [
        &b"{"[..],
        b"",
        b"\xff\xfe\x00",
        b"{\"version\":999,\"wanted\":\"public\",\"until\":null,\"node\":\"auto\"}",
    ] {
        std::fs::write(&wanted, bytes).unwrap();
        let ran = machine.run(&["status", "--json"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let status = ran.json();
        assert_eq!(status["wanted"]["wanted"], "private");
        assert_eq!(status["notice"]["notice"], "wanted_unreadable", "{bytes:?}");
        assert_eq!(std::fs::read(&wanted).unwrap(), bytes);
    }
    std::fs::remove_file(&wanted).unwrap();
    std::fs::create_dir(&wanted).unwrap();
    let ran = machine.run(&["status"]);
    assert!(
        ran.stdout
            .contains("could not be read, so everything stays Private"),
        "{ran:?}"
    );
}

#[test]
fn the_smaller_documents() {
    let machine = Machine::new();
    let mut told = Vec::new();
    for arguments in [
        &["token"][..],
        &["restore"],
        &["restart"],
        &["doctor"],
        &["skill", "install"],
        &["skill", "remove"],
        &["skill", "remove"],
        &["uninstall", "--yes"],
    ] {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        if arguments[0] != "token" {
            arguments.push("--sandbox");
        }
        let ran = machine.run(&arguments);
        let document = machine.redact_json(&ran.json());
        told.push(format!(
            "ecto {}: {}\n{}",
            arguments.join(" "),
            ran.code,
            pretty(&document)
        ));
    }
    insta::assert_snapshot!("smaller_documents", told.join("\n\n"));
}

#[test]
fn what_is_not_understood_is_told_as_json_too() {
    let machine = Machine::new();
    let mut told = Vec::new();
    for arguments in [
        &["conect"][..],
        &["connect", "--for", "soon"],
        &["connect", "--for", "0s"],
        &["connect", "--for", "-1h"],
        &["connect", "--for", "1000000d"],
        &["requests", "-n", "abc"],
        &["requests", "-n", "-1"],
        &["connect", "--node", "mine"],
        &["token", "--copy", "--reveal"],
        &["status", "--vault", "cloud"],
        &[],
    ] {
        let plain = machine.run(arguments);
        assert_eq!((plain.code, plain.stdout.as_str()), (2, ""), "{plain:?}");
        assert!(!plain.stderr.is_empty());
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let ran = machine.run(&arguments);
        assert_eq!(ran.code, 2, "{ran:?}");
        told.push(format!(
            "ecto {}\n{}",
            arguments.join(" "),
            pretty(&ran.json())
        ));
    }
    insta::assert_snapshot!("not_understood", told.join("\n\n"));
}
