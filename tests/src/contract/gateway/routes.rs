//! What each path answers, and to whom.

use futures_util::StreamExt as _;
use http::Method;
use reqwest::Response;
use serde_json::{Value, json};

use super::GatewayUnderTest;

/// A path, and its status without a token, with a wrong and with the right one. A wrong token costs a delay that grows,
/// so it is tried where it matters.
struct Row {
    method: Method,
    path: &'static str,
    without: u16,
    wrong: Option<u16>,
    right: u16,
}

const fn row(method: Method, path: &'static str, without: u16, right: u16) -> Row {
    Row {
        method,
        path,
        without,
        wrong: None,
        right,
    }
}

const fn guarded(method: Method, path: &'static str, right: u16) -> Row {
    Row {
        method,
        path,
        without: 401,
        wrong: Some(401),
        right,
    }
}

fn table() -> Vec<Row> {
    vec![
        row(Method::GET, "/health", 200, 200),
        row(Method::GET, "/healthz", 200, 200),
        row(Method::GET, "/ready", 200, 200),
        row(Method::GET, "/readyz", 200, 200),
        row(Method::GET, "/startupz", 200, 200),
        row(Method::POST, "/healthz", 405, 405),
        guarded(Method::GET, "/v1/models", 200),
        row(Method::GET, "/v1/models/openclaw", 401, 200),
        row(Method::GET, "/v1/models/openclaw%2Fdefault", 401, 200),
        row(Method::GET, "/v1/chat/completions", 405, 405),
        row(Method::OPTIONS, "/v1/chat/completions", 405, 405),
        row(Method::GET, "/v1/responses", 405, 405),
        row(Method::GET, "/v1/responses/resp_x", 404, 404),
        row(Method::GET, "/v1", 404, 404),
        row(Method::GET, "/v1/other", 404, 404),
        row(Method::GET, "/tools/invoke", 405, 405),
        row(Method::POST, "/v1/chat/completions", 401, 400),
        row(Method::POST, "/v1/responses", 401, 400),
        row(Method::POST, "/v1/embeddings", 401, 400),
        row(Method::POST, "/tools/invoke", 401, 400),
        row(Method::POST, "/hooks/wake", 404, 404),
        row(Method::POST, "/api/v1/admin/rpc", 404, 404),
        row(Method::GET, "/control-ui-config.json", 401, 200),
        // Dots lead out of the prefix: this is a POST to /tools/invoke.
        row(Method::POST, "/v1/%2e%2e/tools/invoke", 401, 400),
    ]
}

async fn send(
    world: &dyn GatewayUnderTest,
    method: &Method,
    path: &str,
    token: Option<&str>,
) -> (u16, String) {
    let client = world.client();
    let headers = token.map(|token| ("authorization", format!("Bearer {token}")));
    let answer = client.send_raw(method, path, headers.as_slice()).await;
    let answer = answer.unwrap();
    (answer.status.as_u16(), answer.text())
}

/// `GET /readyz` and its neighbours.
pub async fn readiness_needs_no_token(world: &dyn GatewayUnderTest) {
    let (status, body) = send(world, &Method::GET, "/readyz", None).await;
    assert_eq!(status, 200);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["ready"], true);
    let (_, body) = send(world, &Method::GET, "/healthz", None).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, json!({ "ok": true, "status": "live" }));
}

/// The table of facts, row by row.
pub async fn each_route_answers_as_the_table_says(world: &dyn GatewayUnderTest) {
    let token = world.token();
    for Row {
        method,
        path,
        without,
        wrong,
        right,
    } in table()
    {
        let (status, body) = send(world, &method, path, None).await;
        assert_eq!(status, without, "{method} {path} without a token: {body}");
        if status == 401 {
            let body: Value = serde_json::from_str(&body).unwrap();
            let unauthorized = json!({ "message": "Unauthorized", "type": "unauthorized" });
            assert_eq!(body, json!({ "error": unauthorized }), "{path}");
        }
        if let Some(wrong) = wrong {
            let (status, body) = send(world, &method, path, Some("wrong")).await;
            assert_eq!(status, wrong, "{method} {path} with a wrong one: {body}");
        }
        let (status, body) = send(world, &method, path, Some(&token)).await;
        assert_eq!(status, right, "{method} {path} with the right one: {body}");
    }
    let models = world
        .client()
        .get("/v1/models", Some(&token))
        .await
        .unwrap();
    let models: Value = models.json().await.unwrap();
    assert_eq!(models["object"], "list");
    let ids: Vec<&str> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert!(
        ids.contains(&"openclaw") && ids.contains(&"openclaw/default"),
        "{ids:?}"
    );
}

