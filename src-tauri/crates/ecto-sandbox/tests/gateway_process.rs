//! What happens when the stand-in gateway's configuration file changes, and when it starts, stops and restarts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use ecto_sandbox::faults::{Fault, Gate};
use ecto_sandbox::gateway::{Builder, Exit, Gateway, Outcome, Phase, REFUSED, StartError, Timing};
use reqwest::Client;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);

async fn start(builder: Builder) -> (Gateway, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let gateway = builder.start(folder.path()).await.unwrap();
    (gateway, folder)
}

async fn refused(config: &str) -> Exit {
    let folder = tempfile::tempdir().unwrap();
    match Gateway::builder()
        .config_json5(config)
        .start(folder.path())
        .await
    {
        Err(StartError::Exited(exit)) => exit,
        other => unreachable!("{other:?}"),
    }
}

async fn until(gateway: &Gateway, wanted: impl Fn(&Gateway) -> bool) {
    timeout(LIMIT, gateway.wait_until(wanted)).await.unwrap();
}

async fn said(gateway: &Gateway, line: &str) {
    until(gateway, |gateway| {
        gateway.log().iter().any(|said| said.contains(line))
    })
    .await;
}

/// The status of `GET /v1/models` with a token; 0 where nobody answers.
async fn models(gateway: &Gateway, token: &str) -> u16 {
    get(&format!("{}/v1/models", gateway.url()), token).await
}

async fn get(url: &str, token: &str) -> u16 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = Client::new().get(url).bearer_auth(token).send().await;
    answer.map_or(0, |answer| answer.status().as_u16())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Replaces the configuration as an editor does.
fn edit(gateway: &Gateway, change: impl FnOnce(String) -> String) {
    let path = gateway.config_path();
    let next = path.with_extension("editing");
    std::fs::write(&next, change(read(path))).unwrap();
    std::fs::rename(next, path).unwrap();
}

const TOKEN: &str = "stand-in-token-0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn an_edit_of_the_token_and_the_endpoints_is_applied_while_running() {
    let (gateway, _folder) = start(Gateway::builder()).await;
    assert_eq!(models(&gateway, TOKEN).await, 200);
    edit(&gateway, |text| text.replace(TOKEN, "next"));
    said(&gateway, "config hot reload applied (gateway.auth.token)").await;
    assert_eq!(models(&gateway, TOKEN).await, 401);
    assert_eq!(models(&gateway, "next").await, 200);
    edit(&gateway, |text| {
        text.replace("enabled: true", "enabled: false")
    });
    said(&gateway, "config hot reload applied (gateway.http").await;
    assert_eq!(models(&gateway, "next").await, 404);
    assert_eq!((gateway.starts(), gateway.restarts()), (1, 0));
    assert!(read(gateway.config_path()).starts_with("// A gateway"));
}

#[tokio::test]
async fn an_invalid_edit_leaves_the_old_configuration_in_force() {
    let (gateway, _folder) = start(Gateway::builder()).await;
    edit(&gateway, |text| {
        text.replace("mode: \"local\"", "mode: \"local\", tokn: 1")
            .replace(TOKEN, "next")
    });
    said(
        &gateway,
        "config reload skipped (invalid config): gateway: Unrecognized key: \"tokn\"",
    )
    .await;
    assert_eq!(models(&gateway, TOKEN).await, 200);
    edit(&gateway, |_| "{ gateway:".to_owned());
    said(
        &gateway,
        "config reload skipped (invalid config): JSON5 parse failed: SyntaxError: JSON5: ",
    )
    .await;
    assert_eq!(models(&gateway, TOKEN).await, 200);
    assert_eq!(gateway.phase(), Phase::Ready);
}

#[tokio::test]
async fn a_changed_mode_or_port_restarts_by_itself() {
    let (gateway, _folder) = start(Gateway::builder()).await;
    let gate = Gate::new();
    gateway.faults().fail("start", 1, Fault::Hold(gate.clone()));
    edit(&gateway, |text| {
        text.replace("mode: \"token\"", "mode: \"none\"")
    });
    until(&gateway, |gateway| gateway.phase() == Phase::Starting).await;
    assert_eq!(models(&gateway, TOKEN).await, 0);
    gate.open();
    gateway.ready().await.unwrap();
    assert_eq!(models(&gateway, "").await, 200);
    assert_eq!((gateway.starts(), gateway.restarts()), (2, 1));

    let old = gateway.port();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    edit(&gateway, |text| {
        text.replace(&format!("port: {old}"), &format!("port: {free}"))
    });
    until(&gateway, |gateway| {
        gateway.starts() == 3 && gateway.phase() == Phase::Ready
    })
    .await;
    assert_eq!(gateway.port(), free);
    assert_eq!(models(&gateway, "").await, 200);
    assert_eq!(
        get(&format!("http://127.0.0.1:{old}/v1/models"), "").await,
        0
    );
}

