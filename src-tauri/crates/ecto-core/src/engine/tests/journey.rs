//! On the way to Public.

use std::time::Duration;

use crate::cause::Cause;
use crate::exposure::Exposure;
use crate::gateway::GatewayView;
use crate::refusal::Refusal;
use crate::snapshot::StepProgress;
use crate::step::{Step, Waiting};
use crate::tailnet::{FunnelPermission, Installer, NodeChoice, NodeKind, TailnetView};
use crate::wanted::{NewDeadline, Wanted};

use super::story::{Story, is_private, is_public, looks, word};
use super::world::{CONFIG, Call, Fault, World, listing, only_key, ready, refusing, running};

#[tokio::test(start_paused = true)]
async fn from_nothing_to_public() {
    let story = Story::begin(World::bare());
    story.connect().await.unwrap();
    let public = story.until(is_public).await;
    assert_eq!(
        story.world.deeds(),
        [
            Call::Install,
            Call::StartTailscale,
            Call::SignIn,
            Call::OpenLink,
            Call::AllowFunnel,
            Call::OpenLink,
            Call::LoadSecrets,
            Call::StoreSecrets,
            Call::SetUp,
            Call::StartGateway,
            Call::Access,
            Call::StartGuard,
            Call::AskGateway,
            Call::Ask,
            Call::Open,
        ]
    );
    assert_eq!(
        story.shown(),
        [
            "private",
            "install_tailscale",
            "start_tailscale",
            "start_tailscale waiting",
            "sign_in",
            "sign_in waiting",
            "allow_funnel",
            "allow_funnel waiting",
            "set_up_open_claw",
            "start_open_claw",
            "start_open_claw waiting",
            "start_guard",
            "prove",
            "open",
            "public",
        ]
    );
    assert_eq!(public.journey.len(), Step::ALL.len());
    assert!(story.world.lets_callers_in());
}

