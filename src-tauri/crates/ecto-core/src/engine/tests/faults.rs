//! Each fault at each step.

use std::sync::Arc;
use std::time::Duration;

use crate::cause::every::every_cause;
use crate::cause::{Cause, Remedy};
use crate::exposure::Exposure;

use super::story::{Story, is_private, is_public, word};
use super::world::{Call, Fault, World};

const JOURNEY: [Call; 18] = [
    Call::ObserveTailnet,
    Call::ObserveGateway,
    Call::Install,
    Call::StartTailscale,
    Call::SignIn,
    Call::AllowFunnel,
    Call::LoadSecrets,
    Call::StoreSecrets,
    Call::SetUp,
    Call::StartGateway,
    Call::Access,
    Call::StartGuard,
    Call::AskGateway,
    Call::Ask,
    Call::Open,
    Call::Check,
    Call::Verify,
    Call::StoreWanted,
];

fn faults() -> Vec<Fault> {
    let causes = every_cause();
    let fails = causes.iter().cloned().map(Fault::Fail);
    let late = [
        Cause::TailscaleLost,
        Cause::AdministratorCancelled,
        Cause::ShieldsUp,
        Cause::VaultDenied,
    ]
    .map(Fault::FailAfter);
    fails
        .chain(late)
        .chain([Fault::Hang, Fault::Slow(Duration::from_secs(3))])
        .collect()
}

fn cause_of(fault: &Fault) -> Option<&Cause> {
    match fault {
        Fault::Fail(cause) | Fault::FailAfter(cause) => Some(cause),
        Fault::Hang | Fault::Slow(_) => None,
    }
}

/// Whatever happened, once nothing is in the way it opens when asked to, and closes when asked to.
async fn recovers(story: &Story, told: &str) {
    story.connect().await.unwrap();
    story.until(is_public).await;
    assert!(story.world.lets_callers_in(), "{told}");
    story.handle.disconnect().await.unwrap();
    assert_eq!(story.exposure(), Exposure::Private, "{told}");
    assert!(story.world.is_shut(), "{told}");
    story.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn each_fault_at_each_step_on_the_way() {
    for call in JOURNEY {
        for fault in faults() {
            let told = format!("{fault:?} at {call:?}");
            let story = Story::begin(World::bare());
            story.world.fail(call, 1, fault.clone());
            let asked = story.connect().await;
            if call == Call::StoreWanted {
                assert!(asked.is_err(), "{told}");
                story.pass(Duration::from_secs(5)).await;
                assert_eq!(story.exposure(), Exposure::Private, "{told}");
            } else {
                asked.unwrap();
                story.pass(Duration::from_secs(40)).await;
                assert_ne!(story.exposure(), Exposure::Private, "{told}");
            }
            story.assert_sound();
            if let (Exposure::Blocked { cause, .. }, Some(expected)) =
                (story.exposure(), cause_of(&fault))
                && !matches!(call, Call::LoadSecrets | Call::StoreSecrets)
            {
                assert_eq!(&cause, expected, "{told}");
            }
            if matches!(fault, Fault::Hang) {
                // A step that may still get there is not restarted by asking again.
                story.handle.disconnect().await.unwrap();
            }
            recovers(&story, &told).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_fault_that_stays_says_itself_and_shows_nothing_else() {
    for call in JOURNEY {
        if matches!(
            call,
            Call::Check | Call::Verify | Call::StoreWanted | Call::LoadSecrets | Call::StoreSecrets
        ) {
            continue;
        }
        for cause in every_cause() {
            let told = format!("{cause:?} at {call:?}");
            let story = Story::begin(World::bare());
            story.world.fail_always(call, Fault::Fail(cause.clone()));
            story.connect().await.unwrap();
            let expected = format!("blocked {}", cause.code());
            story.until(|now| word(&now.exposure) == expected).await;
            let asked = story.world.calls(call);
            story.forget_shown();
            story.pass(Duration::from_secs(200)).await;
            let mut shown = story.shown_but(&expected);
            if matches!(call, Call::SignIn | Call::AllowFunnel) {
                // There is a link to follow each time.
                shown.retain(|word| !word.ends_with(" waiting"));
            }
            assert_eq!(shown, [""; 0], "{told}");
            let again = story.world.calls(call) > asked;
            let waits = cause.remedy() == Remedy::Wait;
            let patient = matches!(cause, Cause::GatewayLockedOut { .. });
            assert_eq!(again, waits && !patient, "{told}");
            assert!(story.world.state().door.is_none(), "{told}");
            story.world.mend(call);
            recovers(&story, &told).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_fault_at_each_moment_while_public() {
    for call in [
        Call::ObserveTailnet,
        Call::ObserveGateway,
        Call::Access,
        Call::StartGuard,
        Call::AskGateway,
        Call::Ask,
        Call::Open,
        Call::Verify,
        Call::Check,
        Call::Confirm,
    ] {
        for fault in faults() {
            for lost in [false, true] {
                let told = format!("{fault:?} at {call:?}, claim lost: {lost}");
                let story = Story::public(World::ready()).await;
                story.world.fail(call, 1, fault.clone());
                story.handle.check_outside().await;
                if lost {
                    story.world.lose_claim(Cause::TailscaleLost);
                }
                story.world.restart_gateway();
                story.pass(Duration::from_millis(5)).await;
                let blind = matches!(call, Call::ObserveTailnet | Call::ObserveGateway);
                assert!(!story.world.lets_callers_in() || blind, "{told}");
                story.pass(Duration::from_secs(30)).await;
                story.assert_sound();
                recovers(&story, &told).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_fault_while_closing() {
    for call in [Call::Close, Call::Confirm, Call::StoreWanted] {
        for fault in faults() {
            for sticks in [false, true] {
                let told = format!("{fault:?} at {call:?}, sticks: {sticks}");
                let story = Story::public(World::ready()).await;
                story.world.state().door_sticks = sticks;
                if call == Call::Confirm {
                    let refused = Fault::Fail(Cause::TailscaleLost);
                    story.world.fail_always(Call::Close, refused);
                }
                story.world.fail(call, 1, fault.clone());
                let answer = story.handle.disconnect().await;
                assert!(story.world.state().guard.is_none(), "{told}");
                assert!(!story.world.lets_callers_in(), "{told}");
                let open = story.world.state().door.is_some();
                if open {
                    assert!(matches!(answer, Err(Cause::CouldNotClose { .. })), "{told}");
                    assert_eq!(
                        word(&story.exposure()),
                        "unconfirmed could_not_close",
                        "{told}"
                    );
                }
                story.assert_sound();
                story.world.state().door = None;
                story.world.mend(Call::Close);
                story.until(is_private).await;
                recovers(&story, &told).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_daemon_going_away_at_each_step_is_survived() {
    for call in JOURNEY {
        let story = Story::begin(World::bare());
        story
            .world
            .fail(call, 1, Fault::Slow(Duration::from_millis(200)));
        let world = Arc::clone(&story.world);
        let connect = story.connect();
        let daemon = async {
            for _ in 0..10_000 {
                if world.calls(call) > 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            world.change_tailnet(crate::tailnet::TailnetView::NotRunning {
                kind: crate::tailnet::NodeKind::System,
            });
            world.lose_claim(Cause::TailscaleLost);
        };
        let (connected, ()) = tokio::join!(connect, daemon);
        connected.unwrap();
        recovers(&story, &format!("{call:?}")).await;
    }
}