#[tokio::test]
async fn without_reload_nothing_applies_until_a_restart() {
    let (gateway, _folder) = start(
        Gateway::builder().config_json5(
            "{ gateway: { mode: 'local', port: $PORT, reload: { mode: 'off' }, auth: { token: 'one' }, http: { endpoints: { responses: { enabled: true } } } } }",
        ),
    )
    .await;
    edit(&gateway, |text| text.replace("'one'", "'two'"));
    said(&gateway, "config change ignored").await;
    assert_eq!(models(&gateway, "one").await, 200);
    gateway.restart();
    until(&gateway, |gateway| {
        gateway.starts() == 2 && gateway.phase() == Phase::Ready
    })
    .await;
    assert_eq!(models(&gateway, "two").await, 200);
}

#[tokio::test]
async fn a_token_beside_a_made_up_one_waits_for_a_restart_but_a_mode_causes_it() {
    let config = "{ gateway: { mode: 'local', port: $PORT, http: { endpoints: { responses: { enabled: true } } } } }";
    let (gateway, _folder) = start(Gateway::builder().config_json5(config)).await;
    let made_up = gateway.token().unwrap();
    edit(&gateway, |text| {
        text.replace("mode: 'local',", "mode: 'local', auth: { token: 'mine' },")
    });
    said(&gateway, "config hot reload applied (gateway.auth)").await;
    assert_eq!(models(&gateway, "mine").await, 401);
    assert_eq!(models(&gateway, made_up.expose_secret()).await, 200);
    edit(&gateway, |text| {
        text.replace("{ token: 'mine' }", "{ mode: 'token', token: 'mine' }")
    });
    until(&gateway, |gateway| {
        gateway.starts() == 2 && gateway.phase() == Phase::Ready
    })
    .await;
    assert_eq!(models(&gateway, "mine").await, 200);
}

#[tokio::test]
async fn secrets_come_from_variables_and_files() {
    let endpoints = "http: { endpoints: { responses: { enabled: true } } }";
    let config = format!(
        "{{ gateway: {{ mode: 'local', port: $PORT, auth: {{ token: '${{ECTO_TOKEN}}' }}, {endpoints} }} }}"
    );
    let (gateway, _folder) = start(
        Gateway::builder()
            .config_json5(&config)
            .environment("ECTO_TOKEN", "from-variable"),
    )
    .await;
    assert_eq!(models(&gateway, "from-variable").await, 200);
    let (gateway, _folder) = start(Gateway::builder().config_json5(&config)).await;
    let made_up = gateway.token().unwrap();
    assert_eq!(models(&gateway, "${ECTO_TOKEN}").await, 401);
    assert_eq!(models(&gateway, made_up.expose_secret()).await, 200);
    edit(&gateway, |text| text.replace("ECTO_TOKEN", "OTHER_TOKEN"));
    said(
        &gateway,
        "Environment variable \"OTHER_TOKEN\" is missing or empty",
    )
    .await;
    assert_eq!(models(&gateway, made_up.expose_secret()).await, 200);

    let config = format!(
        "{{ gateway: {{ mode: 'local', port: $PORT, auth: {{ token: {{ source: 'file', provider: 'ecto', id: 'value' }} }}, {endpoints} }},
            secrets: {{ providers: {{ ecto: {{ source: 'file', path: '~/token', mode: 'singleValue' }} }} }} }}"
    );
    let gateway_folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::builder()
        .config_json5(&config)
        .prepare(gateway_folder.path())
        .unwrap();
    let file = gateway_folder.path().join("token");
    std::fs::write(&file, "from-file\n").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            gateway
                .start_again()
                .await
                .unwrap_err()
                .message
                .contains("permissions are too open")
        );
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    gateway.start_again().await.unwrap();
    assert_eq!(models(&gateway, "from-file").await, 200);
}

#[tokio::test]
async fn json5_with_every_oddity_is_read() {
    let config = "\u{feff}// first\r\n{ /* inline */ 'gateway': { mode: 'remote', mode: 'local', port: $PORT,\r\n auth: { token: 'odd', }, http: { endpoints: { responses: { enabled: true }, }, }, }, }\r\n";
    let (gateway, _folder) = start(Gateway::builder().config_json5(config)).await;
    assert_eq!(models(&gateway, "odd").await, 200);
}

