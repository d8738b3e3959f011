//! The key: made once, replaced on request, never lost.

use std::time::Duration;

use secrecy::ExposeSecret;

use crate::cause::Cause;
use crate::exposure::Exposure;
use crate::key::{AgentId, KeyGrant, KeyName, NewEnd, Route};
use crate::offer::Offer;
use crate::ports::{OutsideFinding, VaultFault};
use crate::wanted::Wanted;

use super::story::{Story, is_private, is_public, looks, word};
use super::world::{Call, Fault, World, only_key};

fn away() -> VaultFault {
    VaultFault::Unreachable {
        detail: "no session".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_stored_before_anything_is_set_up_with_it() {
    let story = Story::begin(World::bare());
    let key = story.handle.reveal_key().await.unwrap();
    assert_eq!(story.world.stored_keys(), [key.expose_secret()]);
    story.connect().await.unwrap();
    story.until(is_public).await;
    assert_eq!(story.world.keys_of_guard(), [key.expose_secret()]);
    let hint = story.now().key.unwrap().hint;
    assert_eq!(hint, "ecto_…0001");
    assert_eq!(story.world.calls(Call::StoreSecrets), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_vault_never_makes_a_new_key() {
    let world = World::ready();
    world.state().secrets = Some(only_key("ecto_secret_mine"));
    world.state().vault_fault = Some(away());
    let story = Story::begin(world);
    assert!(matches!(
        story.handle.reveal_key().await,
        Err(Cause::VaultUnreachable { .. })
    ));
    assert!(matches!(
        story.handle.regenerate_key().await,
        Err(Cause::VaultUnreachable { .. })
    ));
    story.connect().await.unwrap();
    story.until(looks("blocked vault_unreachable")).await;
    story.pass(Duration::from_secs(3_600)).await;
    assert_eq!(story.world.stored_keys(), ["ecto_secret_mine"]);
    assert_eq!(story.world.calls(Call::StoreSecrets), 0);
    story.world.state().vault_fault = None;
    story.until(is_public).await;
    assert_eq!(story.world.keys_of_guard(), ["ecto_secret_mine"]);
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_refuses_or_is_damaged_waits_for_the_person() {
    let damaged = VaultFault::Damaged {
        detail: "not JSON".into(),
    };
    for (fault, blocked) in [
        (VaultFault::Denied, "blocked vault_denied"),
        (damaged, "blocked vault_damaged"),
    ] {
        let world = World::ready();
        world.state().vault_fault = Some(fault);
        let story = Story::begin(world);
        story.connect().await.unwrap();
        story.until(looks(blocked)).await;
        story.pass(Duration::from_secs(86_400)).await;
        assert_eq!(story.world.calls(Call::LoadSecrets), 1);
        assert_eq!(story.world.calls(Call::StoreSecrets), 0);
        story.world.state().vault_fault = None;
        story.connect().await.unwrap();
        story.until(is_public).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_vault_is_overwritten_only_by_asking_for_a_new_key() {
    let world = World::ready();
    world.state().vault_fault = Some(VaultFault::Damaged {
        detail: "not JSON".into(),
    });
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("blocked vault_damaged")).await;
    story.handle.regenerate_key().await.unwrap();
    story.until(is_public).await;
    assert_eq!(story.world.keys_of_guard(), story.world.stored_keys());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_stored_opens_nothing() {
    let world = World::ready();
    world.fail_always(Call::StoreSecrets, Fault::Fail(Cause::VaultDenied));
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("blocked vault_denied")).await;
    assert_eq!(story.world.calls(Call::StartGuard), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_stored_first_then_the_old_one_is_cut_off() {
    let story = Story::public(World::ready()).await;
    let old = story.handle.reveal_key().await.unwrap();
    story.world.state().guard.as_mut().unwrap().streams = 1;
    story.handle.regenerate_key().await.unwrap();
    assert!(!story.world.lets_callers_in(), "not before it is proven");
    story.until(looks("held lock_unproven")).await;
    story.until(is_public).await;
    assert_eq!(
        story.world.deeds(),
        [
            Call::StoreSecrets,
            Call::SetKeys,
            Call::AskGateway,
            Call::Ask
        ]
    );
    let new = story.handle.reveal_key().await.unwrap();
    assert_ne!(old.expose_secret(), new.expose_secret());
    assert_eq!(story.world.keys_of_guard(), [new.expose_secret()]);
    assert_eq!(story.world.stored_keys(), [new.expose_secret()]);
    assert_eq!(story.world.state().guard.as_ref().unwrap().streams, 0);
    assert_eq!(story.world.calls(Call::Close), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_that_cannot_be_stored_changes_nothing() {
    for fault in [
        Fault::Fail(Cause::VaultDenied),
        Fault::Fail(Cause::VaultUnreachable {
            detail: "no session".into(),
        }),
        Fault::Hang,
    ] {
        let story = Story::public(World::ready()).await;
        let old = story.handle.reveal_key().await.unwrap();
        story.world.fail(Call::StoreSecrets, 1, fault);
        story.handle.regenerate_key().await.unwrap_err();
        story.pass(Duration::from_secs(60)).await;
        story.until(is_public).await;
        let now = story.handle.reveal_key().await.unwrap();
        assert_eq!(now.expose_secret(), old.expose_secret());
        assert_eq!(story.world.keys_of_guard(), [old.expose_secret()]);
        assert_eq!(story.world.stored_keys(), [old.expose_secret()]);
        assert_eq!(story.world.calls(Call::StartGuard), 1);
        story.world.restart_gateway();
        story.until(looks("held lock_unproven")).await;
        story.until(is_public).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_that_was_stored_after_all_is_the_one_in_force() {
    let story = Story::public(World::ready()).await;
    let unsure = Cause::VaultUnreachable {
        detail: "no answer".into(),
    };
    story
        .world
        .fail(Call::StoreSecrets, 1, Fault::FailAfter(unsure));
    story.handle.regenerate_key().await.unwrap();
    assert_eq!(story.world.keys_of_guard(), ["ecto_secret_0002"]);
    assert_eq!(story.world.stored_keys(), ["ecto_secret_0002"]);
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn disconnecting_while_a_new_key_is_stored_leaves_guard_and_vault_agreed() {
    let story = Story::public(World::ready()).await;
    let slow = Fault::Slow(Duration::from_secs(30));
    story.world.fail(Call::StoreSecrets, 1, slow);
    let handle = story.handle.clone();
    let regenerate = tokio::spawn(async move { handle.regenerate_key().await });
    story.pass(Duration::from_secs(1)).await;
    story.handle.disconnect().await.unwrap();
    regenerate.await.unwrap().unwrap_err();
    story.until(is_private).await;
    story.connect().await.unwrap();
    story.until(is_public).await;
    assert_eq!(story.world.keys_of_guard(), story.world.stored_keys());
    let key = story.handle.reveal_key().await.unwrap();
    assert_eq!(story.world.stored_keys(), [key.expose_secret()]);
}

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

/// What is said of a key that stays since the vault refuses.
fn refused(key: &str) -> Cause {
    Cause::KeyNotRevoked {
        name: name(key),
        detail: "the secret store refused access".into(),
    }
}

fn pinned() -> KeyGrant {
    KeyGrant {
        agent: Some("public".parse::<AgentId>().unwrap()),
        ..KeyGrant::default()
    }
}

#[tokio::test(start_paused = true)]
async fn other_keys_come_and_go_without_a_new_proof_and_without_anybody_noticing() {
    let story = Story::public(World::ready()).await;
    story.world.state().guard.as_mut().unwrap().streams = 1;
    story.world.forget_calls();
    let phone = story.handle.add_key(name("phone"), pinned()).await.unwrap();
    assert_eq!(phone.view.hint, "ecto_…0002");
    assert_eq!(
        phone.view.summary,
        "chat, responses and models; agent public alone"
    );
    assert_eq!(
        story.world.keys_of_guard(),
        ["ecto_secret_0001", "ecto_secret_0002"]
    );
    story
        .handle
        .rename_key(name("phone"), name("tablet"))
        .await
        .unwrap();
    assert_eq!(story.world.state().guard.as_ref().unwrap().streams, 1);
    story
        .handle
        .rotate_key(name("tablet"), Duration::from_secs(3600), NewEnd::AsBefore)
        .await
        .unwrap();
    let guard = story.world.keys_of_guard();
    assert_eq!(
        guard,
        ["ecto_secret_0001", "ecto_secret_0003", "ecto_secret_0002"]
    );
    assert_eq!(story.world.state().guard.as_ref().unwrap().streams, 1);
    assert!(story.world.lets_callers_in());
    story.handle.revoke_key(name("tablet")).await.unwrap();
    assert_eq!(story.world.keys_of_guard(), ["ecto_secret_0001"]);
    assert!(story.world.lets_callers_in());
    story.pass(Duration::from_secs(5)).await;
    story.until(is_public).await;
    let calls = story.world.state().calls.clone();
    for call in [Call::StartGuard, Call::Ask, Call::AskGateway, Call::Close] {
        assert!(!calls.contains(&call), "{call:?}");
    }
    let shown = story.handle.show_keys().await.unwrap();
    assert_eq!(shown, story.now().keys);
    assert_eq!(shown.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_with_a_key_is_said_and_changes_nothing() {
    let story = Story::begin(World::ready());
    story.handle.add_key(name("phone"), pinned()).await.unwrap();
    let before = story.world.stored_keys();
    let handle = &story.handle;
    let taken = handle.add_key(name("phone"), KeyGrant::default()).await;
    assert!(matches!(taken, Err(Cause::KeyNameTaken { .. })));
    let unknown = handle.revoke_key(name("tablet")).await;
    assert!(matches!(unknown, Err(Cause::KeyNotFound { .. })));
    assert_eq!(
        handle.revoke_key(KeyName::default()).await,
        Err(Cause::DefaultKeyStays)
    );
    let renamed = handle.rename_key(KeyName::default(), name("first")).await;
    assert_eq!(renamed, Err(Cause::DefaultKeyStays));
    let onto = handle.rename_key(name("phone"), KeyName::default()).await;
    assert!(matches!(onto, Err(Cause::KeyNameTaken { .. })));
    assert_eq!(story.world.stored_keys(), before);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_differs_only_in_case_is_taken_but_by_its_own_key() {
    let story = Story::begin(World::ready());
    let handle = &story.handle;
    handle.add_key(name("phone"), pinned()).await.unwrap();
    let taken = |name: &str| {
        Err(Cause::KeyNameTaken {
            name: name.parse().unwrap(),
        })
    };
    let add = async |text: &str| handle.add_key(name(text), pinned()).await.map(drop);
    assert_eq!(add("DEFAULT").await, taken("default"));
    assert_eq!(add("Phone").await, taken("phone"));
    handle.add_key(name("tablet"), pinned()).await.unwrap();
    let onto = handle.rename_key(name("tablet"), name("PHONE")).await;
    assert_eq!(onto, taken("phone"));
    // Another spelling of its own name is no other key's.
    let respelled = handle.rename_key(name("phone"), name("Phone")).await;
    assert_eq!(respelled, Ok(()));
    assert_eq!(add("phone").await, taken("Phone"));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_ends_before_a_vault_that_takes_its_time() {
    let story = Story::public(World::ready()).await;
    story.handle.add_key(name("phone"), pinned()).await.unwrap();
    let with_it = story.world.keys_of_guard().len();
    story
        .world
        .fail(Call::StoreSecrets, 1, Fault::Slow(Duration::from_secs(60)));
    let handle = story.handle.clone();
    let revoking = tokio::spawn(async move { handle.revoke_key(name("phone")).await });
    story.pass(Duration::from_secs(1)).await;
    assert!(!revoking.is_finished());
    assert_eq!(story.world.keys_of_guard().len(), with_it - 1);
    revoking.await.unwrap().unwrap();
    assert_eq!(story.world.keys_of_guard(), story.world.stored_keys());
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_is_cut_before_any_time_passes() {
    for is_busy in [false, true] {
        let story = Story::public(World::ready()).await;
        story.handle.add_key(name("phone"), pinned()).await.unwrap();
        story.world.state().guard.as_mut().unwrap().streams = 1;
        story.world.fail(Call::StartGateway, 1, Fault::Hang);
        story.world.fail(Call::StoreSecrets, 1, Fault::Hang);
        if is_busy {
            let handle = story.handle.clone();
            tokio::spawn(async move { handle.restart_gateway().await });
            story.pass(Duration::from_secs(1)).await;
        }
        let began = tokio::time::Instant::now();
        let handle = story.handle.clone();
        let _revoking = tokio::spawn(async move { handle.revoke_key(name("phone")).await });
        // The clock stands still for as long as anybody has something to do.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(story.world.keys_of_guard(), ["ecto_secret_0001"]);
        assert_eq!(story.world.state().guard.as_ref().unwrap().streams, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_cannot_be_taken_out_of_the_vault_goes_on_and_that_is_said() {
    let story = Story::public(World::ready()).await;
    story.handle.add_key(name("phone"), pinned()).await.unwrap();
    story
        .world
        .fail(Call::StoreSecrets, 1, Fault::Fail(Cause::VaultDenied));
    let told = story.handle.revoke_key(name("phone")).await;
    assert_eq!(told, Err(refused("phone")));
    assert_eq!(story.world.keys_of_guard(), story.world.stored_keys());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_vault_does_not_let_go_of_was_never_forgotten_by_the_guard() {
    let story = Story::public(World::ready()).await;
    story.handle.add_key(name("phone"), pinned()).await.unwrap();
    let known = |story: &Story| {
        let state = story.world.state();
        let keys = state.guard.as_ref().unwrap().keys.iter();
        keys.map(|key| (key.name.as_str().to_owned(), key.digests.len()))
            .collect::<Vec<_>>()
    };
    let both = [("default".to_owned(), 1), ("phone".to_owned(), 1)];
    let barred = [("default".to_owned(), 1), ("phone".to_owned(), 0)];
    assert_eq!(known(&story), both);
    let world = &story.world;
    world.fail(Call::StartGateway, 1, Fault::Slow(Duration::from_secs(60)));
    world.fail(Call::StoreSecrets, 1, Fault::Hang);
    world.state().vault_fault = Some(VaultFault::Denied);
    let handle = story.handle.clone();
    let restarting = tokio::spawn(async move { handle.restart_gateway().await });
    story.pass(Duration::from_secs(1)).await;
    let handle = story.handle.clone();
    let revoking = tokio::spawn(async move { handle.revoke_key(name("phone")).await });
    story.pass(Duration::from_secs(1)).await;
    assert_eq!(known(&story), barred, "while something else is done");
    restarting.await.unwrap().unwrap();
    story.pass(Duration::from_secs(30)).await;
    assert_eq!(known(&story), barred, "while the vault takes its time");
    revoking.await.unwrap().unwrap_err();
    assert_eq!(known(&story), both);
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_away_ends_at_once_whatever_else_is_being_done() {
    let story = Story::public(World::ready()).await;
    story.handle.add_key(name("phone"), pinned()).await.unwrap();
    story
        .handle
        .add_key(name("tablet"), pinned())
        .await
        .unwrap();
    let offer = Offer {
        routes: Route::OPTIONAL.into(),
        ..Offer::default()
    };
    story.handle.set_offer(offer).await.unwrap();
    story.until(is_public).await;
    let slow = Fault::Slow(Duration::from_secs(60));
    story.world.fail(Call::StartGateway, 1, slow.clone());
    story.world.fail(Call::StoreSecrets, 1, slow);
    let handle = story.handle.clone();
    let restarting = tokio::spawn(async move { handle.restart_gateway().await });
    story.pass(Duration::from_secs(1)).await;
    let revoking = ["phone", "tablet"].map(|key| {
        let handle = story.handle.clone();
        tokio::spawn(async move { handle.revoke_key(name(key)).await })
    });
    let handle = story.handle.clone();
    let forbidding = tokio::spawn(async move { handle.set_offer(Offer::default()).await });
    story.pass(Duration::from_secs(1)).await;
    assert!(!restarting.is_finished());
    assert_eq!(story.world.keys_of_guard(), ["ecto_secret_0001"]);
    assert!(forbidding.is_finished());
    assert_eq!(story.world.state().offer, Offer::default());

    // While the first of the two is stored, and after.
    story.pass(Duration::from_secs(65)).await;
    assert!(restarting.is_finished() && !revoking[0].is_finished());
    assert_eq!(story.world.keys_of_guard(), ["ecto_secret_0001"]);
    for revoked in revoking {
        revoked.await.unwrap().unwrap();
    }
    assert_eq!(story.world.keys_of_guard(), story.world.stored_keys());
    story.until(is_public).await;
    assert!(story.world.lets_callers_in());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_ended_early_and_stays_in_the_vault_is_good_again() {
    let story = Story::public(World::ready()).await;
    story.handle.add_key(name("phone"), pinned()).await.unwrap();
    story
        .world
        .fail(Call::StartGateway, 1, Fault::Slow(Duration::from_secs(60)));
    story
        .world
        .fail(Call::StoreSecrets, 1, Fault::Fail(Cause::VaultDenied));
    let handle = story.handle.clone();
    let restarting = tokio::spawn(async move { handle.restart_gateway().await });
    story.pass(Duration::from_secs(1)).await;
    let handle = story.handle.clone();
    let revoking = tokio::spawn(async move { handle.revoke_key(name("phone")).await });
    story.pass(Duration::from_secs(1)).await;
    assert_eq!(story.world.keys_of_guard(), ["ecto_secret_0001"]);
    restarting.await.unwrap().unwrap();
    assert_eq!(revoking.await.unwrap(), Err(refused("phone")));
    assert_eq!(story.world.keys_of_guard(), story.world.stored_keys());
}

/// Whoever revokes a key that is in wrong hands may well switch off next.
#[tokio::test(start_paused = true)]
async fn a_revoking_that_closing_breaks_off_is_finished_before_the_door_opens_again() {
    for by_deadline in [false, true] {
        let story = Story::public(World::ready()).await;
        story.handle.add_key(name("phone"), pinned()).await.unwrap();
        if by_deadline {
            story.connect_for(30).await;
        }
        let slow = Fault::Slow(Duration::from_secs(60));
        story.world.fail(Call::StoreSecrets, 1, slow.clone());
        story.world.fail(Call::StoreSecrets, 2, slow);
        let handle = story.handle.clone();
        let revoking = tokio::spawn(async move { handle.revoke_key(name("phone")).await });
        story.pass(Duration::from_secs(1)).await;
        if !by_deadline {
            let began = tokio::time::Instant::now();
            story.handle.disconnect().await.unwrap();
            assert!(began.elapsed() < Duration::from_secs(1));
        }
        story.until(is_private).await;
        assert!(!revoking.is_finished(), "nobody knows yet");
        story.connect().await.unwrap();
        story.until(is_public).await;
        assert_eq!(revoking.await.unwrap(), Ok(()));
        assert_eq!(story.world.stored_keys(), ["ecto_secret_0001"]);
        assert_eq!(story.world.keys_of_guard(), ["ecto_secret_0001"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoking_that_was_broken_off_and_cannot_be_finished_says_so() {
    let story = Story::public(World::ready()).await;
    story.handle.add_key(name("phone"), pinned()).await.unwrap();
    story.world.fail(Call::StoreSecrets, 1, Fault::Hang);
    let handle = story.handle.clone();
    let revoking = tokio::spawn(async move { handle.revoke_key(name("phone")).await });
    story.pass(Duration::from_secs(1)).await;
    let denied = Fault::Fail(Cause::VaultDenied);
    story.world.fail_always(Call::StoreSecrets, denied);
    story.handle.disconnect().await.unwrap();
    assert_eq!(revoking.await.unwrap(), Err(refused("phone")));
    // Asked again, with a vault that answers, it goes.
    story.world.mend(Call::StoreSecrets);
    story.handle.revoke_key(name("phone")).await.unwrap();
    assert_eq!(story.world.stored_keys(), ["ecto_secret_0001"]);
}

#[tokio::test(start_paused = true)]
async fn a_revoking_is_finished_before_the_end() {
    let story = Story::public(World::ready()).await;
    let handle = &story.handle;
    handle.add_key(name("phone"), pinned()).await.unwrap();
    handle.add_key(name("tablet"), pinned()).await.unwrap();
    story.world.fail(Call::StoreSecrets, 1, Fault::Hang);
    let revoking = ["phone", "tablet", "unknown"].map(|key| {
        let handle = story.handle.clone();
        tokio::spawn(async move { handle.revoke_key(name(key)).await })
    });
    story.pass(Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    story.handle.quit().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    let [phone, tablet, unknown] = revoking;
    assert_eq!(phone.await.unwrap(), Ok(()));
    assert_eq!(tablet.await.unwrap(), Ok(()));
    let unknown = unknown.await.unwrap();
    assert!(matches!(unknown, Err(Cause::KeyNotFound { .. })));
    assert_eq!(story.world.stored_keys(), ["ecto_secret_0001"]);
    assert!(story.world.is_shut());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_vault_has_not_let_go_of_at_the_end_is_said_not_to_be_revoked() {
    for fault in [Fault::Hang, Fault::Fail(Cause::VaultDenied)] {
        let story = Story::public(World::ready()).await;
        story.handle.add_key(name("phone"), pinned()).await.unwrap();
        story.world.fail(Call::StoreSecrets, 1, Fault::Hang);
        let handle = story.handle.clone();
        let revoking = tokio::spawn(async move { handle.revoke_key(name("phone")).await });
        story.pass(Duration::from_secs(1)).await;
        story.world.fail_always(Call::StoreSecrets, fault);
        let snapshots = story.handle.snapshots();
        let began = tokio::time::Instant::now();
        let told = story.handle.quit().await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5));
        let Cause::KeyNotRevoked { name: key, .. } = &told else {
            panic!("{told:?}");
        };
        assert_eq!(*key, name("phone"));
        assert_eq!(revoking.await.unwrap(), Err(told));
        assert_eq!(snapshots.borrow().exposure, Exposure::Private);
        assert!(story.world.is_shut());
        let stored = story.world.state().record.clone().unwrap();
        let (wanted, _) = Wanted::from_record(&stored, crate::Timestamp::UNIX_EPOCH);
        assert!(wanted.is_public());
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_revoked_while_it_is_changed_never_opens_the_lock_again() {
    let story = Story::public(World::ready()).await;
    story.handle.add_key(name("phone"), pinned()).await.unwrap();
    story.world.state().guard.as_mut().unwrap().streams = 1;
    let slow = Fault::Slow(Duration::from_secs(10));
    story.world.fail_always(Call::StoreSecrets, slow);
    let ask = |rotates: bool, from: &'static str, to: &'static str| {
        let handle = story.handle.clone();
        tokio::spawn(async move {
            if rotates {
                let rotated = handle
                    .rotate_key(name(from), Duration::ZERO, NewEnd::AsBefore)
                    .await;
                rotated.map(drop)
            } else {
                handle.rename_key(name(from), name(to)).await
            }
        })
    };
    let changes = [
        ask(false, "phone", "tablet"),
        ask(true, "tablet", ""),
        ask(false, "tablet", "watch"),
    ];
    story.pass(Duration::from_secs(1)).await;
    let handle = story.handle.clone();
    let revoking = tokio::spawn(async move { handle.revoke_key(name("phone")).await });
    while !revoking.is_finished() {
        story.pass(Duration::from_secs(1)).await;
        assert_eq!(story.world.keys_of_guard(), ["ecto_secret_0001"]);
    }
    assert_eq!(story.world.state().guard.as_ref().unwrap().streams, 0);
    for change in changes {
        change.await.unwrap().unwrap();
    }
    assert_eq!(revoking.await.unwrap(), Ok(()));
    assert_eq!(story.world.stored_keys(), ["ecto_secret_0001"]);
}

#[tokio::test(start_paused = true)]
async fn another_key_that_gets_the_name_meanwhile_is_not_the_one_that_is_revoked() {
    let story = Story::public(World::ready()).await;
    story.handle.add_key(name("phone"), pinned()).await.unwrap();
    story
        .world
        .fail(Call::StoreSecrets, 1, Fault::Slow(Duration::from_secs(10)));
    let handle = story.handle.clone();
    let renaming = tokio::spawn(async move {
        let renamed = handle.rename_key(name("phone"), name("old")).await;
        renamed.unwrap();
    });
    story.pass(Duration::from_secs(1)).await;
    let handle = story.handle.clone();
    let adding = tokio::spawn(async move { handle.add_key(name("phone"), pinned()).await });
    story.pass(Duration::from_secs(1)).await;
    story.handle.revoke_key(name("phone")).await.unwrap();
    renaming.await.unwrap();
    adding.await.unwrap().unwrap();
    assert_eq!(
        story.world.stored_keys(),
        ["ecto_secret_0001", "ecto_secret_0003"]
    );
    assert_eq!(story.world.keys_of_guard(), story.world.stored_keys());
}

/// The vault goes on with what nobody waits for any more.
#[tokio::test(start_paused = true)]
async fn what_the_vault_did_although_it_was_broken_off_is_found_again() {
    for renames in [false, true] {
        let story = Story::public(World::ready()).await;
        story.handle.add_key(name("phone"), pinned()).await.unwrap();
        story.world.state().vault_stays_silent = true;
        let handle = story.handle.clone();
        let renaming = tokio::spawn(async move {
            if renames {
                let renamed = handle.rename_key(name("phone"), name("tablet")).await;
                renamed.unwrap_err();
            }
        });
        story.pass(Duration::from_secs(1)).await;
        let handle = story.handle.clone();
        let revoking = tokio::spawn(async move { handle.revoke_key(name("phone")).await });
        story.pass(Duration::from_secs(1)).await;
        story.world.state().vault_stays_silent = false;
        story.handle.disconnect().await.unwrap();
        renaming.await.unwrap();
        assert_eq!(revoking.await.unwrap(), Ok(()), "{renames}");
        assert_eq!(story.world.stored_keys(), ["ecto_secret_0001"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_openclaw_does_not_have_gets_no_key() {
    let agent = |name: &str| name.parse::<AgentId>().unwrap();
    let of = |name: &str| KeyGrant {
        agent: Some(agent(name)),
        ..KeyGrant::default()
    };
    let named = |name: &str| name.parse::<KeyName>().unwrap();
    let world = World::ready();
    world.state().agents = Some(vec![agent("main"), agent("notes")]);
    let story = Story::begin(world);
    let refused = story.handle.add_key(named("phone"), of("note")).await;
    assert_eq!(
        refused.unwrap_err(),
        Cause::AgentUnknown {
            agent: agent("note"),
            known: vec![agent("main"), agent("notes")],
        }
    );
    assert_eq!(story.handle.show_keys().await.unwrap().len(), 1);
    let made = story.handle.add_key(named("phone"), of("Notes")).await;
    made.unwrap();
    // Where it cannot be known, nothing is said.
    story.world.state().agents = None;
    let made = story.handle.add_key(named("tablet"), of("anything")).await;
    made.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_was_last_used_when_somebody_recalls_it_and_not_before_it_was_made() {
    let story = Story::begin(World::ready());
    let handle = &story.handle;
    let name = |name: &str| name.parse::<KeyName>().unwrap();
    let made = handle.add_key(name("phone"), KeyGrant::default()).await;
    let made = made.unwrap().view.made.unwrap();
    let earlier = made - Duration::from_secs(1);
    let last_use = async |key: &str| {
        let views = handle.show_keys().await.unwrap();
        let view = views.into_iter().find(|view| view.name.as_str() == key);
        view.unwrap().last_used
    };
    assert_eq!(last_use("phone").await, None);
    for (used, told) in [(earlier, None), (made, Some(made))] {
        handle.recall_uses([(name("phone"), used)].into()).await;
        assert_eq!(last_use("phone").await, told);
    }
    handle
        .rename_key(name("phone"), name("tablet"))
        .await
        .unwrap();
    assert_eq!(last_use("tablet").await, Some(made));
    // Whoever has that name from now on is another.
    handle
        .add_key(name("phone"), KeyGrant::default())
        .await
        .unwrap();
    assert_eq!(last_use("phone").await, None);
    handle.revoke_key(name("tablet")).await.unwrap();
    handle
        .add_key(name("tablet"), KeyGrant::default())
        .await
        .unwrap();
    assert_eq!(last_use("tablet").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_key_for_one_agent_that_is_to_open_hooks_is_refused() {
    let story = Story::begin(World::ready());
    let grant = |agent: Option<&str>, routes: &[Route]| KeyGrant {
        routes: routes.iter().copied().collect(),
        agent: agent.map(|agent| agent.parse().unwrap()),
        ..KeyGrant::default()
    };
    let name = || "phone".parse::<KeyName>().unwrap();
    let both = [Route::Chat, Route::Hooks];
    let refused = story.handle.add_key(name(), grant(Some("main"), &both));
    assert_eq!(refused.await.unwrap_err(), Cause::AgentWithHooks);
    assert_eq!(story.handle.show_keys().await.unwrap().len(), 1);
    let without_agent = story.handle.add_key(name(), grant(None, &both));
    without_agent.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_ends_it_while_an_agent_is_looked_for_waits_for_no_vault() {
    for quits in [false, true] {
        let story = Story::public(World::ready()).await;
        story.world.fail(Call::Agents, 1, Fault::Hang);
        story.world.fail_always(Call::StoreSecrets, Fault::Hang);
        let handle = story.handle.clone();
        let adding = tokio::spawn(async move { handle.add_key(name("phone"), pinned()).await });
        story.pass(Duration::from_secs(1)).await;
        let began = tokio::time::Instant::now();
        if quits {
            story.handle.quit().await.unwrap();
        } else {
            story.handle.disconnect().await.unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(1));
        assert!(story.world.is_shut());
        adding.await.unwrap().unwrap_err();
        assert_eq!(story.world.stored_keys(), ["ecto_secret_0001"]);
    }
}

/// A key that is being added, and a vault that does not answer for two minutes.
async fn with_a_vault_that_hangs(story: &Story) -> tokio::task::JoinHandle<Result<(), Cause>> {
    story.world.fail(Call::StoreSecrets, 1, Fault::Hang);
    let handle = story.handle.clone();
    let adding = tokio::spawn(async move { handle.add_key(name("phone"), pinned()).await });
    story.pass(Duration::from_secs(1)).await;
    tokio::spawn(async move { adding.await.unwrap().map(drop) })
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_restarts_while_the_vault_hangs_is_proven_anew_first() {
    let story = Story::public(World::ready()).await;
    let adding = with_a_vault_that_hangs(&story).await;
    story.world.stir();
    story.pass(Duration::from_secs(1)).await;
    assert!(story.world.lets_callers_in(), "it is the same gateway");
    assert_eq!(story.shown_but("public"), [""; 0]);
    story.world.restart_gateway();
    story.pass(Duration::from_secs(1)).await;
    assert!(!story.world.lets_callers_in());
    assert_eq!(word(&story.exposure()), "held lock_unproven");
    assert!(!adding.is_finished());
    adding.await.unwrap().unwrap_err();
    story.until(is_public).await;
    assert!(story.world.lets_callers_in());
    assert_eq!(story.world.calls(Call::Close), 0);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_hangs_while_the_vault_does_holds_callers() {
    let story = Story::public(World::ready()).await;
    let adding = with_a_vault_that_hangs(&story).await;
    story.world.fail(Call::ObserveGateway, 1, Fault::Hang);
    story.world.stir();
    story.pass(Duration::from_secs(11)).await;
    assert!(!story.world.lets_callers_in() && !adding.is_finished());
    adding.await.unwrap().unwrap_err();
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_lost_while_the_vault_hangs_is_told_at_once() {
    let story = Story::public(World::ready()).await;
    let adding = with_a_vault_that_hangs(&story).await;
    story.world.lose_claim(Cause::TailscaleLost);
    story.pass(Duration::from_secs(1)).await;
    assert_eq!(word(&story.exposure()), "prove");
    assert!(story.now().notice.is_some());
    assert!(!adding.is_finished());
    adding.await.unwrap().unwrap_err();
    story.until(is_public).await;
    assert!(story.world.lets_callers_in());
}

#[tokio::test(start_paused = true)]
async fn a_door_that_is_found_open_while_the_vault_hangs_is_shut_at_once() {
    let story = Story::public(World::ready()).await;
    story.world.state().finding = OutsideFinding::OpenWithoutKey;
    let slow = Fault::Slow(Duration::from_secs(5));
    story.world.fail(Call::Check, 1, slow);
    story.handle.check_outside().await;
    story.pass(Duration::from_secs(1)).await;
    let adding = with_a_vault_that_hangs(&story).await;
    story.pass(Duration::from_secs(5)).await;
    assert!(story.world.is_shut() && !adding.is_finished());
    assert_eq!(word(&story.exposure()), "blocked open_without_key");
    adding.await.unwrap().unwrap_err();
    story.pass(Duration::from_secs(600)).await;
    assert!(story.world.is_shut());
    assert_eq!(story.now().wanted, Wanted::Private);
    assert_eq!(word(&story.exposure()), "blocked open_without_key");
    // What else is asked for does not take it from sight.
    story.handle.look().await.unwrap();
    let added = story.handle.add_key(name("phone"), pinned()).await;
    added.unwrap();
    story.forget_shown();
    story.handle.disconnect_for_sleep().await.unwrap();
    let slow = Fault::Slow(Duration::from_secs(1));
    story.world.fail(Call::Restore, 1, slow);
    story.handle.restore().await.unwrap();
    story.pass(Duration::from_secs(1)).await;
    assert_eq!(story.shown(), ["blocked open_without_key"]);
    story.world.state().finding = OutsideFinding::Reachable;
    story.connect().await.unwrap();
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn a_check_from_outside_that_is_asked_for_while_the_vault_hangs_is_made() {
    let story = Story::public(World::ready()).await;
    let adding = with_a_vault_that_hangs(&story).await;
    let before = story.world.calls(Call::Check);
    story.handle.check_outside().await;
    story.pass(Duration::from_secs(1)).await;
    assert_eq!(story.world.calls(Call::Check), before + 1);
    story.world.state().finding = OutsideFinding::OpenWithoutKey;
    story.handle.check_outside().await;
    story.pass(Duration::from_secs(1)).await;
    assert!(story.world.is_shut() && !adding.is_finished());
    adding.await.unwrap().unwrap_err();
}

/// Whoever asks for a key breaks off the look at the gateway that has just restarted.
#[tokio::test(start_paused = true)]
async fn a_gateway_that_was_being_looked_at_is_looked_at_again_while_the_vault_hangs() {
    let story = Story::public(World::ready()).await;
    story.world.fail(Call::ObserveGateway, 1, Fault::Hang);
    story.world.restart_gateway();
    story.pass(Duration::from_secs(1)).await;
    let adding = with_a_vault_that_hangs(&story).await;
    story.pass(Duration::from_secs(1)).await;
    assert!(!story.world.lets_callers_in() && !adding.is_finished());
    adding.await.unwrap().unwrap_err();
    story.until(is_public).await;
}
