//! What is wanted survives, and is read in the safe direction.

use std::time::Duration;

use crate::Timestamp;
use crate::cause::Cause;
use crate::exposure::Exposure;
use crate::ports::Clock;
use crate::snapshot::Notice;
use crate::tailnet::NodeChoice;
use crate::wanted::Wanted;

use super::story::{Story, is_private, is_public, looks};
use super::world::{Call, Fault, World};

fn public(until: Option<Timestamp>) -> Vec<u8> {
    let node = NodeChoice::Auto;
    Wanted::Public { until, node }.to_record()
}

fn full() -> Cause {
    Cause::WantedNotStored {
        detail: "the disk is full".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_opens_again_with_a_new_proof() {
    let world = World::ready();
    world.state().record = Some(public(None));
    let story = Story::begin(world);
    story.until(is_public).await;
    assert_eq!(story.world.calls(Call::Ask), 6);
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_cannot_be_read_stays_private_and_says_so() {
    let damaged: [&[u8]; 5] = [
        b"",
        b"{\"version\":1,\"wanted\":\"pub",
        b"\xff\xfe",
        b"null",
        b"{\"version\":2,\"wanted\":\"public\",\"until\":null}",
    ];
    for bytes in damaged {
        let world = World::ready();
        world.state().record = Some(bytes.to_vec());
        let story = Story::begin(world);
        story.pass(Duration::from_secs(60)).await;
        let now = story.now();
        assert_eq!(now.exposure, Exposure::Private);
        assert_eq!(now.notice, Some(Notice::WantedUnreadable));
        assert_eq!(story.world.deeds(), []);
        assert_eq!(story.world.state().record.as_deref(), Some(bytes));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_stays_private_and_says_so() {
    let world = World::ready();
    world.state().record = Some(public(None));
    world.fail(Call::LoadWanted, 1, Fault::Fail(full()));
    let story = Story::begin(world);
    story.pass(Duration::from_secs(60)).await;
    assert_eq!(story.now().notice, Some(Notice::WantedUnreadable));
    assert_eq!(story.exposure(), Exposure::Private);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passed_before_the_start_stays_private_and_says_so() {
    let world = World::ready();
    let before = world.now() - jiff::SignedDuration::from_secs(1);
    world.state().record = Some(public(Some(before)));
    let story = Story::begin(world);
    story.pass(Duration::from_secs(60)).await;
    assert_eq!(story.now().notice, Some(Notice::DeadlinePassed));
    assert_eq!(story.exposure(), Exposure::Private);
    assert_eq!(story.world.calls(Call::Open), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_goes_on_over_a_restart() {
    let world = World::ready();
    let until = world.now() + jiff::SignedDuration::from_secs(100);
    world.state().record = Some(public(Some(until)));
    let story = Story::begin(world);
    story.until(is_public).await;
    story.pass(Duration::from_secs(100)).await;
    story.until(is_private).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_remembered_is_not_done() {
    for fault in [Fault::Fail(full()), Fault::Hang] {
        let world = World::ready();
        world.fail_always(Call::StoreWanted, fault);
        let story = Story::begin(world);
        let answer = story.connect().await;
        assert!(matches!(answer, Err(Cause::WantedNotStored { .. })));
        story.pass(Duration::from_secs(60)).await;
        assert_eq!(story.exposure(), Exposure::Private);
        assert_eq!(story.world.deeds(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_cannot_be_remembered_leaves_the_one_before() {
    let story = Story::begin(World::ready());
    story.connect_for(100).await;
    story.until(is_public).await;
    story.world.fail(Call::StoreWanted, 1, Fault::Fail(full()));
    assert_eq!(story.connect().await, Err(full()));
    assert!(story.now().wanted.deadline().is_some());
    story.pass(Duration::from_secs(101)).await;
    story.until(is_private).await;
}

#[tokio::test(start_paused = true)]
async fn private_that_cannot_be_remembered_closes_says_so_and_goes_on_trying() {
    for fault in [Fault::Fail(full()), Fault::Hang] {
        let story = Story::public(World::ready()).await;
        story.world.fail_always(Call::StoreWanted, fault);
        let began = tokio::time::Instant::now();
        let answer = story.handle.disconnect().await;
        assert!(matches!(answer, Err(Cause::PrivateNotStored { .. })));
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(story.exposure(), Exposure::Private);
        assert!(story.world.is_shut());
        story.world.mend(Call::StoreWanted);
        story.pass(Duration::from_secs(10)).await;
        let stored = story.world.state().record.clone();
        assert_eq!(stored, Some(Wanted::Private.to_record()));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_through_while_private_is_being_remembered() {
    let story = Story::public(World::ready()).await;
    story.world.fail_always(Call::StoreWanted, Fault::Hang);
    let handle = story.handle.clone();
    let disconnect = tokio::spawn(async move { handle.disconnect().await });
    story.pass(Duration::from_millis(1)).await;
    assert!(!story.world.lets_callers_in());
    disconnect.await.unwrap().unwrap_err();
    story.world.mend(Call::StoreWanted);
}

#[tokio::test(start_paused = true)]
async fn the_wish_on_disk_is_the_one_that_was_acknowledged() {
    let story = Story::begin(World::bare());
    story.world.person_has_yet_to(Call::SignIn);
    story.connect().await.unwrap();
    assert_eq!(story.world.state().record, Some(public(None)));
    story.until(looks("sign_in waiting")).await;
    let until = story.connect_for(3_600).await;
    assert_eq!(story.world.state().record, Some(public(Some(until))));
    story.handle.disconnect().await.unwrap();
    let stored = story.world.state().record.clone();
    assert_eq!(stored, Some(Wanted::Private.to_record()));
}
