//! Chat completions and responses, as the gateway answers them through a model that repeats what it was told.

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::config::Effective;
use super::connection::Closed;
use super::http::Exchange;
use super::response::{Body, head, invalid_request, json_response};
use super::state::{State, random_id};

/// Which of the two endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Responses,
}

/// Counts a request as in flight while it lives: a restart waits for it.
struct InFlight(Arc<State>);

impl InFlight {
    fn begin(state: &Arc<State>) -> Self {
        state.in_flight.send_modify(|requests| *requests += 1);
        Self(Arc::clone(state))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0
            .in_flight
            .send_modify(|requests| *requests = requests.saturating_sub(1));
    }
}

/// What the model answers: the words, each with the space before it.
struct Answer {
    id: String,
    message_id: String,
    created: u64,
    model: String,
    words: Vec<String>,
}

/// Answers a completion request whose client has proved itself.
pub(crate) async fn answer(
    exchange: Exchange,
    kind: Kind,
    headers: &HeaderMap,
    body: &[u8],
    config: &Effective,
) -> Result<Response<Body>, Closed> {
    let body = if body.is_empty() { b"{}" } else { body };
    let asked: Value = match serde_json::from_slice(body) {
        Ok(asked) => asked,
        Err(error) => return Ok(invalid_request(&format!("{error} is not valid JSON"))),
    };
    let text = match kind {
        Kind::Chat => chat_text(&asked),
        Kind::Responses => responses_text(&asked),
    };
    let text = match text {
        Ok(text) => text,
        Err(message) => return Ok(invalid_request(message)),
    };
    let model = asked
        .get("model")
        .and_then(Value::as_str)
        .unwrap_or("openclaw")
        .to_owned();
    let agent = match choose_agent(headers, &model, config) {
        Ok(agent) => agent,
        Err(message) => return Ok(invalid_request(&message)),
    };
    let state = Arc::clone(&exchange.state);
    state
        .record
        .update(exchange.place, |request| request.agent = Some(agent));
    let in_flight = InFlight::begin(&state);
    let answer = Answer::new(kind, model, &text);
    if asked.get("stream").and_then(Value::as_bool) == Some(true) {
        return Ok(stream_answer(state, in_flight, kind, answer));
    }
    if let Some(stall) = state.behaviour().stall {
        tokio::time::sleep(stall).await;
    }
    Ok(json_response(
        StatusCode::OK,
        &match kind {
            Kind::Chat => answer.chat_completion(),
            Kind::Responses => answer.response("completed", true),
        },
    ))
}

fn chat_text(asked: &Value) -> Result<String, &'static str> {
    let messages = asked.get("messages").and_then(Value::as_array);
    messages
        .into_iter()
        .flatten()
        .rev()
        .find(|message| message.get("role").and_then(Value::as_str) == Some("user"))
        .map(|message| content_text(message.get("content")))
        .ok_or("Missing user message in `messages`.")
}

fn responses_text(asked: &Value) -> Result<String, &'static str> {
    if !asked.get("model").is_some_and(Value::is_string) {
        return Err("model: Invalid input: expected string, received undefined");
    }
    match asked.get("input") {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(items)) => Ok(items
            .iter()
            .rev()
            .find(|item| item.get("role").and_then(Value::as_str) == Some("user"))
            .map(|item| content_text(item.get("content")))
            .unwrap_or_default()),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            Err("input: Invalid input")
        }
    }
}

fn content_text(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts: Vec<&str> = parts
                .iter()
                .filter_map(|part| part.get("text").and_then(Value::as_str))
                .collect();
            texts.join(" ")
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            String::new()
        }
    }
}

/// Finds the agent that answers: the header overrides the model.
fn choose_agent(headers: &HeaderMap, model: &str, config: &Effective) -> Result<String, String> {
    let agents = config.agents();
    let default = agents.first().cloned().unwrap_or_default();
    let known = |agent: &str| match agent {
        "default" => Ok(default.clone()),
        agent if agents.iter().any(|known| known == agent) => Ok(agent.to_owned()),
        agent => Err(format!("Unknown agent '{agent}'.")),
    };
    let header = ["x-openclaw-agent-id", "x-openclaw-agent"]
        .into_iter()
        .find_map(|name| headers.get(name));
    if let Some(agent) = header.and_then(|value| value.to_str().ok()) {
        return known(agent.trim());
    }
    match model.split_once('/') {
        None if model == "openclaw" => Ok(default.clone()),
        Some(("openclaw", agent)) => known(agent),
        Some(_) | None => {
            Err("Invalid `model`. Use `openclaw` or `openclaw/<agentId>`.".to_owned())
        }
    }
}

