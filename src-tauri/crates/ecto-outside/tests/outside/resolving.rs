//! What public DNS says, and what becomes of it.

use std::time::Duration;

use ecto_core::cause::ReachCause;
use ecto_core::ports::OutsideFinding;

use crate::stand_in::*;

async fn finding(names: [Names; 2]) -> OutsideFinding {
    let mut internet = Internet::new(guarded()).await;
    internet.set_resolvers(names).await;
    internet.check().await
}

#[tokio::test]
async fn both_kinds_are_asked_for_as_json() {
    let internet = Internet::new(guarded()).await;
    internet.check().await;
    let mut asked: Vec<_> = internet
        .asked_of_resolver(0)
        .into_iter()
        .map(|asked| asked.target)
        .collect();
    asked.sort();
    assert_eq!(
        asked,
        [
            format!("GET /dns-query?name={HOST}&type=1"),
            format!("GET /dns-query?name={HOST}&type=28"),
        ]
    );
}

#[tokio::test]
async fn one_resolver_that_knows_is_enough() {
    let known = || published(&[], &["2001:db8::10"]);
    let failing = || always(reply(500, ""));
    for names in [
        [known(), no_such_name()],
        [no_such_name(), known()],
        [failing(), known()],
        [known(), always(reply(200, r#"{"Status":2}"#))],
        [always("nonsense\r\n\r\n".to_owned()), known()],
        [published(&["203.0.113.10"], &["2001:db8::10"]), failing()],
    ] {
        assert_eq!(finding(names).await, OutsideFinding::Reachable);
    }
}

#[tokio::test]
async fn one_kind_is_enough() {
    let half: Names = std::sync::Arc::new(|kind| match kind {
        1 => reply(
            200,
            r#"{"Status":0,"Answer":[{"type":1,"data":"203.0.113.10"}]}"#,
        ),
        _ => reply(200, r#"{"Status":2}"#),
    });
    assert_eq!(
        finding([half.clone(), half]).await,
        OutsideFinding::Reachable
    );
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_not_published() {
    let empty = || published(&[], &[]);
    let failing = || always(reply(500, ""));
    for names in [
        [no_such_name(), no_such_name()],
        [empty(), no_such_name()],
        [empty(), failing()],
        [failing(), no_such_name()],
    ] {
        assert_eq!(
            finding(names).await,
            OutsideFinding::Unreachable(ReachCause::NotPublished)
        );
    }
}

#[tokio::test]
async fn without_a_resolver_the_machine_is_offline() {
    let failing = always(reply(500, ""));
    let found = finding([failing.clone(), failing]).await;
    assert!(
        matches!(&found, OutsideFinding::Unreachable(ReachCause::Offline { detail }) if detail.as_str().contains("status 500")),
        "{found:?}"
    );

    let mut internet = Internet::new(guarded()).await;
    internet.limits.resolve = Duration::from_millis(200);
    internet
        .set_doors_of_resolvers([Door::Silent, Door::Closes])
        .await;
    let found = internet.check().await;
    assert!(
        matches!(&found, OutsideFinding::Unreachable(ReachCause::Offline { detail }) if detail.as_str().contains("in time")),
        "{found:?}"
    );
    assert!(internet.dialled().is_empty());
}

#[tokio::test]
async fn a_resolver_that_cannot_show_who_it_is_is_not_believed() {
    let mut internet = Internet::new(guarded()).await;
    let stranger = Authority::new().server("127.0.0.1");
    let elsewhere = internet.authority.server("1.1.1.1");
    internet
        .set_doors_of_resolvers([Door::Speaks(stranger), Door::Speaks(elsewhere)])
        .await;
    let found = internet.check().await;
    assert!(
        matches!(
            found,
            OutsideFinding::Unreachable(ReachCause::Offline { .. })
        ),
        "{found:?}"
    );

    let known = Door::Speaks(internet.tls_of_resolver());
    internet.set_doors_of_resolvers([Door::Silent, known]).await;
    assert_eq!(internet.check().await, OutsideFinding::Reachable);
}

#[tokio::test]
async fn a_private_address_is_never_dialled() {
    for (ipv4, ipv6, private) in [
        (&["100.64.1.2"][..], &[][..], "100.64.1.2"),
        (&["127.0.0.1"], &[], "127.0.0.1"),
        (&["203.0.113.10", "192.168.1.4"], &[], "192.168.1.4"),
        (
            &["203.0.113.10"],
            &["fd7a:115c:a1e0::1"],
            "fd7a:115c:a1e0::1",
        ),
        (&[], &["::ffff:10.0.0.1"], "::ffff:10.0.0.1"),
    ] {
        let mut internet = Internet::new(guarded()).await;
        let names = published(ipv4, ipv6);
        internet.set_resolvers([names.clone(), names]).await;
        assert_eq!(
            internet.check().await,
            OutsideFinding::Unreachable(ReachCause::PrivateAddress {
                address: private.to_owned()
            })
        );
        assert!(internet.dialled().is_empty());
        assert!(internet.door.asked().is_empty());
    }
}