#[tokio::test(start_paused = true)]
async fn where_all_is_ready_only_the_door_is_opened() {
    let world = World::ready();
    world.state().secrets = Some(only_key("ecto_secret_own"));
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(is_public).await;
    assert_eq!(
        story.world.deeds(),
        [
            Call::LoadSecrets,
            Call::Access,
            Call::StartGuard,
            Call::AskGateway,
            Call::Ask,
            Call::Open
        ]
    );
    let steps: Vec<Step> = story.now().journey.iter().map(|taken| taken.step).collect();
    assert_eq!(
        steps,
        [
            Step::StartGuard,
            Step::Prove,
            Step::Open,
            Step::CheckOutside
        ]
    );
    assert!(story.world.state().links.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_person_is_waited_for_and_the_link_opened_once() {
    let world = World::bare();
    world.person_has_yet_to(Call::SignIn);
    let story = Story::begin(world);
    story.connect().await.unwrap();
    let waiting = story.until(looks("sign_in waiting")).await;
    let Exposure::Preparing {
        waiting: Some(Waiting::SignIn { link }),
        ..
    } = &waiting.exposure
    else {
        panic!("{waiting:?}")
    };
    assert_eq!(link.as_str(), "https://login.tailscale.com/a/1");
    story.pass(Duration::from_secs(20 * 60)).await;
    story.connect().await.unwrap();
    story.pass(Duration::from_secs(60)).await;
    assert_eq!(
        story.world.state().links,
        ["https://login.tailscale.com/a/1"]
    );
    assert_eq!(story.world.calls(Call::SignIn), 1);
    story.world.person_does(Call::SignIn);
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn links_are_shown_alone_where_they_are_not_to_be_opened() {
    let settings = crate::settings::Settings {
        open_links: false,
        ..Default::default()
    };
    let story = Story::begin_with(World::bare(), settings);
    story.connect().await.unwrap();
    story.until(looks("sign_in waiting")).await;
    story.until(is_public).await;
    assert!(story.world.state().links.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_hangs_holds_nothing_up() {
    let world = World::bare();
    world.fail_always(Call::OpenLink, Fault::Hang);
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn connecting_again_restarts_no_step() {
    let world = World::bare();
    world.fail(Call::Install, 1, Fault::Slow(Duration::from_secs(300)));
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("install_tailscale")).await;
    for _ in 0..5 {
        story.pass(Duration::from_secs(20)).await;
        story.connect().await.unwrap();
    }
    story.until(is_public).await;
    assert_eq!(story.world.calls(Call::Install), 1);
    story.connect().await.unwrap();
    story.pass(Duration::from_secs(1)).await;
    assert_eq!(story.world.calls(Call::Open), 1);
}

#[tokio::test(start_paused = true)]
async fn disconnecting_in_the_middle_of_any_step_ends_private() {
    for call in [
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
        Call::ObserveTailnet,
        Call::ObserveGateway,
    ] {
        let world = World::bare();
        world.fail_always(call, Fault::Hang);
        let story = Story::begin(world);
        story.connect().await.unwrap();
        story.pass(Duration::from_secs(5)).await;
        assert!(story.world.calls(call) > 0, "{call:?} was never reached");
        let began = tokio::time::Instant::now();
        story.handle.disconnect().await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{call:?}");
        assert_eq!(story.exposure(), Exposure::Private, "{call:?}");
        assert!(story.world.is_shut(), "{call:?}");
        story.pass(Duration::from_secs(600)).await;
        assert_eq!(story.exposure(), Exposure::Private, "{call:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_was_broken_off_is_seen_to_be_closed() {
    let world = World::ready();
    world.fail(Call::Open, 1, Fault::Hang);
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("open")).await;
    story.handle.disconnect().await.unwrap();
    assert_eq!(story.world.calls(Call::Confirm), 1);
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_failed_half_way_is_seen_to_be_closed() {
    let world = World::ready();
    world.state().door_sticks = true;
    let refused = Cause::ClaimRefused {
        detail: "no".into(),
    };
    world.fail(Call::Open, 1, Fault::FailAfter(refused));
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("unconfirmed claim_refused")).await;
    assert!(story.world.state().guard.is_none());
    story.world.state().door = None;
    story.until(looks("blocked claim_refused")).await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_changes_while_the_door_opens_is_proven_before_anybody_gets_through() {
    let world = World::ready();
    world.fail(Call::Open, 1, Fault::Slow(Duration::from_secs(5)));
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("open")).await;
    story.world.restart_gateway();
    while story.world.state().door.is_none() {
        story.pass(Duration::from_millis(1)).await;
    }
    assert!(!story.world.lets_callers_in());
    story.until(is_public).await;
    assert_eq!(story.world.calls(Call::StartGuard), 2);
    assert_eq!(story.world.state().blind_releases, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_does_not_hold_stays_closed_until_somebody_asks() {
    for (question, answer) in [
        ("no key", listing()),
        ("wrong key", listing()),
        ("wrong key", refusing(Refusal::MissingKey)),
        ("unlisted route", listing()),
        (
            "unlisted route",
            crate::proof::ProofAnswer {
                refusal: None,
                ..refusing(Refusal::UnknownRoute)
            },
        ),
    ] {
        let world = World::ready();
        world.state().answers.insert(question, answer);
        let story = Story::begin(world);
        story.connect().await.unwrap();
        story.until(looks("blocked proof_failed")).await;
        story.pass(Duration::from_secs(3 * 24 * 60 * 60)).await;
        story.world.stir();
        story.pass(Duration::from_secs(60)).await;
        assert_eq!(story.world.calls(Call::Open), 0, "{question}");
        assert_eq!(story.world.calls(Call::AskGateway), 1, "{question}");
        story.world.state().answers.clear();
        story.connect().await.unwrap();
        story.until(is_public).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_answers_everybody_never_gets_a_door() {
    let world = World::ready();
    world.state().gateway_open = true;
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("blocked gateway_open")).await;
    story.pass(Duration::from_secs(3_600)).await;
    assert_eq!(story.world.calls(Call::Open), 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_person_has_to_do_elsewhere_is_waited_for_without_asking_again() {
    let world = World::ready();
    world.change_tailnet(TailnetView::Refused {
        cause: Cause::ShieldsUp,
    });
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("blocked shields_up")).await;
    story.forget_shown();
    story.pass(Duration::from_secs(2 * 24 * 60 * 60)).await;
    story.world.stir();
    story.pass(Duration::from_secs(5)).await;
    assert_eq!(story.shown_but("blocked shields_up"), [""; 0]);
    story
        .world
        .change_tailnet(running("mac.tail1.ts.net", FunnelPermission::Allowed));
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_with_growing_pauses_and_without_flicker() {
    let world = World::ready();
    world.fail_always(Call::Open, Fault::Fail(Cause::ServeConfigContended));
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("blocked serve_config_contended")).await;
    story.forget_shown();
    let mut counts = Vec::new();
    for _ in 0..10 {
        let before = story.world.calls(Call::Open);
        story.pass(Duration::from_secs(60)).await;
        counts.push(story.world.calls(Call::Open) - before);
    }
    assert!(counts[0] >= 4 && counts[0] <= 5, "{counts:?}");
    assert!(counts[3..].iter().all(|count| *count <= 1), "{counts:?}");
    assert_eq!(story.shown_but("blocked serve_config_contended"), [""; 0]);
    story.world.mend(Call::Open);
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn changes_that_a_retry_makes_itself_do_not_bring_on_the_next() {
    let world = World::ready();
    world.fail_always(Call::Open, Fault::Fail(Cause::ServeConfigContended));
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("blocked serve_config_contended")).await;
    for _ in 0..600 {
        story.world.stir();
        story.pass(Duration::from_millis(100)).await;
    }
    assert!(story.world.calls(Call::Open) <= 6);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_locked_its_callers_out_is_left_in_peace() {
    let world = World::ready();
    let locked = crate::proof::ProofAnswer {
        status: 429,
        ..listing()
    };
    world.state().answers.insert("right key", locked);
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("blocked gateway_locked_out")).await;
    story.pass(Duration::from_secs(290)).await;
    assert_eq!(story.world.calls(Call::AskGateway), 1);
    story.world.state().answers.clear();
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn a_link_is_shown_even_where_it_comes_up_in_a_retry() {
    let world = World::ready();
    world.fail(Call::Open, 1, Fault::Fail(Cause::TailscaleLost));
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("blocked tailscale_lost")).await;
    story.world.person_has_yet_to(Call::SignIn);
    story.world.change_tailnet(TailnetView::NeedsSignIn {
        kind: NodeKind::System,
    });
    story.until(looks("sign_in waiting")).await;
    story.world.person_does(Call::SignIn);
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_prompt_comes_up_again_only_when_asked_for() {
    let world = World::bare();
    world.fail(Call::Install, 1, Fault::Fail(Cause::AdministratorCancelled));
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("blocked administrator_cancelled")).await;
    assert_eq!(story.now().wanted, Wanted::Private, "at the next start too");
    story.world.stir();
    story.handle.wake().await;
    story.handle.look().await.unwrap();
    story.handle.regenerate_key().await.unwrap();
    story.pass(Duration::from_secs(48 * 60 * 60)).await;
    assert_eq!(story.world.calls(Call::Install), 1);
    assert_eq!(story.exposure(), Exposure::Private);
    story.connect().await.unwrap();
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn waking_up_again_and_again_does_not_count_as_trying() {
    let world = World::bare();
    world.person_has_yet_to(Call::SignIn);
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("sign_in waiting")).await;
    for _ in 0..20 {
        story.handle.wake().await;
        story.pass(Duration::from_secs(1)).await;
    }
    assert_eq!(word(&story.exposure()), "sign_in waiting");
    story.world.person_does(Call::SignIn);
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn a_step_without_effect_is_given_up_for_a_while() {
    let world = World::ready();
    world.change_gateway(GatewayView::NeedsRestart {
        config: CONFIG.into(),
    });
    world.state().start_is_idle = true;
    let story = Story::begin(world);
    story.connect().await.unwrap();
    story.until(looks("blocked step_without_effect")).await;
    assert!(story.world.calls(Call::StartGateway) <= 6);
    story.world.change_gateway(ready(9));
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn every_reason_to_refuse_a_gateway_stops_before_anything_is_changed() {
    for cause in [
        Cause::HooksTokenShared,
        Cause::GatewayAuth {
            mode: "none".into(),
        },
        Cause::GatewayBind { bind: "lan".into() },
        Cause::GatewayTailscale {
            mode: "funnel".into(),
        },
        Cause::GatewayMode {
            mode: "remote".into(),
        },
    ] {
        let world = World::bare();
        world.change_gateway(GatewayView::Refused {
            cause: cause.clone(),
        });
        let story = Story::begin(world);
        story.connect().await.unwrap();
        let blocked = format!("blocked {}", cause.code());
        story.until(|now| word(&now.exposure) == blocked).await;
        assert_eq!(story.world.deeds(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn tailscale_that_only_a_person_can_install_is_waited_for() {
    let world = World::bare();
    world.change_tailnet(TailnetView::Missing {
        installer: Installer::Person {
            command: "sudo apt install tailscale".into(),
        },
    });
    let story = Story::begin(world);
    story.connect().await.unwrap();
    let blocked = story.until(looks("blocked tailscale_missing")).await;
    let text = crate::words::exposure(&blocked.exposure).to_string();
    assert!(text.contains("sudo apt install tailscale"), "{text}");
    story.world.change_tailnet(TailnetView::NotRunning {
        kind: NodeKind::Own,
    });
    story.until(is_public).await;
}

#[tokio::test(start_paused = true)]
async fn another_node_is_taken_when_asked_for() {
    let story = Story::public(World::ready()).await;
    let own = Some(NodeChoice::Own);
    story
        .handle
        .connect(NewDeadline::AsBefore, own)
        .await
        .unwrap();
    story.pass(Duration::from_secs(1)).await;
    story.until(is_public).await;
    assert_eq!(
        story.world.state().door.as_ref().map(|door| door.node),
        Some(NodeChoice::Own)
    );
    assert_eq!(story.world.calls(Call::Close), 1);
}

#[tokio::test(start_paused = true)]
async fn a_look_tells_without_changing_anything() {
    let story = Story::begin(World::bare());
    story.until(is_private).await;
    story.handle.look().await.unwrap();
    let now = story.now();
    assert!(now.tailnet.is_some() && now.gateway.is_some());
    assert_eq!(story.world.deeds(), []);
    assert_eq!(now.exposure, Exposure::Private);
}

#[tokio::test(start_paused = true)]
async fn steps_that_are_done_and_to_come_are_shown() {
    let world = World::bare();
    world.person_has_yet_to(Call::SignIn);
    let story = Story::begin(world);
    story.connect().await.unwrap();
    let journey = story.until(looks("sign_in waiting")).await.journey;
    let progress: Vec<(Step, bool, bool)> = journey
        .iter()
        .map(|taken| {
            (
                taken.step,
                matches!(taken.progress, StepProgress::Done { .. }),
                taken.progress == StepProgress::Now,
            )
        })
        .collect();
    assert_eq!(progress.len(), Step::ALL.len());
    assert_eq!(progress[1], (Step::StartTailscale, true, false));
    assert_eq!(progress[2], (Step::SignIn, false, true));
    assert_eq!(progress[3], (Step::AllowFunnel, false, false));
}
