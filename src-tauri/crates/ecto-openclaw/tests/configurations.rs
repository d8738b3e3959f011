//! Every configuration that a person may have: what is seen of it, and that what is refused stays as it is.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ecto_core::cause::Cause;
use ecto_core::gateway::RestoreOutcome;
use ecto_core::offer::Offer;
use ecto_core::ports::Gateway as _;
use ecto_core::step::Reporter;
use ecto_openclaw::config::Config;
use ecto_openclaw::file::{Call, Disk};
use ecto_openclaw::place::Place;
use ecto_openclaw::{OpenClaw, edit};

mod support;
use support::{Home, MADE, contents, free_port};

/// A whole configuration with one part changed, on a port on which nobody listens.
fn whole(part: &str) -> String {
    let port = free_port();
    format!(
        "{{\n  gateway: {{\n    mode: 'local', port: {port},\n    auth: {{ mode: 'token', token: 'tok-0123456789abcdef01234567' }},\n    http: {{ endpoints: {{ chatCompletions: {{ enabled: true }}, responses: {{ enabled: true }} }} }},\n    {part}\n  }},\n}}\n"
    )
}

fn gateway(inside: &str) -> String {
    format!("{{ gateway: {{ port: {}, {inside} }} }}", free_port())
}

fn refusable(inside: &str) -> String {
    format!("{{ gateway: {{ {inside} }} }}")
}

