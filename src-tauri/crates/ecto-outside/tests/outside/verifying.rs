//! What the relay and the certificate tell.

use std::sync::Arc;
use std::time::Duration;

use ecto_core::cause::ReachCause;
use ecto_core::ports::OutsideFinding;
use rcgen::{CertificateParams, date_time_ymd};
use tokio::net::TcpListener;

use crate::stand_in::*;

async fn cause(authority: Authority, door: Door) -> ReachCause {
    let mut internet = Internet::with_door(authority, door, guarded()).await;
    internet.limits.handshake = Duration::from_millis(500);
    match internet.check().await {
        OutsideFinding::Unreachable(cause) => {
            assert!(internet.door.asked().is_empty(), "asked without trust");
            cause
        }
        other @ (OutsideFinding::Reachable | OutsideFinding::OpenWithoutKey) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_relay_that_hangs_up_refuses() {
    assert_eq!(
        cause(Authority::new(), Door::Closes).await,
        ReachCause::RelayRefuses
    );
    assert_eq!(
        cause(Authority::new(), Door::Sends(b"")).await,
        ReachCause::RelayRefuses
    );
}

#[tokio::test]
async fn an_internal_error_means_that_the_certificate_is_not_there_yet() {
    let alert = b"\x15\x03\x03\x00\x02\x02\x50";
    assert_eq!(
        cause(Authority::new(), Door::Sends(alert)).await,
        ReachCause::CertificatePending
    );
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_is_said_so() {
    let authority = Authority::new();
    let mut expired = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2020, 2, 1);
    let doors = [
        Authority::new().server(HOST),
        authority.server("other.tail1234.ts.net"),
        authority.server_with(expired),
    ];
    let mut internet = Internet::with_door(authority, Door::Silent, guarded()).await;
    for tls in doors {
        internet.door = Listening::start(Door::Speaks(tls), guarded()).await;
        let found = internet.check().await;
        assert!(
            matches!(
                found,
                OutsideFinding::Unreachable(ReachCause::CertificateInvalid { .. })
            ),
            "{found:?}"
        );
        assert!(internet.door.asked().is_empty());
    }
}

#[tokio::test]
async fn something_that_does_not_speak_tls_has_no_certificate() {
    let found = cause(Authority::new(), Door::Sends(b"HTTP/1.1 400 Bad\r\n\r\n")).await;
    assert!(
        matches!(found, ReachCause::CertificateInvalid { .. }),
        "{found:?}"
    );
}

#[tokio::test]
async fn silence_and_closed_ports_are_not_answering() {
    assert_eq!(
        cause(Authority::new(), Door::Silent).await,
        ReachCause::NotAnswering
    );
    let mut internet = Internet::new(guarded()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    internet.door.address = closed;
    assert_eq!(
        internet.check().await,
        OutsideFinding::Unreachable(ReachCause::NotAnswering)
    );
}

#[tokio::test]
async fn one_relay_that_answers_is_enough() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let mut internet = Internet::new(guarded()).await;
    let names = published(&["203.0.113.10", "203.0.113.11"], &["2001:db8::10"]);
    internet.set_resolvers([names.clone(), names]).await;
    let door = internet.door.address;
    let dial = Arc::new(move |public: std::net::SocketAddr| {
        if public.ip().to_string() == "203.0.113.11" {
            door
        } else {
            closed
        }
    });
    assert_eq!(
        internet.check_dialling(dial).await,
        OutsideFinding::Reachable
    );
}
