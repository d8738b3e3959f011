//! What an HTTP client of the stand-in gateway notices.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use ecto_sandbox::faults::Fault;
use ecto_sandbox::gateway::{Gateway, Outcome, Timing};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn client() -> Client {
    // It fails only where another test of this binary was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new()
}

struct Setting {
    gateway: Gateway,
    client: Client,
    _folder: TempDir,
}

impl Setting {
    async fn ready() -> Self {
        Self::with(None).await
    }

    async fn with(config: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut builder = Gateway::builder();
        if let Some(config) = config {
            builder = builder.config_json5(config);
        }
        let gateway = builder.start(folder.path()).await.unwrap();
        Self {
            gateway,
            client: client(),
            _folder: folder,
        }
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.gateway.url()))
    }

    fn holding_token(&self, method: Method, path: &str) -> RequestBuilder {
        let token = self.gateway.token().unwrap();
        self.ask(method, path).bearer_auth(token.expose_secret())
    }

    async fn status(&self, request: RequestBuilder) -> u16 {
        request.send().await.unwrap().status().as_u16()
    }

    fn chat(&self, stream: bool) -> RequestBuilder {
        self.holding_token(Method::POST, "/v1/chat/completions").json(&json!({
            "model": "openclaw", "stream": stream, "messages": [{ "role": "user", "content": "good morning" }],
        }))
    }

    /// Sends a request line as it is, which no polite client would.
    async fn raw(&self, method: &str, target: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.gateway.port()))
            .await
            .unwrap();
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

async fn body(response: Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn the_paths_answer_as_in_the_table() {
    let setting = Setting::ready().await;
    let get = Method::GET;
    let post = Method::POST;
    // path, without token, with a wrong token, with the right token
    let table = [
        (&get, "/health", [200, 200, 200]),
        (&get, "/healthz", [200, 200, 200]),
        (&post, "/healthz", [405, 405, 405]),
        (&get, "/readyz", [200, 200, 200]),
        (&get, "/startupz", [200, 200, 200]),
        (&get, "/v1/models", [401, 401, 200]),
        (&get, "/v1/models/openclaw", [401, 401, 200]),
        (&get, "/v1/models/openclaw%2Fmain", [401, 401, 200]),
        (&get, "/v1/models/other", [401, 401, 400]),
        (&get, "/v1/chat/completions", [405, 405, 405]),
        (&Method::OPTIONS, "/v1/chat/completions", [405, 405, 405]),
        (&get, "/v1/responses", [405, 405, 405]),
        (&get, "/v1/responses/resp_x", [404, 404, 404]),
        (&post, "/v1/embeddings", [401, 401, 400]),
        (&get, "/v1", [404, 404, 404]),
        (&get, "/v1/other", [404, 404, 404]),
        (&get, "/tools/invoke", [405, 405, 405]),
        (&post, "/api/v1/admin/rpc", [404, 404, 404]),
        (&post, "/hooks/wake", [404, 404, 404]),
        (&get, "/sessions/main/history", [401, 401, 404]),
        (&get, "/control-ui-config.json", [401, 401, 200]),
        (&get, "/", [200, 200, 200]),
        (&get, "/nonexistent.bin", [200, 200, 200]),
        (&get, "/.well-known/x", [200, 200, 200]),
        (&get, "/V1/models", [200, 200, 200]),
        (&post, "/nope", [404, 404, 404]),
        (&get, "/browser/extension", [426, 426, 426]),
    ];
    for (method, path, expected) in table {
        let none = setting.status(setting.ask(method.clone(), path)).await;
        let wrong = setting
            .status(setting.ask(method.clone(), path).bearer_auth("wrong"))
            .await;
        let right = setting
            .status(setting.holding_token(method.clone(), path))
            .await;
        assert_eq!([none, wrong, right], expected, "{method} {path}");
    }
    let refused = body(setting.ask(get, "/v1/models").send().await.unwrap()).await;
    assert_eq!(
        refused,
        json!({ "error": { "message": "Unauthorized", "type": "unauthorized" } })
    );
    let page = setting
        .ask(Method::GET, "/")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(page.starts_with("<!doctype html>"));
}

#[tokio::test]
async fn a_disabled_endpoint_is_not_there() {
    let setting = Setting::with(Some(
        r#"{ gateway: { mode: "local", port: $PORT, auth: { token: "t" }, http: { endpoints: { responses: { enabled: true } } } } }"#,
    ))
    .await;
    assert_eq!(setting.status(setting.chat(false)).await, 404);
    let models = setting.holding_token(Method::GET, "/v1/models");
    assert_eq!(setting.status(models).await, 200);

    let none = Setting::with(Some(
        r#"{ gateway: { mode: "local", port: $PORT, auth: { token: "t" } } }"#,
    ))
    .await;
    assert_eq!(
        none.status(none.holding_token(Method::GET, "/v1/models"))
            .await,
        404
    );
    assert_eq!(
        none.status(none.holding_token(Method::POST, "/v1/responses"))
            .await,
        404
    );
}

#[tokio::test]
async fn path_tricks_reach_the_tools() {
    let setting = Setting::ready().await;
    let token = setting.gateway.token().unwrap();
    let call = r#"{"tool":"sessions_list"}"#;
    for target in [
        "/tools/invoke",
        "/v1/../tools/invoke",
        "/v1/%2e%2e/tools/invoke",
        "/v1/..\\tools\\invoke",
    ] {
        let headers = format!(
            "Authorization: bearer {}\r\nContent-Length: {}\r\n\r\n{call}",
            token.expose_secret(),
            call.len()
        );
        let answer = setting.raw("POST", target, &headers).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{target}: {answer}");
    }
    let requests = setting.gateway.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.path == "/tools/invoke")
    );
    assert_eq!(requests[2].target, "/v1/%2e%2e/tools/invoke");
    let exec = setting
        .holding_token(Method::POST, "/tools/invoke")
        .json(&json!({ "tool": "exec" }));
    assert_eq!(setting.status(exec).await, 404);
}

