//! Heads: the request's as it is written, and the answer's as it is read, with what it says of the body.

use std::io::Write as _;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version};
use http_body::Body as _;

use super::body::Measure;
use crate::body::RequestBody;
use crate::header::Fields;

/// The longest head of an answer, in bytes.
pub(super) const LONGEST: usize = 64 * 1024;
/// The most fields of an answer.
const MOST_FIELDS: usize = 100;

/// A request as the gateway gets it.
pub(crate) struct Outgoing {
    /// How.
    pub method: Method,
    /// A path, and nothing else.
    pub uri: Uri,
    /// All but what tells the length of the body.
    pub fields: Fields,
    /// What is sent.
    pub body: RequestBody,
}

/// What cannot be read as an answer, or as one answer alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// The head of a request, with how its body is measured: chunked where its length is not known.
pub(super) fn write(request: &Outgoing) -> (Bytes, bool) {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(request.method.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(request.uri.path().as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &request.fields {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    let length = request.body.size_hint().exact();
    match length {
        Some(0) if request.method == Method::GET => {}
        Some(length) => {
            let _ = write!(head, "content-length: {length}\r\n");
        }
        None => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    head.extend_from_slice(b"\r\n");
    (Bytes::from(head), length.is_none())
}

/// An answer's head.
pub(super) struct Head {
    /// Status and fields.
    pub answer: Response<()>,
    /// How the body is measured.
    pub measure: Measure,
    /// Whether the connection can go on after it.
    pub keeps: bool,
}

/// Takes an answer's head from the front of what was read; `None` while it is not whole. Answers that are only on the way
/// to one (1xx, but for 101) are left out.
pub(super) fn read(read: &mut BytesMut) -> Result<Option<Head>, Unreadable> {
    loop {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut parsed = httparse::Response::new(&mut fields);
        let length = match parsed.parse(read) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if read.len() < LONGEST => return Ok(None),
            Ok(httparse::Status::Partial) | Err(_) => return Err(Unreadable),
        };
        if length > LONGEST {
            return Err(Unreadable);
        }
        let status = parsed.code.unwrap_or_default();
        let status = StatusCode::from_u16(status).map_err(|_| Unreadable)?;
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            let _ = read.split_to(length);
            continue;
        }
        let mut answer = Response::new(());
        *answer.status_mut() = status;
        *answer.version_mut() = match parsed.version {
            Some(1) => Version::HTTP_11,
            Some(_) | None => Version::HTTP_10,
        };
        for field in parsed.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Unreadable)?;
            let value = HeaderValue::from_bytes(field.value).map_err(|_| Unreadable)?;
            answer.headers_mut().append(name, value);
        }
        let _ = read.split_to(length);
        let measure = measure(&answer)?;
        let keeps = measure != Measure::UntilClose
            && status != StatusCode::SWITCHING_PROTOCOLS
            && answer.version() == Version::HTTP_11
            && !has_close(answer.headers());
        return Ok(Some(Head {
            answer,
            measure,
            keeps,
        }));
    }
}

/// How the body is measured (RFC 9112, 6.3): one way, or it is not to be trusted.
fn measure(answer: &Response<()>) -> Result<Measure, Unreadable> {
    let headers = answer.headers();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (coding, length) = (codings.next(), lengths.next());
    let several = codings.next().is_some() || lengths.next().is_some();
    if several || (coding.is_some() && length.is_some()) {
        return Err(Unreadable);
    }
    let status = answer.status();
    let is_bare = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    if let Some(coding) = coding {
        let is_chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !is_chunked || is_bare || answer.version() != Version::HTTP_11 {
            return Err(Unreadable);
        }
        return Ok(Measure::chunked());
    }
    let length = length.map(|value| digits(value.as_bytes()).ok_or(Unreadable));
    let length = length.transpose()?;
    Ok(match length {
        _ if is_bare => Measure::Left(0),
        Some(length) => Measure::Left(length),
        None => Measure::UntilClose,
    })
}

fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    // The largest numbers mean something else in hyper (1.12).
    (number < u64::MAX / 2).then_some(number)
}

fn has_close(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}
