//! What a client of the LocalAPI notices.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::time::Duration;

use ecto_sandbox::tailnet::{Access, BackendState, CertificateState, Tailnet, TailnetBuilder};
use http::Method;
use serde_json::{Value, json};
use support::{Watcher, ask_with, claim, get, patch, post, request, send, web};
use tokio::net::TcpStream;

const SAMPLE_VERSION: &str = "1.96.5-t0123456789";

struct Running {
    tailnet: Tailnet,
    folder: tempfile::TempDir,
}

impl std::ops::Deref for Running {
    type Target = Tailnet;

    fn deref(&self) -> &Tailnet {
        &self.tailnet
    }
}

async fn start(builder: TailnetBuilder) -> Running {
    let folder = tempfile::tempdir().unwrap();
    Running {
        tailnet: builder.start(folder.path()).await.unwrap(),
        folder,
    }
}

async fn ready() -> Running {
    start(Tailnet::builder().signed_in().funnel_allowed()).await
}

fn sample(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/samples")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Takes out what belongs to the machine on which a sample was taken.
fn anywhere(mut status: Value) -> Value {
    status["Self"]["OS"] = Value::Null;
    status["Self"]["Addrs"] = Value::Null;
    status["Self"]["HostName"] = Value::Null;
    status
}

async fn status(tailnet: &Tailnet) -> Value {
    get(tailnet, "status?peers=false").await.json()
}

async fn assert_status_like(tailnet: &Tailnet, name: &str) {
    let mut expected = anywhere(sample(name));
    let found = anywhere(status(tailnet).await);
    if expected["AuthURL"] != "" {
        expected["AuthURL"] = found["AuthURL"].clone();
        assert!(
            found["AuthURL"]
                .as_str()
                .unwrap()
                .starts_with("https://login.tailscale.com/a/")
        );
    }
    assert_eq!(found, expected, "{name}");
}

#[tokio::test]
async fn the_status_is_what_the_real_daemon_answers_in_every_state() {
    let tailnet = start(Tailnet::builder().version(SAMPLE_VERSION)).await;
    assert_status_like(&tailnet, "status-needslogin.json").await;
    assert_eq!(
        get(&tailnet, "prefs").await.json(),
        sample("prefs-needslogin.json")
    );
    let prefs = json!({"UpdatePrefs": {"WantRunning": true, "LoggedOut": false}});
    assert_eq!(
        post(&tailnet, "start", &prefs.to_string()).await.status,
        204
    );
    assert_eq!(post(&tailnet, "login-interactive", "").await.status, 204);
    assert_status_like(&tailnet, "status-authurl.json").await;
    assert!(tailnet.approve_sign_in());
    let mut without_https = anywhere(sample("status-running-nocaps.json"));
    without_https["CertDomains"] = Value::Null;
    assert_eq!(anywhere(status(&tailnet).await), without_https);
    assert_eq!(
        post(&tailnet, "query-feature?feature=funnel", "")
            .await
            .json(),
        sample("query-feature-funnel.json")
    );
    tailnet.allow_funnel();
    assert_status_like(&tailnet, "status-running-funnelcaps.json").await;
    let off = json!({"WantRunning": false, "WantRunningSet": true});
    let prefs = patch(&tailnet, "prefs", &off.to_string()).await.json();
    assert_eq!(prefs["WantRunning"], json!(false));
    assert_status_like(&tailnet, "status-stopped.json").await;
}

#[tokio::test]
async fn peers_are_told_only_to_those_who_ask() {
    let tailnet = ready().await;
    assert_eq!(status(&tailnet).await["Peer"], Value::Null);
    assert!(get(&tailnet, "status").await.json()["Peer"].is_object());
}

#[tokio::test]
async fn strangers_and_pages_are_refused() {
    let tailnet = ready().await;
    for headers in [
        [("host", "127.0.0.1:80")],
        [("host", "localhost")],
        [("origin", "https://example.com")],
        [("referer", "https://example.com/")],
    ] {
        let answer = ask_with(tailnet.socket(), Method::GET, "status", &headers, "").await;
        assert_eq!(answer.status, 403, "{headers:?}");
        assert_eq!(answer.text(), "invalid localapi request\n");
    }
    let answer = get(&tailnet, "status").await;
    assert_eq!(answer.header("tailscale-version"), "1.102.3-t0123456789");
    assert!(answer.header("tailscale-cap").parse::<u32>().is_ok());
    let missing = get(&tailnet, "check-funnel").await;
    assert_eq!(
        (missing.status.as_u16(), missing.text().as_str()),
        (404, "404 page not found\n")
    );
}

#[tokio::test]
async fn a_reading_user_is_told_what_is_denied() {
    let tailnet = start(Tailnet::builder().signed_in().access(Access::ReadOnly)).await;
    for (method, endpoint, text) in [
        (Method::POST, "start", "access denied\n"),
        (Method::POST, "login-interactive", "login access denied\n"),
        (Method::POST, "logout", "logout access denied\n"),
        (
            Method::POST,
            "reset-auth",
            "reset-auth modify access denied\n",
        ),
        (Method::PATCH, "prefs", "prefs write access denied\n"),
        (Method::POST, "serve-config", "serve config denied\n"),
        (
            Method::GET,
            "cert/oc-mac.tail1234.ts.net",
            "cert access denied\n",
        ),
    ] {
        let answer = ask_with(tailnet.socket(), method, endpoint, &[], "{}").await;
        assert_eq!(
            (answer.status.as_u16(), answer.text().as_str()),
            (403, text),
            "{endpoint}"
        );
    }
    assert_eq!(get(&tailnet, "status").await.status, 200);
    assert_eq!(get(&tailnet, "serve-config").await.status, 200);
    assert_eq!(
        post(&tailnet, "query-feature?feature=funnel", "")
            .await
            .status,
        200
    );
    tailnet.set_access(Access::Denied);
    assert_eq!(
        get(&tailnet, "status").await.text(),
        "status access denied\n"
    );
    assert_eq!(
        get(&tailnet, "watch-ipn-bus?mask=2").await.text(),
        "watch ipn bus access denied\n"
    );
}

#[tokio::test]
async fn a_wrong_preference_changes_nothing() {
    let tailnet = ready().await;
    let wrong = json!({"WantRunning": "no", "WantRunningSet": true});
    let answer = patch(&tailnet, "prefs", &wrong.to_string()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["Error"].is_string());
    assert_eq!(patch(&tailnet, "prefs", "{").await.status, 400);
    assert_eq!(tailnet.state(), BackendState::Running);
    let named = json!({"Hostname": "ecto-here", "HostnameSet": true});
    patch(&tailnet, "prefs", &named.to_string()).await;
    assert_eq!(tailnet.host(), "ecto-here.tail1234.ts.net");
}

#[tokio::test]
async fn the_serve_configuration_is_replaced_only_by_those_who_know_it() {
    let tailnet = ready().await;
    let before = get(&tailnet, "serve-config").await;
    assert_eq!(before.text(), "null");
    let tag = before.header("etag").to_owned();
    assert_eq!(tag.len(), 64, "no quotes: {tag}");
    let mut config = web(&tailnet.host(), 443, json!({"/": {"Text": "x"}}));
    config["Future"] = json!({"kept": [1]});
    let stale = [("if-match", "0000")];
    let answer = ask_with(
        tailnet.socket(),
        Method::POST,
        "serve-config",
        &stale,
        &config.to_string(),
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (412, "etag mismatch\n")
    );
    let known = [("if-match", tag.as_str())];
    let answer = ask_with(
        tailnet.socket(),
        Method::POST,
        "serve-config",
        &known,
        &config.to_string(),
    )
    .await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, ""));
    let after = get(&tailnet, "serve-config").await;
    assert_eq!(after.json(), config);
    assert_ne!(after.header("etag"), tag);
    let again = ask_with(
        tailnet.socket(),
        Method::POST,
        "serve-config",
        &known,
        &config.to_string(),
    )
    .await;
    assert_eq!(again.status, 412);
    assert_eq!(
        post(&tailnet, "serve-config", "{}").await.status,
        200,
        "no tag is force"
    );
    assert_eq!(get(&tailnet, "serve-config").await.text(), "{}");
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_the_daemon_s_words() {
    let tailnet = ready().await;
    let refusal = async |body: &Value| {
        let answer = post(&tailnet, "serve-config", &body.to_string()).await;
        assert_eq!(answer.status, 500);
        answer.json()["error"].as_str().unwrap().to_owned()
    };
    let held = web(
        &tailnet.host(),
        443,
        json!({"/": {"Text": "somebody else"}}),
    );
    tailnet.set_serve_config(held.clone()).unwrap();
    let mut watcher = Watcher::open(&tailnet, 2).await;
    let session = watcher
        .field("SessionID")
        .await
        .as_str()
        .unwrap()
        .to_owned();
    let mut wanted = held.clone();
    wanted["Foreground"] =
        claim(&tailnet, &session, 443, "http://127.0.0.1:1")["Foreground"].clone();
    assert_eq!(
        refusal(&wanted).await,
        "updating config: listener already exists for port 443"
    );
    let clash = json!({"TCP": {"443": {"TCPForward": "127.0.0.1:22"}}});
    assert_eq!(
        refusal(&clash).await,
        "updating config: want to serve \"tcp\", but port 443 is already serving \"https\""
    );
    tailnet.set_serve_config(json!({})).unwrap();
    let foreground = claim(&tailnet, &session, 443, "http://127.0.0.1:1");
    assert_eq!(
        post(&tailnet, "serve-config", &foreground.to_string())
            .await
            .status,
        200
    );
    let mut over = held.clone();
    over["Foreground"] = foreground["Foreground"].clone();
    assert_eq!(
        refusal(&over).await,
        "updating config: foreground listener already exists for port 443"
    );
    assert!(refusal(&json!([1])).await.starts_with("decoding config: "));
    tailnet.set_serve_config(json!({})).unwrap();
    tailnet.set_shields_up(true);
    assert_eq!(
        refusal(&held).await,
        "updating config: Unable to turn on Funnel while shields-up is enabled"
    );
    let path = json!({"Web": {"h:443": {"Handlers": {"/": {"Path": "/etc"}}}}});
    assert_eq!(
        post(&tailnet, "serve-config", &path.to_string())
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn whoever_is_not_signed_in_has_no_serve_configuration() {
    let tailnet = ready().await;
    let held = web(&tailnet.host(), 443, json!({"/": {"Text": "x"}}));
    tailnet.set_serve_config(held.clone()).unwrap();
    assert_eq!(post(&tailnet, "logout", "").await.status, 204);
    assert_eq!(get(&tailnet, "serve-config").await.text(), "null");
    let answer = post(&tailnet, "serve-config", &held.to_string()).await;
    assert_eq!(
        answer.json(),
        json!({"error": "updating config: netMap is nil"})
    );
    let answer = post(&tailnet, "query-feature?feature=funnel", "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str()),
        (503, "no netmap\n")
    );
}

#[tokio::test]
async fn a_claim_for_a_session_that_is_gone_is_dropped() {
    let tailnet = ready().await;
    let wanted = claim(&tailnet, "0123456789abcdef", 443, "http://127.0.0.1:1");
    assert_eq!(
        post(&tailnet, "serve-config", &wanted.to_string())
            .await
            .status,
        200
    );
    assert_eq!(get(&tailnet, "serve-config").await.text(), "{}");
}

#[tokio::test]
async fn the_app_s_port_asks_for_the_token_that_its_file_tells() {
    let tailnet = start(Tailnet::builder().signed_in().standalone_app()).await;
    let port = std::fs::read_link(tailnet.folder.path().join("ipnport")).unwrap();
    let port: u16 = port.to_str().unwrap().parse().unwrap();
    assert_eq!(Some(port), tailnet.app_port());
    let file = tailnet.folder.path().join(format!("sameuserproof-{port}"));
    let token = std::fs::read_to_string(file).unwrap();
    let ask = async |password: Option<&str>| {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let host = format!("127.0.0.1:{port}");
        let basic = password.map(|password| {
            let pair = format!(":{password}");
            format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()))
        });
        let mut headers = vec![("host", host.as_str())];
        headers.extend(basic.as_deref().map(|basic| ("authorization", basic)));
        let answer = send(
            stream,
            request(Method::GET, "/localapi/v0/status", &headers, ""),
        )
        .await
        .unwrap();
        (answer.status.as_u16(), answer.text())
    };
    assert_eq!(ask(None).await, (401, "auth required\n".to_owned()));
    assert_eq!(ask(Some("wrong")).await, (403, "bad password\n".to_owned()));
    assert_eq!(ask(Some(&token)).await.0, 200);
}

