//! Whatever is asked and whatever happens, in any order.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::cause::every::every_cause;
use crate::exposure::Exposure;
use crate::gateway::GatewayView;
use crate::key::Route;
use crate::offer::Offer;
use crate::ports::{Clock, OutsideFinding, VaultFault};
use crate::tailnet::{FunnelPermission, NodeChoice, NodeKind, TailnetView};
use crate::wanted::{NewDeadline, Wanted};

use super::story::{Story, is_private, is_public};
use super::world::{CONFIG, Call, Fault, World, listing, needs_set_up, ready, running};

const FAULTY: [Call; 22] = [
    Call::ObserveTailnet,
    Call::Install,
    Call::StartTailscale,
    Call::SignIn,
    Call::AllowFunnel,
    Call::Open,
    Call::Verify,
    Call::Close,
    Call::Confirm,
    Call::ObserveGateway,
    Call::SetUp,
    Call::StartGateway,
    Call::Access,
    Call::AskGateway,
    Call::Restore,
    Call::StartGuard,
    Call::Ask,
    Call::Check,
    Call::LoadSecrets,
    Call::StoreSecrets,
    Call::StoreWanted,
    Call::OpenLink,
];

#[derive(Debug, Clone)]
enum Move {
    Connect {
        seconds: Option<Option<i64>>,
        own: Option<bool>,
    },
    Disconnect,
    Regenerate,
    Reveal,
    Offer(Vec<Route>),
    Look,
    Restart,
    Restore,
    CheckOutside,
    Wake,
    QuitAndBegin,
    CrashAndBegin,
    LoseClaim,
    RemoveClaim,
    RestartGateway,
    GatewayAway,
    GatewayBack,
    UndoSetUp,
    OpenGateway(bool),
    DaemonAway,
    DaemonBack,
    Fault {
        call: Call,
        fault: u8,
        cause: usize,
        stays: bool,
    },
    Mend,
    BreakLock(&'static str),
    Stick(bool),
    OpenOutside,
    VaultAway(bool),
    Jump(i64),
    Sleep(u64),
    Pass(u64),
}

fn moves() -> impl Strategy<Value = Move> {
    let question = prop_oneof![Just("no key"), Just("wrong key"), Just("unlisted route")];
    let fault = (
        proptest::sample::select(FAULTY.to_vec()),
        0u8..4,
        0usize..200,
        any::<bool>(),
    );
    prop_oneof![
        6 => (proptest::option::of(proptest::option::of(1i64..5_000)), any::<Option<bool>>())
            .prop_map(|(seconds, own)| Move::Connect { seconds, own }),
        3 => Just(Move::Disconnect),
        2 => Just(Move::Regenerate),
        1 => Just(Move::Reveal),
        2 => proptest::sample::subsequence(Route::OPTIONAL.to_vec(), 0..=2).prop_map(Move::Offer),
        1 => Just(Move::Look),
        1 => Just(Move::Restart),
        1 => Just(Move::Restore),
        1 => Just(Move::CheckOutside),
        1 => Just(Move::Wake),
        1 => Just(Move::QuitAndBegin),
        1 => Just(Move::CrashAndBegin),
        2 => Just(Move::LoseClaim),
        1 => Just(Move::RemoveClaim),
        4 => Just(Move::RestartGateway),
        1 => Just(Move::GatewayAway),
        2 => Just(Move::GatewayBack),
        1 => Just(Move::UndoSetUp),
        1 => any::<bool>().prop_map(Move::OpenGateway),
        1 => Just(Move::DaemonAway),
        2 => Just(Move::DaemonBack),
        6 => fault.prop_map(|(call, fault, cause, stays)| Move::Fault { call, fault, cause, stays }),
        3 => Just(Move::Mend),
        1 => question.prop_map(Move::BreakLock),
        1 => any::<bool>().prop_map(Move::Stick),
        1 => Just(Move::OpenOutside),
        1 => any::<bool>().prop_map(Move::VaultAway),
        1 => (-100_000i64..100_000).prop_map(Move::Jump),
        1 => (0u64..10_000).prop_map(Move::Sleep),
        12 => prop_oneof![0u64..15, 0u64..1_000, 0u64..60_000].prop_map(Move::Pass),
    ]
}

fn mend(world: &World) {
    let mut state = world.state();
    state.faults.clear();
    state.always.clear();
    state.answers.clear();
    state.gateway_open = false;
    state.finding = OutsideFinding::Reachable;
    state.vault_fault = None;
}

async fn play(story: &mut Story, step: Move) {
    let world = Arc::clone(&story.world);
    let handle = story.handle.clone();
    match step {
        Move::Connect { seconds, own } => {
            let until = match seconds {
                None => NewDeadline::AsBefore,
                Some(None) => NewDeadline::Unlimited,
                Some(Some(seconds)) => {
                    NewDeadline::At(world.now() + jiff::SignedDuration::from_secs(seconds))
                }
            };
            let node = own.map(|own| match own {
                true => NodeChoice::Own,
                false => NodeChoice::Auto,
            });
            tokio::spawn(async move {
                let _ = handle.connect(until, node).await;
            });
        }
        Move::Disconnect => {
            tokio::spawn(async move {
                let _ = handle.disconnect().await;
            });
        }
        Move::Regenerate => {
            tokio::spawn(async move {
                let _ = handle.regenerate_key().await;
            });
        }
        Move::Reveal => {
            tokio::spawn(async move {
                let _ = handle.reveal_key().await;
            });
        }
        Move::Offer(routes) => {
            let offer = Offer {
                routes: routes.into_iter().collect(),
                ..Offer::default()
            };
            tokio::spawn(async move {
                let _ = handle.set_offer(offer).await;
            });
        }
        Move::Look => {
            tokio::spawn(async move {
                let _ = handle.look().await;
            });
        }
        Move::Restart => {
            tokio::spawn(async move {
                let _ = handle.restart_gateway().await;
            });
        }
        Move::Restore => {
            tokio::spawn(async move {
                let _ = handle.restore().await;
            });
        }
        Move::CheckOutside => handle.check_outside().await,
        Move::Wake => handle.wake().await,
        Move::QuitAndBegin => {
            let _ = handle.quit().await;
            begin_anew(story);
        }
        Move::CrashAndBegin => {
            story.engine.abort();
            while !story.engine.is_finished() {
                tokio::task::yield_now().await;
            }
            begin_anew(story);
        }
        Move::LoseClaim => world.lose_claim(crate::cause::Cause::TailscaleLost),
        Move::RemoveClaim => world.state().door = None,
        Move::RestartGateway => {
            if matches!(world.state().gateway, GatewayView::Ready(_)) {
                world.restart_gateway();
            }
        }
        Move::GatewayAway => world.change_gateway(GatewayView::NotRunning {
            config: CONFIG.into(),
        }),
        Move::GatewayBack => world.restart_gateway(),
        Move::UndoSetUp => world.change_gateway(needs_set_up(true)),
        Move::OpenGateway(open) => world.state().gateway_open = open,
        Move::DaemonAway => {
            world.change_tailnet(TailnetView::NotRunning {
                kind: NodeKind::System,
            });
            world.lose_claim(crate::cause::Cause::TailscaleLost);
        }
        Move::DaemonBack => {
            world.change_tailnet(running("mac.tail1.ts.net", FunnelPermission::Allowed));
        }
        Move::Fault {
            call,
            fault,
            cause,
            stays,
        } => {
            let causes = every_cause();
            let cause = causes[cause % causes.len()].clone();
            let fault = match fault {
                0 => Fault::Fail(cause),
                1 => Fault::FailAfter(cause),
                2 => Fault::Hang,
                _ => Fault::Slow(Duration::from_millis(700)),
            };
            if stays {
                world.fail_always(call, fault);
            } else {
                world.fail(call, 1, fault);
            }
        }
        Move::Mend => mend(&world),
        Move::BreakLock(question) => {
            world.state().answers.insert(question, listing());
        }
        Move::Stick(sticks) => world.state().door_sticks = sticks,
        Move::OpenOutside => world.state().finding = OutsideFinding::OpenWithoutKey,
        Move::VaultAway(away) => {
            world.state().vault_fault = away.then(|| VaultFault::Unreachable {
                detail: "no session".into(),
            });
        }
        Move::Jump(seconds) => world.jump_clock(seconds),
        Move::Sleep(seconds) => world.sleep_machine(Duration::from_secs(seconds)),
        Move::Pass(milliseconds) => story.pass(Duration::from_millis(milliseconds)).await,
    }
    // What was just asked for reaches the engine.
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// The process has ended, and with it the connection that a claim is tied to, and the guard.
fn begin_anew(story: &mut Story) {
    {
        let mut state = story.world.state();
        state.door = None;
        state.guard = None;
    }
    story.begin_again();
}

async fn rehearse(moves: Vec<Move>) {
    let mut story = Story::begin(World::ready());
    for step in moves {
        play(&mut story, step).await;
        story.assert_sound();
    }
    // Once nothing is in the way any more, it does what it is asked.
    mend(&story.world);
    {
        let mut state = story.world.state();
        state.door_sticks = false;
        let dropped = matches!(story.exposure(), Exposure::Blocked { .. });
        if dropped {
            state.door = None;
        }
    }
    story.world.change_gateway(ready(1_000));
    story
        .world
        .change_tailnet(running("mac.tail1.ts.net", FunnelPermission::Allowed));
    story.pass(Duration::from_secs(100)).await;
    if story.now().wanted != Wanted::Private || story.world.state().record.is_some() {
        let stored = story.world.state().record.clone();
        assert_eq!(
            stored,
            Some(story.now().wanted.to_record()),
            "what is on disk"
        );
    }
    let _ = story.handle.disconnect().await;
    story.world.state().door = None;
    story.until(is_private).await;
    story.connect().await.unwrap();
    story.until(is_public).await;
    assert!(story.world.lets_callers_in());
    assert_eq!(story.world.keys_of_guard(), story.world.stored_keys());
    story.handle.disconnect().await.unwrap();
    story.until(is_private).await;
    assert!(story.world.is_shut());
    story.assert_sound();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_it_keeps_its_promises(moves in proptest::collection::vec(moves(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(rehearse(moves));
    }
}
