//! How Funnel gets allowed.

mod support;

use ecto_core::cause::Cause;
use ecto_core::step::Waiting;
use ecto_core::tailnet::{FunnelPermission, TailnetView};
use ecto_sandbox::faults::Fault;
use ecto_sandbox::tailnet::Tailnet;
use support::{World, in_time};

fn not_allowed() -> ecto_sandbox::tailnet::TailnetBuilder {
    Tailnet::builder().signed_in()
}

#[tokio::test(start_paused = true)]
async fn it_continues_by_itself_once_somebody_allowed_it() {
    for version in ["1.102.3", "1.96.5-t0123456789"] {
        let world = World::start(not_allowed().version(version)).await;
        let TailnetView::Running(node) = world.view().await else {
            panic!("it does not run")
        };
        assert_eq!(node.funnel, FunnelPermission::Missing);
        let (mut notes, task) = world.allow_funnel();
        let (waiting, link) = notes.link().await;
        assert!(matches!(waiting, Waiting::FunnelPermission { .. }));
        assert!(link.starts_with("https://login.tailscale.com/f/funnel?"));
        assert!(!task.is_finished());
        world.tailnet.allow_funnel();
        assert_eq!(in_time(task).await.unwrap(), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_allowed_already_needs_no_link() {
    let world = World::ready().await;
    let (mut notes, task) = world.allow_funnel();
    assert_eq!(in_time(task).await.unwrap(), Ok(()));
    assert_eq!(notes.next().await, None);
    assert!(!world.asked().contains(&"POST query-feature".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn where_waiting_is_of_no_use_it_says_so_with_the_link() {
    let world = World::start(not_allowed().feature_without_waiting()).await;
    let (_notes, task) = world.allow_funnel();
    let Err(Cause::FunnelNotAllowed { detail, link }) = in_time(task).await.unwrap() else {
        panic!("it is allowed")
    };
    assert!(detail.as_str().contains("not enabled"), "{detail}");
    assert!(link.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_map_yet_is_waited_for() {
    let world = World::start(not_allowed()).await;
    let faults = world.tailnet.faults();
    faults.fail("POST query-feature", 1, Fault::answer(503, "no netmap"));
    faults.fail("POST query-feature", 2, Fault::answer(503, "no netmap"));
    let (mut notes, task) = world.allow_funnel();
    notes.link().await;
    world.tailnet.allow_funnel();
    assert_eq!(in_time(task).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn ports_that_funnel_does_not_have_are_no_permission() {
    let world = World::start(not_allowed().funnel_allowed().funnel_ports("9000")).await;
    let (_notes, task) = world.allow_funnel();
    let ended = in_time(task).await.unwrap();
    assert!(
        matches!(ended, Err(Cause::FunnelNotAllowed { link: None, .. })),
        "{ended:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_goes_away_meanwhile_is_lost() {
    let world = World::start(not_allowed()).await;
    let (mut notes, task) = world.allow_funnel();
    notes.link().await;
    world.tailnet.die().await;
    assert_eq!(in_time(task).await.unwrap(), Err(Cause::TailscaleLost));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_signed_out_meanwhile_is_lost() {
    let world = World::start(not_allowed()).await;
    let (mut notes, task) = world.allow_funnel();
    notes.link().await;
    world.tailnet.log_out_elsewhere();
    assert_eq!(in_time(task).await.unwrap(), Err(Cause::TailscaleLost));
}
