//! What is offered changes while other things are under way.

use std::time::Duration;

use crate::key::Route;
use crate::offer::Offer;

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
