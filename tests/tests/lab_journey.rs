//! The whole journey in the lab: the real command, the real tailscaled, the real OpenClaw.

#![expect(clippy::unwrap_used, reason = "what a test leans on may end it")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use ecto_tests::command::Ecto;
use ecto_tests::lab::{Binaries, Gateway, Lab, Visitor};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

const ENDPOINTS: &str = "    http: { endpoints: { chatCompletions: { enabled: true }, responses: { enabled: true } } },\n";

/// A configuration as a person wrote it, in which both endpoints are still off.
fn without_endpoints(port: u16, model: &str) -> String {
    let text = Gateway::configuration(port, model);
    assert!(
        text.contains(ENDPOINTS),
        "the lab's configuration has another form"
    );
    text.replace(ENDPOINTS, "")
}

fn chat(text: &str, stream: bool) -> Value {
    json!({ "model": "openclaw", "stream": stream, "messages": [{ "role": "user", "content": text }] })
}

fn raw(method: &str, path: &str, key: Option<&str>) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    request.body(Bytes::new()).unwrap()
}

async fn post(visitor: &Visitor, path: &str, key: &str, body: &Value) -> reqwest::Response {
    visitor
        .request(Method::POST, path)
        .bearer_auth(key)
        .json(body)
        .send()
        .await
        .unwrap()
}

async fn status_of(visitor: &Visitor, request: Request<Bytes>) -> StatusCode {
    visitor.send(request).await.unwrap().status
}

