//! A key with an agent, through the guard, on the real OpenClaw of the lab.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::print_stdout,
    reason = "how OpenClaw refuses a tool is worth reading"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::{Json, Router, routing::post};
use ecto_core::gateway::{GatewayAccess, GatewayFingerprint};
use ecto_core::key::{GuardKey, KeyGrant, KeyName, make_key};
use ecto_core::ports::Guard as _;
use ecto_guard::{Limits, LoopbackGuard};
use ecto_platform::clock::SystemClock;
use ecto_tests::lab::{Binaries, Gateway};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A model that says what it was offered, and uses a tool, offered or not, where the question asks for it.
#[derive(Clone, Default)]
struct Offers(Arc<Mutex<Vec<Offer>>>);

/// What one question brought to the model.
struct Offer {
    tools: Vec<String>,
    messages: Value,
}

impl Offer {
    /// What came of the tools that the model used.
    fn results(&self) -> impl Iterator<Item = &Value> {
        let messages = self.messages.as_array().unwrap();
        messages.iter().filter(|message| message["role"] == "tool")
    }
}

impl Offers {
    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/v1/chat/completions", post(complete))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn take(&self) -> Vec<Offer> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn take_tools(&self) -> Vec<String> {
        self.take()
            .into_iter()
            .flat_map(|offer| offer.tools)
            .collect()
    }

    /// Whether a word came up in any question since it was last asked.
    fn heard(&self, word: &str) -> bool {
        self.take()
            .iter()
            .any(|offer| offer.messages.to_string().contains(word))
    }

    /// What the model was told of the tools that it used since it was last asked.
    fn take_results(&self) -> Vec<String> {
        self.take()
            .iter()
            .flat_map(Offer::results)
            .map(|result| result["content"].to_string())
            .collect()
    }
}

/// What stands before a use of a tool in a question. The rest of its line is JSON.
const USE: &str = "Use a tool: ";

/// A question that has the model use a tool.
fn using(tool: &str, arguments: &Value) -> String {
    format!("{USE}{}", json!({ "name": tool, "arguments": arguments }))
}

/// What the last question has the model use, unless it was told already what came of it. OpenClaw adds messages of its
/// own after the question.
fn wanted_use(messages: &Value) -> Option<Value> {
    let messages = messages.as_array()?;
    let is_answer = |message: &Value| message["role"] == "assistant" || message["role"] == "tool";
    let asked = messages
        .iter()
        .rev()
        .take_while(|message| !is_answer(message));
    let text: String = asked.map(text_of).collect();
    let (_, wanted) = text.split_once(USE)?;
    serde_json::from_str(wanted.lines().next()?).ok()
}

fn text_of(message: &Value) -> String {
    let content = &message["content"];
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let parts = content.as_array().into_iter().flatten();
    parts.filter_map(|part| part["text"].as_str()).collect()
}

