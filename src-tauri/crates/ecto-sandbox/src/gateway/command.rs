//! A stand-in `openclaw` command that a test puts on its `PATH`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::patch::VERSION;
use super::state::{Order, PROCESS, Phase, State, restart_answer};
use super::watching::FolderWatch;

/// How long the command waits for a restart that it reports as done.
const RESTART_LIMIT: Duration = Duration::from_secs(30);

/// The command: it leaves its arguments in the control folder and prints the answer it finds there.
const SCRIPT: &str = r#"#!/bin/sh
# A stand-in for the openclaw command.
control='@CONTROL@'
case "${1-}" in
--version | -V | -v)
    echo 'OpenClaw @VERSION@ (stand-in)'
    exit 0
    ;;
esac
question="$control/$$"
printf '%s\n' "$@" >"$question.writing" || exit 1
mv "$question.writing" "$question.question"
turns=0
while [ ! -f "$question.answer" ]; do
    turns=$((turns + 1))
    if [ "$turns" -gt 1500 ]; then
        rm -f "$question.question"
        echo '{"ok":false,"error":{"type":"cli_error","message":"The stand-in gateway does not answer."}}'
        exit 1
    fi
    sleep 0.02
done
code=$(head -n 1 "$question.answer")
tail -n +2 "$question.answer"
rm -f "$question.answer"
exit "$code"
"#;

/// Writes the command into `folder` and returns its path.
pub(crate) fn write(state: &State, folder: &Path) -> std::io::Result<PathBuf> {
    let control = control_folder(state);
    std::fs::create_dir_all(&control)?;
    std::fs::create_dir_all(folder)?;
    let quoted = control.display().to_string().replace('\'', r"'\''");
    let script = SCRIPT
        .replace("@CONTROL@", &quoted)
        .replace("@VERSION@", VERSION);
    let path = folder.join("openclaw");
    std::fs::write(&path, script)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(path)
}

fn control_folder(state: &State) -> PathBuf {
    state.folder.join("stand-in-control")
}

