//! A stand-in for the model provider that OpenClaw calls: chat completions, streamed and not.

use std::{
    convert::Infallible,
    fmt::Debug,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// Name of the only model.
pub(super) const MODEL: &str = "lab-1";

/// Pause between two words of a streamed answer.
const WORD_PAUSE: Duration = Duration::from_millis(40);

/// How long it may take until a question reaches it: the first answer of a gateway takes about 10 s on a slow machine.
const ASKED_LIMIT: Duration = Duration::from_secs(120);

/// Longest part of the question that comes back in the answer.
const ECHO_CHARACTERS: usize = 60;

/// Repeats what it was asked. It can be told to fall silent in the middle of an answer.
pub struct Model {
    address: SocketAddr,
    stalled: watch::Sender<bool>,
    calls: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    stalled: watch::Receiver<bool>,
    calls: Arc<AtomicUsize>,
}

impl Model {
    /// Starts it on a free port.
    ///
    /// # Errors
    ///
    /// Where it cannot listen.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stalled, stalled_receiver) = watch::channel(false);
        let calls = Arc::new(AtomicUsize::new(0));
        let router = Router::new()
            .route("/v1/models", get(list_models))
            .route("/v1/chat/completions", post(complete))
            .with_state(Shared {
                stalled: stalled_receiver,
                calls: Arc::clone(&calls),
            });
        let server = tokio::spawn(async move {
            // It serves until the task is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            stalled,
            calls,
            server,
        })
    }

    /// Base URL for a provider's configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Falls silent after the next word of every answer, until [`Model::resume`].
    pub fn stall(&self) {
        self.stalled.send_replace(true);
    }

    /// Goes on where it fell silent.
    pub fn resume(&self) {
        self.stalled.send_replace(false);
    }

    /// Waits until it is asked for a completion, which `asking` leads to.
    ///
    /// # Errors
    ///
    /// Where `asking` ends before, with what came of it, and where it takes too long.
    pub async fn asked_by<T: Debug>(&self, asking: &mut JoinHandle<T>) -> Result<()> {
        let asked = async {
            while self.calls() == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            biased;
            () = asked => Ok(()),
            ended = asking => bail!("it ended and the model was never asked: {ended:?}"),
            () = tokio::time::sleep(ASKED_LIMIT) => bail!("the model is not asked"),
        }
    }

    /// Returns how many completions were asked for.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn list_models() -> Json<Value> {
    Json(json!({
        "object": "list",
        "data": [{ "id": MODEL, "object": "model", "owned_by": "lab" }],
    }))
}

async fn complete(State(shared): State<Shared>, Json(request): Json<Value>) -> Response {
    shared.calls.fetch_add(1, Ordering::SeqCst);
    let words = answer_words(&request);
    if request["stream"] == true {
        return stream_words(shared, &request, words);
    }
    shared.wait_until_resumed().await;
    Json(json!({
        "id": "chatcmpl-lab", "object": "chat.completion", "created": 0, "model": MODEL,
        "usage": usage(words.len()),
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": { "role": "assistant", "content": words.concat() },
        }],
    }))
    .into_response()
}

impl Shared {
    async fn wait_until_resumed(&self) {
        let mut stalled = self.stalled.clone();
        // Where the sender is gone the model is being stopped, and nobody reads on.
        let _ = stalled.wait_for(|stalled| !stalled).await;
    }
}

fn stream_words(shared: Shared, request: &Value, words: Vec<String>) -> Response {
    let mut events = vec![chunk(&json!({ "role": "assistant", "content": "" }), None)];
    let count = words.len();
    events.extend(
        words
            .into_iter()
            .map(|word| chunk(&json!({ "content": word }), None)),
    );
    events.push(chunk(&json!({}), Some("stop")));
    if request["stream_options"]["include_usage"] == true {
        let mut last = chunk(&json!({}), None);
        last["choices"] = json!([]);
        last["usage"] = usage(count);
        events.push(last);
    }
    let lines: Vec<String> = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .chain(["data: [DONE]\n\n".to_owned()])
        .collect();
    let paced = stream::unfold(
        (shared, lines.into_iter().enumerate()),
        |(shared, mut lines)| async move {
            let (index, line) = lines.next()?;
            // The role and the first word always come.
            if index > 1 {
                tokio::time::sleep(WORD_PAUSE).await;
                shared.wait_until_resumed().await;
            }
            Some((Ok::<_, Infallible>(Bytes::from(line)), (shared, lines)))
        },
    );
    (
        [(CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(paced),
    )
        .into_response()
}

fn chunk(delta: &Value, finish_reason: Option<&str>) -> Value {
    json!({
        "id": "chatcmpl-lab", "object": "chat.completion.chunk", "created": 0, "model": MODEL,
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
    })
}

fn usage(words: usize) -> Value {
    json!({ "prompt_tokens": 10, "completion_tokens": words, "total_tokens": 10 + words })
}

/// Returns the answer, cut after each space.
fn answer_words(request: &Value) -> Vec<String> {
    let question = question(request);
    let end: String = question
        .chars()
        .rev()
        .take(ECHO_CHARACTERS)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    format!("Hello from the lab. You said: {end}")
        .split_inclusive(' ')
        .map(str::to_owned)
        .collect()
}

/// Finds what the person said: the first paragraph of the first user message after the model's last turn. OpenClaw adds
/// paragraphs and messages of its own after it, and refuses an answer that repeats those.
fn question(request: &Value) -> String {
    let empty = Vec::new();
    let messages = request["messages"].as_array().unwrap_or(&empty);
    let after_last_turn = messages
        .iter()
        .rposition(|message| message["role"] == "assistant")
        .map_or(0, |index| index + 1);
    messages[after_last_turn..]
        .iter()
        .find(|message| message["role"] == "user")
        .map(|message| text_of(&message["content"]))
        .and_then(|text| {
            text.split("\n\n")
                .next()
                .map(|first| first.trim().to_owned())
        })
        .unwrap_or_default()
}

fn text_of(content: &Value) -> String {
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    content
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|part| part["text"].as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_question_that_never_comes_is_told_why() {
        let model = Model::start().await.unwrap();
        let mut asking = tokio::spawn(async { "503: held" });
        let fault = model.asked_by(&mut asking).await.unwrap_err();
        assert!(fault.to_string().contains("503: held"), "{fault}");
    }
}
