//! HTTP answers of the stand-ins, and how faults are acted out on them.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;

use crate::faults::Fault;
use crate::life::Life;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The connection is to be closed instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed by a scripted fault")]
pub(crate) struct Closed;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// Answers as Go's `http.Error` does: text with a line end.
pub(crate) fn refusal(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = with_type(status, "text/plain; charset=utf-8", format!("{text}\n"));
    answer.headers_mut().insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    answer
}

pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(full(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut answer = Response::new(full(body));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Answers JSON with a line end, as Go's encoder writes it.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    with_type(status, "application/json", format!("{value}\n"))
}

/// Acts a fault out on an HTTP answer that would be given otherwise.
pub(crate) async fn act_out(
    fault: Option<Fault>,
    life: &Life,
    usual: impl Future<Output = Response<Body>>,
) -> Result<Response<Body>, Closed> {
    match fault {
        None | Some(Fault::GarbageLine | Fault::HalfLine | Fault::LongLine(_)) => Ok(usual.await),
        // `Faults::pass` has waited through these.
        Some(Fault::Delay(_) | Fault::Hold(_)) => Ok(usual.await),
        Some(Fault::Refuse) => Err(Closed),
        Some(Fault::CloseAfter(bytes)) => Ok(cut(usual.await, bytes).await),
        Some(Fault::Answer {
            status,
            headers,
            body,
        }) => Ok(scripted(status, &headers, body)),
        Some(Fault::Silence) => std::future::pending().await,
        Some(Fault::Die { back_after }) => {
            life.die_soon(back_after);
            std::future::pending().await
        }
    }
}

fn scripted(status: u16, headers: &[(String, String)], body: String) -> Response<Body> {
    let mut answer = Response::new(full(body));
    *answer.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer.headers_mut().append(name, value);
        }
    }
    answer
}

async fn cut(answer: Response<Body>, bytes: usize) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    let whole = match body.collect().await {
        Ok(whole) => whole.to_bytes(),
        Err(_) => Bytes::new(),
    };
    // One byte more than there is, so that even an answer cut at its end is seen to be cut.
    let announced = whole.len().max(bytes.saturating_add(1));
    head.headers.insert(CONTENT_LENGTH, announced.into());
    let start = whole.slice(..bytes.min(whole.len()));
    let frames = stream::once(async move { Ok(Frame::data(start)) }).chain(stream::once(async {
        // Lets the connection write what it has before the error drops it.
        tokio::task::yield_now().await;
        Err(BoxError::from(Closed))
    }));
    Response::from_parts(head, StreamBody::new(frames).boxed_unsync())
}
