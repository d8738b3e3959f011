//! What is offered changes while other things are under way.

use std::time::Duration;

use crate::cause::ReachCause;
use crate::exposure::{Exposure, Reach};
use crate::gateway::GatewayView;
use crate::key::Route;
use crate::offer::Offer;
use crate::ports::{Clock as _, OutsideFinding};

use super::story::{Story, is_public};
use super::world::{Call, Fault, World};

fn offer(routes: &[Route]) -> Offer {
    Offer {
        routes: routes.iter().copied().collect(),
        ..Offer::default()
    }
}

#[tokio::test(start_paused = true)]
async fn another_offer_is_proven_anew_behind_the_open_door() {
    let story = Story::public(World::ready()).await;
    let allowed = offer(&[Route::Embeddings]);
    story.handle.set_offer(allowed.clone()).await.unwrap();
    assert_eq!(story.world.state().offer, allowed);
    assert!(!story.world.lets_callers_in());
    story.until(is_public).await;
    assert!(story.world.lets_callers_in());
    assert_eq!(story.shown(), ["held lock_unproven", "public"]);
    assert_eq!(story.world.calls(Call::Close), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_forbidden_does_not_wait_for_a_vault_that_takes_its_time() {
    let story = Story::public(World::ready()).await;
    story
        .handle
        .set_offer(offer(&Route::OPTIONAL))
        .await
        .unwrap();
    story.until(is_public).await;
    story
        .world
        .fail(Call::StoreSecrets, 1, Fault::Slow(Duration::from_secs(60)));
    let handle = story.handle.clone();
    let replacing = tokio::spawn(async move { handle.regenerate_key().await });
    story.pass(Duration::from_secs(1)).await;
    let forbidden = story.handle.set_offer(Offer::default());
    let in_time = tokio::time::timeout(Duration::from_secs(1), forbidden).await;
    in_time.unwrap().unwrap();
    assert_eq!(story.world.state().offer, Offer::default());
    assert!(!replacing.is_finished());
    replacing.await.unwrap().unwrap();
    story.until(is_public).await;
    assert_eq!(story.world.keys_of_guard(), story.world.stored_keys());
}

#[tokio::test(start_paused = true)]
async fn a_choice_on_the_way_breaks_off_nothing_that_does_not_rest_on_it() {
    let world = World::bare();
    world.fail(Call::Install, 1, Fault::Slow(Duration::from_secs(60)));
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.pass(Duration::from_secs(1)).await;
    story
        .handle
        .set_offer(offer(&[Route::Hooks]))
        .await
        .unwrap();
    story.until(is_public).await;
    assert_eq!(story.world.calls(Call::Install), 1);
}

/// A check from outside that asks while the guard is held is told to come back, and takes that for a machine that cannot
/// be reached.
#[tokio::test(start_paused = true)]
async fn a_check_that_ran_while_the_offer_changed_says_nothing_and_is_made_again() {
    let story = Story::public(World::ready()).await;
    let reach = || match story.exposure() {
        Exposure::Public { reach, .. } => reach,
        other => panic!("{other:?}"),
    };
    story
        .until(|now| {
            matches!(
                &now.exposure,
                Exposure::Public {
                    reach: Reach::Reachable { .. },
                    ..
                }
            )
        })
        .await;
    let checks = story.world.calls(Call::Check);
    story
        .world
        .fail(Call::Check, 1, Fault::Slow(Duration::from_secs(20)));
    story.world.state().finding = OutsideFinding::Unreachable(ReachCause::NotAnswering);
    story.handle.check_outside().await;
    story.pass(Duration::from_secs(1)).await;
    assert_eq!(story.world.calls(Call::Check), checks + 1);
    story.world.state().finding = OutsideFinding::Reachable;
    story
        .handle
        .set_offer(offer(&[Route::Embeddings]))
        .await
        .unwrap();
    story.until(is_public).await;
    let proven = story.world.now();
    story.pass(Duration::from_secs(1)).await;
    assert_eq!(story.world.calls(Call::Check), checks + 2);
    let Reach::Reachable { at } = reach() else {
        panic!("{:?}", reach());
    };
    assert!(at >= proven, "that is an older finding");
    for _ in 0..60 {
        story.pass(Duration::from_secs(1)).await;
        assert_eq!(reach(), Reach::Reachable { at });
    }
}

/// A program may have to be asked for the token of OpenClaw's hooks.
#[tokio::test(start_paused = true)]
async fn what_the_hooks_need_is_fetched_when_they_are_allowed_and_let_go_of_when_they_are_not() {
    let world = World::ready();
    if let GatewayView::Ready(ready) = &mut world.state().gateway {
        ready.hooks = true;
    }
    let story = Story::public(world).await;
    let hooks = || {
        let state = story.world.state();
        state.guard.as_ref().unwrap().access.hooks.is_some()
    };
    assert!(!hooks());
    for (routes, there) in [
        (&[Route::Embeddings][..], false),
        (&Route::OPTIONAL, true),
        (&[Route::Hooks], true),
        (&[], false),
    ] {
        let accesses = story.world.calls(Call::Access);
        let before = hooks();
        story.handle.set_offer(offer(routes)).await.unwrap();
        story.until(is_public).await;
        assert!(story.world.lets_callers_in());
        assert_eq!(hooks(), there, "{routes:?}");
        let asked = story.world.calls(Call::Access) - accesses;
        assert_eq!(asked, usize::from(before != there), "{routes:?}");
    }
    assert_eq!(
        story.shown_but("public"),
        ["held lock_unproven"; 4].map(str::to_owned)
    );
    assert_eq!(story.world.calls(Call::Close), 0);
}

#[tokio::test(start_paused = true)]
async fn one_change_after_the_other_shuts_nobody_out() {
    let story = Story::public(World::ready()).await;
    let handle = &story.handle;
    for turn in 0..20 {
        match turn % 4 {
            0 => handle.set_offer(offer(&[Route::Hooks])).await.unwrap(),
            1 => handle.set_offer(Offer::default()).await.unwrap(),
            2 => handle.regenerate_key().await.unwrap(),
            _ => handle.restart_gateway().await.unwrap(),
        }
        let began = tokio::time::Instant::now();
        story.until(is_public).await;
        assert!(began.elapsed() < Duration::from_secs(1), "turn {turn}");
        assert!(story.world.lets_callers_in());
    }
    assert_eq!(
        story.shown_but("public"),
        vec!["held lock_unproven"; story.shown_but("public").len()]
    );
    assert_eq!(story.world.calls(Call::Close), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_offered_already_breaks_off_nothing() {
    let story = Story::public(World::ready()).await;
    story.handle.set_offer(Offer::default()).await.unwrap();
    assert!(story.world.lets_callers_in());
    story.pass(Duration::from_secs(1)).await;
    assert!(story.world.deeds().is_empty());
    assert!(story.shown_but("public").is_empty());
}

/// The gateway goes on changing, and nobody asks for that.
#[tokio::test(start_paused = true)]
async fn a_lock_that_is_proven_again_and_again_unasked_is_given_a_rest_all_the_same() {
    let story = Story::public(World::ready()).await;
    story
        .handle
        .set_offer(offer(&[Route::Embeddings]))
        .await
        .unwrap();
    story.until(is_public).await;
    let before = story.world.calls(Call::StartGuard);
    for _ in 0..60 {
        story.world.restart_gateway();
        story.pass(Duration::from_secs(1)).await;
    }
    let starts = story.world.calls(Call::StartGuard) - before;
    assert!(starts <= 7, "{starts} times in a minute");
    assert!(story.shown().contains(&"held step_without_effect".into()));
}