/// A 200 proves nothing by itself.
pub async fn unknown_pages_are_the_control_page_to_everyone(world: &dyn GatewayUnderTest) {
    for path in [
        "/",
        "/chat",
        "/metrics",
        "/.well-known/x",
        "//v1/models",
        "/V1/models",
    ] {
        let response = world.client().get(path, None).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let kind = response.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(kind.starts_with("text/html"), "{path}: {kind}");
    }
}

/// Why Funnel cannot lead to the gateway itself.
pub async fn proxied_requests_are_refused(world: &dyn GatewayUnderTest) {
    let authorization = ("authorization", format!("Bearer {}", world.token()));
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-host", "lab-mac.tail1234.ts.net"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("tailscale-funnel-request", "?1"),
        ("tailscale-user-login", "somebody@example.com"),
    ] {
        let headers = [authorization.clone(), (name, value.to_owned())];
        let client = world.client();
        let answer = client.send_raw(&Method::GET, "/v1/models", &headers).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 403, "{name}");
        let body = answer.json().unwrap();
        assert_eq!(
            body["error"]["type"], "proxy_attribution_required",
            "{name}"
        );
        let answer = client.send_raw(&Method::GET, "/healthz", &headers).await;
        assert_eq!(answer.unwrap().status, 200, "{name}");
    }
    let foreign = [
        authorization,
        ("host", "lab-mac.tail1234.ts.net".to_owned()),
    ];
    let client = world.client();
    let answer = client.send_raw(&Method::GET, "/v1/models", &foreign).await;
    assert_eq!(answer.unwrap().status, 200, "any Host is taken");
}

async fn ask(world: &dyn GatewayUnderTest, path: &str, body: &Value) -> Response {
    let client = world.client();
    let token = world.token();
    let response = client.post(path, Some(&token), body).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response
}

/// Reads an event stream to its end: the data of each event.
async fn events(response: Response) -> Vec<String> {
    let kind = response.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("text/event-stream"), "{kind}");
    let mut text = String::new();
    let mut body = response.bytes_stream();
    while let Some(part) = body.next().await {
        text.push_str(std::str::from_utf8(&part.unwrap()).unwrap());
    }
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(str::to_owned)
        .collect()
}

fn parse(events: &[String]) -> Vec<Value> {
    events
        .iter()
        .filter(|event| *event != "[DONE]")
        .map(|event| serde_json::from_str(event).unwrap())
        .collect()
}

/// `POST /v1/chat/completions`.
pub async fn a_completion_is_answered_whole_and_in_parts(world: &dyn GatewayUnderTest) {
    let mut question = json!({
        "model": "openclaw",
        "messages": [{ "role": "user", "content": "ping one" }],
    });
    let whole = super::json(ask(world, "/v1/chat/completions", &question).await).await;
    assert_eq!(whole["object"], "chat.completion");
    assert_eq!(whole["model"], "openclaw");
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(choice["message"]["role"], "assistant");
    let text = choice["message"]["content"].as_str().unwrap();
    assert!(text.contains("ping one"), "{text}");

    question["stream"] = json!(true);
    question["messages"][0]["content"] = json!("ping two");
    let events = events(ask(world, "/v1/chat/completions", &question).await).await;
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    let parts = parse(&events);
    assert!(
        parts
            .iter()
            .all(|part| part["object"] == "chat.completion.chunk")
    );
    assert_eq!(parts[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String = parts
        .iter()
        .filter_map(|part| part["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert!(text.contains("ping two"), "{text}");
    assert!(
        parts
            .iter()
            .any(|part| part["choices"][0]["finish_reason"] == "stop")
    );
}

/// `POST /v1/responses`.
pub async fn a_response_is_answered_whole_and_in_parts(world: &dyn GatewayUnderTest) {
    let mut question = json!({ "model": "openclaw", "input": "ping three" });
    let whole = super::json(ask(world, "/v1/responses", &question).await).await;
    assert_eq!(whole["object"], "response");
    assert_eq!(whole["status"], "completed");
    assert!(
        whole["output"].to_string().contains("ping three"),
        "{whole}"
    );

    question["stream"] = json!(true);
    question["input"] = json!("ping four");
    let events = events(ask(world, "/v1/responses", &question).await).await;
    let parts = parse(&events);
    assert_eq!(parts[0]["type"], "response.created");
    let text: String = parts
        .iter()
        .filter(|part| part["type"] == "response.output_text.delta")
        .filter_map(|part| part["delta"].as_str())
        .collect();
    assert!(text.contains("ping four"), "{text}");
    assert_eq!(parts.last().unwrap()["type"], "response.completed");
}
