//! How requests are cut up, however their bytes come.

use proptest::prelude::*;

use super::*;

fn judge(text: &[u8]) -> Result<bool, Refusal> {
    let mut framing = Framing::new(1024);
    framing
        .follow_all(text)
        .map(|()| framing.is_between_requests())
        .map_err(|breach| breach.refusal)
}

const WHOLE: [&str; 7] = [
    "GET / HTTP/1.1\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /v1/models?a=%00&b=[1]|{2} HTTP/1.1\r\nHost:x\r\nX-Name: J\u{e9}r\u{f4}me \r\nEmpty:\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloPOST / HTTP/1.1\r\ncontent-length:\t0 \r\n\r\n",
    "POST / HTTP/1.1\r\nTRANSFER-encoding: Chunked \r\n\r\n5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "POST / HTTP/1.1\r\nContent-Length-Not: x\r\nTransfer-Encodings: y\r\n\r\n",
];

#[test]
fn whole_requests_pass_however_they_are_cut() {
    for text in WHOLE {
        assert_eq!(judge(text.as_bytes()), Ok(true), "{text:?}");
        let mut framing = Framing::new(1024);
        for byte in text.as_bytes() {
            framing.follow_all(std::slice::from_ref(byte)).unwrap();
        }
        assert!(framing.is_between_requests(), "{text:?}");
        for cut in 1..text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            let mut framing = Framing::new(1024);
            framing.follow_all(first).unwrap();
            framing.follow_all(second).unwrap();
            assert!(framing.is_between_requests(), "{text:?}");
        }
    }
}

#[test]
fn what_could_be_cut_up_differently_is_refused() {
    let fields = [
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 1",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chun ked",
        "Transfer-Encoding: chunke",
        "Transfer-Encoding:",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding : chunked",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 1,1",
        "Content-Length: 1 1",
        "Content-Length: 0x1",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Content-Length: 18446744073709551614",
        " Folded: 1",
        "A: 1\r\n folded",
        "A: 1\r\n\tfolded",
        "A: 1\nB: 2",
        "A: 1\rB: 2",
        "A: 1\0",
        "A: 1\u{7f}",
        "A\0: 1",
        "A B: 1",
        "A\u{e9}: 1",
        ": 1",
        "A",
    ];
    for field in fields {
        let text = format!("POST / HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n");
        assert_eq!(judge(text.as_bytes()), Err(Refusal::Malformed), "{field:?}");
    }
    for line in [
        "\r\nGET / HTTP/1.1\r\n",
        " GET / HTTP/1.1\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET /  HTTP/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET / HTTP/1.1\n",
        "GET /\tHTTP/1.1\r\n",
        "GET /\r\n",
        "GET / http/1.1\r\n",
        "GET http://x/ HTTP/1.1\r\n",
        "CONNECT x:1 HTTP/1.1\r\n",
        "GET *x HTTP/1.1\r\n",
        "GET ? HTTP/1.1\r\n",
        "GET /#x HTTP/1.1\r\n",
        "GET /\\ HTTP/1.1\r\n",
        "GET /\0 HTTP/1.1\r\n",
        "GET /\u{e9} HTTP/1.1\r\n",
        "G(T / HTTP/1.1\r\n",
        "\u{16}\u{3}\u{1}",
    ] {
        assert_eq!(judge(line.as_bytes()), Err(Refusal::Malformed), "{line:?}");
    }
    for line in [
        "GET / HTTP/1.0\r\n",
        "PRI * HTTP/2.0\r\n",
        "GET / HTTP/1.9\r\n",
    ] {
        assert_eq!(
            judge(line.as_bytes()),
            Err(Refusal::VersionNotSupported),
            "{line:?}"
        );
    }
    assert_eq!(
        judge(b"GET /\xc0\xae HTTP/1.1\r\n"),
        Err(Refusal::Malformed)
    );
}

#[test]
fn bad_chunks_are_a_breach_in_the_body() {
    for chunks in [
        "\r\n",
        "zz\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
        "0\r\nA: 1\n\r\n",
        "0\r\nContent-Length: 1\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let text = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let breach = Framing::new(1024).follow_all(text.as_bytes()).unwrap_err();
        assert_eq!(
            (breach.refusal, breach.in_body),
            (Refusal::Malformed, true),
            "{chunks:?}"
        );
    }
}

#[test]
fn heads_and_trailers_have_an_end() {
    let head = |fill: usize| format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(fill));
    let frame = head(0).len();
    assert_eq!(judge(head(1024 - frame).as_bytes()), Ok(true));
    assert_eq!(
        judge(head(1025 - frame).as_bytes()),
        Err(Refusal::HeadTooLarge)
    );
    assert_eq!(
        judge(format!("GET /{}", "x".repeat(2000)).as_bytes()),
        Err(Refusal::HeadTooLarge)
    );
    let many = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A:1\r\n".repeat(count));
    assert_eq!(judge(many(100).as_bytes()), Ok(true));
    assert_eq!(judge(many(101).as_bytes()), Err(Refusal::HeadTooLarge));
    let trailer = format!(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: {}",
        "x".repeat(1100)
    );
    assert_eq!(judge(trailer.as_bytes()), Err(Refusal::HeadTooLarge));
}

#[test]
fn what_came_before_a_breach_is_told() {
    let good = "GET / HTTP/1.1\r\n\r\n";
    let breach = Framing::new(1024)
        .follow_all(format!("{good}GET / HTTP/1.1\nHost: x\r\n\r\n").as_bytes())
        .unwrap_err();
    assert_eq!(breach.good, good.len() + "GET / HTTP/1.1".len());
    assert!(!breach.in_body);
}

proptest! {
    #[test]
    fn any_bytes_are_judged_the_same_however_they_are_cut(
        start in prop::sample::select(WHOLE.to_vec()),
        place in 0usize..200, byte in any::<u8>(), cut in 0usize..200,
        head_bytes in prop_oneof![Just(1024), 1usize..80],
    ) {
        let mut bytes = start.as_bytes().to_vec();
        let place = place % bytes.len();
        bytes[place] = byte;
        let whole = Framing::new(head_bytes).follow_all(&bytes);
        let (first, second) = bytes.split_at(cut % bytes.len());
        let mut framing = Framing::new(head_bytes);
        let in_two = framing.follow_all(first).and_then(|()| {
            framing.follow_all(second).map_err(|breach| Breach { good: breach.good + first.len(), ..breach })
        });
        prop_assert_eq!(whole, in_two);
    }
}