#[tokio::test]
async fn certificates_are_given_for_the_own_name_alone() {
    let tailnet = ready().await;
    let pair = get(&tailnet, &format!("cert/{}?type=pair", tailnet.host()))
        .await
        .text();
    assert!(pair.contains("BEGIN CERTIFICATE") && pair.contains("PRIVATE KEY"));
    let certificate = get(&tailnet, &format!("cert/{}?type=cert", tailnet.host()))
        .await
        .text();
    assert!(!certificate.contains("PRIVATE KEY"));
    assert_eq!(get(&tailnet, "cert/example.com").await.status, 500);
    tailnet.set_certificate(CertificateState::Limited { retry_after: 3600 });
    let limited = get(&tailnet, &format!("cert/{}", tailnet.host())).await;
    assert_eq!(
        (limited.status.as_u16(), limited.header("retry-after")),
        (429, "3600")
    );
}

#[tokio::test]
async fn what_was_asked_is_noted() {
    let tailnet = ready().await;
    get(&tailnet, "status?peers=false").await;
    patch(&tailnet, "prefs", "{\"RunSSHSet\":true}").await;
    let asked: Vec<(String, String, String)> = tailnet
        .requests()
        .into_iter()
        .map(|request| (request.method, request.path, request.body))
        .collect();
    let expected = [
        ("GET", "/localapi/v0/status?peers=false", ""),
        ("PATCH", "/localapi/v0/prefs", "{\"RunSSHSet\":true}"),
    ];
    assert_eq!(
        asked,
        expected.map(|(m, p, b)| (m.to_owned(), p.to_owned(), b.to_owned()))
    );
    tailnet.forget_requests();
    assert!(tailnet.requests().is_empty());
}

#[tokio::test]
async fn nothing_is_left_after_the_end() {
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = alive();
    let folder = tempfile::tempdir().unwrap();
    let tailnet = Tailnet::builder()
        .approves_sign_in_after(Duration::from_secs(3600))
        .standalone_app()
        .start(folder.path())
        .await
        .unwrap();
    let edge = ecto_sandbox::edge::Edge::start(&tailnet).await.unwrap();
    let mut watcher = Watcher::open(&tailnet, 2).await;
    watcher.state(2).await;
    post(&tailnet, "login-interactive", "").await;
    let (socket, port) = (tailnet.socket().to_owned(), tailnet.app_port().unwrap());
    let public = edge.address();
    edge.shutdown().await;
    tailnet.shutdown().await;
    watcher.end().await;
    assert!(!socket.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    assert!(TcpStream::connect(public).await.is_err());
    // The clients' own connections end a moment after the daemon's.
    support::in_time(async {
        while alive() > before {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
