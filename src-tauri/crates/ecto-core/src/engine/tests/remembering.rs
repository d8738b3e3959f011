//! What is wanted survives, and is read in the safe direction.

use std::time::Duration;

use crate::Timestamp;
use crate::cause::Cause;
use crate::exposure::Exposure;
use crate::ports::Clock;
use crate::settings::Settings;
use crate::snapshot::Notice;
use crate::tailnet::NodeChoice;
use crate::wanted::{NewDeadline, Wanted};

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
async fn connecting_again_keeps_the_deadline_and_the_node_whatever_is_under_way() {
    for begins in ["sign_in waiting", "blocked sign_in_timed_out", "public"] {
        let world = World::bare();
        match begins {
            "sign_in waiting" => world.person_has_yet_to(Call::SignIn),
            "public" => {}
            _ => world.fail(Call::SignIn, 1, Fault::Fail(Cause::SignInTimedOut)),
        }
        let story = Story::begin(world);
        let until = story.world.now() + jiff::SignedDuration::from_secs(3_600);
        let own = Some(NodeChoice::Own);
        let connect = story.handle.connect(NewDeadline::At(until), own);
        connect.await.unwrap();
        story.until(looks(begins)).await;
        story.connect_again().await.unwrap();
        let wanted = Wanted::Public {
            until: Some(until),
            node: NodeChoice::Own,
        };
        assert_eq!(story.now().wanted, wanted, "{begins}");
        assert_eq!(story.world.state().record, Some(wanted.to_record()));
        story.world.person_does(Call::SignIn);
        story.until(is_public).await;
        story.pass(Duration::from_secs(3_600)).await;
        story.until(is_private).await;
        assert_eq!(story.now().notice, Some(Notice::DeadlinePassed));
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_the_two_is_changed_without_the_other_and_the_deadline_is_taken_away_by_name() {
    let story = Story::begin(World::ready());
    let until = story.connect_for(3_600).await;
    let own = Some(NodeChoice::Own);
    let connect = story.handle.connect(NewDeadline::AsBefore, own);
    connect.await.unwrap();
    let wanted = |until, node| Wanted::Public { until, node };
    assert_eq!(story.now().wanted, wanted(Some(until), NodeChoice::Own));
    let later = until + jiff::SignedDuration::from_secs(60);
    let connect = story.handle.connect(NewDeadline::At(later), None);
    connect.await.unwrap();
    assert_eq!(story.now().wanted, wanted(Some(later), NodeChoice::Own));
    let connect = story.handle.connect(NewDeadline::Unlimited, None);
    connect.await.unwrap();
    assert_eq!(story.now().wanted, wanted(None, NodeChoice::Own));
}

#[tokio::test(start_paused = true)]
async fn connecting_again_keeps_nothing_of_what_is_over() {
    let nothing_kept = Wanted::Public {
        until: None,
        node: NodeChoice::Auto,
    };
    let connected = || async {
        let story = Story::begin(World::ready());
        let until = story.world.now() + jiff::SignedDuration::from_secs(100);
        let own = Some(NodeChoice::Own);
        let connect = story.handle.connect(NewDeadline::At(until), own);
        connect.await.unwrap();
        story.until(is_public).await;
        story
    };
    let story = connected().await;
    story.handle.disconnect().await.unwrap();
    story.connect_again().await.unwrap();
    assert_eq!(story.now().wanted, nothing_kept);
    // Asked for before anybody has seen that the time was over while the machine slept.
    let story = connected().await;
    story.world.sleep_machine(Duration::from_secs(200));
    story.connect_again().await.unwrap();
    assert_eq!(story.now().wanted, nothing_kept);
    let story = connected().await;
    story.handle.disconnect_for_sleep().await.unwrap();
    story.connect_again().await.unwrap();
    assert_eq!(story.now().wanted, nothing_kept);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_kept_comes_no_later_where_the_clock_was_set_back() {
    let story = Story::begin(World::ready());
    story.connect_for(1_000).await;
    story.until(is_public).await;
    story.world.jump_clock(-100_000);
    story.connect_again().await.unwrap();
    story.pass(Duration::from_secs(1_000)).await;
    story.until(is_private).await;
}

#[tokio::test(start_paused = true)]
async fn connecting_keeps_what_outlived_the_host_before_also_where_that_is_not_followed() {
    let settings = Settings {
        follow_wanted: false,
        ..Settings::default()
    };
    let begin = |seconds: i64| {
        let world = World::ready();
        let wanted = Wanted::Public {
            until: Some(world.now() + jiff::SignedDuration::from_secs(seconds)),
            node: NodeChoice::Own,
        };
        world.state().record = Some(wanted.to_record());
        (Story::begin_with(world, settings.clone()), wanted)
    };
    let (story, wanted) = begin(100);
    story.pass(Duration::from_secs(1)).await;
    assert_eq!(story.exposure(), Exposure::Private);
    story.connect_again().await.unwrap();
    assert_eq!(story.now().wanted, wanted);
    // Off is off: it is kept once.
    story.handle.disconnect().await.unwrap();
    story.connect_again().await.unwrap();
    assert_eq!(story.now().wanted.deadline(), None);
    let (story, _) = begin(-1);
    story.connect_again().await.unwrap();
    let (until, node) = (None, NodeChoice::Auto);
    assert_eq!(story.now().wanted, Wanted::Public { until, node });
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
