//! Staying Public.

use std::time::Duration;

use crate::cause::{Cause, ReachCause};
use crate::exposure::{Exposure, Reach};
use crate::gateway::GatewayView;
use crate::ports::OutsideFinding;
use crate::proof::ProofAnswer;
use crate::refusal::Refusal;
use crate::snapshot::Notice;
use crate::tailnet::FunnelPermission;
use crate::wanted::Wanted;

use super::story::{Story, is_private, is_public, looks, word};
use super::world::{CONFIG, Call, Fault, World, needs_set_up, ready, refusing, running};

fn closed_by(notice: Option<&Notice>) -> Option<Cause> {
    match notice {
        Some(Notice::ClosedUnexpectedly { cause, .. }) => Some(cause.clone()),
        Some(Notice::WantedUnreadable | Notice::DeadlinePassed | Notice::EndedBySleep) | None => {
            None
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_claim_is_told_and_opened_again_with_a_new_proof() {
    let story = Story::public(World::ready()).await;
    story.world.lose_claim(Cause::TailscaleLost);
    story.until(looks("prove")).await;
    assert!(!story.world.lets_callers_in());
    let public = story.until(is_public).await;
    assert_eq!(
        story.world.deeds(),
        [Call::Confirm, Call::AskGateway, Call::Ask, Call::Open]
    );
    let notice = public.notice.as_ref();
    assert_eq!(closed_by(notice), Some(Cause::TailscaleLost));
    story.connect().await.unwrap();
    assert_eq!(story.now().notice, None);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_lost_again_and_again_is_not_opened_in_a_loop() {
    let story = Story::public(World::ready()).await;
    let opened = story.world.calls(Call::Open);
    for _ in 0..600 {
        story.world.lose_claim(Cause::ClaimLost);
        story.pass(Duration::from_millis(500)).await;
    }
    let times = story.world.calls(Call::Open) - opened;
    assert!(times <= 36, "opened {times} times within five minutes");
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_somebody_removed_is_noticed_by_looking() {
    let story = Story::public(World::ready()).await;
    story.world.state().door = None;
    story.pass(Duration::from_secs(20)).await;
    let public = story.until(is_public).await;
    assert_eq!(closed_by(public.notice.as_ref()), Some(Cause::ClaimLost));
    assert!(story.world.lets_callers_in());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_does_not_answer_for_itself_is_given_up() {
    let story = Story::public(World::ready()).await;
    story.world.fail(Call::Verify, 1, Fault::Hang);
    story.pass(Duration::from_secs(30)).await;
    let public = story.until(is_public).await;
    assert!(matches!(
        closed_by(public.notice.as_ref()),
        Some(Cause::TailscaleUnreachable { .. })
    ));
    assert_eq!(story.world.calls(Call::Confirm), 1);
    assert_eq!(story.world.calls(Call::Open), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_name_means_a_new_address() {
    let story = Story::public(World::ready()).await;
    let renamed = running("mac-2.tail1.ts.net", FunnelPermission::Allowed);
    story.world.change_tailnet(renamed);
    story.world.lose_claim(Cause::HostRenamed);
    story.until(looks("prove")).await;
    let public = story.until(is_public).await;
    let Exposure::Public { address, .. } = public.exposure else {
        panic!("not public")
    };
    assert_eq!(address.origin(), "https://mac-2.tail1.ts.net");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_gateway_is_proven_anew_while_streams_go_on() {
    let story = Story::public(World::ready()).await;
    story.world.state().guard.as_mut().unwrap().streams = 2;
    story.world.restart_gateway();
    story.until(looks("held lock_unproven")).await;
    assert!(!story.world.lets_callers_in());
    story.until(is_public).await;
    assert!(story.world.lets_callers_in());
    assert_eq!(
        story.world.deeds(),
        [Call::Access, Call::StartGuard, Call::AskGateway, Call::Ask]
    );
    assert_eq!(story.world.state().guard.as_ref().unwrap().streams, 2);
    assert_eq!(story.now().notice, None);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_away_holds_callers_and_comes_back_by_itself() {
    let story = Story::public(World::ready()).await;
    let config = || CONFIG.into();
    story
        .world
        .change_gateway(GatewayView::NotRunning { config: config() });
    let held = story.until(looks("held gateway_not_ready")).await;
    let text = crate::words::exposure(&held.exposure).to_string();
    assert!(text.contains("nobody gets through right now"), "{text}");
    assert!(
        text.contains("The OpenClaw gateway is not ready."),
        "{text}"
    );
    let seen = held.gateway.unwrap();
    assert_eq!(seen, GatewayView::NotRunning { config: config() });
    story.pass(Duration::from_secs(55)).await;
    assert_eq!(word(&story.exposure()), "held gateway_not_ready");
    // Longer than any restart takes: it is a person's turn, and it still comes back by itself.
    story.pass(Duration::from_secs(10)).await;
    assert_eq!(word(&story.exposure()), "held gateway_stays_away");
    story.pass(Duration::from_secs(3_600)).await;
    assert_eq!(word(&story.exposure()), "held gateway_stays_away");
    assert!(!story.world.lets_callers_in());
    assert_eq!(story.world.calls(Call::StartGateway), 0);
    story
        .world
        .change_gateway(GatewayView::Starting { config: config() });
    story.pass(Duration::from_secs(2)).await;
    story.world.change_gateway(ready(1));
    story.until(is_public).await;
    assert_eq!(story.world.calls(Call::Close), 0);
    assert_eq!(
        story.world.deeds(),
        [Call::AskGateway, Call::Ask],
        "the same gateway, proven anew"
    );
    // How long it was away before does not count the next time.
    story
        .world
        .change_gateway(GatewayView::NotRunning { config: config() });
    story.until(looks("held gateway_not_ready")).await;
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_has_no_room_to_be_proven_holds_callers_until_it_has() {
    for question in ["no key", "right key"] {
        let story = Story::public(World::ready()).await;
        let full = refusing(Refusal::TooBusy);
        story.world.state().answers.insert(question, full);
        story.world.restart_gateway();
        story.until(looks("held guard_full")).await;
        story.pass(Duration::from_secs(300)).await;
        assert_eq!(word(&story.exposure()), "held guard_full");
        assert!(!story.world.lets_callers_in());
        story.world.state().answers.clear();
        story.until(is_public).await;
        assert_eq!(story.world.calls(Call::Close), 0);
    }
}

/// A gateway that answers is there; and with a full guard nobody knows how it is.
#[tokio::test(start_paused = true)]
async fn how_long_a_gateway_is_away_is_counted_anew_after_anything_else() {
    let too_many = ProofAnswer {
        status: 429,
        lists_models: false,
        error_type: None,
        refusal: None,
    };
    for (between, held) in [
        (refusing(Refusal::TooBusy), "held guard_full"),
        (too_many, "held gateway_locked_out"),
    ] {
        let story = with_a_gateway_away().await;
        let answer = |answer| story.world.state().answers.insert("right key", answer);
        story.pass(Duration::from_secs(30)).await;
        answer(between);
        story.until(looks(held)).await;
        story.pass(Duration::from_secs(60)).await;
        answer(refusing(Refusal::GatewayAway));
        story.world.restart_gateway();
        story.until(looks("held gateway_not_ready")).await;
    }
}

/// Behind the open door the gateway restarts, and answers nobody.
async fn with_a_gateway_away() -> Story {
    let story = Story::public(World::ready()).await;
    let away = refusing(Refusal::GatewayAway);
    story.world.state().answers.insert("right key", away);
    story.world.restart_gateway();
    story.until(looks("held gateway_not_ready")).await;
    story
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_refuses_and_hangs_by_turns_stays_away_all_the_same() {
    let story = with_a_gateway_away().await;
    for _ in 0..10 {
        let hangs = Cause::GuardFailed {
            detail: "the guard did not answer in time".into(),
        };
        story.world.fail(Call::Ask, 1, Fault::Fail(hangs));
        story.until(looks("held guard_failed")).await;
        story
            .until(|now| word(&now.exposure).starts_with("held gateway_"))
            .await;
        if word(&story.exposure()) == "held gateway_stays_away" {
            return;
        }
    }
    panic!("{}", word(&story.exposure()));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_stops_answering_is_asked_again_with_growing_pauses() {
    let story = with_a_gateway_away().await;
    let before = story.world.calls(Call::AskGateway);
    for _ in 0..600 {
        story.world.stir();
        story.pass(Duration::from_secs(1)).await;
    }
    let asked = story.world.calls(Call::AskGateway) - before;
    assert!((5..=16).contains(&asked), "asked {asked} times");
    assert_eq!(word(&story.exposure()), "held gateway_stays_away");
    assert!(!story.world.lets_callers_in());
    story.world.state().answers.clear();
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_stops_holding_closes_the_door() {
    let story = Story::public(World::ready()).await;
    let open = super::world::listing();
    story.world.state().answers.insert("no key", open);
    story.world.restart_gateway();
    let blocked = story.until(looks("blocked proof_failed")).await;
    assert!(story.world.is_shut());
    assert!(closed_by(blocked.notice.as_ref()).is_some());
    assert_eq!(story.world.deeds().last(), Some(&Call::StopGuard));
}

#[tokio::test(start_paused = true)]
async fn somebody_who_undoes_the_set_up_is_not_fought_for_ever() {
    let story = Story::public(World::ready()).await;
    for time in 1..=3 {
        story.world.change_gateway(needs_set_up(true));
        story.until(looks("closing")).await;
        story.until(is_public).await;
        assert_eq!(story.world.calls(Call::SetUp), time);
    }
    story.world.change_gateway(needs_set_up(true));
    let blocked = story.until(looks("blocked config_contended")).await;
    assert!(story.world.state().door.is_none());
    let text = crate::words::exposure(&blocked.exposure).to_string();
    assert!(text.contains(CONFIG), "{text}");
    story.forget_shown();
    story.pass(Duration::from_secs(5 * 60)).await;
    assert_eq!(story.world.calls(Call::SetUp), 3);
    assert_eq!(story.shown_but("blocked config_contended"), [""; 0]);
    story.until(is_public).await;
    assert_eq!(story.world.calls(Call::SetUp), 4);
}

#[tokio::test(start_paused = true)]
async fn set_ups_now_and_then_are_no_contention() {
    let story = Story::public(World::ready()).await;
    for _ in 0..8 {
        story.pass(Duration::from_secs(5 * 60)).await;
        story.world.change_gateway(needs_set_up(true));
        story.until(looks("closing")).await;
        story.until(is_public).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_up_that_fails_says_why_every_time() {
    let story = Story::begin(World::bare());
    let full = Cause::DiskFull {
        path: CONFIG.into(),
    };
    story.world.fail_always(Call::SetUp, Fault::Fail(full));
    story.connect().await.unwrap();
    story.until(looks("blocked disk_full")).await;
    story.forget_shown();
    story.pass(Duration::from_secs(20 * 60)).await;
    assert!(story.world.calls(Call::SetUp) > 5);
    assert_eq!(story.shown_but("blocked disk_full"), [""; 0]);
    story.world.mend(Call::SetUp);
    story.until(is_public).await;
}

/// Every restart voids the proof, and a check from outside takes longer than the gateway stays.
#[tokio::test(start_paused = true)]
async fn a_door_that_is_open_without_a_key_is_found_behind_a_gateway_that_restarts_all_the_time() {
    let world = World::ready();
    world.state().finding = OutsideFinding::OpenWithoutKey;
    world.fail_always(Call::Check, Fault::Slow(Duration::from_secs(20)));
    let story = Story::public(world).await;
    let mut seconds = 0;
    while !looks("blocked open_without_key")(&story.now()) {
        story.world.restart_gateway();
        story.pass(Duration::from_secs(3)).await;
        seconds += 3;
        assert!(seconds < 30, "{:?}", story.shown());
    }
    story.pass(Duration::from_secs(600)).await;
    assert!(story.world.is_shut());
    assert_eq!(story.now().wanted, Wanted::Private);
}

#[tokio::test(start_paused = true)]
async fn a_door_that_is_open_without_a_key_is_shut_at_once_and_stays_so() {
    let world = World::ready();
    world.state().finding = OutsideFinding::OpenWithoutKey;
    let story = Story::begin(world);
    story.connect().await.unwrap();
    let blocked = story.until(looks("blocked open_without_key")).await;
    assert!(story.world.is_shut());
    assert_eq!(blocked.wanted, Wanted::Private);
    let stored = story.world.state().record.clone();
    assert_eq!(stored, Some(Wanted::Private.to_record()));
    assert_eq!(
        closed_by(blocked.notice.as_ref()),
        Some(Cause::OpenWithoutKey)
    );
    story.pass(Duration::from_secs(100_000)).await;
    assert_eq!(story.world.calls(Call::Open), 1);
}

#[tokio::test(start_paused = true)]
async fn the_check_from_outside_is_repeated_until_it_is_good() {
    let world = World::ready();
    world.state().finding = OutsideFinding::Unreachable(ReachCause::NotPublished);
    let story = Story::begin(world);
    story.connect().await.unwrap();
    let unreachable = |now: &crate::snapshot::Snapshot| {
        matches!(
            &now.exposure,
            Exposure::Public {
                reach: Reach::Unreachable { .. },
                ..
            }
        )
    };
    story.until(unreachable).await;
    story.pass(Duration::from_secs(100)).await;
    let checks = story.world.calls(Call::Check);
    assert!((4..=8).contains(&checks), "{checks}");
    story.world.state().finding = OutsideFinding::Reachable;
    let reachable = |now: &crate::snapshot::Snapshot| {
        matches!(
            &now.exposure,
            Exposure::Public {
                reach: Reach::Reachable { .. },
                ..
            }
        )
    };
    story.until(reachable).await;
    let checks = story.world.calls(Call::Check);
    story.pass(Duration::from_secs(14 * 60)).await;
    assert_eq!(story.world.calls(Call::Check), checks);
    story.handle.check_outside().await;
    story.pass(Duration::from_secs(1)).await;
    assert_eq!(story.world.calls(Call::Check), checks + 1);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_is_given_up() {
    let world = World::ready();
    world.fail(Call::Check, 1, Fault::Hang);
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(is_public).await;
    let unreachable = |now: &crate::snapshot::Snapshot| {
        matches!(
            &now.exposure,
            Exposure::Public {
                reach: Reach::Unreachable { .. },
                ..
            }
        )
    };
    story.until(unreachable).await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_closes_the_door() {
    let story = Story::begin(World::ready());
    let until = story.connect_for(3_600).await;
    let public = story.until(is_public).await;
    assert!(
        matches!(public.exposure, Exposure::Public { until: Some(shown), .. } if shown == until)
    );
    story.pass(Duration::from_secs(3_590)).await;
    assert_eq!(word(&story.exposure()), "public");
    story.pass(Duration::from_secs(11)).await;
    let private = story.until(is_private).await;
    assert_eq!(private.notice, Some(Notice::DeadlinePassed));
    assert_eq!(private.wanted, Wanted::Private);
    let stored = story.world.state().record.clone();
    assert_eq!(stored, Some(Wanted::Private.to_record()));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_moved_by_asking_again() {
    let story = Story::begin(World::ready());
    story.connect_for(60).await;
    story.until(is_public).await;
    let until = story.connect_for(7_200).await;
    story.pass(Duration::from_secs(3_600)).await;
    let now = story.now();
    assert!(matches!(now.exposure, Exposure::Public { until: Some(shown), .. } if shown == until));
    assert_eq!(story.world.calls(Call::Open), 1);
    story.connect().await.unwrap();
    story.pass(Duration::from_secs(7_200)).await;
    assert_eq!(word(&story.exposure()), "public");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_on_the_way_or_while_blocked_ends_private() {
    for call in [Call::SignIn, Call::SetUp, Call::ObserveTailnet] {
        let story = Story::begin(World::bare());
        story.world.fail_always(call, Fault::Hang);
        story.connect_for(20).await;
        story.pass(Duration::from_secs(21)).await;
        assert_eq!(word(&story.exposure()), "private", "{call:?}");
        assert_eq!(story.now().notice, Some(Notice::DeadlinePassed));
    }
    for cause in [Cause::ShieldsUp, Cause::TailscaleLost] {
        let story = Story::begin(World::bare());
        let blocked = format!("blocked {}", cause.code());
        story.world.fail_always(Call::Install, Fault::Fail(cause));
        story.connect_for(3_600).await;
        story.until(|now| word(&now.exposure) == blocked).await;
        story.pass(Duration::from_secs(3_601)).await;
        assert_eq!(word(&story.exposure()), "private", "{blocked}");
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_that_jump_never_keep_the_door_open_longer() {
    let story = Story::begin(World::ready());
    story.connect_for(3_600).await;
    story.until(is_public).await;
    story.world.jump_clock(3_600);
    story.pass(Duration::from_secs(16)).await;
    assert_eq!(word(&story.exposure()), "private", "jumped forward");

    let story = Story::begin(World::ready());
    story.connect_for(3_600).await;
    story.until(is_public).await;
    story.world.jump_clock(-86_400);
    story.pass(Duration::from_secs(3_601)).await;
    assert_eq!(word(&story.exposure()), "private", "jumped back");

    let story = Story::begin(World::bare());
    story.world.person_has_yet_to(Call::SignIn);
    story.connect_for(3_600).await;
    story.until(looks("sign_in waiting")).await;
    story.world.jump_clock(3_600);
    story.pass(Duration::from_secs(16)).await;
    assert_eq!(word(&story.exposure()), "private", "on the way");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_in_sleep_closes_before_anything_else() {
    let story = Story::begin(World::ready());
    story.connect_for(3_600).await;
    story.until(is_public).await;
    story.world.forget_calls();
    story.world.sleep_machine(Duration::from_secs(8 * 3_600));
    story.handle.wake().await;
    story.pass(Duration::from_millis(100)).await;
    assert_eq!(word(&story.exposure()), "private");
    assert_eq!(story.world.deeds(), [Call::Close, Call::StopGuard]);
    assert_eq!(story.world.state().calls.first(), Some(&Call::StoreWanted));
}

#[tokio::test(start_paused = true)]
async fn after_sleep_the_claim_is_looked_at_first() {
    let story = Story::public(World::ready()).await;
    story.world.sleep_machine(Duration::from_secs(3_600));
    story.handle.wake().await;
    story.pass(Duration::from_millis(1)).await;
    assert_eq!(story.world.state().calls.first(), Some(&Call::Verify));
    assert_eq!(word(&story.exposure()), "public");
    story.world.state().door = None;
    story.handle.wake().await;
    story.pass(Duration::from_millis(1)).await;
    assert_ne!(word(&story.exposure()), "public");
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn restarting_the_gateway_by_hand_holds_callers_meanwhile() {
    let story = Story::public(World::ready()).await;
    story
        .world
        .fail(Call::StartGateway, 1, Fault::Slow(Duration::from_secs(30)));
    let handle = story.handle.clone();
    let restart = tokio::spawn(async move { handle.restart_gateway().await });
    story.until(looks("held lock_unproven")).await;
    story.handle.wake().await;
    story.handle.look().await.unwrap();
    story.connect().await.unwrap();
    restart.await.unwrap().unwrap();
    story.until(is_public).await;
    assert_eq!(story.world.calls(Call::RestartGateway), 1);
    assert_eq!(story.world.calls(Call::StartGateway), 1);
    assert_eq!(story.world.calls(Call::Close), 0);
}

/// It may take minutes until it ends what it is doing, and then it is another gateway anyway.
#[tokio::test(start_paused = true)]
async fn a_restart_that_is_put_off_holds_nobody_before_it_comes() {
    let story = Story::public(World::ready()).await;
    let before = story.world.calls(Call::AskGateway);
    let deferred = Fault::Fail(Cause::GatewayRestartDeferred);
    story.world.fail(Call::RestartGateway, 1, deferred);
    let restarted = story.handle.restart_gateway().await;
    assert_eq!(restarted, Err(Cause::GatewayRestartDeferred));
    story.pass(Duration::from_secs(240)).await;
    assert_eq!(story.shown_but("public"), [""; 0]);
    assert!(story.world.lets_callers_in());
    let proofs = |story: &Story| story.world.calls(Call::AskGateway) - before;
    assert_eq!(proofs(&story), 0, "nothing to prove");
    story.world.restart_gateway();
    story.until(looks("held lock_unproven")).await;
    assert!(!story.world.lets_callers_in());
    story.until(is_public).await;
    assert!(story.world.lets_callers_in());
    assert_eq!(proofs(&story), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_holds_callers_from_when_the_gateway_goes_away() {
    let story = Story::public(World::ready()).await;
    let before = story.world.calls(Call::AskGateway);
    let slow = Fault::Slow(Duration::from_secs(5));
    story.world.fail(Call::RestartGateway, 1, slow.clone());
    story.world.fail(Call::StartGateway, 1, slow);
    let handle = story.handle.clone();
    let restart = tokio::spawn(async move { handle.restart_gateway().await });
    story.pass(Duration::from_secs(4)).await;
    assert!(story.world.lets_callers_in(), "it was only asked");
    story.pass(Duration::from_secs(3)).await;
    assert!(!story.world.lets_callers_in() && !restart.is_finished());
    restart.await.unwrap().unwrap();
    story.until(is_public).await;
    assert_eq!(story.world.calls(Call::AskGateway), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_hangs_holds_callers_for_a_gateway_and_nobody_for_the_node() {
    let story = Story::public(World::ready()).await;
    story.world.fail(Call::ObserveGateway, 1, Fault::Hang);
    story.world.stir();
    story.until(looks("held gateway_not_ready")).await;
    assert!(!story.world.lets_callers_in());
    story.until(is_public).await;
    story.world.fail(Call::ObserveTailnet, 1, Fault::Hang);
    story.world.restart_gateway();
    story.pass(Duration::from_secs(3)).await;
    story.until(is_public).await;
    assert_eq!(story.world.calls(Call::StartGuard), 2);
    assert_eq!(story.world.calls(Call::Close), 0);
}
