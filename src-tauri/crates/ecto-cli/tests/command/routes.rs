//! What is offered beside what always is: nothing, until somebody allows it; then through the whole chain.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine::{Machine, Running, wait_until};

const WAKE: &str = r#"{"text":"Somebody calls."}"#;
const EMBED: &str = r#"{"model":"openclaw","input":"Somebody calls."}"#;
const HOOKS_TOKEN: &str = "the-hooks-own-token-0123456789abcdef0123456789";

fn key(machine: &Machine) -> String {
    let ran = machine.run(&["token", "--reveal", "--sandbox"]);
    ran.stdout.trim().to_owned()
}

/// The beginning of a `curl` line from the internet: whom it trusts, and where it goes.
pub fn curl(machine: &Machine) -> String {
    let access = machine.status()["client_access"].clone();
    format!(
        "curl -sS --connect-to ::{} --cacert '{}' -H 'Authorization: Bearer {}' -H 'Content-Type: application/json'",
        access["edge"].as_str().unwrap(),
        access["root_certificate"].as_str().unwrap(),
        key(machine),
    )
}

pub fn address(machine: &Machine, path: &str) -> String {
    let base = machine.status()["base_url"].as_str().unwrap().to_owned();
    format!("{}{path}", base.trim_end_matches("/v1"))
}

/// Posts from the internet, and gives status and body.
fn post(machine: &Machine, path: &str, body: &str) -> (u16, Value) {
    let line = format!(
        "{} -w '\\n%{{http_code}}' -d '{body}' '{}'",
        curl(machine),
        address(machine, path)
    );
    let ran = machine.shell(&line);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let (body, code) = ran.stdout.rsplit_once('\n').unwrap();
    (
        code.parse().unwrap(),
        serde_json::from_str(body).unwrap_or_default(),
    )
}