#[tokio::test]
async fn a_chat_completion_has_the_shape_clients_know() {
    let setting = Setting::ready().await;
    let answer = body(setting.chat(false).send().await.unwrap()).await;
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        "Hello from the stand-in model. You said: good morning"
    );

    let streamed = setting.chat(true).send().await.unwrap();
    assert_eq!(
        streamed.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let events = streamed.text().await.unwrap();
    assert!(events.ends_with("data: [DONE]\n\n"));
    let words: String = events
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"))
        .filter_map(|data| {
            let chunk: Value = serde_json::from_str(&format!("{{{data}")).unwrap();
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(
        words,
        "Hello from the stand-in model. You said: good morning"
    );
}

#[tokio::test]
async fn a_response_has_the_shape_clients_know() {
    let setting = Setting::ready().await;
    let ask = |stream: bool| {
        setting
            .holding_token(Method::POST, "/v1/responses")
            .json(&json!({ "model": "openclaw/main", "stream": stream, "input": "good evening" }))
    };
    let answer = body(ask(false).send().await.unwrap()).await;
    assert_eq!(answer["object"], "response");
    assert_eq!(answer["status"], "completed");
    assert_eq!(
        answer["output"][0]["content"][0]["text"],
        "Hello from the stand-in model. You said: good evening"
    );
    let events = ask(true).send().await.unwrap().text().await.unwrap();
    let names: Vec<&str> = events
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .collect();
    assert_eq!(names.first(), Some(&"response.created"));
    assert_eq!(
        names
            .iter()
            .filter(|name| **name == "response.output_text.delta")
            .count(),
        9
    );
    assert_eq!(names.last(), Some(&"response.completed"));
    assert!(events.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn wrong_questions_get_the_real_complaints() {
    let setting = Setting::ready().await;
    let complaint = async |body: &str| {
        let request = setting
            .holding_token(Method::POST, "/v1/chat/completions")
            .body(body.to_owned());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        answer["error"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(complaint("").await, "Missing user message in `messages`.");
    assert!(complaint("no json").await.ends_with("is not valid JSON"));
    let message = r#""messages":[{"role":"user","content":"x"}]"#;
    assert_eq!(
        complaint(&format!(r#"{{"model":"gpt",{message}}}"#)).await,
        "Invalid `model`. Use `openclaw` or `openclaw/<agentId>`."
    );
    assert_eq!(
        complaint(&format!(r#"{{"model":"openclaw/nope",{message}}}"#)).await,
        "Unknown agent 'nope'."
    );
}

#[tokio::test]
async fn the_header_pins_the_agent() {
    let setting = Setting::with(Some(
        r#"{ gateway: { mode: "local", port: $PORT, auth: { token: "t" }, http: { endpoints: { chatCompletions: { enabled: true } } } },
            agents: { entries: { main: {}, public: {} } } }"#,
    ))
    .await;
    let listed = body(
        setting
            .holding_token(Method::GET, "/v1/models")
            .send()
            .await
            .unwrap(),
    )
    .await;
    let ids: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|model| model["id"].as_str())
        .collect();
    assert_eq!(
        ids,
        [
            "openclaw",
            "openclaw/default",
            "openclaw/main",
            "openclaw/public"
        ]
    );
    assert_eq!(
        setting
            .status(setting.chat(false).header("x-openclaw-agent-id", "public"))
            .await,
        200
    );
    assert_eq!(setting.status(setting.chat(false)).await, 200);
    assert_eq!(
        setting
            .status(setting.chat(false).header("x-openclaw-agent-id", "nope"))
            .await,
        400
    );
    let agents: Vec<Option<String>> = setting
        .gateway
        .requests()
        .into_iter()
        .map(|request| request.agent)
        .collect();
    assert_eq!(
        agents,
        [
            None,
            Some("public".to_owned()),
            Some("main".to_owned()),
            None
        ]
    );
}

#[tokio::test]
async fn forwarding_headers_are_refused_unless_the_proxy_is_trusted() {
    let setting = Setting::ready().await;
    for (name, value) in [
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-Host", "a.example"),
        ("X-Real-IP", "203.0.113.7"),
        ("Forwarded", "for=203.0.113.7"),
        ("Tailscale-Funnel-Request", "?1"),
        ("Tailscale-User-Login", "a@example.com"),
    ] {
        let response = setting
            .holding_token(Method::GET, "/v1/models")
            .header(name, value)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{name}");
        assert_eq!(
            body(response).await["error"]["type"],
            "proxy_attribution_required"
        );
        assert_eq!(
            setting
                .status(setting.ask(Method::GET, "/healthz").header(name, value))
                .await,
            200
        );
    }

    let trusting = Setting::with(Some(
        r#"{ gateway: { mode: "local", port: $PORT, trustedProxies: ["127.0.0.0/8"], auth: { token: "t" },
            http: { endpoints: { responses: { enabled: true } } } } }"#,
    ))
    .await;
    let models = || trusting.holding_token(Method::GET, "/v1/models");
    assert_eq!(
        trusting
            .status(models().header("X-Forwarded-For", "203.0.113.7"))
            .await,
        200
    );
    assert_eq!(
        trusting
            .status(models().header("X-Forwarded-For", "127.0.0.1"))
            .await,
        403
    );
    assert_eq!(
        trusting
            .status(models().header("X-Forwarded-Host", "a.example"))
            .await,
        403
    );
}

#[tokio::test]
async fn ten_wrong_tokens_lock_one_address_out() {
    let setting = Setting::with(Some(
        r#"{ gateway: { mode: "local", port: $PORT, trustedProxies: ["127.0.0.1"], auth: { token: "t" },
            http: { endpoints: { responses: { enabled: true } } } } }"#,
    ))
    .await;
    let from = |address: &str, token: &str| {
        setting
            .ask(Method::GET, "/v1/models")
            .header("X-Forwarded-For", address)
            .bearer_auth(token)
    };
    for _ in 0..10 {
        assert_eq!(setting.status(from("203.0.113.7", "wrong")).await, 401);
    }
    let locked = from("203.0.113.7", "t").send().await.unwrap();
    assert_eq!(locked.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(locked.headers()["retry-after"], "300");
    assert_eq!(setting.status(from("203.0.113.8", "t")).await, 200);
    for _ in 0..12 {
        assert_eq!(
            setting
                .status(setting.ask(Method::GET, "/v1/models").bearer_auth("wrong"))
                .await,
            401
        );
    }
    assert_eq!(
        setting
            .status(setting.holding_token(Method::GET, "/v1/models"))
            .await,
        200
    );
}

#[tokio::test]
async fn a_client_that_goes_away_is_noticed() {
    let setting = Setting::ready().await;
    setting.gateway.stall(Duration::from_secs(600));
    let mut stream = setting.chat(true).send().await.unwrap();
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("\"role\":\"assistant\""));
    drop(stream);
    setting
        .gateway
        .wait_until(|gateway| gateway.requests()[0].outcome == Outcome::CutOff)
        .await;

    let waiting = tokio::spawn(setting.chat(false).send());
    setting
        .gateway
        .wait_until(|gateway| {
            gateway
                .requests()
                .get(1)
                .is_some_and(|request| request.agent.is_some())
        })
        .await;
    assert_eq!(setting.gateway.requests()[1].outcome, Outcome::Open);
    waiting.abort();
    setting
        .gateway
        .wait_until(|gateway| gateway.requests()[1].outcome == Outcome::CutOff)
        .await;

    setting.gateway.stall(Duration::ZERO);
    assert_eq!(setting.status(setting.chat(true)).await, 200);
}

#[tokio::test]
async fn a_body_over_twenty_megabytes_closes_the_connection() {
    let setting = Setting::ready().await;
    let large = setting
        .holding_token(Method::POST, "/v1/responses")
        .body(vec![b' '; 21 * 1024 * 1024]);
    assert!(large.send().await.is_err());
    assert_eq!(setting.gateway.requests()[0].outcome, Outcome::CutOff);
}

#[tokio::test]
async fn what_was_received_is_recorded_without_showing_secrets() {
    let setting = Setting::ready().await;
    setting
        .chat(false)
        .header("X-Trace", "7")
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let request = setting.gateway.requests().remove(0);
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/v1/chat/completions")
    );
    assert_eq!(request.header("x-trace"), Some("7"));
    assert!(String::from_utf8_lossy(&request.body).contains("good morning"));
    assert_eq!(request.outcome, Outcome::Answered(StatusCode::OK));
    let token = setting.gateway.token().unwrap();
    assert!(!format!("{request:?}{:?}", setting.gateway).contains(token.expose_secret()));
}

#[tokio::test]
async fn authentication_can_be_off_a_password_or_made_at_the_start() {
    let endpoints = "http: { endpoints: { responses: { enabled: true } } }";
    let open = format!(
        "{{ gateway: {{ mode: 'local', port: $PORT, trustedProxies: ['127.0.0.1'], auth: {{ mode: 'none' }}, {endpoints} }} }}"
    );
    let open = Setting::with(Some(&open)).await;
    assert!(open.gateway.token().is_none());
    assert_eq!(open.status(open.ask(Method::GET, "/v1/models")).await, 200);
    let forwarded = || {
        open.ask(Method::GET, "/v1/models")
            .header("X-Forwarded-For", "203.0.113.7")
    };
    assert_eq!(open.status(forwarded()).await, 200);
    assert_eq!(
        open.status(forwarded().header("Tailscale-Funnel-Request", "?1"))
            .await,
        401
    );

    let password = format!(
        "{{ gateway: {{ mode: 'local', port: $PORT, auth: {{ mode: 'password', password: 'pass' }}, {endpoints} }} }}"
    );
    let password = Setting::with(Some(&password)).await;
    assert_eq!(
        password
            .status(password.ask(Method::GET, "/v1/models").bearer_auth("pass"))
            .await,
        200
    );
    assert_eq!(
        password
            .status(password.ask(Method::GET, "/v1/models").bearer_auth("other"))
            .await,
        401
    );

    let unset = format!("{{ gateway: {{ mode: 'local', port: $PORT, {endpoints} }} }}");
    let unset = Setting::with(Some(&unset)).await;
    assert_eq!(
        unset
            .status(unset.holding_token(Method::GET, "/v1/models"))
            .await,
        200
    );
    let token = unset.gateway.token().unwrap();
    let file = std::fs::read_to_string(unset.gateway.config_path()).unwrap();
    assert!(!file.contains(token.expose_secret()));
}

#[tokio::test]
async fn it_can_answer_200_to_everything() {
    let setting = Setting::ready().await;
    setting.gateway.answer_everything(true);
    assert_eq!(
        setting.status(setting.ask(Method::GET, "/v1/models")).await,
        200
    );
    assert_eq!(
        setting.status(setting.ask(Method::POST, "/v1/other")).await,
        200
    );
    setting.gateway.answer_everything(false);
    assert_eq!(
        setting.status(setting.ask(Method::GET, "/v1/models")).await,
        401
    );
}

#[tokio::test]
async fn faults_happen_where_they_were_put() {
    let setting = Setting::ready().await;
    let faults = setting.gateway.faults();
    faults.fail("GET /readyz", 1, Fault::answer(503, "{}"));
    assert_eq!(
        setting.status(setting.ask(Method::GET, "/readyz")).await,
        503
    );
    assert_eq!(
        setting.status(setting.ask(Method::GET, "/readyz")).await,
        200
    );
    faults.fail("GET /v1/models", 1, Fault::Refuse);
    assert!(
        setting
            .holding_token(Method::GET, "/v1/models")
            .send()
            .await
            .is_err()
    );
    faults.fail("POST /v1/chat/completions", 1, Fault::CloseAfter(20));
    let broken = setting.chat(false).send().await.unwrap();
    assert_eq!(broken.status(), StatusCode::OK);
    assert!(broken.bytes().await.is_err());
    faults.fail("connect", 1, Fault::Refuse);
    assert!(client().get(setting.gateway.url()).send().await.is_err());
    faults.fail(
        "GET /v1/models",
        1,
        Fault::Die {
            back_after: Some(Duration::from_millis(1)),
        },
    );
    assert!(
        setting
            .holding_token(Method::GET, "/v1/models")
            .send()
            .await
            .is_err()
    );
    setting
        .gateway
        .wait_until(|gateway| gateway.starts() == 2)
        .await;
    setting.gateway.ready().await.unwrap();
    assert_eq!(
        setting
            .status(setting.holding_token(Method::GET, "/v1/models"))
            .await,
        200
    );
}

#[tokio::test]
async fn wrong_tokens_from_this_machine_only_wait_longer() {
    let setting = Setting::ready().await;
    setting.gateway.set_timing(Timing {
        wrong_token: Duration::from_millis(40),
        ..Timing::short()
    });
    let mut waited = Vec::new();
    for _ in 0..3 {
        let before = std::time::Instant::now();
        let wrong = setting
            .ask(Method::POST, "/v1/responses")
            .bearer_auth("wrong");
        assert_eq!(setting.status(wrong).await, 401);
        waited.push(before.elapsed());
    }
    assert!(waited[0] >= Duration::from_millis(40));
    assert!(waited[2] >= Duration::from_millis(160));
}