/// Waits until nobody from outside gets in any more, and says how long that took.
async fn closed_after(visitor: &Visitor, since: Instant) -> Duration {
    loop {
        if visitor.connect().await.is_err() {
            return since.elapsed();
        }
        assert!(
            since.elapsed() < Duration::from_secs(10),
            "the door stays open"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_connect_to_restore() {
    let binaries = Binaries::ready().await.unwrap();
    let gateway = Gateway::start_with(&binaries, without_endpoints)
        .await
        .unwrap();
    let lab = Lab::start_with_gateway(&binaries, gateway).await.unwrap();
    let config = lab.gateway.config_path();
    let original = std::fs::read_to_string(&config).unwrap();
    let ecto = Ecto::new(&lab).unwrap();
    let visitor = lab.visitor().unwrap();
    assert!(
        visitor.connect().await.is_err(),
        "open before anything was asked for"
    );

    let started = Instant::now();
    let mut host = ecto.connect(&[]).await.unwrap();
    println!(
        "connect to Public, OpenClaw set up on the way: {:.2?}",
        started.elapsed()
    );
    let url = format!("https://{}/v1/chat/completions", lab.node.host());
    assert_eq!(host.report["url"], json!(url), "{:#}", host.report);
    assert!(
        host.report.get("key_secret").is_none(),
        "a key in a pipe that nobody asked for"
    );
    let key = ecto.key().await.unwrap();
    let key = key.as_str();

    let changed = std::fs::read_to_string(&config).unwrap();
    for line in original.lines() {
        assert!(
            changed.contains(line),
            "a line of the configuration is gone: {line}"
        );
    }

    // What a key holder gets, streamed and not.
    let answer: Value = post(
        &visitor,
        "/v1/chat/completions",
        key,
        &chat("ping one", false),
    )
    .await
    .json()
    .await
    .unwrap();
    assert!(
        answer["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .contains("ping one")
    );
    let streamed = post(
        &visitor,
        "/v1/chat/completions",
        key,
        &chat("ping two", true),
    )
    .await;
    assert_eq!(
        streamed.headers()["content-type"]
            .to_str()
            .unwrap()
            .split(';')
            .next(),
        Some("text/event-stream")
    );
    let streamed = streamed.text().await.unwrap();
    assert!(streamed.contains("data: [DONE]"), "{streamed}");
    let answer: Value = post(
        &visitor,
        "/v1/responses",
        key,
        &json!({ "model": "openclaw", "input": "ping three" }),
    )
    .await
    .json()
    .await
    .unwrap();
    assert_eq!(answer["status"], "completed");
    let streamed = post(
        &visitor,
        "/v1/responses",
        key,
        &json!({ "model": "openclaw", "stream": true, "input": "ping four" }),
    )
    .await
    .text()
    .await
    .unwrap();
    assert!(streamed.contains("response.completed"), "{streamed}");
    let models: Value = visitor
        .request(Method::GET, "/v1/models")
        .bearer_auth(key)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(models["object"], "list");

    // What nobody gets.
    let wrong = "ecto_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(
        status_of(&visitor, raw("GET", "/v1/models", None)).await,
        401
    );
    assert_eq!(
        status_of(&visitor, raw("GET", "/v1/models", Some(wrong))).await,
        401
    );
    assert_eq!(
        status_of(
            &visitor,
            raw("GET", "/v1/models", Some(lab.gateway.token()))
        )
        .await,
        401
    );
    // The four completions and the list of models; the check from outside is no caller.
    let let_through = json!(5);
    ecto.wait_for_status(|status| {
        status["exposure"]["reach"]["reach"] != "unchecked"
            && status["activity"]["passed"] == let_through
    })
    .await
    .unwrap();
    let mut answers = Vec::new();
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/health"),
        ("POST", "/tools/invoke"),
        ("POST", "/v1/../tools/invoke"),
        ("POST", "/v1/%2e%2e/tools/invoke"),
        ("POST", "/v1/..\\tools\\invoke"),
        ("GET", "//v1/models"),
        ("GET", "/V1/models"),
    ] {
        let status = status_of(&visitor, raw(method, path, Some(key))).await;
        answers.push(format!("{method} {path}: {}", status.as_u16()));
    }
    assert_eq!(
        answers,
        [
            "GET /: 404",
            "GET /health: 404",
            "POST /tools/invoke: 404",
            "POST /v1/../tools/invoke: 404",
            "POST /v1/%2e%2e/tools/invoke: 404",
            "POST /v1/..\\tools\\invoke: 404",
            "GET //v1/models: 404",
            "GET /V1/models: 404",
        ]
    );
    for path in ["/", "/v1/models", "/v1/chat/completions"] {
        let mut upgrade = raw("GET", path, Some(key));
        for (name, value) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            upgrade.headers_mut().insert(name, value.parse().unwrap());
        }
        assert_eq!(
            status_of(&visitor, upgrade).await,
            404,
            "an upgrade at {path}"
        );
    }
    assert_eq!(
        ecto.status().await.unwrap()["activity"]["passed"],
        let_through,
        "something of it reached the gateway"
    );

    let report = ecto
        .wait_for_status(|status| status["exposure"]["reach"]["reach"] != "unchecked")
        .await
        .unwrap();
    assert_eq!(
        report["exposure"]["reach"]["reach"], "reachable",
        "{report:#}"
    );

    // A stream in flight is cut when the door closes.
    lab.gateway.model.stall();
    let mut stream = {
        let mut request = raw("POST", "/v1/chat/completions", Some(key))
            .map(|_| Bytes::from(serde_json::to_vec(&chat("ping five", true)).unwrap()));
        request
            .headers_mut()
            .insert("content-type", "application/json".parse().unwrap());
        visitor.open(request).await.unwrap()
    };
    assert_eq!(stream.status(), 200);
    assert!(
        stream.body_mut().frame().await.unwrap().is_ok(),
        "nothing came before the cut"
    );
    let asked = Instant::now();
    let (ended, closed) = tokio::join!(ecto.done(&["disconnect"]), closed_after(&visitor, asked));
    println!(
        "disconnect: refused from outside after {closed:.2?}, the command returned after {:.2?}",
        asked.elapsed()
    );
    assert!(ended.unwrap().stdout.contains("Private"));
    let cut = tokio::time::timeout(Duration::from_secs(2), async {
        while let Some(Ok(_)) = stream.body_mut().frame().await {}
    });
    cut.await
        .expect("the stream goes on after the door was closed");
    println!("the stream was cut within {:.2?}", asked.elapsed());
    lab.gateway.model.resume();
    assert_eq!(host.ended().await.unwrap(), Some(0));
    assert_eq!(ecto.status().await.unwrap()["exposure"]["state"], "private");
    assert_eq!(
        lab.node.localapi().serve_config().await.unwrap().0,
        json!({})
    );

    // Killed while public: tailscaled closes the door by itself.
    let mut host = ecto.connect(&[]).await.unwrap();
    assert_eq!(
        status_of(&visitor, raw("GET", "/v1/models", Some(key))).await,
        200
    );
    let killed = Instant::now();
    host.kill().unwrap();
    println!(
        "kill -9: refused from outside after {:.2?}",
        closed_after(&visitor, killed).await
    );
    host.ended().await.unwrap();
    let status = ecto.status().await.unwrap();
    assert_eq!(status["host"], Value::Null);
    assert_eq!(status["exposure"]["state"], "private");
    assert_eq!(status["wanted"]["wanted"], "public");

    // OpenClaw as it was, to the byte.
    assert_eq!(std::fs::read_to_string(&config).unwrap(), changed);
    let restored = ecto
        .done(&["restore", "--json"])
        .await
        .unwrap()
        .json()
        .unwrap();
    assert!(
        !restored["restored"].as_array().unwrap().is_empty(),
        "{restored}"
    );
    assert_eq!(std::fs::read_to_string(&config).unwrap(), original);
    assert_eq!(ecto.status().await.unwrap()["wanted"]["wanted"], "private");

    // No secret was left anywhere in what Ecto keeps, but in its vault.
    for secret in [key, lab.gateway.token()] {
        for file in files_below(&ecto.home()) {
            let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
            let is_vault = file.ends_with("ecto-credentials.json");
            assert!(
                is_vault || !text.contains(secret),
                "a secret in {}",
                file.display()
            );
        }
    }
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}
