//! What a client of the stand-in gateway's WebSocket RPC notices.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::time::Duration;

use ecto_sandbox::faults::{Fault, Gate};
use ecto_sandbox::gateway::{Gateway, Phase, REDACTED, VERSION};
use futures_util::{SinkExt as _, StreamExt as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const LIMIT: Duration = Duration::from_secs(20);

/// What came over the WebSocket.
#[derive(Debug, PartialEq)]
enum Came {
    Frame(Value),
    Closed(u16, String),
    Gone,
}

struct Peer {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    asked: u32,
}

impl Peer {
    async fn open(gateway: &Gateway, path: &str) -> Self {
        Self::open_with(gateway, path, &[]).await.unwrap()
    }

    async fn open_with(
        gateway: &Gateway,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let mut request =
            format!("ws://127.0.0.1:{}{path}", gateway.port()).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = connect_async(request).await?;
        let mut peer = Self { socket, asked: 0 };
        let Came::Frame(challenge) = peer.next().await else {
            panic!("no challenge")
        };
        assert_eq!(challenge["event"], "connect.challenge");
        assert!(challenge["payload"]["nonce"].is_string());
        Ok(peer)
    }

    /// Opens and connects with the gateway's own token.
    async fn connected(gateway: &Gateway) -> Self {
        let mut peer = Self::open(gateway, "/").await;
        let token = gateway.token().unwrap();
        let hello = peer
            .call("connect", connect(token.expose_secret()))
            .await
            .unwrap();
        assert_eq!(
            hello["auth"]["scopes"],
            json!(["operator.read", "operator.write", "operator.admin"])
        );
        peer
    }

    async fn next(&mut self) -> Came {
        match timeout(LIMIT, self.socket.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => Came::Frame(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Close(Some(frame)))) => {
                Came::Closed(frame.code.into(), frame.reason.to_string())
            }
            Some(Ok(_) | Err(_)) | None => Came::Gone,
        }
    }

    /// Asks and returns the payload, or the error.
    async fn call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.ask(method, params).await;
        loop {
            let Came::Frame(frame) = self.next().await else {
                panic!("closed instead of an answer to {method}")
            };
            if frame["type"] == "res" {
                assert_eq!(frame["id"], self.asked.to_string());
                return if frame["ok"] == true {
                    Ok(frame["payload"].clone())
                } else {
                    Err(frame["error"].clone())
                };
            }
        }
    }

    async fn ask(&mut self, method: &str, params: Value) {
        self.asked += 1;
        let frame = json!({ "type": "req", "id": self.asked.to_string(), "method": method, "params": params });
        self.socket
            .send(Message::text(frame.to_string()))
            .await
            .unwrap();
    }

    async fn hash(&mut self) -> String {
        self.call("config.get", json!({})).await.unwrap()["hash"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn patch(&mut self, raw: &str) -> Result<Value, Value> {
        let hash = self.hash().await;
        self.call("config.patch", json!({ "raw": raw, "baseHash": hash }))
            .await
    }
}

fn connect(token: &str) -> Value {
    json!({
        "minProtocol": 3, "maxProtocol": 9,
        "client": { "id": "cli", "mode": "cli", "version": "1", "platform": "test" },
        "role": "operator", "scopes": ["operator.read", "operator.write", "operator.admin"],
        "auth": { "token": token },
    })
}

async fn ready() -> (Gateway, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::builder().start(folder.path()).await.unwrap();
    (gateway, folder)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn message(error: &Value) -> &str {
    error["message"].as_str().unwrap()
}

#[tokio::test]
async fn any_path_upgrades_and_the_token_comes_in_the_first_frame() {
    let (gateway, _folder) = ready().await;
    let token = gateway.token().unwrap();
    for path in ["/", "/ws", "/v1/chat/completions"] {
        let mut peer = Peer::open(&gateway, path).await;
        let hello = peer
            .call("connect", connect(token.expose_secret()))
            .await
            .unwrap();
        assert_eq!(hello["type"], "hello-ok");
        assert_eq!(hello["protocol"], 4);
        assert_eq!(hello["server"]["version"], VERSION);
    }
    let refused = |error: Error| {
        let Error::Http(response) = error else {
            panic!("{error}")
        };
        response.status().as_u16()
    };
    let desktop = Peer::open_with(&gateway, "/desktop/observe", &[])
        .await
        .err()
        .unwrap();
    assert_eq!(refused(desktop), 401);
    let forwarded = [("x-forwarded-for", "203.0.113.7")];
    let forwarded = Peer::open_with(&gateway, "/", &forwarded)
        .await
        .err()
        .unwrap();
    assert_eq!(refused(forwarded), 403);
}

#[tokio::test]
async fn a_bad_handshake_is_refused_in_the_real_words() {
    let (gateway, _folder) = ready().await;
    let token = gateway.token().unwrap();
    let mut without = connect("x");
    without["auth"] = Value::Null;
    let mut old = connect(token.expose_secret());
    old["minProtocol"] = json!(90);
    old["maxProtocol"] = json!(99);
    let mut stranger = connect(token.expose_secret());
    stranger["client"]["id"] = json!("ecto");
    for (method, params, close, code, start) in [
        (
            "connect",
            connect("wrong"),
            1008,
            "AUTH_TOKEN_MISMATCH",
            "unauthorized: gateway token mismatch",
        ),
        (
            "connect",
            without,
            1008,
            "DEVICE_IDENTITY_REQUIRED",
            "device identity required",
        ),
        (
            "connect",
            old,
            1002,
            "PROTOCOL_MISMATCH",
            "protocol mismatch",
        ),
        (
            "connect",
            stranger,
            1008,
            "",
            "invalid connect params: at /client/id",
        ),
        (
            "config.get",
            json!({}),
            1008,
            "",
            "invalid handshake: first request must be connect",
        ),
    ] {
        let mut peer = Peer::open(&gateway, "/").await;
        let error = peer.call(method, params).await.unwrap_err();
        assert!(message(&error).starts_with(start), "{error}");
        assert_eq!(error["details"]["code"].as_str().unwrap_or_default(), code);
        let Came::Closed(closed, reason) = peer.next().await else {
            panic!("not closed")
        };
        assert_eq!((closed, reason.as_str()), (close, message(&error)));
    }
    let mut page = Peer::open_with(&gateway, "/", &[("origin", "https://a.example")])
        .await
        .unwrap();
    let error = page
        .call("connect", connect(token.expose_secret()))
        .await
        .unwrap_err();
    assert_eq!(error["details"]["code"], "CONTROL_UI_ORIGIN_NOT_ALLOWED");
}

#[tokio::test]
async fn through_a_trusted_proxy_the_token_gives_no_scope() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::builder()
        .config_json5("{ gateway: { mode: 'local', port: $PORT, trustedProxies: ['127.0.0.1'], auth: { token: 't' } } }")
        .start(folder.path())
        .await
        .unwrap();
    let forwarded = [("x-forwarded-for", "203.0.113.7")];
    let mut peer = Peer::open_with(&gateway, "/", &forwarded).await.unwrap();
    assert_eq!(
        peer.call("connect", connect("t")).await.unwrap()["auth"]["scopes"],
        json!([])
    );
    assert!(
        message(&peer.call("config.get", json!({})).await.unwrap_err())
            .starts_with("missing scope")
    );
}

#[tokio::test]
async fn config_get_shows_the_file_without_its_secrets() {
    let (gateway, _folder) = ready().await;
    let mut peer = Peer::connected(&gateway).await;
    let shown = peer.call("config.get", json!({})).await.unwrap();
    assert_eq!(shown["path"], gateway.config_path().display().to_string());
    assert_eq!(
        (&shown["exists"], &shown["valid"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(shown["parsed"]["gateway"]["auth"]["token"], REDACTED);
    assert!(
        shown["raw"]
            .as_str()
            .unwrap()
            .starts_with("// A gateway that needs nothing.")
    );
    assert!(
        shown["hash"]
            .as_str()
            .unwrap()
            .starts_with("hmac-sha256:v1:")
    );
    assert!(
        !shown
            .to_string()
            .contains(gateway.token().unwrap().expose_secret())
    );
}

#[tokio::test]
async fn a_patch_is_merged_applied_and_written_as_the_real_one_writes() {
    let (gateway, _folder) = ready().await;
    let before = read(gateway.config_path());
    let mut peer = Peer::connected(&gateway).await;
    let done = peer
        .patch("{ gateway: { http: { endpoints: { responses: null } }, trustedProxies: ['127.0.0.1'] } } // why not")
        .await
        .unwrap();
    assert_eq!(
        done["changedPaths"],
        json!(["gateway.http.endpoints.responses", "gateway.trustedProxies"])
    );
    assert_eq!(
        done["sentinel"]["payload"]["stats"]["requiresRestart"],
        false
    );
    assert_eq!(done["config"]["gateway"]["auth"]["token"], REDACTED);
    assert_eq!(done["hash"], peer.hash().await);

    let after = read(gateway.config_path());
    assert!(!after.contains("//"));
    assert!(after.starts_with("{\n  \"gateway\": {\n    \"mode\": \"local\",\n    \"port\": "));
    assert!(after.contains(gateway.token().unwrap().expose_secret()));
    let written: Value = serde_json::from_str(&after).unwrap();
    assert_eq!(written["meta"]["lastTouchedVersion"], VERSION);
    assert_eq!(
        written["gateway"]["http"]["endpoints"],
        json!({ "chatCompletions": { "enabled": true } })
    );
    let backup = gateway.config_path().with_file_name("openclaw.json.bak");
    assert_eq!(read(&backup), before);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(gateway.config_path())
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
    }

    let noop = peer
        .patch("{ gateway: { bind: 'loopback' } }")
        .await
        .unwrap();
    assert_eq!(
        (&noop["noop"], &noop["changedPaths"]),
        (&json!(true), &json!([]))
    );
    for turn in 0..6 {
        peer.patch(&format!("{{ logging: {{ level: 'l{turn}' }} }}"))
            .await
            .unwrap();
    }
    let ring: Vec<bool> = ["bak", "bak.1", "bak.4", "bak.5"]
        .iter()
        .map(|end| {
            gateway
                .config_path()
                .with_file_name(format!("openclaw.json.{end}"))
                .exists()
        })
        .collect();
    assert_eq!(ring, [true, true, true, false]);
    assert_eq!(gateway.restarts(), 0);
}

#[tokio::test]
async fn a_patch_that_must_not_be_is_refused_and_nothing_changes() {
    let (gateway, _folder) = ready().await;
    let mut peer = Peer::connected(&gateway).await;
    peer.patch("{ gateway: { trustedProxies: ['127.0.0.1', '::1'] } }")
        .await
        .unwrap();
    let before = read(gateway.config_path());
    for (raw, expected) in [
        (
            "{ gateway: { tokn: 1 } }",
            "invalid config: gateway: Unrecognized key: \"tokn\"",
        ),
        (
            "{ gateway: { port: 'x' } }",
            "invalid config: gateway.port: Invalid input: expected number, received string",
        ),
        ("[1]", "config.patch raw must be an object"),
        (
            "{ gateway: { trustedProxies: ['::1'] } }",
            "config.patch would remove entries from array path(s): gateway.trustedProxies. Pass replacePaths with the exact path(s) when this is intentional, or use config.apply for full-config replacement.",
        ),
    ] {
        assert_eq!(message(&peer.patch(raw).await.unwrap_err()), expected);
    }
    assert!(
        message(&peer.patch("{ gateway:").await.unwrap_err()).starts_with("SyntaxError: JSON5: ")
    );
    let stale = json!({ "raw": "{ logging: {} }", "baseHash": "hmac-sha256:v1:old" });
    assert_eq!(
        message(&peer.call("config.patch", stale).await.unwrap_err()),
        "config changed since last load; re-run config.get and retry"
    );
    let without = json!({ "raw": "{ gateway: { reload: { mode: 'hybrid' } } }" });
    let error = peer.call("config.patch", without).await.unwrap_err();
    assert!(message(&error).starts_with("config base hash required for gateway.reload"));
    let error = peer.call("config.patch", json!({})).await.unwrap_err();
    assert_eq!(
        message(&error),
        "invalid config.patch params: must have required property 'raw'"
    );
    assert_eq!(read(gateway.config_path()), before);

    let hash = peer.hash().await;
    let meant = json!({
        "raw": "{ gateway: { trustedProxies: ['::1'] } }", "baseHash": hash, "replacePaths": ["gateway.trustedProxies"],
    });
    assert!(peer.call("config.patch", meant).await.is_ok());
}

#[tokio::test]
async fn a_new_token_closes_the_session_that_set_it() {
    let (gateway, _folder) = ready().await;
    let mut peer = Peer::connected(&gateway).await;
    let done = peer
        .patch("{ gateway: { auth: { token: 'another-token' } } }")
        .await
        .unwrap();
    assert_eq!(done["changedPaths"], json!(["gateway.auth.token"]));
    let closed = loop {
        let came = peer.next().await;
        if !matches!(came, Came::Frame(_)) {
            break came;
        }
    };
    assert_eq!(
        closed,
        Came::Closed(4001, "gateway auth changed".to_owned())
    );
    assert_eq!(gateway.token().unwrap().expose_secret(), "another-token");
    assert_eq!(gateway.restarts(), 0);
    Peer::connected(&gateway).await;
}

#[tokio::test]
async fn a_patch_of_the_mode_restarts_by_itself() {
    let (gateway, _folder) = ready().await;
    let mut peer = Peer::connected(&gateway).await;
    let done = peer
        .patch("{ gateway: { auth: { mode: 'password', password: 'pass' } } }")
        .await
        .unwrap();
    assert_eq!(
        done["sentinel"]["payload"]["stats"]["requiresRestart"],
        true
    );
    timeout(
        LIMIT,
        gateway.wait_until(|gateway| gateway.starts() == 2 && gateway.phase() == Phase::Ready),
    )
    .await
    .unwrap();
    assert_eq!(gateway.restarts(), 1);
    let mut peer = Peer::open(&gateway, "/").await;
    let error = peer.call("connect", connect("wrong")).await.unwrap_err();
    assert_eq!(error["details"]["code"], "AUTH_PASSWORD_MISMATCH");
    assert!(
        Peer::open(&gateway, "/")
            .await
            .call("connect", connect("pass"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_restart_says_goodbye_closes_the_port_and_comes_back() {
    let (gateway, _folder) = ready().await;
    let mut peer = Peer::connected(&gateway).await;
    let gate = Gate::new();
    gateway.faults().fail("start", 1, Fault::Hold(gate.clone()));
    let answer = peer
        .call("gateway.restart.request", json!({}))
        .await
        .unwrap();
    assert_eq!(answer["status"], "scheduled");
    assert_eq!(answer["restart"]["coalesced"], false);
    let Came::Frame(event) = peer.next().await else {
        panic!("no shutdown event")
    };
    assert_eq!(event["event"], "shutdown");
    assert_eq!(
        event["payload"],
        json!({ "reason": "gateway restarting", "restartExpectedMs": 1500 })
    );
    assert_eq!(
        peer.next().await,
        Came::Closed(1012, "service restart".to_owned())
    );
    timeout(
        LIMIT,
        gateway.wait_until(|gateway| gateway.phase() == Phase::Starting),
    )
    .await
    .unwrap();
    assert!(
        TcpStream::connect(("127.0.0.1", gateway.port()))
            .await
            .is_err()
    );
    gate.open();
    gateway.ready().await.unwrap();
    Peer::connected(&gateway).await;
    assert_eq!((gateway.starts(), gateway.restarts()), (2, 1));
}

#[tokio::test]
async fn the_schema_tells_what_a_change_costs() {
    let (gateway, _folder) = ready().await;
    let mut peer = Peer::connected(&gateway).await;
    for (path, kind) in [
        ("gateway.auth.mode", "restart"),
        ("gateway.http.endpoints.responses.enabled", "hot"),
        ("gateway.reload.mode", "none"),
    ] {
        let found = peer
            .call("config.schema.lookup", json!({ "path": path }))
            .await
            .unwrap();
        assert_eq!(found["reloadKind"], kind, "{path}");
    }
    let error = peer
        .call("config.schema.lookup", json!({ "path": "gateway.nope" }))
        .await
        .unwrap_err();
    assert_eq!(message(&error), "config schema path not found");
    assert_eq!(peer.call("health", json!({})).await.unwrap()["ok"], true);
    let error = peer.call("nope", json!({})).await.unwrap_err();
    assert_eq!(message(&error), "unknown method: nope");
    assert_eq!(gateway.calls().last().unwrap().method, "nope");
}

#[tokio::test]
async fn an_answer_can_be_lost_after_the_patch_took_effect() {
    let (gateway, _folder) = ready().await;
    let mut peer = Peer::connected(&gateway).await;
    gateway
        .faults()
        .fail("rpc config.patch answer", 1, Fault::Refuse);
    let hash = peer.hash().await;
    peer.ask(
        "config.patch",
        json!({ "raw": "{ logging: { level: 'debug' } }", "baseHash": hash }),
    )
    .await;
    while let Came::Frame(frame) = peer.next().await {
        assert_ne!(frame["type"], "res");
    }
    assert!(read(gateway.config_path()).contains("\"level\": \"debug\""));

    let mut peer = Peer::connected(&gateway).await;
    gateway.faults().fail(
        "rpc config.patch",
        1,
        Fault::answer(500, "Error: ENOSPC: no space left on device"),
    );
    let before = read(gateway.config_path());
    let error = peer.patch("{ logging: null }").await.unwrap_err();
    assert_eq!(
        (error["code"].as_str().unwrap(), message(&error)),
        ("UNAVAILABLE", "Error: ENOSPC: no space left on device")
    );
    assert_eq!(read(gateway.config_path()), before);
}

#[tokio::test]
async fn a_patch_goes_into_the_include_that_owns_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let main = "{ gateway: { $include: './gateway.json5' }, logging: { level: 'info' } } // mine\n";
    let gateway = Gateway::builder()
        .config_json5(main)
        .prepare(folder.path())
        .unwrap();
    let include = folder.path().join("gateway.json5");
    std::fs::write(
        &include,
        "{ mode: 'local', auth: { mode: 'token', token: 't' }, }",
    )
    .unwrap();
    gateway.start_again().await.unwrap();
    let mut peer = Peer::connected(&gateway).await;
    let shown = peer.call("config.get", json!({})).await.unwrap();
    assert_eq!(
        shown["includedPaths"],
        json!([include.display().to_string()])
    );

    peer.patch("{ gateway: { http: { endpoints: { responses: { enabled: true } } } } }")
        .await
        .unwrap();
    assert_eq!(read(gateway.config_path()), main);
    let written: Value = serde_json::from_str(&read(&include)).unwrap();
    assert_eq!(written["http"]["endpoints"]["responses"]["enabled"], true);
    assert_eq!(written["auth"]["token"], "t");

    let error = peer
        .patch("{ gateway: { trustedProxies: ['::1'] }, logging: { level: 'debug' } }")
        .await
        .unwrap_err();
    assert!(
        message(&error).ends_with("code=CONFIG_INCLUDE_OWNERSHIP"),
        "{error}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_patch_replaces_a_symlink_by_a_file() {
    let (gateway, folder) = ready().await;
    let real = folder.path().join("real.json5");
    std::fs::rename(gateway.config_path(), &real).unwrap();
    std::os::unix::fs::symlink(&real, gateway.config_path()).unwrap();
    let before = read(&real);
    let mut peer = Peer::connected(&gateway).await;
    peer.patch("{ logging: { level: 'debug' } }").await.unwrap();
    assert!(!gateway.config_path().is_symlink());
    assert_eq!(read(&real), before);
}

#[tokio::test]
async fn a_read_only_configuration_is_not_patched() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::builder()
        .environment("OPENCLAW_NIX_MODE", "1")
        .start(folder.path())
        .await
        .unwrap();
    let mut peer = Peer::connected(&gateway).await;
    assert_eq!(
        peer.patch("{ logging: {} }").await.unwrap_err()["code"],
        "UNAVAILABLE"
    );
}
