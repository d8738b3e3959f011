//! Off means off.

use std::time::Duration;

use crate::cause::Cause;
use crate::exposure::{Closed, Exposure};
use crate::ports::OutsideFinding;
use crate::snapshot::Notice;
use crate::tailnet::NodeKind;
use crate::wanted::Wanted;

use super::story::{Story, is_private, is_public, looks, word};
use super::world::{Call, Fault, World};

fn not_closed() -> Cause {
    Cause::CouldNotClose {
        detail: "permission denied".into(),
        node: Some(NodeKind::System),
    }
}

#[tokio::test(start_paused = true)]
async fn disconnecting_closes_cuts_and_says_so_within_a_second() {
    let story = Story::public(World::ready()).await;
    let began = tokio::time::Instant::now();
    story.handle.disconnect().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(story.exposure(), Exposure::Private);
    assert!(story.world.is_shut());
    assert_eq!(story.world.deeds(), [Call::Close, Call::StopGuard]);
    assert_eq!(story.shown(), ["closing", "private"]);
    assert_eq!(story.now().wanted, Wanted::Private);
    story.pass(Duration::from_secs(86_400)).await;
    assert!(story.world.is_shut());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_watched_that_only_an_open_door_needs() {
    let story = Story::public(World::ready()).await;
    assert!(story.world.is_watched());
    story.handle.disconnect().await.unwrap();
    story.pass(Duration::from_secs(1)).await;
    assert!(!story.world.is_watched());
}

#[tokio::test(start_paused = true)]
async fn a_door_that_closed_for_sleep_says_so_until_somebody_asks_for_something() {
    let story = Story::public(World::ready()).await;
    story.handle.disconnect_for_sleep().await.unwrap();
    assert_eq!(story.exposure(), Exposure::Private);
    assert!(story.world.is_shut());
    assert_eq!(story.now().notice, Some(Notice::EndedBySleep));
    // It sleeps again.
    story.handle.disconnect_for_sleep().await.unwrap();
    story.pass(Duration::from_secs(86_400)).await;
    assert_eq!(story.now().notice, Some(Notice::EndedBySleep));
    story.handle.disconnect().await.unwrap();
    assert_eq!(story.now().notice, None);
    // Where nothing was open there is nothing to tell.
    story.handle.disconnect_for_sleep().await.unwrap();
    assert_eq!(story.now().notice, None);
}

#[tokio::test(start_paused = true)]
async fn what_was_found_open_is_told_before_a_claim_that_may_still_be_there() {
    let story = Story::public(World::ready()).await;
    story.world.state().finding = OutsideFinding::OpenWithoutKey;
    story
        .world
        .fail_always(Call::Close, Fault::Fail(not_closed()));
    story
        .world
        .fail_always(Call::Confirm, Fault::Fail(not_closed()));
    story.handle.check_outside().await;
    story.until(looks("unconfirmed open_without_key")).await;
    story.forget_shown();
    story.handle.disconnect_for_sleep().await.unwrap_err();
    story.handle.restore().await.unwrap_err();
    story.pass(Duration::from_secs(3600)).await;
    // Not even for a moment something else.
    assert_eq!(story.shown(), <[&str; 0]>::default());
    assert_eq!(word(&story.exposure()), "unconfirmed open_without_key");
}

#[tokio::test(start_paused = true)]
async fn disconnecting_twice_is_fine() {
    let story = Story::public(World::ready()).await;
    let (first, second) = tokio::join!(story.handle.disconnect(), story.handle.disconnect());
    first.unwrap();
    second.unwrap();
    story.handle.disconnect().await.unwrap();
    assert_eq!(story.world.calls(Call::Close), 1);
}

#[tokio::test(start_paused = true)]
async fn a_door_that_does_not_close_is_loud_until_it_is_seen_to_be() {
    let world = World::ready();
    world.state().door_sticks = true;
    let story = Story::public(world).await;
    story
        .world
        .fail_always(Call::Close, Fault::Fail(not_closed()));
    assert_eq!(story.handle.disconnect().await, Err(not_closed()));
    story.until(looks("unconfirmed could_not_close")).await;
    assert!(
        story.world.state().guard.is_none(),
        "whoever comes finds nobody"
    );
    let text = crate::words::exposure(&story.exposure()).to_string();
    assert!(text.contains("permission denied"), "{text}");
    assert!(text.contains("tailscale down"), "{text}");
    story.pass(Duration::from_secs(600)).await;
    assert_eq!(word(&story.exposure()), "unconfirmed could_not_close");
    story.world.state().door = None;
    story.until(is_private).await;
    story.handle.disconnect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_close_that_failed_and_worked_all_the_same_is_private() {
    let story = Story::public(World::ready()).await;
    story
        .world
        .fail(Call::Close, 1, Fault::FailAfter(not_closed()));
    story.handle.disconnect().await.unwrap();
    assert_eq!(story.exposure(), Exposure::Private);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_hangs_is_given_up_and_asked_about() {
    let world = World::ready();
    world.state().door_sticks = true;
    let story = Story::public(world).await;
    story.world.fail_always(Call::Close, Fault::Hang);
    story.world.fail_always(Call::Confirm, Fault::Hang);
    let handle = story.handle.clone();
    let first = tokio::spawn(async move { handle.disconnect().await });
    story.until(looks("closing")).await;
    assert!(!story.world.lets_callers_in());
    let began = tokio::time::Instant::now();
    let second = story.handle.disconnect().await;
    assert!(began.elapsed() <= Duration::from_secs(16));
    for answer in [first.await.unwrap(), second] {
        let Err(Cause::CouldNotClose { detail, .. }) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(detail.as_str(), "Tailscale did not answer in time");
    }
    story.world.mend(Call::Confirm);
    story.world.state().door = None;
    story.until(is_private).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_door_in_doubt_is_not_opened_a_second_time() {
    let world = World::ready();
    world.state().door_sticks = true;
    let story = Story::public(world).await;
    story
        .world
        .fail_always(Call::Close, Fault::Fail(not_closed()));
    story.handle.disconnect().await.unwrap_err();
    story.connect().await.unwrap();
    story.pass(Duration::from_secs(600)).await;
    assert_eq!(word(&story.exposure()), "unconfirmed could_not_close");
    assert_eq!(story.world.state().claims_made, 1);
    let began = tokio::time::Instant::now();
    story.handle.disconnect().await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(1));
    story.connect().await.unwrap();
    story.world.state().door = None;
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn disconnecting_while_a_closing_is_being_confirmed_is_not_kept_waiting() {
    let world = World::ready();
    world.state().door_sticks = true;
    let story = Story::public(world).await;
    story
        .world
        .fail_always(Call::Close, Fault::Fail(not_closed()));
    story.handle.disconnect().await.unwrap_err();
    story.connect().await.unwrap();
    story.pass(Duration::from_secs(120)).await;
    story
        .world
        .fail_always(Call::Confirm, Fault::Slow(Duration::from_secs(3)));
    while story.world.state().calls.last() != Some(&Call::Confirm) {
        story.pass(Duration::from_millis(500)).await;
        story.world.forget_calls();
        story.pass(Duration::from_millis(500)).await;
    }
    let began = tokio::time::Instant::now();
    story.handle.disconnect().await.unwrap_err();
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_door_that_had_to_be_closed_and_did_not_is_said_with_the_cause() {
    let world = World::ready();
    world.state().door_sticks = true;
    let story = Story::public(world).await;
    story
        .world
        .fail_always(Call::Close, Fault::Fail(not_closed()));
    story
        .world
        .change_gateway(crate::gateway::GatewayView::Missing);
    story.until(looks("unconfirmed openclaw_missing")).await;
    assert!(story.world.state().guard.is_none());
    story.world.state().door = None;
    story.until(looks("blocked openclaw_missing")).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_done_before_the_door_is_closed() {
    let story = Story::public(World::ready()).await;
    story
        .world
        .fail_always(Call::StartGateway, Fault::Slow(Duration::from_secs(120)));
    let restarts = [story.handle.clone(), story.handle.clone()]
        .map(|handle| tokio::spawn(async move { handle.restart_gateway().await }));
    story.until(looks("held lock_unproven")).await;
    story.pass(Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    story.handle.disconnect().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    assert!(story.world.is_shut());
    for restart in restarts {
        let _ = restart.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_undoing_that_waited_does_not_count_after_a_later_connect() {
    let story = Story::public(World::ready()).await;
    story
        .world
        .fail(Call::StartGateway, 1, Fault::Slow(Duration::from_secs(60)));
    let (restart, undo) = (story.handle.clone(), story.handle.clone());
    let restart = tokio::spawn(async move { restart.restart_gateway().await });
    story.until(looks("held lock_unproven")).await;
    let undo = tokio::spawn(async move { undo.restore().await });
    story.pass(Duration::from_secs(1)).await;
    story.connect().await.unwrap();
    undo.await.unwrap().unwrap_err();
    restart.await.unwrap().unwrap();
    story.until(is_public).await;
    story.pass(Duration::from_secs(60)).await;
    assert_eq!(word(&story.exposure()), "public");
    assert_eq!(story.world.calls(Call::Restore), 0);
}

#[tokio::test(start_paused = true)]
async fn quitting_closes_the_door_and_keeps_the_wish() {
    let story = Story::public(World::ready()).await;
    let snapshots = story.handle.snapshots();
    story.handle.quit().await.unwrap();
    assert!(story.world.is_shut());
    assert_eq!(snapshots.borrow().exposure, Exposure::Private);
    let stored = story.world.state().record.clone().unwrap();
    let (wanted, _) = Wanted::from_record(&stored, crate::Timestamp::UNIX_EPOCH);
    assert!(wanted.is_public());
    assert!(story.handle.disconnect().await.is_err(), "it has ended");
}

#[tokio::test(start_paused = true)]
async fn quitting_says_when_the_door_could_not_be_closed() {
    let story = Story::public(World::ready()).await;
    story.world.fail_always(Call::Close, Fault::Hang);
    let snapshots = story.handle.snapshots();
    assert!(story.handle.quit().await.is_err());
    let last = snapshots.borrow().exposure.clone();
    assert!(matches!(
        last,
        Exposure::Blocked {
            closed: Closed::Unconfirmed,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn nobody_left_to_ask_for_anything_closes_the_door() {
    let mut story = Story::public(World::ready()).await;
    let world = std::sync::Arc::clone(&story.world);
    let engine = std::mem::replace(&mut story.engine, tokio::spawn(async {}));
    let other = Story::begin(World::ready());
    story.handle = other.handle.clone();
    engine.await.unwrap();
    assert!(world.is_shut());
}

#[tokio::test(start_paused = true)]
async fn restoring_closes_first_and_stays_private() {
    let story = Story::public(World::ready()).await;
    let restored = story.handle.restore().await.unwrap();
    assert_eq!(restored.len(), 1);
    assert_eq!(
        story.world.deeds(),
        [Call::Close, Call::StopGuard, Call::Restore]
    );
    story.pass(Duration::from_secs(60)).await;
    assert_eq!(story.exposure(), Exposure::Private);
    assert_eq!(story.now().wanted, Wanted::Private);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_restored_behind_an_open_door() {
    let world = World::ready();
    world.state().door_sticks = true;
    let story = Story::public(world).await;
    story
        .world
        .fail_always(Call::Close, Fault::Fail(not_closed()));
    assert_eq!(story.handle.restore().await, Err(not_closed()));
    assert_eq!(story.world.calls(Call::Restore), 0);
}