#[tokio::test]
async fn what_the_real_one_refuses_is_refused() {
    for config in [
        "{ gateway: { port: $PORT } }",
        "{ gateway: { mode: 'remote', port: $PORT } }",
        "{ gateway: { mode: 'local', port: $PORT, auth: { token: 't' }, tailscale: { mode: 'funnel' } } }",
    ] {
        assert_eq!(refused(config).await.code, REFUSED, "{config}");
    }
    let exit = refused("{ gateway: { mode: 'local', tokn: 1 } }").await;
    assert!(
        exit.message.contains("Unrecognized key: \"tokn\""),
        "{exit}"
    );

    let folder = tempfile::tempdir().unwrap();
    let missing = Gateway::builder()
        .config_as_found()
        .start(folder.path())
        .await;
    assert!(matches!(missing, Err(StartError::Exited(_))));

    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let exit = refused(&format!(
        "{{ gateway: {{ mode: 'local', port: {port}, auth: {{ token: 't' }} }} }}"
    ))
    .await;
    assert!(exit.message.contains("already in use"));
}

#[tokio::test]
async fn a_configuration_that_lost_its_meta_is_restored_at_the_start() {
    let with_meta = "{ gateway: { mode: 'local', port: $PORT, auth: { token: 'good' }, http: { endpoints: { responses: { enabled: true } } } }, meta: { lastTouchedVersion: '2026.9.6' } }";
    let (gateway, _folder) = start(Gateway::builder().config_json5(with_meta)).await;
    let path = gateway.config_path().to_owned();
    std::fs::copy(&path, path.with_file_name("openclaw.json.bak")).unwrap();
    let good = read(&path);
    let without = good
        .replace(", meta: { lastTouchedVersion: '2026.9.6' }", "")
        .replace("'good'", "'ours'");
    edit(&gateway, |_| without.clone());
    said(&gateway, "config hot reload applied").await;
    assert_eq!(models(&gateway, "ours").await, 200);
    gateway.restart();
    until(&gateway, |gateway| {
        gateway.starts() == 2 && gateway.phase() == Phase::Ready
    })
    .await;
    said(&gateway, "Config auto-restored from backup").await;
    said(&gateway, "(missing-meta-vs-last-good)").await;
    assert_eq!(read(&path), good);
    assert_eq!(models(&gateway, "good").await, 200);
}

#[tokio::test]
async fn a_slow_start_opens_the_port_late_and_is_ready_later() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::builder().prepare(folder.path()).unwrap();
    let gate = Gate::new();
    gateway.faults().fail("start", 1, Fault::Hold(gate.clone()));
    gateway.set_timing(Timing {
        warm: Duration::from_millis(400),
        ..Timing::short()
    });
    let readyz = format!("{}/readyz", gateway.url());
    let (started, ()) = tokio::join!(gateway.start_again(), async {
        until(&gateway, |gateway| gateway.phase() == Phase::Starting).await;
        assert_eq!(get(&readyz, TOKEN).await, 0);
        gate.open();
        until(&gateway, |gateway| gateway.phase() == Phase::Warming).await;
        assert_eq!(get(&readyz, TOKEN).await, 503);
    });
    started.unwrap();
    assert_eq!(get(&readyz, TOKEN).await, 200);
}