#[tokio::test]
async fn what_must_not_be_fought_is_refused_by_name_and_left_alone() {
    let auth = "auth: {token: 'tok-0123456789abcdef01234567'}";
    let mut lines = String::new();
    for text in [
        refusable("tailscale: {mode: 'funnel'}"),
        refusable("tailscale: {mode: 'serve'}"),
        refusable("mode: 'remote'"),
        refusable("bind: 'lan'"),
        refusable("bind: 'auto'"),
        refusable("auth: {mode: 'none'}"),
        refusable("auth: {mode: 'password', password: 'x'}"),
        refusable("auth: {mode: 'trusted-proxy'}"),
        refusable("auth: {password: 'x'}"),
        refusable("auth: {password: 'x', token: 'y'}"),
        format!(
            "{{ gateway: {{ port: 1, {auth} }}, hooks: {{ token: 'tok-0123456789abcdef01234567' }} }}"
        ),
        refusable("auth: {token: '${NOT_THERE}'}"),
        refusable("auth: {token: '$NOT_THERE'}"),
        refusable("auth: {token: {source: 'env', provider: 'default', id: 'NOT_THERE'}}"),
        refusable("auth: {token: {source: 'file', provider: 'gone', id: 'value'}}"),
        refusable("auth: {token: {source: 'store', provider: 'default', id: 'X'}}"),
        refusable("auth: {token: 12345}"),
        refusable("auth: {token: {source: 'env'}}"),
        refusable("auth: 'token'"),
        refusable("bind: 1"),
        refusable("http: {endpoints: {responses: {enabled: 'yes'}}}"),
        "{ gateway: [] }".to_owned(),
        "{ gateway: { port: '18789' } }".to_owned(),
        "{ gateway: { port: 70000 } }".to_owned(),
        "[]".to_owned(),
        String::new(),
        "{ gateway: {".to_owned(),
        "{ gateway: {mode: 'local'}, gateway: {} }".to_owned(),
        "{ $include: './base.json5', gateway: {} }".to_owned(),
        "{ gateway: { $include: ['./base.json5'] } }".to_owned(),
        "{ gateway: { $include: './base.json5', port: 1 } }".to_owned(),
        "{ gateway: { $include: './gone.json5' } }".to_owned(),
        "{ gateway: { $include: '/etc/hostname' } }".to_owned(),
        "{ gateway: { $include: './openclaw.json' } }".to_owned(),
        "{ gateway: { $include: 5 } }".to_owned(),
        "{ a: { $include: './base.json5' }, gateway: { $include: './base.json5' } }".to_owned(),
    ] {
        let home = Home::with_config(&text);
        fs::write(home.openclaw().join("base.json5"), "{ bind: 'loopback' }").unwrap();
        let before = contents(&home.path());
        let seen = home.seen().await;
        let set_up = home.set_up().await;
        assert!(
            seen.starts_with(r#"{"gateway":"refused""#),
            "{text}: {seen}"
        );
        assert!(seen.contains(&set_up), "{text}: {seen} and then {set_up}");
        assert_eq!(contents(&home.path()), before, "{text}");
        lines.push_str(&format!("{text}\n    {set_up}\n"));
    }
    insta::assert_snapshot!(lines);
}

#[tokio::test]
async fn bytes_that_are_no_text_or_too_many_are_refused() {
    let home = Home::with_config(b"{ gateway: '\xff\xfe' }");
    insta::assert_snapshot!(home.seen().await, @r#"{"gateway":"refused","cause":{"code":"config_unusable","path":"~/.openclaw/openclaw.json","problem":"not_text"}}"#);
    let home = Home::with_config(vec![b' '; 5 * 1024 * 1024 + 1]);
    insta::assert_snapshot!(home.seen().await, @r#"{"gateway":"refused","cause":{"code":"config_unusable","path":"~/.openclaw/openclaw.json","problem":"too_large"}}"#);
    let home = Home::new();
    fs::create_dir(home.config()).unwrap();
    insta::assert_snapshot!(home.seen().await, @r#"{"gateway":"refused","cause":{"code":"config_unusable","path":"~/.openclaw/openclaw.json","problem":"unreadable","detail":"it is not a file"}}"#);
}

#[tokio::test]
async fn no_openclaw_and_an_openclaw_without_configuration_are_two_things() {
    let home = Home::new();
    insta::assert_snapshot!(home.seen().await, @r#"{"gateway":"missing"}"#);
    fs::create_dir_all(home.programs()).unwrap();
    fs::write(home.programs().join("openclaw"), "").unwrap();
    insta::assert_snapshot!(home.seen().await, @r#"{"gateway":"refused","cause":{"code":"config_unusable","path":"~/.openclaw/openclaw.json","problem":"unreadable","detail":"there is no such file yet; `openclaw onboard` makes it"}}"#);
}

#[tokio::test]
async fn a_managed_configuration_is_used_where_it_fits_and_never_written() {
    for variable in ["OPENCLAW_NIX_MODE", "OPENCLAW_CONFIG_READONLY"] {
        let mut home = Home::with_config(whole(""));
        home.variables.insert(variable.to_owned(), "1".to_owned());
        assert!(home.seen().await.starts_with(r#"{"gateway":"not_running""#));

        let mut home = Home::with_config(gateway("mode: 'local'"));
        home.variables.insert(variable.to_owned(), "1".to_owned());
        let before = contents(&home.path());
        assert_eq!(
            home.set_up().await,
            format!(r#"{{"code":"config_managed","by":"{variable}"}}"#)
        );
        assert_eq!(contents(&home.path()), before);
    }
}

#[tokio::test]
async fn what_is_already_so_is_left_alone() {
    for part in [
        "",
        "bind: 'loopback',",
        "tailscale: { mode: 'off' },",
        "tailscale: {},",
    ] {
        let home = Home::with_config(whole(part));
        let before = contents(&home.path());
        assert!(
            home.seen().await.starts_with(r#"{"gateway":"not_running""#),
            "{part}"
        );
        home.set_up().await;
        assert_eq!(contents(&home.path()), before, "{part}");
    }
}

#[tokio::test]
async fn a_missing_token_is_made_and_everything_comes_back() {
    let port = free_port();
    let text = format!(
        "\u{feff}// mine\r\n{{\r\n\tgateway: {{ port: {port}, }}, // here\r\n\t'meta': {{ lastTouchedVersion: '2026.9.6' }}\r\n}}\r\n"
    );
    let home = Home::with_config(&text);
    insta::assert_snapshot!(home.seen().await, @r#"{"gateway":"needs_set_up","config":"~/.openclaw/openclaw.json","keys":["gateway.mode","gateway.auth.mode","gateway.auth.token","gateway.http.endpoints.chatCompletions.enabled","gateway.http.endpoints.responses.enabled"],"running":false}"#);
    let after = home.set_up().await;
    insta::assert_snapshot!(after.replace(&port.to_string(), "PORT").replace(['\r', '\u{feff}'], ""), @r#"
    // mine
    {
    	gateway: { port: PORT, mode: "local", auth: { mode: "token", token: "made-for-the-test-0123456789abcdefghijklmnop" }, http: { endpoints: { chatCompletions: { enabled: true }, responses: { enabled: true } } }, }, // here
    	'meta': { lastTouchedVersion: '2026.9.6' }
    }
    "#);
    let journal = fs::read_to_string(home.state().join("openclaw-journal.json")).unwrap();
    assert!(!journal.contains(MADE));
    assert!(home.seen().await.starts_with(r#"{"gateway":"not_running""#));

    let restored = home.adapter().restore(Reporter::silent()).await.unwrap();
    assert_eq!(restored.len(), 5);
    assert!(
        restored
            .iter()
            .all(|key| key.outcome == RestoreOutcome::Restored)
    );
    assert_eq!(fs::read_to_string(home.config()).unwrap(), text);
    assert!(!home.state().join("openclaw-journal.json").exists());
}

#[tokio::test]
async fn an_existing_token_is_kept_wherever_it_stands() {
    let rest = "http: { endpoints: { chatCompletions: { enabled: true }, responses: { enabled: true } } }, mode: 'local'";
    for (text, file) in [
        (
            gateway(&format!("auth: {{ token: '${{FROM_ENV}}' }}, {rest}")),
            None,
        ),
        (
            gateway(&format!("auth: {{ token: '$FROM_ENV' }}, {rest}")),
            None,
        ),
        (
            gateway(&format!(
                "auth: {{ token: {{ source: 'env', provider: 'default', id: 'FROM_ENV' }} }}, {rest}"
            )),
            None,
        ),
        (
            gateway(rest),
            Some("OPENCLAW_GATEWAY_TOKEN=abcdefghijklmnopqrstuvwxyz\n"),
        ),
    ] {
        let home = Home::with_config(&text);
        fs::write(
            home.openclaw().join(".env"),
            file.unwrap_or("FROM_ENV=abcdefghijklmnopqrstuvwxyz\n"),
        )
        .unwrap();
        assert!(
            home.seen().await.starts_with(r#"{"gateway":"not_running""#),
            "{text}"
        );
    }
    let port = free_port();
    let text = format!(
        "{{ env: {{ vars: {{ INSIDE: 'abcdefghijklmnopqrstuvwxyz' }} }}, gateway: {{ port: {port}, auth: {{ token: '${{INSIDE}}' }}, {rest} }} }}"
    );
    assert!(
        Home::with_config(text)
            .seen()
            .await
            .starts_with(r#"{"gateway":"not_running""#)
    );
}

#[tokio::test]
async fn a_token_from_a_file_or_a_program_is_followed() {
    let rest = "http: { endpoints: { chatCompletions: { enabled: true }, responses: { enabled: true } } }, mode: 'local'";
    let home = Home::new();
    let secret = home.openclaw().join("token");
    fs::write(&secret, "from-a-file\n").unwrap();
    let program = home.openclaw().join("provider");
    fs::write(
        &program,
        "#!/bin/sh\nread question\ncase \"$question\" in *'\"ids\":[\"gateway\"]'*) printf '{\"protocolVersion\":1,\"values\":{\"gateway\":\"from-a-program\"}}';; esac\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let config = |reference: &str| {
        format!(
            "{{ gateway: {{ port: {}, auth: {{ token: {reference} }}, {rest} }}, secrets: {{ providers: {{ f: {{ source: 'file', path: '~/.openclaw/token', mode: 'singleValue' }}, e: {{ source: 'exec', command: '{}' }} }} }} }}",
            free_port(),
            program.display()
        )
    };
    let file = "{ source: 'file', provider: 'f', id: 'value' }";
    for (mode, expected) in [(0o600, "not_running"), (0o644, "refused")] {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(home.config(), config(file)).unwrap();
        assert!(home.seen().await.contains(expected), "{mode:o}");
    }
    for (id, expected) in [("gateway", "not_running"), ("another", "refused")] {
        fs::write(
            home.config(),
            config(&format!("{{ source: 'exec', provider: 'e', id: '{id}' }}")),
        )
        .unwrap();
        assert!(home.seen().await.contains(expected), "{id}");
    }
}

#[tokio::test]
async fn a_simple_include_gets_the_change_and_the_main_file_stays() {
    let home = Home::with_config("{ gateway: { $include: './parts/gateway.json5' } } // main\n");
    let part = home.openclaw().join("parts/gateway.json5");
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    let text = format!("// part\n{{\n  mode: 'local',\n  port: {}\n}}", free_port());
    fs::write(&part, &text).unwrap();
    let before = fs::read(home.config()).unwrap();

    home.set_up().await;
    assert!(home.seen().await.starts_with(r#"{"gateway":"not_running""#));
    assert_eq!(fs::read(home.config()).unwrap(), before);
    assert!(fs::read_to_string(&part).unwrap().contains(MADE));

    home.adapter().restore(Reporter::silent()).await.unwrap();
    assert_eq!(fs::read_to_string(&part).unwrap(), text);
}

#[tokio::test]
async fn a_symlink_stays_one_and_the_mode_is_kept() {
    let home = Home::new();
    let real = home.path().join("dotfiles.json5");
    fs::write(&real, gateway("")).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&real, home.config()).unwrap();
    home.set_up().await;
    assert_eq!(fs::read_link(home.config()).unwrap(), real);
    assert!(fs::read_to_string(&real).unwrap().contains(MADE));
    assert_eq!(
        fs::metadata(&real).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[tokio::test]
async fn a_read_only_file_is_not_replaced() {
    let home = Home::with_config(gateway(""));
    fs::set_permissions(home.config(), fs::Permissions::from_mode(0o400)).unwrap();
    let before = contents(&home.path());
    insta::assert_snapshot!(home.set_up().await, @r#"{"code":"config_not_writable","path":"~/.openclaw/openclaw.json","detail":"the file is read-only"}"#);
    assert_eq!(contents(&home.path()), before);
}

/// Lets the nth call of a kind fail, or does something at that moment.
struct Script {
    call: Call,
    nth: usize,
    seen: AtomicUsize,
    act: Box<Act>,
}

type Act = dyn Fn(&Path) -> io::Result<()> + Send + Sync;

impl std::fmt::Debug for Script {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Script")
    }
}

impl Disk for Script {
    fn before(&self, call: Call, path: &Path) -> io::Result<()> {
        if call == self.call && self.seen.fetch_add(1, Ordering::SeqCst) + 1 == self.nth {
            return (self.act)(path);
        }
        Ok(())
    }
}

fn scripted(
    home: &Home,
    call: Call,
    nth: usize,
    act: impl Fn(&Path) -> io::Result<()> + Send + Sync + 'static,
) -> OpenClaw {
    let mut options = home.options();
    options.disk = Arc::new(Script {
        call,
        nth,
        seen: AtomicUsize::new(0),
        act: Box::new(act),
    });
    OpenClaw::new(options)
}

#[tokio::test]
async fn a_full_disk_at_any_write_changes_nothing() {
    for call in Call::ALL {
        // The journal is written first, so the first four kinds of call happen twice.
        for nth in [1, 2] {
            let home = Home::with_config(gateway(""));
            let before = contents(&home.path());
            let adapter = scripted(&home, call, nth, |_| Err(io::ErrorKind::StorageFull.into()));
            let result = adapter.set_up(Reporter::silent()).await;
            if result.is_ok() {
                continue;
            }
            assert!(
                matches!(result, Err(Cause::DiskFull { .. })),
                "{call:?} {nth}: {result:?}"
            );
            let after: Vec<_> = contents(&home.path()).into_iter().collect();
            let expected: Vec<_> = before.into_iter().collect();
            let config: Vec<_> = after
                .iter()
                .filter(|(path, _)| *path == home.config())
                .collect();
            assert_eq!(
                config,
                expected.iter().collect::<Vec<_>>(),
                "{call:?} {nth}"
            );
            let left: Vec<_> = after
                .iter()
                .filter(|(path, _)| path.extension().is_some_and(|end| end == "tmp"))
                .collect();
            assert!(left.is_empty(), "{call:?} {nth}: {left:?}");
            // And once there is space again, it works, and comes back whole.
            home.set_up().await;
            home.adapter().restore(Reporter::silent()).await.unwrap();
            assert_eq!(
                fs::read(home.config()).unwrap(),
                expected[0].1,
                "{call:?} {nth}"
            );
        }
    }
}

#[tokio::test]
async fn an_edit_at_the_same_moment_is_kept_and_the_change_made_on_top() {
    let home = Home::with_config(gateway(""));
    let adapter = scripted(&home, Call::Compare, 1, |path| {
        let text = fs::read_to_string(path)?;
        fs::write(path, format!("// theirs\n{text}"))
    });
    adapter.set_up(Reporter::silent()).await.unwrap();
    let text = fs::read_to_string(home.config()).unwrap();
    assert!(
        text.starts_with("// theirs\n") && text.contains(MADE),
        "{text}"
    );
}

#[tokio::test]
async fn somebody_who_never_stops_editing_is_not_fought() {
    let home = Home::with_config(gateway(""));
    let mut options = home.options();
    options.disk = Arc::new(Restless);
    let result = OpenClaw::new(options).set_up(Reporter::silent()).await;
    assert!(
        matches!(result, Err(Cause::ConfigContended { .. })),
        "{result:?}"
    );
    let text = fs::read_to_string(home.config()).unwrap();
    assert!(!text.contains(MADE), "{text}");
}

#[derive(Debug)]
struct Restless;

impl Disk for Restless {
    fn before(&self, call: Call, path: &Path) -> io::Result<()> {
        if call == Call::Compare {
            let text = fs::read_to_string(path)?;
            fs::write(path, format!("{text} // again\n"))?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_file_deleted_in_between_is_not_made_anew() {
    let home = Home::with_config(gateway(""));
    let adapter = scripted(&home, Call::Compare, 1, |path| fs::remove_file(path));
    let result = adapter.set_up(Reporter::silent()).await;
    assert!(result.is_err(), "{result:?}");
    assert!(!home.config().exists());
}

#[tokio::test]
async fn restore_leaves_alone_what_somebody_else_changed() {
    let home = Home::with_config(gateway(
        "http: { endpoints: { responses: { enabled: false } } }",
    ));
    let text = home.set_up().await;
    fs::write(
        home.config(),
        text.replace(MADE, "their-own-token-0123456789")
            .replace('{', "{ "),
    )
    .unwrap();
    let restored = home.adapter().restore(Reporter::silent()).await.unwrap();
    let lines: Vec<String> = restored
        .iter()
        .map(|key| format!("{} {:?}", key.key, key.outcome))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    gateway.mode Restored
    gateway.auth.mode Restored
    gateway.auth.token LeftAlone
    gateway.http.endpoints.chatCompletions.enabled Restored
    gateway.http.endpoints.responses.enabled Restored
    ");
    let text = fs::read_to_string(home.config()).unwrap();
    assert!(text.contains("their-own-token-0123456789"), "{text}");
    assert!(
        text.contains("enabled: false") && !text.contains("chatCompletions"),
        "{text}"
    );
    assert!(
        home.adapter()
            .restore(Reporter::silent())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn restore_refuses_a_file_it_cannot_read_and_keeps_its_record() {
    let home = Home::with_config(gateway(""));
    let text = home.set_up().await;
    fs::write(home.config(), "{ broken").unwrap();
    let result = home.adapter().restore(Reporter::silent()).await;
    assert!(
        matches!(result, Err(Cause::ConfigUnusable { .. })),
        "{result:?}"
    );
    fs::write(home.config(), text).unwrap();
    let restored = home.adapter().restore(Reporter::silent()).await.unwrap();
    assert_eq!(restored.len(), 5);
}

#[tokio::test]
async fn the_token_is_in_no_error_and_no_debug_text() {
    let home = Home::with_config(whole(""));
    let adapter = home.adapter();
    let view = adapter.observe().await;
    let access = adapter
        .access(&Offer::default())
        .await
        .expect_err("nothing runs");
    let agents = home.path().join("agents");
    fs::create_dir(&agents).unwrap();
    fs::write(agents.join("ai.openclaw.gateway.plist"), AGENT).unwrap();
    let mut environment = home.options().environment;
    environment.variables.insert(
        "OPENCLAW_GATEWAY_TOKEN".to_owned(),
        "tok-0123456789abcdef01234567".to_owned(),
    );
    environment.launch_agents = Some(agents);
    let place = Place::find(&environment);
    assert!(place.agent.is_some() && place.variables.len() == 1);
    let config = Config::read(&place).unwrap();
    let text = &config.main.document.text;
    let edited = edit::set(text, &["gateway", "port"], &serde_json::json!(1)).unwrap();
    for text in [
        format!("{adapter:?}"),
        format!("{view:?}"),
        format!("{access:?}"),
        format!("{environment:?}"),
        format!("{place:?}"),
        format!("{config:?}"),
        format!("{edited:?}"),
    ] {
        assert!(!text.contains("tok-0123456789abcdef01234567"), "{text}");
        assert!(!text.contains("[116, 111, 107, 45"), "as bytes: {text}");
    }
}

const AGENT: &str = r#"<plist version="1.0"><dict>
  <key>ProgramArguments</key><array>
    <string>/opt/homebrew/bin/openclaw</string><string>gateway</string>
    <string>--token</string><string>tok-0123456789abcdef01234567</string>
  </array>
  <key>EnvironmentVariables</key><dict>
    <key>OPENCLAW_GATEWAY_TOKEN</key><string>tok-0123456789abcdef01234567</string>
  </dict>
</dict></plist>"#;

/// Two people who edit at the worst moments: the second file before it is written, the first before it is taken back.
#[derive(Debug)]
struct TwoEditors {
    compared: AtomicUsize,
    fault: Option<io::ErrorKind>,
}

impl Disk for TwoEditors {
    fn before(&self, call: Call, path: &Path) -> io::Result<()> {
        if call != Call::Compare {
            return Ok(());
        }
        match (self.compared.fetch_add(1, Ordering::SeqCst), self.fault) {
            (1, Some(fault)) => Err(fault.into()),
            (1 | 2, _) => {
                let text = fs::read_to_string(path)?;
                fs::write(path, format!("// theirs\n{text}"))
            }
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn what_could_not_be_taken_back_is_undone_by_restore() {
    for fault in [None, Some(io::ErrorKind::StorageFull)] {
        let home = Home::with_config(gateway("http: { $include: './http.json' }"));
        let included = home.openclaw().join("http.json");
        fs::write(&included, "{ endpoints: {} }\n").unwrap();
        let mut options = home.options();
        options.disk = Arc::new(TwoEditors {
            compared: AtomicUsize::new(0),
            fault,
        });
        let result = OpenClaw::new(options).set_up(Reporter::silent()).await;
        assert_eq!(result.is_ok(), fault.is_none(), "{result:?}");
        let text = fs::read_to_string(&included).unwrap();
        assert!(text.contains("theirs") && text.contains("true"), "{text}");
        home.adapter().restore(Reporter::silent()).await.unwrap();
        let text = fs::read_to_string(&included).unwrap();
        assert_eq!(text, "// theirs\n{ endpoints: {} }\n", "{fault:?}");
    }
}
