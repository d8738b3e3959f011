//! What comes back is what hyper's client would make of it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::head::Outgoing;
use super::link::{Answer, Link, Sending};
use crate::body::RequestBody;

#[derive(Debug, Clone, Copy)]
enum Form {
    Length,
    Chunks,
    UntilClose,
}

#[derive(Debug, Clone)]
struct Case {
    status: u16,
    fields: Vec<(String, String)>,
    form: Form,
    body: Vec<Vec<u8>>,
    early: bool,
    cuts: Vec<usize>,
}

fn cases() -> impl Strategy<Value = Case> {
    let fields = prop::collection::vec(("x-[a-z]{1,9}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..8);
    let form = prop_oneof![
        Just(Form::Length),
        Just(Form::Chunks),
        Just(Form::UntilClose)
    ];
    let piece = prop::collection::vec(any::<u8>(), 1..3000);
    (
        prop::sample::select(vec![200u16, 201, 204, 304, 400, 404, 429, 500, 503]),
        fields,
        form,
        prop::collection::vec(piece, 0..5),
        any::<bool>(),
        prop::collection::vec(1usize..200, 0..40),
    )
        .prop_map(|(status, fields, form, body, early, cuts)| Case {
            status,
            fields,
            form,
            body: if matches!(status, 204 | 304) {
                Vec::new()
            } else {
                body
            },
            early,
            cuts,
        })
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if self.early {
            text.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
        }
        text.extend_from_slice(format!("HTTP/1.1 {} Reason\r\n", self.status).as_bytes());
        for (name, value) in &self.fields {
            text.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        let is_bare = matches!(self.status, 204 | 304);
        match self.form {
            _ if is_bare => text.extend_from_slice(b"\r\n"),
            Form::Length => {
                let body = self.body.concat();
                text.extend_from_slice(
                    format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(),
                );
                text.extend_from_slice(&body);
            }
            Form::Chunks => {
                text.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for piece in &self.body {
                    text.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    text.extend_from_slice(piece);
                    text.extend_from_slice(b"\r\n");
                }
                text.extend_from_slice(b"0\r\nX-Trailer: 1\r\n\r\n");
            }
            Form::UntilClose => {
                text.extend_from_slice(b"\r\n");
                text.extend_from_slice(&self.body.concat());
            }
        }
        text
    }
}

/// Answers whoever connects with these bytes, in pieces, and closes.
async fn serve(bytes: Vec<u8>, cuts: Vec<usize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bytes = Arc::new(bytes);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (bytes, cuts) = (bytes.clone(), cuts.clone());
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await;
                let mut rest = bytes.as_slice();
                for cut in cuts {
                    let (piece, after) = rest.split_at(cut.min(rest.len()));
                    let _ = stream.write_all(piece).await;
                    tokio::task::yield_now().await;
                    rest = after;
                }
                let _ = stream.write_all(rest).await;
            });
        }
    });
    address
}

type Outcome = Option<(u16, Vec<(String, Vec<u8>)>, Option<Bytes>)>;

async fn outcome<B: Body<Data = Bytes>>(answer: Response<B>) -> Outcome {
    let (head, body) = answer.into_parts();
    let mut fields: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    fields.sort();
    let body = body.collect().await.ok().map(|body| body.to_bytes());
    Some((head.status.as_u16(), fields, body))
}

async fn with_link(address: SocketAddr) -> Outcome {
    let link = Link::new(TcpStream::connect(address).await.unwrap());
    let sending = Sending::new(Outgoing {
        method: Method::GET,
        uri: Uri::from_static("/v1/models"),
        fields: vec![(HOST, HeaderValue::from_static("127.0.0.1"))],
        body: RequestBody::none(),
    });
    outcome(link.exchange(sending).await.ok()?).await
}

async fn with_hyper(address: SocketAddr) -> Outcome {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, driver) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(driver);
    let request = Request::get("/v1/models").header(HOST, "127.0.0.1");
    let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap());
    outcome(answer.await.ok()?).await
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn answers_are_understood_as_hyper_does(case in cases(), short in any::<prop::sample::Index>(), whole in any::<bool>()) {
        let mut bytes = case.bytes();
        if !whole {
            bytes.truncate(short.index(bytes.len()));
        }
        let (ours, hypers) = block_on(async {
            let address = serve(bytes, case.cuts.clone()).await;
            (with_link(address).await, with_hyper(address).await)
        });
        prop_assert_eq!(ours, hypers);
    }
}

/// What one of two readers might take for the end of an answer, and the other not.
#[test]
fn ambiguous_answers_are_not_believed() {
    for head in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "Content-Length: +2\r\n\r\n{}",
        "Content-Length: 2, 2\r\n\r\n{}",
        "Content-Length: 99999999999999999999\r\n\r\n{}",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0000000000000002\r\n{}\r\n0\r\n\r\n",
        "Folded: 1\r\n 2\r\nContent-Length: 2\r\n\r\n{}",
        "No Name: 1\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{head}").into_bytes();
        let told = block_on(async { with_link(serve(bytes, Vec::new()).await).await });
        assert!(told.is_none_or(|(_, _, body)| body.is_none()), "{head:?}");
    }
}

#[test]
fn a_head_has_its_limit_and_a_large_one_passes() {
    for (size, passes) in [(30_000, true), (60_000, true), (70_000, false)] {
        let field = "x".repeat(size);
        let bytes = format!("HTTP/1.1 200 OK\r\nx-large: {field}\r\ncontent-length: 2\r\n\r\n{{}}");
        let told =
            block_on(async { with_link(serve(bytes.into_bytes(), vec![9; 50]).await).await });
        assert_eq!(told.is_some(), passes, "{size}");
    }
}

/// Thousands of quiet streams are thousands of these.
#[test]
fn an_answer_at_rest_is_small() {
    assert!(size_of::<Answer>() <= 160, "{}", size_of::<Answer>());
}