fn route(machine: &Machine, arguments: &[&str]) -> crate::machine::Ran {
    let ran = machine.run(&[&["route"], arguments, &["--sandbox"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

/// Enables hooks in the configuration of the sandbox's gateway, as a person would.
fn enable_hooks(machine: &Machine) {
    let file = machine.sandbox().join("stand-ins/openclaw/openclaw.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let hooks =
        format!("{{ hooks: {{ enabled: true, token: \"{HOOKS_TOKEN}\", path: \"/events\" }},");
    std::fs::write(&file, text.replacen('{', &hooks, 1)).unwrap();
}

fn is_not_there(answer: &(u16, Value)) -> bool {
    answer.0 == 404 && answer.1["error"]["code"] == "unknown_route"
}

#[test]
fn an_optional_route_is_there_while_it_is_allowed_and_at_no_other_time() {
    let machine = Machine::new();
    let host = machine.connected();
    enable_hooks(&machine);
    let ask = |path: &str| match path {
        "/hooks/wake" => post(&machine, path, WAKE),
        _ => post(&machine, path, EMBED),
    };
    for path in ["/hooks/wake", "/v1/embeddings"] {
        let answer = ask(path);
        assert!(is_not_there(&answer), "{path}: {answer:?}");
    }

    let allowed = route(&machine, &["allow", "hooks"]);
    assert!(
        allowed
            .stderr
            .contains("Mind: A hook starts OpenClaw's agents"),
        "{allowed:?}"
    );
    let answer = wait_until("the hook", || {
        machine.wait_for_proof();
        let answer = ask("/hooks/wake");
        (answer.0 == 200).then_some(answer.1)
    });
    // The gateway's own answer, at the path that it has of its own.
    assert_eq!(
        answer,
        serde_json::json!({ "ok": true, "mode": "now", "eventOutcome": "queued" })
    );
    assert_eq!(post(&machine, "/hooks/none", WAKE).0, 404);
    assert!(is_not_there(&ask("/v1/embeddings")));

    let allowed = route(&machine, &["allow", "embeddings"]);
    let status = machine.run(&["status", "--sandbox"]).stdout;
    assert!(
        status.contains("\nAlso offered: embeddings, hooks.\n"),
        "{status}"
    );
    assert!(
        allowed.stderr.contains("your provider bills you"),
        "{allowed:?}"
    );
    machine.wait_for_proof();
    // There is no provider that embeds in the sandbox, and the gateway says so.
    let (status, answer) = ask("/v1/embeddings");
    assert_eq!(
        (status, answer["error"]["type"].as_str()),
        (500, Some("api_error"))
    );
    assert_eq!(
        machine.status()["offer"]["routes"],
        serde_json::json!(["embeddings", "hooks"])
    );

    route(&machine, &["forbid", "hooks"]);
    assert!(is_not_there(&ask("/hooks/wake")), "at once");
    assert_eq!(host.interrupt().code, 0);

    // What was allowed is allowed the next time, and nothing else is.
    let host = machine.connected();
    enable_hooks(&machine);
    machine.wait_for_proof();
    assert_eq!(ask("/v1/embeddings").0, 500);
    assert!(is_not_there(&ask("/hooks/wake")));
    let listed = route(&machine, &["list"]).stdout;
    assert!(
        listed.contains("embeddings  POST /v1/embeddings        allowed"),
        "{listed}"
    );
    assert_eq!(host.interrupt().code, 0);
}

/// A request for embeddings that never ends by itself.
fn endless(machine: &Machine) -> Running {
    let line = format!(
        "mkfifo endless && exec 3<>endless && exec {} --http1.1 -X POST -T . '{}' <&3",
        curl(machine),
        address(machine, "/v1/embeddings")
    );
    let mut command = machine.command("/bin/sh");
    command.arg("-c").arg(line);
    Running::pipes(command)
}

#[test]
fn what_is_under_way_for_a_forbidden_route_is_cut() {
    let machine = Machine::new();
    let host = machine.connected();
    route(&machine, &["allow", "embeddings"]);
    machine.wait_for_proof();
    let under_way = endless(&machine);
    machine.wait_for_status("the request", |status| status["activity"]["in_flight"] == 1);
    let forbidden = Instant::now();
    let told = route(&machine, &["forbid", "embeddings"]);
    assert!(
        told.stderr.contains("what was under way is cut"),
        "{told:?}"
    );
    let ran = under_way.end();
    assert!(forbidden.elapsed() < Duration::from_secs(10));
    assert!(!ran.stdout.contains("\"data\""), "{ran:?}");
    machine.wait_for_status("the end of the request", |status| {
        status["activity"]["in_flight"] == 0
    });
    assert_eq!(host.interrupt().code, 0);
}

#[test]
fn pages_of_a_named_origin_may_call_and_no_others() {
    let machine = Machine::new();
    let host = machine.connected();
    let headers = |origin: &str| {
        let line = format!(
            "{} -i -X OPTIONS -H 'Origin: {origin}' -H 'Access-Control-Request-Method: POST' \
             -H 'Access-Control-Request-Headers: authorization' '{}'",
            curl(&machine),
            address(&machine, "/v1/chat/completions")
        );
        machine.shell(&line).stdout
    };
    let page = "https://app.example";
    assert!(!headers(page).contains("access-control-allow-origin"));
    let allowed = route(&machine, &["allow-origin", page]);
    assert!(
        allowed
            .stderr
            .contains("can be read by everybody who can open that page"),
        "{allowed:?}"
    );
    let answered = headers(page);
    assert!(
        answered.starts_with("HTTP/2 204")
            && answered.contains("access-control-allow-origin: https://app.example"),
        "{answered}"
    );
    assert!(!headers("https://other.example").contains("access-control-allow-origin"));
    route(&machine, &["forbid-origin", page]);
    assert!(!headers(page).contains("access-control-allow-origin"));
    assert_eq!(host.interrupt().code, 0);
}

#[test]
fn what_cannot_be_allowed_is_refused_and_nothing_changes() {
    let machine = Machine::new();
    for (arguments, code) in [
        (&["allow", "chat"][..], "route_always_offered"),
        (&["forbid", "models"], "route_always_offered"),
        (&["allow", "shell"], "usage"),
        (&["allow-origin", "*"], "usage"),
        (&["allow-origin", "https://app.example/path"], "usage"),
    ] {
        let ran = machine.run(&[&["route"], arguments, &["--sandbox", "--json"]].concat());
        assert_eq!(ran.error_code(), code, "{arguments:?}");
    }
    // A folder where the choice was to be stored.
    let state = machine.sandbox();
    std::fs::create_dir_all(state.join("routes.json/in the way")).unwrap();
    let ran = machine.run(&["route", "allow", "hooks", "--sandbox", "--json"]);
    assert_eq!(ran.code, 0, "what is in the way is put aside: {ran:?}");
    let listed = machine
        .run(&["route", "list", "--sandbox", "--json"])
        .json();
    assert_eq!(listed["routes"], serde_json::json!(["hooks"]));
    assert_eq!(
        listed["always"],
        serde_json::json!(["chat", "responses", "models"])
    );
}

#[test]
fn an_origin_that_was_not_allowed_is_told_with_those_that_are() {
    let machine = Machine::new();
    let forbid = ["route", "forbid-origin", "https://no.example"];
    let told = |next: &str| {
        let ran = machine.run(&forbid);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
        let what = "Pages of https://no.example were not allowed to call. Nothing was changed.";
        assert!(
            ran.stderr.ends_with(&format!("{what}\n{next}\n")),
            "{ran:?}"
        );
    };
    told("No web page may call.");
    for origin in ["https://app.example", "http://localhost:3000"] {
        let ran = machine.run(&["route", "allow-origin", origin]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    told("Those that may call come from http://localhost:3000, https://app.example.");
    let refused = machine.run(&[&forbid[..], &["--json"]].concat());
    assert_eq!(refused.error_code(), "origin_not_allowed");
    let forbidden = machine.run(&["route", "forbid-origin", "https://app.example"]);
    assert_eq!(forbidden.code, 0, "{forbidden:?}");
    assert!(
        forbidden
            .stderr
            .ends_with("Pages of https://app.example can no longer call.\n")
    );
    told("Those that may call come from http://localhost:3000.");
}
