//! What goes back to the client: the gateway's answer as it comes, or a refusal in OpenAI's shape.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ecto_core::refusal::Refusal;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use serde::Serialize;

use crate::activity::Line;
use crate::connection::Turn;
use crate::gateway::{Answer, BrokenAnswer, Gateway};
use crate::keep_alive::KeepAlive;
use crate::rate::RetryAfter;

/// The body of an answer, with everything that has to end when it ends.
pub(crate) enum AnswerBody {
    /// A refusal.
    Refusal {
        /// What is sent.
        text: Full<Bytes>,
        /// Written once it is sent.
        line: Box<Line>,
        /// Ends once it is sent.
        _turn: Turn,
    },
    /// What the gateway sends.
    Stream(Box<Stream>),
}

/// What the gateway sends, and the connection it comes on.
pub(crate) struct Stream {
    /// Until it is dropped.
    incoming: Option<Answer>,
    gateway: Arc<Gateway>,
    line: Line,
    /// Stands around what the gateway sends.
    around: Around,
    keep_alive: Option<KeepAlive>,
    turn: Turn,
}

/// What stands around an answer.
#[derive(Debug, Default)]
struct Around {
    before: Option<Bytes>,
    after: Option<Bytes>,
}

impl Around {
    fn length(&self) -> usize {
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        length(&self.before) + length(&self.after)
    }

    /// The body of the answer as a list of one, in OpenAI's shape.
    fn list() -> Self {
        Self {
            before: Some(Bytes::from_static(br#"{"object":"list","data":["#)),
            after: Some(Bytes::from_static(b"]}")),
        }
    }
}

impl Stream {
    /// Goes on with an answer whose head has come.
    pub fn new(
        incoming: Answer,
        gateway: Arc<Gateway>,
        keep_alive: Option<KeepAlive>,
        line: Line,
        turn: Turn,
    ) -> Self {
        let keep_alive = keep_alive.filter(|_| incoming.size_hint().exact().is_none());
        Self {
            incoming: Some(incoming),
            gateway,
            line,
            around: Around::default(),
            keep_alive,
            turn,
        }
    }

    /// Makes the answer a list of one.
    pub fn into_list(mut self) -> Self {
        self.around = Around::list();
        self
    }

    /// A comment, where the gateway was silent for long enough.
    fn poll_keep_alive(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        match &mut self.keep_alive {
            Some(keep_alive) => keep_alive.poll(context),
            None => Poll::Pending,
        }
    }

    fn poll_incoming(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_over(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            self.gateway.rest(incoming);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        match &mut *self {
            Self::Refusal { text, line, .. } => Pin::new(text).poll_frame(context).map(|frame| {
                frame.map(|Ok(frame)| {
                    if let Some(data) = frame.data_ref() {
                        line.add_bytes(data.len());
                    }
                    Ok(frame)
                })
            }),
            Self::Stream(stream) => loop {
                if let Some(before) = stream.around.before.take() {
                    stream.line.add_bytes(before.len());
                    return Poll::Ready(Some(Ok(Frame::data(before))));
                }
                if !stream.turn.may_take_more(context) {
                    return Poll::Pending;
                }
                let Poll::Ready(frame) = stream.poll_incoming(context) else {
                    return stream
                        .poll_keep_alive(context)
                        .map(|comment| Some(Ok(Frame::data(comment))));
                };
                match frame {
                    None => {
                        let after = stream.around.after.take();
                        return Poll::Ready(after.map(|after| {
                            stream.line.add_bytes(after.len());
                            Ok(Frame::data(after))
                        }));
                    }
                    Some(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                    Some(Ok(frame)) => {
                        if let Some(data) = frame.data_ref() {
                            stream.line.add_bytes(data.len());
                            stream.turn.hand_over(data.len());
                            if let Some(keep_alive) = &mut stream.keep_alive {
                                keep_alive.saw(data);
                            }
                            return Poll::Ready(Some(Ok(frame)));
                        }
                    }
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Refusal { text, .. } => text.is_end_stream(),
            Self::Stream(stream) => stream.is_over() && stream.around.length() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Refusal { text, .. } => text.size_hint(),
            Self::Stream(stream) => {
                let mut size = stream
                    .incoming
                    .as_ref()
                    .map(Body::size_hint)
                    .unwrap_or_default();
                let around = stream.around.length() as u64;
                if let Some(exact) = size.exact() {
                    size.set_exact(exact.saturating_add(around));
                } else {
                    size.set_lower(size.lower().saturating_add(around));
                }
                size
            }
        }
    }
}

#[derive(Serialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Serialize)]
struct ErrorFields {
    message: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'static str,
    param: Option<&'static str>,
}

/// The body of a refusal: `{"error":{"message","type","code","param":null}}`.
pub(crate) fn refusal_text(refusal: Refusal) -> String {
    let body = ErrorBody {
        error: ErrorFields {
            message: refusal.sentence(),
            kind: refusal.kind(),
            code: refusal.code(),
            param: None,
        },
    };
    serde_json::to_string(&body).unwrap_or_default()
}

/// A refusal as it is written where hyper does not answer: before a whole head has come, or where there is no room.
pub(crate) fn refusal_bytes(refusal: Refusal) -> String {
    let text = refusal_text(refusal);
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let retry = refusal
        .retry_after()
        .map(|seconds| format!("retry-after: {seconds}\r\n"))
        .unwrap_or_default();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n{retry}\
         connection: close\r\ncontent-length: {}\r\n\r\n{text}",
        text.len(),
    )
}

/// What else a refusal has to say.
#[derive(Debug, Default)]
pub(crate) struct RefusalDetails {
    /// The method that the path takes.
    pub allow: Option<Method>,
    /// How long to wait, where that is known better than by the refusal itself.
    pub retry: Option<RetryAfter>,
    /// Whether part of the body was left unread, so that the connection cannot go on.
    pub body_unread: bool,
}

/// Answers a preflight, which has no key and does not reach the gateway.
pub(crate) fn answer_preflight(
    headers: HeaderMap,
    mut line: Line,
    turn: Turn,
) -> Response<AnswerBody> {
    let status = StatusCode::NO_CONTENT;
    line.set_answered(status.as_u16());
    let mut response = Response::new(AnswerBody::Refusal {
        text: Full::default(),
        line: Box::new(line),
        _turn: turn,
    });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Makes a refusal.
pub(crate) fn refuse(
    refusal: Refusal,
    details: &RefusalDetails,
    mut line: Line,
    turn: Turn,
) -> Response<AnswerBody> {
    line.set_refused(refusal.status());
    let mut response = Response::new(AnswerBody::Refusal {
        text: Full::new(Bytes::from(refusal_text(refusal))),
        line: Box::new(line),
        _turn: turn,
    });
    *response.status_mut() =
        StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let seconds = details.retry.map(RetryAfter::seconds);
    if let Some(seconds) = seconds.or(refusal.retry_after()) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if refusal.status() == 401 {
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"ecto\""),
        );
    }
    if refusal == Refusal::GatewayBrokeOff {
        // OpenAI's client libraries try again on 5xx unless told not to; this request may have acted.
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    if let Some(method) = &details.allow
        && let Ok(value) = HeaderValue::from_str(method.as_str())
    {
        headers.insert(ALLOW, value);
    }
    if details.body_unread {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