#[tokio::test]
async fn a_restart_waits_for_what_is_in_flight_and_then_cuts_it() {
    let (gateway, _folder) = start(Gateway::builder()).await;
    gateway.stall(Duration::from_secs(600));
    gateway.set_timing(Timing {
        drain_limit: Duration::from_millis(400),
        ..Timing::short()
    });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut stream = Client::new()
        .post(format!("{}/v1/responses", gateway.url()))
        .bearer_auth(TOKEN)
        .json(&json!({ "model": "openclaw", "stream": true, "input": "x" }))
        .send()
        .await
        .unwrap();
    gateway.restart();
    until(&gateway, |gateway| gateway.phase() == Phase::Draining).await;
    assert_eq!(get(&format!("{}/readyz", gateway.url()), TOKEN).await, 503);
    assert_eq!(gateway.requests()[0].outcome, Outcome::Open);
    until(&gateway, |gateway| gateway.starts() == 2).await;
    assert_eq!(gateway.requests()[0].outcome, Outcome::CutOff);
    let cut = async {
        loop {
            match stream.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    };
    assert!(timeout(LIMIT, cut).await.unwrap());
}

#[tokio::test]
async fn it_stops_dies_and_starts_on_the_same_port() {
    let (gateway, _folder) = start(Gateway::builder()).await;
    let port = gateway.port();
    gateway.stop().await;
    assert_eq!(gateway.phase(), Phase::Stopped);
    assert_eq!(models(&gateway, TOKEN).await, 0);
    gateway.start_again().await.unwrap();
    assert_eq!(gateway.port(), port);
    assert_eq!(models(&gateway, TOKEN).await, 200);
    gateway.kill(None).await;
    assert_eq!(models(&gateway, TOKEN).await, 0);
    gateway.start_again().await.unwrap();
    gateway.kill(Some(Duration::from_millis(1))).await;
    gateway.ready().await.unwrap();
    assert_eq!(models(&gateway, TOKEN).await, 200);
    assert_eq!((gateway.starts(), gateway.restarts()), (4, 0));
}

#[tokio::test]
async fn it_can_crash_again_and_again() {
    let (gateway, _folder) = start(Gateway::builder()).await;
    gateway.crash_after(Some(Duration::from_millis(10)));
    gateway.restart();
    until(&gateway, |gateway| {
        gateway
            .log()
            .iter()
            .filter(|line| *line == "Gateway crashed")
            .count()
            >= 3
    })
    .await;
    gateway.crash_after(None);
    until(&gateway, |gateway| gateway.phase() == Phase::Ready).await;
}

struct Openclaw {
    folder: TempDir,
}

impl Openclaw {
    fn of(gateway: &Gateway) -> Self {
        let folder = tempfile::tempdir().unwrap();
        gateway.write_command(folder.path()).unwrap();
        Self { folder }
    }

    async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(self.folder.path().join("openclaw"))
            .args(arguments)
            .output()
            .await
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    async fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, text) = self.run(arguments).await;
        (code, serde_json::from_str(&text).unwrap())
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_command_tells_the_version_and_the_status() {
    let (gateway, _folder) = start(Gateway::builder()).await;
    let openclaw = Openclaw::of(&gateway);
    assert_eq!(
        openclaw.run(&["--version"]).await,
        (0, "OpenClaw 2026.9.6 (stand-in)\n".to_owned())
    );
    let (code, status) = openclaw.json(&["gateway", "status", "--json"]).await;
    assert_eq!(
        (code, &status["rpc"]["ok"], &status["port"]["port"]),
        (0, &json!(true), &json!(gateway.port()))
    );
    gateway.stop().await;
    let (_, status) = openclaw.json(&["gateway", "status", "--json"]).await;
    assert_eq!(
        (&status["rpc"]["ok"], &status["port"]["status"]),
        (&json!(false), &json!("free"))
    );
    let (code, error) = openclaw.json(&["gateway", "frobnicate"]).await;
    assert_eq!((code, &error["error"]["type"]), (1, &json!("cli_error")));
}

#[cfg(unix)]
#[tokio::test]
async fn the_command_restarts_starts_and_stops() {
    let (gateway, _folder) = start(Gateway::builder().service(true)).await;
    let openclaw = Openclaw::of(&gateway);
    let (code, answer) = openclaw
        .json(&["gateway", "restart", "--safe", "--json"])
        .await;
    assert_eq!(
        (code, &answer["result"], &answer["preflight"]["safe"]),
        (0, &json!("scheduled"), &json!(true))
    );
    until(&gateway, |gateway| {
        gateway.restarts() == 1 && gateway.phase() == Phase::Ready
    })
    .await;
    let (code, answer) = openclaw.json(&["gateway", "restart", "--json"]).await;
    assert_eq!((code, &answer["result"]), (0, &json!("restarted")));
    assert_eq!((gateway.restarts(), gateway.phase()), (2, Phase::Ready));

    assert_eq!(openclaw.run(&["gateway", "stop", "--json"]).await.0, 1);
    assert_eq!(
        openclaw
            .run(&["gateway", "stop", "--json", "--force"])
            .await
            .0,
        0
    );
    assert_eq!(gateway.phase(), Phase::Stopped);
    assert_eq!(
        openclaw
            .run(&["gateway", "restart", "--safe", "--json"])
            .await
            .0,
        1
    );
    assert_eq!(openclaw.run(&["gateway", "start", "--json"]).await.0, 0);
    gateway.ready().await.unwrap();
    gateway
        .faults()
        .fail("openclaw gateway restart", 1, Fault::answer(100, "{}"));
    assert_eq!(
        openclaw.run(&["gateway", "restart", "--json"]).await,
        (100, "{}\n".to_owned())
    );
}
