//! OpenClaw as it must not be fought: refused by name, with the file byte for byte as it was.
//!
//! These run against the real world, in which nothing of OpenClaw or Tailscale is changed before the configuration is fit.

use std::io::{Read, Write};

use crate::machine::{Machine, files};

/// A configuration that lacks nothing but what stands in `more`.
fn config(more: &str) -> Vec<u8> {
    format!("{{ gateway: {{ mode: \"local\", port: 1, {more} }} }}").into_bytes()
}

fn finding(machine: &Machine, about: &str) -> (i32, serde_json::Value) {
    let ran = machine.run(&["doctor", "--json"]);
    let findings = ran.json()["findings"].clone();
    let found = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|found| found["about"] == about);
    (ran.code, found.unwrap().clone())
}

#[test]
fn without_openclaw_a_person_is_told_and_waited_for() {
    let machine = Machine::new();
    let (code, found) = finding(&machine, "openclaw");
    assert_eq!(
        (code, found["code"].as_str()),
        (3, Some("openclaw_missing")),
        "{found}"
    );

    let ran = machine.run(&["connect", "--detach", "--json"]);
    assert_eq!(
        (ran.code, ran.error_code().as_str()),
        (3, "openclaw_missing"),
        "{ran:?}"
    );
    // It goes on by itself in the background, until it is told not to.
    let status = machine.run(&["status", "--json"]).json();
    assert_eq!(status["exposure"]["state"], "blocked");
    assert_eq!(status["exposure"]["cause"]["code"], "openclaw_missing");
    assert_eq!(machine.run(&["disconnect"]).code, 0);

    let host = machine.start(&["connect"]);
    host.stderr
        .wait_for("OpenClaw is not installed for this user.");
    host.stderr.wait_for("Ecto goes on by itself after that.");
    assert_eq!(host.interrupt().code, 130);
    assert!(files(&machine.home()).is_empty());
}

#[test]
fn what_must_not_be_fought_is_refused_by_name() {
    let token = "t".repeat(43);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (config("auth: { mode: \"none\" }"), "gateway_auth"),
        (config("auth: { mode: \"trusted-proxy\" }"), "gateway_auth"),
        (config("auth: { mode: \"password\", password: \"p\" }"), "gateway_auth"),
        (config("tailscale: { mode: \"funnel\" }"), "gateway_tailscale"),
        (config("tailscale: { mode: \"serve\" }"), "gateway_tailscale"),
        (config("bind: \"lan\""), "gateway_bind"),
        (config("bind: \"0.0.0.0\""), "gateway_bind"),
        (b"{ gateway: { mode: \"remote\" } }".to_vec(), "gateway_mode"),
        (
            format!("{{ gateway: {{ auth: {{ token: \"{token}\" }} }}, hooks: {{ token: \"{token}\" }} }}")
                .into_bytes(),
            "hooks_token_shared",
        ),
        (
            config("auth: { mode: \"token\", token: \"${NOT_SET_ANYWHERE}\" }"),
            "token_unresolvable",
        ),
        (b"{ gateway: { mode: ".to_vec(), "config_unusable"),
        (b"".to_vec(), "config_unusable"),
        (b"[]".to_vec(), "config_unusable"),
        (b"{ gateway: 7 }".to_vec(), "config_unusable"),
        (b"{ gateway: { auth: { token: 12345 } } }".to_vec(), "config_unusable"),
        (b"{ gateway: { mode: \"\xff\xfe\" } }".to_vec(), "config_unusable"),
        (
            b"{ gateway: { port: 1 }, gateway: { port: 2 } }".to_vec(),
            "config_unusable",
        ),
    ];
    let machine = Machine::new();
    let mut told = Vec::new();
    for (bytes, code) in cases {
        let path = machine.configure(&bytes);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let (exit, found) = finding(&machine, "openclaw");
        assert_eq!(
            (exit, found["code"].as_str()),
            (3, Some(code)),
            "{shown}: {found}"
        );
        let ran = machine.run(&["connect", "--detach", "--json"]);
        assert_eq!(
            (ran.code, ran.error_code().as_str()),
            (3, code),
            "{shown}: {ran:?}"
        );
        let closed = machine.run(&["disconnect"]);
        assert_eq!(closed.code, 0, "{shown}: {closed:?}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{shown}");
        assert_eq!(
            files(&machine.home()).len(),
            1,
            "nothing beside it: {shown}"
        );
        assert!(!ran.stdout.contains(&token));
        let error = ran.json()["error"].clone();
        let sentence = format!("{}\n    {}", text(&error["what"]), text(&error["next"]));
        told.push(machine.redact(&format!("{shown}\n  {sentence}").replace(&token, "[token]")));
    }
    insta::assert_snapshot!("refusals", told.join("\n\n"));
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn a_managed_configuration_is_left_alone() {
    let machine = Machine::new();
    let path = machine.configure(b"{ gateway: { port: 1 } }");
    for name in ["OPENCLAW_NIX_MODE", "OPENCLAW_CONFIG_READONLY"] {
        let mut command = machine.ecto(&["connect", "--detach", "--json"]);
        command.env(name, "1");
        let ran = crate::machine::run(command);
        assert_eq!(
            (ran.code, ran.error_code().as_str()),
            (3, "config_managed"),
            "{ran:?}"
        );
        assert_eq!(machine.run(&["disconnect"]).code, 0);
    }
    assert_eq!(std::fs::read(path).unwrap(), b"{ gateway: { port: 1 } }");
}

#[test]
fn comments_byte_order_marks_and_line_ends_are_no_fault() {
    for bytes in [
        &b"\xef\xbb\xbf// mine\r\n{\r\n  gateway: { port: 1 }, // a comment\r\n}\r\n"[..],
        b"{}",
        b"/* nothing yet */ {}\n",
    ] {
        let machine = Machine::new();
        let path = machine.configure(bytes);
        let (_, found) = finding(&machine, "openclaw");
        assert_eq!(found["good"], true, "{found}");
        assert!(
            text(&found["what"]).contains("gateway.auth.token"),
            "{found}"
        );
        assert_eq!(std::fs::read(path).unwrap(), bytes);
    }
}

#[test]
fn a_gateway_that_lets_everybody_in_is_a_danger() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let body = "{\"ok\":true,\"ready\":true}";
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    let machine = Machine::new();
    let token = "t".repeat(43);
    let config = format!(
        "{{ gateway: {{ mode: \"local\", port: {port}, auth: {{ mode: \"token\", token: \"{token}\" }}, http: {{ endpoints: \
         {{ chatCompletions: {{ enabled: true }}, responses: {{ enabled: true }} }} }} }} }}"
    );
    let path = machine.configure(config.as_bytes());
    let (exit, found) = finding(&machine, "openclaw");
    assert_eq!(
        (exit, found["code"].as_str()),
        (4, Some("gateway_open")),
        "{found}"
    );
    assert_eq!(std::fs::read(path).unwrap(), config.as_bytes());
}
