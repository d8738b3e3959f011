//! What the answers mean, and who ever sees the right key.

use std::sync::Arc;

use ecto_core::cause::ReachCause;
use ecto_core::key::is_well_formed;
use ecto_core::ports::OutsideFinding;
use ecto_core::refusal::Refusal;
use ecto_core::tailnet::FunnelPort;
use secrecy::ExposeSecret as _;

use crate::stand_in::*;

#[tokio::test]
async fn a_guarded_gateway_is_reachable() {
    let internet = Internet::new(guarded()).await;
    assert_eq!(internet.check().await, OutsideFinding::Reachable);

    let asked = internet.door.asked();
    assert_eq!(asked.len(), 3);
    for question in &asked {
        assert_eq!(question.target, "GET /v1/models");
        assert_eq!(question.host, HOST);
    }
    assert_eq!(asked[0].authorization, None);
    let wrong = asked[1].authorization.as_deref().unwrap();
    let wrong = wrong.strip_prefix("Bearer ").unwrap();
    assert!(is_well_formed(wrong) && wrong != key().expose_secret());
    assert!(internet.right_key_was_shown());
    assert_eq!(internet.dialled(), ["203.0.113.10:443"]);
}

#[tokio::test]
async fn another_port_is_dialled_and_named() {
    let mut internet = Internet::new(guarded()).await;
    internet.port = FunnelPort::Alternative;
    assert_eq!(internet.check().await, OutsideFinding::Reachable);
    assert_eq!(internet.dialled(), ["203.0.113.10:8443"]);
    assert_eq!(internet.door.asked()[0].host, format!("{HOST}:8443"));
}

#[tokio::test]
async fn a_door_that_closes_after_each_answer_is_asked_again_with_the_certificate_verified() {
    let guard = guarded();
    let closing: Answering = Arc::new(move |number, asked| {
        guard(number, asked).replacen("\r\n", "\r\nconnection: close\r\n", 1)
    });
    let internet = Internet::new(closing).await;
    assert_eq!(internet.check().await, OutsideFinding::Reachable);
}

fn answers() -> Vec<String> {
    vec![
        reply(200, "{}"),
        reply(204, ""),
        reply(301, ""),
        refusal(Refusal::MissingKey),
        refusal(Refusal::WrongKey),
        reply(
            401,
            r#"{"error":{"message":"Unauthorized","type":"unauthorized"}}"#,
        ),
        reply(403, ""),
        reply(404, "404 page not found"),
        refusal(Refusal::Held),
        reply(502, ""),
        refusal(Refusal::GatewayRefusedToken),
        reply(429, ""),
        "HTTP/1.1 200 X\r\ncontent-length: 99999999\r\n\r\n{".to_owned(),
        "HTTP/1.1 401 X\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
    ]
}

/// Every answer to the first question with every answer to the second: the right key is shown only to who refused
/// both by the guard's words, and a success without a key or with a wrong one is always told.
#[tokio::test]
async fn the_right_key_is_shown_to_nobody_but_the_guard() {
    let mut internet = Internet::new(guarded()).await;
    for first in answers() {
        for second in answers() {
            let (one, two) = (first.clone(), second.clone());
            let answer: Answering = Arc::new(move |number, _| match number {
                1 => one.clone(),
                2 => two.clone(),
                _ => reply(200, "{}"),
            });
            let door = Door::Speaks(internet.authority.server(HOST));
            internet.door = Listening::start(door, answer).await;
            let finding = internet.check().await;

            let passed_first = first == refusal(Refusal::MissingKey);
            let passed_second = second == refusal(Refusal::WrongKey);
            let open = |text: &str| text.starts_with("HTTP/1.1 2");
            assert_eq!(
                internet.right_key_was_shown(),
                passed_first && passed_second,
                "{first} {second}"
            );
            assert_eq!(
                finding == OutsideFinding::OpenWithoutKey,
                open(&first) || (passed_first && open(&second)),
                "{first} {second}"
            );
            assert_eq!(
                finding == OutsideFinding::Reachable,
                passed_first && passed_second,
                "{first} {second}"
            );
        }
    }
}

async fn finding_for(number: usize, answer: String) -> OutsideFinding {
    let guard = guarded();
    let answering: Answering = Arc::new(move |asked_before, asked| {
        if asked_before == number {
            answer.clone()
        } else {
            guard(asked_before, asked)
        }
    });
    Internet::new(answering).await.check().await
}

#[tokio::test]
async fn each_answer_has_its_meaning() {
    for (number, answer, cause) in [
        (
            1,
            reply(404, "404 page not found"),
            ReachCause::NotTheGuard { status: 404 },
        ),
        (1, reply(401, "{}"), ReachCause::NotTheGuard { status: 401 }),
        (1, reply(302, ""), ReachCause::NotTheGuard { status: 302 }),
        (1, reply(502, ""), ReachCause::GuardAway),
        (1, reply(429, ""), ReachCause::LockedOut),
        (1, refusal(Refusal::TooBusy), ReachCause::GuardFull),
        (1, "nonsense\r\n\r\n".to_owned(), ReachCause::NotAnswering),
        (2, reply(429, ""), ReachCause::LockedOut),
        (
            2,
            refusal(Refusal::MissingKey),
            ReachCause::NotTheGuard { status: 401 },
        ),
        (3, refusal(Refusal::WrongKey), ReachCause::KeyRefused),
        (3, refusal(Refusal::GatewayAway), ReachCause::GatewayAway),
        (
            3,
            refusal(Refusal::GatewayRefusedToken),
            ReachCause::GatewayAway,
        ),
        (3, refusal(Refusal::Held), ReachCause::GatewayAway),
        (3, reply(504, ""), ReachCause::GatewayAway),
        (3, reply(502, ""), ReachCause::GuardAway),
        (3, reply(429, ""), ReachCause::LockedOut),
        (3, reply(404, "{}"), ReachCause::NotTheGuard { status: 404 }),
        (3, reply(204, ""), ReachCause::NotTheGuard { status: 204 }),
    ] {
        assert_eq!(
            finding_for(number, answer.clone()).await,
            OutsideFinding::Unreachable(cause),
            "{number} {answer}"
        );
    }
}

#[tokio::test]
async fn wrong_keys_of_others_do_not_make_the_address_unreachable() {
    let found = finding_for(2, refusal(Refusal::TooManyWrongKeys)).await;
    assert_eq!(found, OutsideFinding::Reachable);
    let found = finding_for(1, refusal(Refusal::TooManyWrongKeys)).await;
    assert_eq!(found, OutsideFinding::Unreachable(ReachCause::LockedOut));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_the_gateways_only_after_the_guard_has_answered() {
    for (number, cause) in [(1, ReachCause::NotAnswering), (3, ReachCause::GatewayAway)] {
        let guard = guarded();
        let answering: Answering = Arc::new(move |asked_before, asked| {
            if asked_before == number {
                String::new()
            } else {
                guard(asked_before, asked)
            }
        });
        let mut internet = Internet::new(answering).await;
        internet.limits.answer = std::time::Duration::from_millis(200);
        assert_eq!(internet.check().await, OutsideFinding::Unreachable(cause));
    }
}
