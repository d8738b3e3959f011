//! What comes back is what hyper's client would make of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ecto_core::gateway::{GatewayAccess, GatewayFingerprint};
use http::header::HOST;
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::head::Outgoing;
use super::link::{Answer, Link, Sending};
use super::{Gateway, Silence};
use crate::admission::Gate;
use crate::body::RequestBody;
use crate::limits::Limits;

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
    let sending = Sending::new(asking());
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

fn gateway(address: SocketAddr) -> Gateway {
    let access = GatewayAccess {
        address,
        token: SecretString::from("token"),
        hooks: None,
        fingerprint: GatewayFingerprint("one".to_owned()),
    };
    Gateway::new(&access, Arc::default(), Arc::default()).unwrap()
}

fn asking() -> Outgoing {
    Outgoing {
        method: Method::GET,
        uri: Uri::from_static("/v1/models"),
        fields: vec![(HOST, HeaderValue::from_static("127.0.0.1"))],
        body: RequestBody::none(),
    }
}

/// Takes one request and answers it with an empty object.
async fn answer_one(stream: &mut TcpStream) -> usize {
    let mut asked = [0; 4096];
    let count = stream.read(&mut asked).await.unwrap();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    stream.write_all(answer).await.unwrap();
    count
}

async fn ask(gateway: &Gateway) -> Option<Outcome> {
    let answer = gateway.send(asking()).await.ok()?;
    let (head, mut body) = answer.into_parts();
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
    let told = outcome(Response::from_parts(head, Empty::new())).await;
    gateway.rest(body);
    Some(told)
}

/// A connection into which not one byte can be written any more has carried nothing of the request, so it is sent on a
/// new one; and only there.
#[tokio::test]
async fn a_request_of_which_nothing_was_written_is_sent_once_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = gateway(listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut broken, _) = listener.accept().await.unwrap();
        let (mut good, _) = listener.accept().await.unwrap();
        let count = answer_one(&mut good).await;
        let mut rest = Vec::new();
        broken.read_to_end(&mut rest).await.unwrap();
        (rest.len(), count)
    });
    let broken = TcpStream::connect(gateway.address).await.unwrap();
    let broken = broken.into_std().unwrap();
    broken.shutdown(std::net::Shutdown::Write).unwrap();
    let link = Link::new(TcpStream::from_std(broken).unwrap());
    assert!(link.is_quiet());
    gateway
        .resting()
        .as_mut()
        .unwrap()
        .push((link, Instant::now()));
    let (status, _, _) = ask(&gateway).await.unwrap().unwrap();
    assert_eq!(status, 200);
    let (on_the_broken_one, on_the_good_one) = asked.await.unwrap();
    assert_eq!(on_the_broken_one, 0);
    assert!(on_the_good_one > 0);
}

/// Of a request that was written a byte may have acted: it is not sent again, also where the connection had rested.
#[tokio::test]
async fn a_request_that_was_written_into_a_closing_connection_is_not_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = gateway(listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer_one(&mut stream).await;
        let mut asked = [0; 4096];
        assert!(stream.read(&mut asked).await.unwrap() > 0);
        drop(stream);
        let again = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
        again.is_err()
    });
    assert!(ask(&gateway).await.is_some());
    let Err(silence) = gateway.send(asking()).await else {
        panic!("answered");
    };
    assert!(matches!(silence, Silence::BrokeOff));
    assert!(asked.await.unwrap(), "it was sent again");
}

#[tokio::test]
async fn connections_that_rest_are_closed_by_time_and_by_another_gateway() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Arc::new(Gate::new());
    let access = |fingerprint: &str| GatewayAccess {
        address: listener.local_addr().unwrap(),
        token: SecretString::from("token"),
        hooks: None,
        fingerprint: GatewayFingerprint(fingerprint.to_owned()),
    };
    let limits = Arc::new(Limits::default());
    gate.swap(&access("one"), Vec::new(), &limits).unwrap();
    let closing = Arc::clone(&gate);
    tokio::spawn(async move { closing.close_what_rests().await });
    let use_one = async || {
        let gateway = gate.admission().unwrap().gateway;
        let (told, stream) = tokio::join!(ask(&gateway), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            answer_one(&mut stream).await;
            stream
        });
        assert!(told.is_some());
        let is_open = |stream: &TcpStream| {
            let read = stream.try_read(&mut [0]);
            read.is_err_and(|fault| fault.kind() == std::io::ErrorKind::WouldBlock)
        };
        assert!(is_open(&stream));
        (stream, is_open)
    };
    let (mut stream, is_open) = use_one().await;
    tokio::task::yield_now().await;
    tokio::time::pause();
    tokio::time::sleep(limits.gateway_rest - Duration::from_millis(10)).await;
    assert!(is_open(&stream), "it may be used again");
    tokio::time::sleep(Duration::from_millis(20)).await;
    tokio::time::resume();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0])).await;
    assert_eq!(end.unwrap().unwrap(), 0);

    let (mut stream, _) = use_one().await;
    let old = gate.admission().unwrap().gateway;
    gate.swap(&access("two"), Vec::new(), &limits).unwrap();
    let end = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut [0])).await;
    assert_eq!(end.unwrap().unwrap(), 0);
    assert!(old.close_rested().is_none());
}

/// Thousands of quiet streams are thousands of these.
#[test]
fn an_answer_at_rest_is_small() {
    assert!(size_of::<Answer>() <= 160, "{}", size_of::<Answer>());
}