impl Answer {
    fn new(kind: Kind, model: String, text: &str) -> Self {
        let prefix = match kind {
            Kind::Chat => "chatcmpl_",
            Kind::Responses => "resp_",
        };
        let whole = format!("Hello from the stand-in model. You said: {text}");
        let mut words: Vec<String> = Vec::new();
        for word in whole.split(' ') {
            words.push(if words.is_empty() {
                word.to_owned()
            } else {
                format!(" {word}")
            });
        }
        let created = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self {
            id: format!("{prefix}{}", random_id()),
            message_id: format!("msg_{}", random_id()),
            created,
            model,
            words,
        }
    }

    fn text(&self) -> String {
        self.words.concat()
    }

    fn chat_completion(&self) -> Value {
        let count = self.words.len();
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": self.text() }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 10, "completion_tokens": count, "total_tokens": 10 + count },
        })
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> String {
        let chunk = json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
        });
        format!("data: {chunk}\n\n")
    }

    fn message(&self) -> Value {
        json!({
            "type": "message", "id": self.message_id, "role": "assistant",
            "content": [{ "type": "output_text", "text": self.text() }],
            "phase": "final_answer", "status": "completed",
        })
    }

    fn response(&self, status: &str, whole: bool) -> Value {
        let (input, output) = if whole {
            (10, self.words.len())
        } else {
            (0, 0)
        };
        json!({
            "id": self.id, "object": "response", "created_at": self.created, "status": status, "model": self.model,
            "output": if whole { json!([self.message()]) } else { json!([]) },
            "usage": {
                "input_tokens": input, "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
                "output_tokens": output, "output_tokens_details": { "reasoning_tokens": 0 },
                "total_tokens": input + output,
            },
        })
    }

    /// Returns what is sent at once, what is sent word by word, and what comes last.
    fn events(&self, kind: Kind) -> (Vec<String>, Vec<String>, Vec<String>) {
        let done = "data: [DONE]\n\n".to_owned();
        if kind == Kind::Chat {
            let words = self
                .words
                .iter()
                .map(|word| self.chunk(&json!({ "content": word }), None))
                .collect();
            return (
                vec![self.chunk(&json!({ "role": "assistant" }), None)],
                words,
                vec![self.chunk(&json!({}), Some("stop")), done],
            );
        }
        let event = |name: &str, mut data: Value| {
            data["type"] = json!(name);
            format!("event: {name}\ndata: {data}\n\n")
        };
        let part = |text: &str| {
            json!({
                "item_id": self.message_id, "output_index": 0, "content_index": 0,
                "part": { "type": "output_text", "text": text },
            })
        };
        let item = json!({
            "type": "message", "id": self.message_id, "role": "assistant", "content": [], "status": "in_progress",
        });
        let first = vec![
            event(
                "response.created",
                json!({ "response": self.response("in_progress", false) }),
            ),
            event(
                "response.in_progress",
                json!({ "response": self.response("in_progress", false) }),
            ),
            event(
                "response.output_item.added",
                json!({ "output_index": 0, "item": item }),
            ),
            event("response.content_part.added", part("")),
        ];
        let delta = |word: &String| {
            let data = json!({ "item_id": self.message_id, "output_index": 0, "content_index": 0, "delta": word });
            event("response.output_text.delta", data)
        };
        let last = vec![
            event(
                "response.output_text.done",
                json!({ "item_id": self.message_id, "output_index": 0, "content_index": 0, "text": self.text() }),
            ),
            event("response.content_part.done", part(&self.text())),
            event(
                "response.output_item.done",
                json!({ "output_index": 0, "item": self.message() }),
            ),
            event(
                "response.completed",
                json!({ "response": self.response("completed", true) }),
            ),
            done,
        ];
        (first, self.words.iter().map(delta).collect(), last)
    }
}

fn stream_answer(
    state: Arc<State>,
    in_flight: InFlight,
    kind: Kind,
    answer: Answer,
) -> Response<Body> {
    let (sender, receiver) = mpsc::channel::<String>(1);
    tokio::spawn(async move {
        let _in_flight = in_flight;
        let (first, words, last) = answer.events(kind);
        let word_time = state.timing().word;
        for event in first {
            if sender.send(event).await.is_err() {
                return;
            }
        }
        if let Some(stall) = state.behaviour().stall {
            tokio::select! {
                () = tokio::time::sleep(stall) => {}
                () = sender.closed() => return,
            }
        }
        for event in words {
            if sender.send(event).await.is_err() {
                return;
            }
            tokio::time::sleep(word_time).await;
        }
        for event in last {
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
    let frames = stream::unfold(receiver, |mut receiver| async move {
        let event = receiver.recv().await?;
        Some((
            Ok::<_, io::Error>(Frame::data(Bytes::from(event))),
            receiver,
        ))
    });
    let mut response = head(
        StatusCode::OK,
        "text/event-stream; charset=utf-8",
        BodyExt::boxed(StreamBody::new(frames)),
    );
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
