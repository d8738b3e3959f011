//! Asks the questions that prove the lock, over the real listener, like any client.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use ecto_core::cause::Cause;
use ecto_core::foreign::ForeignText;
use ecto_core::key::{NoRandomness, Route, make_key};
use ecto_core::proof::{ProofAnswer, ProofQuestion};
use ecto_core::refusal::Refusal;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rand::TryRng;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What the prover shows to pass a guard that is held. Never leaves the guard: it is not among the headers that go to
/// the gateway.
const PASS_HEADER: &str = "x-ecto-prover";

/// The longest time for one question. A gateway that has just started takes seconds for its first answer.
const LONGEST_QUESTION: Duration = Duration::from_secs(15);

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// What only this guard in this process knows.
pub(crate) struct ProverPass {
    word: HeaderValue,
    unknown_key: SecretString,
}

impl ProverPass {
    /// Makes one.
    pub fn new<R: TryRng>(random: &mut R) -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        random
            .try_fill_bytes(&mut *bytes)
            .map_err(|_| NoRandomness)?;
        let mut word =
            HeaderValue::from_str(&HEXLOWER.encode(&*bytes)).map_err(|_| NoRandomness)?;
        word.set_sensitive(true);
        Ok(Self {
            word,
            unknown_key: make_key(random)?,
        })
    }

    /// Whether a request is the prover's.
    pub fn is_shown(&self, headers: &HeaderMap) -> bool {
        headers
            .get(PASS_HEADER)
            .is_some_and(|shown| bool::from(shown.as_bytes().ct_eq(self.word.as_bytes())))
    }

    /// Asks one question.
    pub async fn ask(
        &self,
        guard: SocketAddr,
        question: &ProofQuestion,
    ) -> Result<ProofAnswer, Cause> {
        match timeout(LONGEST_QUESTION, self.exchange(guard, question)).await {
            Ok(answer) => answer,
            Err(_) => Err(failed("the guard did not answer in time")),
        }
    }

    async fn exchange(
        &self,
        guard: SocketAddr,
        question: &ProofQuestion,
    ) -> Result<ProofAnswer, Cause> {
        let request = self.request(guard, question)?;
        let stream = TcpStream::connect(guard).await.map_err(failed)?;
        let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LONGEST_ANSWER)
                .collect()
                .await
                .map_err(failed)?
                .to_bytes();
            Ok(read_answer(status, &body))
        };
        let driving = async {
            let _ = connection.await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            never = driving => match never {},
        }
    }

    fn request(
        &self,
        guard: SocketAddr,
        question: &ProofQuestion,
    ) -> Result<Request<Full<Bytes>>, Cause> {
        let (method, path, key) = match question {
            ProofQuestion::NoKey => (Method::GET, "/v1/models", None),
            ProofQuestion::WrongKey => (Method::GET, "/v1/models", Some(&self.unknown_key)),
            ProofQuestion::RightKey(key) => (Method::GET, "/v1/models", Some(key)),
            ProofQuestion::UnlistedRoute(key) => (Method::POST, "/tools/invoke", Some(key)),
            ProofQuestion::OptionalRoute(Route::Embeddings, key) => {
                (Method::POST, "/v1/embeddings", key.as_ref())
            }
            ProofQuestion::OptionalRoute(Route::Hooks, key) => {
                (Method::POST, "/hooks/wake", key.as_ref())
            }
            ProofQuestion::OptionalRoute(Route::Chat | Route::Responses | Route::Models, _) => {
                return Err(failed("this route is not optional"));
            }
        };
        let body = match method {
            Method::POST => Full::new(Bytes::from_static(b"{}")),
            _ => Full::default(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, guard.to_string())
            .header(CONTENT_TYPE, "application/json")
            .header(PASS_HEADER, self.word.clone())
            .body(body)
            .map_err(failed)?;
        if let Some(key) = key {
            let bearer = Zeroizing::new(format!("Bearer {}", key.expose_secret()));
            let mut value = HeaderValue::from_str(&bearer)
                .map_err(|_| failed("the key has characters that no header may have"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }
}

fn failed(detail: impl std::fmt::Display) -> Cause {
    Cause::GuardFailed {
        detail: ForeignText::new(detail.to_string()),
    }
}

#[derive(Deserialize)]
struct Body {
    object: Option<String>,
    #[serde(default)]
    data: Vec<Model>,
    error: Option<ErrorFields>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

#[derive(Deserialize)]
struct ErrorFields {
    #[serde(rename = "type")]
    kind: Option<String>,
    code: Option<String>,
}

/// OpenClaw always lists the model `openclaw` (2026.9.6, `src/gateway/models-http.ts`).
fn read_answer(status: u16, body: &[u8]) -> ProofAnswer {
    let body: Option<Body> = serde_json::from_slice(body).ok();
    let lists_models = body.as_ref().is_some_and(|body| {
        body.object.as_deref() == Some("list")
            && body.data.iter().any(|model| model.id == "openclaw")
    });
    let error = body.and_then(|body| body.error);
    ProofAnswer {
        status,
        lists_models,
        refusal: error
            .as_ref()
            .and_then(|error| Refusal::from_code(error.code.as_deref()?))
            .filter(|refusal| refusal.status() == status),
        error_type: error.and_then(|error| error.kind),
    }
}