/// Answers the command's questions until the gateway is dropped.
pub(crate) async fn attend(state: Arc<State>) {
    let control = control_folder(&state);
    if let Err(error) = std::fs::create_dir_all(&control) {
        tracing::warn!(%error, "the stand-in command has no folder for its questions");
        return;
    }
    let watch = FolderWatch::new(BTreeSet::from([control.clone()]));
    loop {
        let Ok(entries) = std::fs::read_dir(&control) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if path
                .extension()
                .is_none_or(|extension| extension != "question")
            {
                continue;
            }
            let arguments = std::fs::read_to_string(&path).unwrap_or_default();
            let arguments: Vec<&str> = arguments.lines().collect();
            let (code, answer) = answer(&state, &arguments).await;
            let writing = path.with_extension("writing");
            let written = std::fs::remove_file(&path)
                .and_then(|()| std::fs::write(&writing, format!("{code}\n{answer}\n")))
                .and_then(|()| std::fs::rename(&writing, path.with_extension("answer")));
            if let Err(error) = written {
                tracing::debug!(%error, "the stand-in command was not answered");
            }
        }
        watch.changed().await;
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn failure(message: &str) -> (i32, String) {
    (
        1,
        pretty(&json!({ "ok": false, "error": { "type": "cli_error", "message": message } })),
    )
}

async fn answer(state: &State, arguments: &[&str]) -> (i32, String) {
    let words: Vec<&str> = arguments
        .iter()
        .copied()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let has = |flag: &str| arguments.contains(&flag);
    state
        .record
        .say(format!("command: openclaw {}", arguments.join(" ")));
    if let Some(crate::faults::Fault::Answer { status, body, .. }) = state
        .faults
        .pass(&format!("openclaw {}", words.join(" ")))
        .await
    {
        return (i32::from(status), body);
    }
    match words.as_slice() {
        ["gateway", "status"] => (0, pretty(&status(state))),
        ["gateway", "restart"] => restart(state, has("--safe")).await,
        ["gateway", "start"] => start(state).await,
        ["gateway", "stop"] => stop(state, has("--force")).await,
        ["config", "file"] => (0, state.config_path.display().to_string()),
        _ => failure(&format!("unknown command: {}", words.join(" "))),
    }
}

async fn restart(state: &State, safe: bool) -> (i32, String) {
    if state.phase() != Phase::Ready {
        return failure("Gateway is not running.");
    }
    if safe {
        let in_flight = *state.in_flight.borrow();
        let coalesced = state.restart_pending.swap(true, Ordering::Relaxed);
        state.order(Order::RestartOnceIdle);
        let mut answer = restart_answer(in_flight, coalesced);
        answer["result"] = answer["status"].clone();
        answer["message"] = json!("safe restart requested; gateway will restart momentarily");
        return (0, pretty(&answer));
    }
    state.order(Order::Restart);
    let mut phase = state.phase.subscribe();
    let restarted = async {
        phase.wait_for(|phase| *phase != Phase::Ready).await.ok()?;
        phase
            .wait_for(|phase| matches!(phase, Phase::Ready | Phase::Exited(_)))
            .await
            .ok()
            .map(|phase| phase.clone())
    };
    match timeout(RESTART_LIMIT, restarted).await {
        Ok(Some(Phase::Ready)) => {
            let message = format!(
                "Gateway restart request sent to foreground process on port {}: {PROCESS}.",
                state.port()
            );
            (
                0,
                pretty(
                    &json!({ "action": "restart", "ok": true, "result": "restarted", "message": message, "service": service(state) }),
                ),
            )
        }
        Ok(_) | Err(_) => failure("Gateway restart timed out."),
    }
}

async fn start(state: &State) -> (i32, String) {
    if !state.behaviour().service {
        return failure("service management skipped: non-default state dir or config path");
    }
    let (accepted, started) = oneshot::channel();
    state.order(Order::Start(accepted));
    match started.await {
        Ok(()) => (
            0,
            pretty(
                &json!({ "action": "start", "ok": true, "result": "started", "service": service(state) }),
            ),
        ),
        Err(_) => failure("Gateway failed to start."),
    }
}

async fn stop(state: &State, force: bool) -> (i32, String) {
    if !force {
        return failure(
            "refusing to stop the gateway without a terminal; re-run with --force if you really mean it",
        );
    }
    let (done, stopped) = oneshot::channel();
    state.order(Order::Stop(done));
    match stopped.await {
        Ok(()) => (
            0,
            pretty(&json!({ "action": "stop", "ok": true, "result": "stopped" })),
        ),
        Err(_) => failure("Gateway failed to stop."),
    }
}

fn service(state: &State) -> Value {
    json!({ "label": "stand-in", "loaded": state.behaviour().service, "loadedText": "enabled", "notLoadedText": "disabled" })
}

fn status(state: &State) -> Value {
    let running = matches!(
        state.phase(),
        Phase::Warming | Phase::Ready | Phase::Draining
    );
    let path = state.config_path.display().to_string();
    let exists = state.config_path.exists();
    let config = json!({ "path": path, "exists": exists, "valid": true });
    let port = state.port();
    let mut service = service(state);
    service["runtime"] = json!({ "status": if running { "running" } else { "stopped" } });
    let listeners = if running {
        json!([{ "pid": PROCESS, "command": "openclaw-gateway", "address": format!("127.0.0.1:{port}") }])
    } else {
        json!([])
    };
    json!({
        "cli": { "version": VERSION },
        "service": service,
        "config": { "cli": config, "daemon": config },
        "gateway": {
            "bindMode": "loopback", "bindHost": "127.0.0.1", "port": port,
            "probeUrl": format!("ws://127.0.0.1:{port}"), "version": VERSION,
        },
        "port": { "port": port, "status": if running { "busy" } else { "free" }, "listeners": listeners },
        "rpc": { "ok": running, "version": VERSION, "url": format!("ws://127.0.0.1:{port}") },
    })
}
