//! The key: shown where it was asked for, nowhere else, and replaced at once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::machine::{Machine, files};

/// Sends a chat completion with this key and gives status and body.
pub fn send(machine: &Machine, key: &str) -> (String, serde_json::Value) {
    let status = machine.status();
    let line = format!(
        "curl -sS -w '\\n%{{http_code}}' --connect-to ::{} --cacert '{}' -H 'Authorization: Bearer {key}' \
         -H 'Content-Type: application/json' -d '{{\"model\":\"openclaw\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}' {}",
        status["client_access"]["edge"].as_str().unwrap(),
        status["client_access"]["root_certificate"]
            .as_str()
            .unwrap(),
        status["url"].as_str().unwrap()
    );
    let ran = machine.shell(&line);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let (body, code) = ran.stdout.rsplit_once('\n').unwrap();
    (
        code.to_owned(),
        serde_json::from_str(body).unwrap_or_default(),
    )
}

#[test]
fn a_new_key_replaces_the_old_one_at_once() {
    let machine = Machine::new();
    let host = machine.connected();
    let reveal = &["token", "--reveal", "--sandbox"];
    let old = machine.run(reveal).stdout.trim().to_owned();
    assert_eq!(send(&machine, &old).0, "200");

    let hinted = machine.run(&["token", "--sandbox"]);
    assert_eq!(
        hinted.stdout.trim(),
        format!("ecto_…{}", &old[old.len() - 4..])
    );
    assert!(hinted.stderr.contains("ecto token --reveal"));

    let made = machine.run(&["token", "--regenerate", "--json", "--sandbox"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.json()["key"].is_null());
    let new = machine.run(reveal).stdout.trim().to_owned();
    assert_ne!(old, new);
    // The lock is proven anew before anybody gets through.
    machine.wait_for_proof();
    let (status, body) = send(&machine, &old);
    assert_eq!(status, "401");
    insta::assert_snapshot!("refused", serde_json::to_string_pretty(&body).unwrap());
    assert_eq!(send(&machine, &new).0, "200");
    assert_eq!(host.interrupt().code, 0);
}

#[test]
fn a_key_survives_the_host_where_there_is_a_vault() {
    let machine = Machine::new();
    let first = machine.run(&["token", "--reveal"]).stdout;
    assert!(first.starts_with("ecto_"), "{first}");
    assert_eq!(machine.run(&["token", "--reveal"]).stdout, first);
    let made = machine.run(&["token", "--regenerate", "--reveal"]).stdout;
    assert_ne!(made, first);
    assert_eq!(machine.run(&["token", "--reveal"]).stdout, made);
    let file = machine.state().join("ecto-credentials.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_vault_that_cannot_be_read_keeps_what_it_has() {
    let machine = Machine::new();
    let first = machine.run(&["token", "--reveal"]).stdout;
    let file = machine.state().join("ecto-credentials.json");
    std::fs::write(&file, "{\"version\": 1, \"keys\": ").unwrap();
    for arguments in [
        &["token", "--json"][..],
        &["connect", "--json", "--regenerate-token"],
    ] {
        if arguments[0] == "connect" {
            continue;
        }
        let ran = machine.run(arguments);
        assert_eq!(
            (ran.code, ran.error_code().as_str()),
            (1, "vault_damaged"),
            "{ran:?}"
        );
    }
    let doctor = machine.run(&["doctor", "--json"]).json();
    let codes: Vec<_> = doctor["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["code"].clone())
        .collect();
    assert!(codes.contains(&"vault_damaged".into()), "{codes:?}");
    // Any name may be right then, and the record is read all the same.
    let record = machine.run(&["requests", "--key", "phone"]);
    assert_eq!(record.code, 0, "{record:?}");
    let made = machine.run(&["token", "--regenerate", "--reveal"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert_ne!(made.stdout, first);
}

#[test]
fn copying_where_there_is_no_clipboard_says_what_to_do() {
    if cfg!(target_os = "macos") {
        // There always is one there, and it is the person's own.
        return;
    }
    let machine = Machine::new();
    let ran = machine.run(&["token", "--copy", "--json"]);
    assert_eq!(
        (ran.code, ran.error_code().as_str()),
        (1, "clipboard_unusable"),
        "{ran:?}"
    );
}

/// Every secret of the sandbox: the key, and the gateway's token.
fn secrets(machine: &Machine) -> Vec<String> {
    let key = machine
        .run(&["token", "--reveal", "--sandbox"])
        .stdout
        .trim()
        .to_owned();
    let config =
        std::fs::read_to_string(machine.sandbox().join("stand-ins/openclaw/openclaw.json"))
            .unwrap();
    let after = config
        .split("token")
        .filter_map(|rest| rest.split('"').find(|part| part.len() >= 40));
    let mut secrets: Vec<String> = after.map(str::to_owned).collect();
    secrets.push(key);
    assert!(secrets.len() >= 2, "{config}");
    secrets
}

#[test]
fn no_secret_is_printed_logged_or_seen_by_ps() {
    let machine = Machine::new();
    assert_eq!(machine.run(&["connect", "--detach", "--sandbox"]).code, 0);
    let secrets = secrets(&machine);
    let process = machine.status()["host"].clone();
    let mut seen = String::new();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["connect"],
        &["connect", "--json"],
        &["token"],
        &["token", "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["logs"],
        &["logs", "--json"],
        &["restart"],
    ] {
        let mut arguments = arguments.to_vec();
        arguments.push("--sandbox");
        let ran = machine.run(&arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        seen.push_str(&ran.stdout);
        seen.push_str(&ran.stderr);
    }
    assert_ne!(send(&machine, "ecto_wrong").0, "200");
    for file in ["cmdline", "environ"] {
        // There is no such folder on a Mac, where `ps` is asked.
        if let Ok(bytes) = std::fs::read(format!("/proc/{process}/{file}")) {
            seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    seen.push_str(
        &machine
            .shell("ps -Aww -o args 2>/dev/null || cat /proc/[0-9]*/cmdline 2>/dev/null")
            .stdout,
    );
    assert!(seen.contains("--until-private"), "the host was looked at");
    let config: PathBuf = machine.sandbox().join("stand-ins/openclaw");
    for (path, bytes) in files(machine.folder()) {
        if !path.starts_with(&config) {
            seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    for secret in &secrets {
        assert!(!seen.contains(secret.as_str()), "a secret was seen");
    }
    assert_eq!(machine.run(&["disconnect", "--sandbox"]).code, 0);
}

fn told(machine: &Machine, commands: &[&[&str]]) -> String {
    let mut told = String::new();
    for arguments in commands {
        let ran = machine.run(arguments);
        let mut printed = ran.stdout;
        // A key, wherever it stands, but not what may be shown of it.
        while let Some(start) = printed
            .find("ecto_")
            .filter(|start| !printed[*start..].starts_with("ecto_…"))
        {
            printed.replace_range(start..start + 53, "[key]");
        }
        told.push_str(&format!(
            "$ ecto {}\n{}{}",
            arguments.join(" "),
            printed,
            ran.stderr
        ));
        told.push_str(&format!("[{}]\n", ran.code));
    }
    machine.redact(&told)
}

#[test]
fn what_the_key_commands_say() {
    let machine = Machine::new();
    let everything = [
        &["key", "add", "phone"][..],
        &[
            "key",
            "add",
            "public",
            "--agent",
            "Public",
            "--routes",
            "chat,models",
            "--rate",
            "60/min",
            "--concurrent",
            "4",
            "--expires",
            "2199-01-31",
            "--from",
            "203.0.113.7,2001:db8::/32",
        ],
        &["key", "add", "phone"],
        &["key", "add", "old", "--expires", "2020-01-01"],
        &["key", "add", "bad/name"],
        &["key", "show", "bad/name"],
        &["key", "add", "default"],
        &["key", "add", "none", "--concurrent", "0"],
        &["key", "add", "none", "--rate", "-1/min"],
        &["key", "add", "tablet", "--routes", "shell"],
        &["key", "add", "bot", "--routes", "embeddings,hooks"],
        &[
            "key", "add", "agent", "--agent", "main", "--routes", "hooks",
        ],
        &["key", "show", "public"],
        &["key", "show", "nobody"],
        &["key", "rename", "phone", "Anna"],
        &["key", "rotate", "Anna"],
        &["key", "rotate", "Anna", "--expires", "2199-01-31"],
        &["key", "rotate", "Anna", "--expires", "2020-01-31"],
        &["key", "rotate", "Anna", "--expires", "never"],
        &["key", "rotate", "default", "--expires", "1d"],
        &["key", "list"],
        &["key", "revoke", "Anna"],
        &["key", "revoke", "Anna"],
        &["key", "revoke", "default"],
        &["key", "rename", "default", "first"],
    ];
    insta::assert_snapshot!("key_commands", told(&machine, &everything));
}

#[test]
fn the_documents_of_the_key_commands() {
    let machine = Machine::new();
    let made = machine
        .run(&["key", "add", "ci", "--expires", "30d", "--json"])
        .json();
    let key = made["secret"].as_str().unwrap().to_owned();
    assert_eq!(made["key"]["name"], "ci");
    assert_eq!(machine.run(&["key", "show", "ci"]).stdout.trim(), key);
    let listed = machine.run(&["key", "list", "--json"]);
    assert!(!listed.stdout.contains(&key));
    let names: Vec<_> = listed.json()["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["name"].clone())
        .collect();
    assert_eq!(names, ["default", "ci"]);
    let rotated = machine
        .run(&["key", "rotate", "ci", "--grace", "1h", "--json"])
        .json();
    assert_ne!(rotated["secret"], key);
    assert!(rotated["key"]["earlier_until"].is_string());
    let renamed = machine
        .run(&["key", "rename", "ci", "build", "--json"])
        .json();
    assert_eq!(
        renamed,
        serde_json::json!({"schema": 1, "renamed": "ci", "name": "build"})
    );
    let revoked = machine.run(&["key", "revoke", "build", "--json"]).json();
    assert_eq!(
        revoked,
        serde_json::json!({"schema": 1, "revoked": "build"})
    );
}

#[test]
fn an_expired_key_is_replaced_by_one_with_an_end_to_come_or_not_at_all() {
    let machine = Machine::new();
    let add = ["key", "add", "Anna phone", "--expires", "1s"];
    assert_eq!(machine.run(&add).code, 0);
    let state = || {
        let listed = machine.run(&["key", "list", "--json"]).json();
        listed["keys"][1]["state"].clone()
    };
    let begun = Instant::now();
    while state() != "expired" {
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    let refused = machine.run(&["key", "rotate", "Anna phone"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(
        refused
            .stderr
            .contains("`ecto key rotate \"Anna phone\" --expires 30d`"),
        "{refused:?}"
    );
    assert_eq!(state(), "expired");
    let rotated = machine.run(&["key", "rotate", "Anna phone", "--expires", "30d"]);
    assert_eq!(rotated.code, 0, "{rotated:?}");
    assert!(rotated.stderr.contains("; until "), "{rotated:?}");
    assert_eq!(state(), "good");
}

#[test]
fn a_mistyped_key_is_told_from_an_unknown_one_and_never_repeated() {
    let machine = Machine::new();
    let key = machine
        .run(&["key", "add", "phone"])
        .stdout
        .trim()
        .to_owned();
    let ask = |key: &str| {
        std::fs::write(machine.folder().join("key"), key).unwrap();
        machine.shell("ecto key which --json < key")
    };
    assert_eq!(ask(&key).json()["key"]["name"], "phone");
    let wrong = if key.ends_with('A') { 'B' } else { 'A' };
    let mistyped = format!("{}{wrong}", &key[..52]);
    let told = ask(&mistyped);
    assert_eq!(told.error_code(), "key_mistyped");
    assert!(!told.stdout.contains(&mistyped[5..]));
    machine.run(&["key", "revoke", "phone"]);
    assert_eq!(ask(&key).error_code(), "key_unknown");
    let shown = machine.run(&["key", "show", &key]);
    assert_eq!(shown.code, 2);
    assert!(!shown.stderr.contains(&key), "{shown:?}");
}

#[test]
fn a_key_that_was_replaced_with_a_grace_is_told_wherever_keys_are() {
    let machine = Machine::new();
    let old = machine.run(&["key", "add", "phone"]).stdout;
    let which = |key: &str, json: &str| {
        std::fs::write(machine.folder().join("key"), key).unwrap();
        machine.shell(&format!("ecto key which {json} < key"))
    };
    assert_eq!(which(&old, "--json").json()["which"], "present");
    let rotated = machine.run(&["key", "rotate", "phone", "--grace", "1h"]);
    let new = rotated.stdout;
    let works = |told: &str| {
        let (_, after) = told.split_once("before works until ")?;
        Some(after[..16].to_owned())
    };
    let until = works(&rotated.stderr).unwrap();

    let told = which(&old, "");
    assert_eq!(
        (told.code, told.stdout.as_str()),
        (0, "phone\n"),
        "{told:?}"
    );
    assert!(
        told.stderr
            .contains("This is the key \"phone\" from before it was replaced, and works until ")
            && told.stderr.contains(&until),
        "{told:?}"
    );
    let document = which(&old, "--json").json();
    assert_eq!(document["which"], "earlier");
    assert!(document["key"]["earlier_until"].is_string());
    assert_eq!(which(&new, "--json").json()["which"], "present");

    let listed = machine.run(&["key", "list"]).stdout;
    let line = listed
        .lines()
        .find(|line| line.starts_with("phone"))
        .unwrap();
    assert!(
        line.contains(&format!("; the one before works until {until}; ")),
        "{listed}"
    );
    let shown = machine.run(&["key", "show", "phone"]).stderr;
    assert_eq!(works(&shown), Some(until), "{shown}");

    // Without a grace it ends at once.
    assert_eq!(machine.run(&["key", "rotate", "phone"]).code, 0);
    for gone in [&old, &new] {
        assert_eq!(which(gone, "--json").error_code(), "key_unknown");
    }
    let listed = machine.run(&["key", "list"]).stdout;
    assert!(!listed.contains("the one before"), "{listed}");
}

#[test]
fn a_grace_is_not_told_to_go_on_after_the_new_key_has_ended() {
    let machine = Machine::new();
    assert_eq!(machine.run(&["key", "add", "phone"]).code, 0);
    let rotate = [
        "key",
        "rotate",
        "phone",
        "--grace",
        "2h",
        "--expires",
        "1h",
        "--json",
    ];
    let key = machine.run(&rotate).json()["key"].clone();
    assert_eq!(key["earlier_until"], key["grant"]["expires"]);
}

#[test]
fn a_key_of_a_sandbox_that_does_not_run_is_refused_and_not_lost() {
    let machine = Machine::new();
    for command in [
        &["key", "add", "newbie"][..],
        &["key", "list"],
        &["key", "show", "default"],
        &["key", "rotate", "default"],
        &["key", "rename", "newbie", "phone"],
        &["key", "revoke", "newbie"],
        &["token", "--reveal"],
        &["token", "--regenerate"],
    ] {
        let ran = machine.run(&[command, &["--json", "--sandbox"]].concat());
        assert_eq!(
            (ran.code, ran.error_code().as_str()),
            (1, "sandbox_not_running"),
            "{command:?}: {ran:?}"
        );
        let next = ran.json()["error"]["next"].clone();
        assert_eq!(next, "Connect first with `ecto connect --sandbox`.");
    }
    let host = machine.connected();
    assert_eq!(machine.run(&["key", "add", "newbie", "--sandbox"]).code, 0);
    let listed = machine.run(&["key", "list", "--sandbox"]).stdout;
    assert!(listed.contains("newbie"), "{listed}");
    assert_eq!(host.interrupt().code, 0);
}

#[test]
fn keys_come_and_go_while_the_door_is_open_and_nobody_else_notices() {
    let machine = Machine::new();
    let host = machine.connected();
    let first = machine
        .run(&["token", "--reveal", "--sandbox"])
        .stdout
        .trim()
        .to_owned();
    let add = [
        "key",
        "add",
        "chat",
        "--routes",
        "chat",
        "--rate",
        "1/day",
        "--sandbox",
    ];
    let chat = machine.run(&add).stdout.trim().to_owned();
    assert_eq!(send(&machine, &chat).0, "200");
    let (status, refused) = send(&machine, &chat);
    assert_eq!(
        (status.as_str(), refused["error"]["code"].as_str()),
        ("429", Some("key_rate_reached"))
    );
    assert_eq!(send(&machine, &first).0, "200");
    let rotate = ["key", "rotate", "chat", "--grace", "1h", "--sandbox"];
    let rotated = machine.run(&rotate).stdout.trim().to_owned();
    for key in [&chat, &rotated] {
        assert_eq!(send(&machine, key).0, "429", "both are good, and used up");
    }
    let status = machine.status();
    assert_eq!(status["exposure"]["state"], "public");
    assert!(status["exposure"]["held"].is_null());
    let keys = status["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert!(keys[1]["last_used"].is_string() && keys[1]["earlier_until"].is_string());
    assert_eq!(machine.run(&["key", "revoke", "chat", "--sandbox"]).code, 0);
    for key in [&chat, &rotated] {
        assert_eq!(send(&machine, key).0, "401");
    }
    assert_eq!(send(&machine, &first).0, "200");
    assert_eq!(host.interrupt().code, 0);
}

#[test]
fn the_last_use_of_a_key_is_told_by_the_next_host() {
    let machine = Machine::new();
    let list = || {
        let listed = machine.run(&["key", "list", "--json"]).json();
        listed["keys"].clone()
    };
    for name in ["phone", "tablet"] {
        assert_eq!(machine.run(&["key", "add", name]).code, 0);
    }
    let said = machine.run(&["key", "list"]).stdout;
    assert_eq!(said.matches("; no use on record").count(), 3, "{said}");
    // As a host of yesterday's leaves it, and one that had another key of that name.
    let made = |name: usize| list()[name]["made"].as_str().unwrap().to_owned();
    let line = |at: &str, key: &str| {
        format!(
            r#"{{"at":"{at}","key":"{key}","address":"203.0.113.7","route":"GET /v1/models","status":200,"bytes":12,"milliseconds":3}}"#
        )
    };
    let used = (made(1).parse::<jiff::Timestamp>().unwrap() + jiff::SignedDuration::from_secs(1))
        .to_string();
    let lines = [line(&used, "phone"), line("2026-03-01T12:00:00Z", "tablet")].join("\n");
    let folder = machine.state().join("logs/requests");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("requests-20990301T120000000000.jsonl");
    std::fs::write(file, lines + "\n").unwrap();
    let keys = list();
    assert_eq!(keys[1]["last_used"], used.as_str());
    assert!(keys[2]["last_used"].is_null(), "it was made after that");
}

#[test]
fn looking_at_keys_makes_none() {
    let machine = Machine::new();
    let fresh = machine.run(&["key", "list"]);
    assert_eq!((fresh.code, fresh.stdout.as_str()), (0, ""), "{fresh:?}");
    let none_yet = "There are no keys yet. The first `ecto connect` makes one.\n";
    assert!(fresh.stderr.ends_with(none_yet), "{fresh:?}");
    let listed = machine.run(&["key", "list", "--json"]).json();
    assert_eq!(listed["keys"], serde_json::json!([]));
    let of_key = machine.run(&["requests", "--key", "phone"]);
    assert!(of_key.stderr.ends_with(none_yet), "{of_key:?}");
    let doctor = machine.run(&["doctor"]);
    assert!(doctor.stdout.contains("there is no key yet"), "{doctor:?}");
    assert!(!doctor.stderr.contains("the key is kept"), "{doctor:?}");
    // Whoever makes one has the default one beside it, as ever.
    assert_eq!(machine.run(&["key", "add", "phone"]).code, 0);
    let listed = machine.run(&["key", "list", "--json"]).json();
    let names: Vec<_> = listed["keys"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 2, "{listed}");
    assert!(machine.run(&["doctor"]).stdout.contains("a key is "));
}