async fn complete(
    State(offers): State<Offers>,
    Json(request): Json<Value>,
) -> axum::response::Response {
    use axum::response::IntoResponse as _;
    let tools = request["tools"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = tools
        .iter()
        .filter_map(|tool| Some(tool["function"]["name"].as_str()?.to_owned()))
        .collect();
    names.sort();
    let text = format!("I was offered: {}.", names.join(" "));
    offers.0.lock().unwrap().push(Offer {
        tools: names,
        messages: request["messages"].clone(),
    });
    let event = |delta: Value, end: Option<&str>| {
        let chunk = json!({
            "id": "chatcmpl-lab", "object": "chat.completion.chunk", "created": 0, "model": "lab-model",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": end }],
        });
        format!("data: {chunk}\n\n")
    };
    let (said, end) = match wanted_use(&request["messages"]) {
        None => (json!({ "role": "assistant", "content": text }), "stop"),
        Some(wanted) => {
            let function =
                json!({ "name": wanted["name"], "arguments": wanted["arguments"].to_string() });
            let call =
                json!({ "index": 0, "id": "call_lab", "type": "function", "function": function });
            (
                json!({ "role": "assistant", "tool_calls": [call] }),
                "tool_calls",
            )
        }
    };
    let body = [
        event(said, None),
        event(json!({}), Some(end)),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    ([("content-type", "text/event-stream")], body).into_response()
}

fn key(name: &str, secret: &SecretString, agent: Option<&str>) -> GuardKey {
    let grant = KeyGrant {
        agent: agent.map(|agent| agent.parse().unwrap()),
        ..KeyGrant::default()
    };
    GuardKey::new(name.parse::<KeyName>().unwrap(), secret, grant)
}

struct Caller {
    client: reqwest::Client,
    guard: SocketAddr,
    key: SecretString,
}

impl Caller {
    async fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> (u16, Value) {
        let mut request = self
            .client
            .post(format!("http://{}{path}", self.guard))
            .bearer_auth(self.key.expose_secret())
            .json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.client.get(format!("http://{}{path}", self.guard));
        let answer = request
            .bearer_auth(self.key.expose_secret())
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

const AGENTS: &str =
    r#"entries: { main: { default: true }, public: { tools: { profile: "minimal" } } }, defaults:"#;

/// Every way in which OpenClaw takes an agent, and what would be another session of another agent.
const FORGED: [(&str, &str); 5] = [
    ("x-openclaw-agent-id", "main"),
    ("x-openclaw-agent", "main"),
    ("x-openclaw-session-key", "agent:main:main"),
    ("x-openclaw-model", "lab/lab-model"),
    ("x-openclaw-scopes", "operator.admin"),
];

fn chat(model: &str, question: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": question }] })
}

#[tokio::test]
async fn a_pinned_key_never_gets_beyond_its_agent() {
    let binaries = Binaries::ready().await.unwrap();
    let offers = Offers::default();
    let model = format!("http://{}/v1", offers.serve().await);
    let gateway = Gateway::start_with(&binaries, |port, _| {
        Gateway::configuration(port, &model)
            .replace("agents: { defaults:", &format!("agents: {{ {AGENTS}"))
    })
    .await
    .unwrap();
    let clock = Arc::new(SystemClock);
    let guard = LoopbackGuard::new(Limits::default(), clock, &mut rand::rngs::SysRng).unwrap();
    let (free, pinned) = (
        make_key(&mut rand::rngs::SysRng).unwrap(),
        make_key(&mut rand::rngs::SysRng).unwrap(),
    );
    let access = GatewayAccess {
        address: ([127, 0, 0, 1], gateway.port()).into(),
        token: SecretString::from(gateway.token()),
        hooks: None,
        fingerprint: GatewayFingerprint("lab".to_owned()),
    };
    let keys = vec![
        key("default", &free, None),
        key("public", &pinned, Some("public")),
    ];
    let address = guard.start(access, keys).await.unwrap();
    guard.release();
    let caller = |key: &SecretString| Caller {
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
        guard: address,
        key: key.clone(),
    };
    let (free, pinned) = (caller(&free), caller(&pinned));

    is_offered_no_tool_of_another_agent(&offers, &free, &pinned).await;
    is_refused_the_tools_of_another_agent(&offers, &gateway.home(), &free, &pinned).await;
    knows_one_model(&pinned).await;
    goes_on_with_no_conversation_of_another_agent(&offers, &free, &pinned).await;
    guard.stop().await;
}

async fn is_offered_no_tool_of_another_agent(offers: &Offers, free: &Caller, pinned: &Caller) {
    let question = "What may you do?";
    let (status, _) = free
        .post(
            "/v1/chat/completions",
            &chat("openclaw/main", question),
            &[],
        )
        .await;
    assert_eq!(status, 200);
    let main_tools = offers.take_tools();
    assert!(main_tools.contains(&"exec".to_owned()), "{main_tools:?}");

    let mut seen = BTreeMap::new();
    for model in [
        "openclaw",
        "openclaw/default",
        "openclaw/main",
        "openclaw:main",
        "agent:main",
        "OpenClaw/MAIN",
        "openclaw/public",
    ] {
        let (status, _) = pinned
            .post("/v1/chat/completions", &chat(model, question), &FORGED)
            .await;
        assert_eq!(status, 200, "{model}");
        let (status, _) = pinned
            .post(
                "/v1/responses",
                &json!({"model": model, "input": question, "user": "agent:main:main"}),
                &FORGED,
            )
            .await;
        assert_eq!(status, 200, "{model}");
        seen.insert(model, offers.take_tools());
    }
    for (model, tools) in seen {
        for tool in ["exec", "process", "read", "write", "edit", "apply_patch"] {
            assert!(!tools.contains(&tool.to_owned()), "{model}: {tools:?}");
        }
        assert!(tools.len() < main_tools.len(), "{model}: {tools:?}");
    }
}

/// A model that uses what it was not offered leaves no trace on the machine, and is told that there is no such tool. The
/// same uses by the agent that may do so leave one, so that it would show.
async fn is_refused_the_tools_of_another_agent(
    offers: &Offers,
    folder: &Path,
    free: &Caller,
    pinned: &Caller,
) {
    for (who, caller, may) in [("main", free, true), ("public", pinned, false)] {
        for route in ["chat", "responses"] {
            for tool in ["exec", "write"] {
                let file = folder.join(format!("{who}-{route}-{tool}"));
                let arguments = match tool {
                    "exec" => json!({ "command": format!("touch '{}'", file.display()) }),
                    _ => json!({ "path": file, "content": "written" }),
                };
                let question = using(tool, &arguments);
                let (path, body) = match route {
                    "chat" => ("/v1/chat/completions", chat("openclaw/main", &question)),
                    _ => (
                        "/v1/responses",
                        json!({ "model": "openclaw/main", "input": question }),
                    ),
                };
                let forged: &[_] = if may { &[] } else { &FORGED };
                let (status, answer) = caller.post(path, &body, forged).await;
                let results = offers.take_results();
                println!("{who}, {route}, {tool}: the model was told {results:?}");
                assert_eq!(status, 200, "{answer}");
                assert_eq!(results.len(), 1, "{results:?}");
                let is_refused = results[0].contains(&format!("Tool {tool} not found"));
                assert_eq!(
                    (file.exists(), is_refused),
                    (may, !may),
                    "{who}, {route}, {tool}: {results:?}"
                );
            }
        }
    }
}

async fn knows_one_model(pinned: &Caller) {
    let (status, refused) = pinned
        .post(
            "/v1/chat/completions",
            &chat("gpt-9", "What may you do?"),
            &[],
        )
        .await;
    assert_eq!(status, 400, "{refused}");

    let (status, models) = pinned.get("/v1/models").await;
    let ids: Vec<_> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].clone())
        .collect();
    assert_eq!((status, models["object"].as_str()), (200, Some("list")));
    assert_eq!(ids, ["openclaw/public"]);
    assert_eq!(pinned.get("/v1/models/openclaw/public").await.0, 200);
    let (status, refused) = pinned.get("/v1/models/openclaw/main").await;
    assert_eq!(
        (status, refused["error"]["code"].as_str()),
        (404, Some("model_not_found"))
    );
}

/// By its answer's name or by its user's.
async fn goes_on_with_no_conversation_of_another_agent(
    offers: &Offers,
    free: &Caller,
    pinned: &Caller,
) {
    let said =
        json!({"model": "openclaw/main", "input": "The word is Rumpelstiltskin.", "user": "ada"});
    let (status, answer) = free.post("/v1/responses", &said, &[]).await;
    assert_eq!((status, offers.heard("Rumpelstiltskin")), (200, true));
    let go_on = json!({"model": "openclaw/main", "input": "Which word?", "previous_response_id": answer["id"]});
    let same_user = json!({"model": "openclaw/main", "input": "Which word?", "user": "ada"});
    for question in [&go_on, &same_user] {
        assert_eq!(pinned.post("/v1/responses", question, &[]).await.0, 200);
        assert!(!offers.heard("Rumpelstiltskin"), "{question}");
        assert_eq!(free.post("/v1/responses", question, &[]).await.0, 200);
        assert!(offers.heard("Rumpelstiltskin"), "{question}");
    }
}
