//! What is seen of a machine, and when it is seen.
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use ecto_core::cause::Cause;
use ecto_core::ports::Tailnet as _;
use ecto_core::tailnet::{Installer, NodeChoice, NodeKind, TailnetView};
use ecto_sandbox::faults::Fault;
use ecto_sandbox::tailnet::{Access, POINT_BUS_LINE, POINT_CONNECT, Tailnet, Warning};
use ecto_tailscale::OperatingSystem;
use support::{Machine, World, in_time};

const SYSTEM: NodeKind = NodeKind::System;

fn ready() -> ecto_sandbox::tailnet::TailnetBuilder {
    Tailnet::builder().signed_in().funnel_allowed()
}

fn refused(view: TailnetView) -> Cause {
    let TailnetView::Refused { cause } = view else {
        panic!("{view:?}")
    };
    cause
}

#[tokio::test]
async fn each_state_is_its_own_view() {
    let world = World::start(Tailnet::builder()).await;
    assert_eq!(
        world.view().await,
        TailnetView::NeedsSignIn { kind: SYSTEM }
    );
    let world = World::start(Tailnet::builder().stopped()).await;
    assert_eq!(world.view().await, TailnetView::Stopped { kind: SYSTEM });
    let world = World::ready().await;
    let TailnetView::Running(node) = world.view().await else {
        panic!("it does not run")
    };
    assert_eq!(node.host.as_str(), "oc-mac.tail1234.ts.net");
    assert_eq!(node.version.as_str(), "1.102.3");
    world.tailnet.log_out_elsewhere();
    assert_eq!(
        world.view().await,
        TailnetView::NeedsSignIn { kind: SYSTEM }
    );
}

#[tokio::test]
async fn what_cannot_be_used_says_why() {
    let world = World::start(ready().shields_up()).await;
    assert_eq!(refused(world.view().await), Cause::ShieldsUp);
    let world = World::start(ready().version("1.102.1-t1")).await;
    assert_eq!(
        refused(world.view().await),
        Cause::TailscaleBroken {
            version: "1.102.1".into()
        }
    );
    let world = World::start(ready().version("1.50.0")).await;
    assert_eq!(
        refused(world.view().await),
        Cause::TailscaleTooOld {
            version: "1.50.0".into()
        }
    );
    let world = World::start(ready().access(Access::Denied)).await;
    assert!(matches!(
        refused(world.view().await),
        Cause::TailscaleDenied { .. }
    ));
    let world = World::ready().await;
    world.tailnet.set_in_use_by_other(true);
    assert_eq!(refused(world.view().await), Cause::TailscaleOtherUser);
    for fault in [
        Fault::answer(200, "{}"),
        Fault::answer(200, "hello"),
        Fault::answer(500, "no"),
    ] {
        let world = World::ready().await;
        world
            .tailnet
            .faults()
            .fail_always("GET status", fault.clone());
        let cause = refused(world.view().await);
        assert!(
            matches!(cause, Cause::TailscaleUnreachable { .. }),
            "{fault:?}: {cause:?}"
        );
    }
}

#[tokio::test]
async fn a_daemon_that_dies_while_it_answers_is_lost() {
    for fault in [Fault::CloseAfter(10), Fault::Refuse] {
        let world = World::ready().await;
        let faults = world.tailnet.faults();
        faults.fail_always("GET status", fault);
        assert_eq!(refused(world.view().await), Cause::TailscaleLost);
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_never_answers_is_given_up_on() {
    let world = World::ready().await;
    world
        .tailnet
        .faults()
        .fail_always(POINT_CONNECT, Fault::Silence);
    let cause = refused(in_time(world.view()).await);
    assert!(
        matches!(cause, Cause::TailscaleUnreachable { .. }),
        "{cause:?}"
    );
}

#[tokio::test]
async fn where_nobody_answers_it_is_seen_what_can_be_done() {
    let machine = Machine::new();
    std::fs::write(machine.path("os-release"), "ID=fedora\n").unwrap();
    let tailscale = machine.tailscale();
    let TailnetView::Missing { installer } = tailscale.observe(NodeChoice::Auto).await else {
        panic!("something is there")
    };
    assert_eq!(
        installer,
        Installer::Person {
            command: "sudo dnf install tailscale".to_owned()
        }
    );
    machine.program("tailscaled", "exit 1");
    let not_running = |kind| TailnetView::NotRunning { kind };
    assert_eq!(
        tailscale.observe(NodeChoice::Auto).await,
        not_running(NodeKind::Own)
    );
    assert_eq!(
        tailscale.observe(NodeChoice::Own).await,
        not_running(NodeKind::Own)
    );
    assert_eq!(
        tailscale.observe(NodeChoice::System).await,
        not_running(SYSTEM)
    );
}

#[tokio::test]
async fn an_installed_app_is_what_would_be_started_on_a_mac() {
    let mut machine = Machine::new();
    machine.places.system = OperatingSystem::MacOs;
    let not_running = |kind| TailnetView::NotRunning { kind };
    let tailscale = machine.tailscale();
    assert_eq!(
        tailscale.observe(NodeChoice::Auto).await,
        TailnetView::Missing {
            installer: Installer::Download
        }
    );
    machine.program("brew", "exit 1");
    assert_eq!(
        tailscale.observe(NodeChoice::Auto).await,
        TailnetView::Missing {
            installer: Installer::Homebrew
        }
    );
    std::fs::create_dir_all(machine.path("Tailscale.app/Contents")).unwrap();
    assert_eq!(
        tailscale.observe(NodeChoice::Auto).await,
        not_running(NodeKind::Standalone)
    );
    std::fs::create_dir_all(machine.path("Tailscale.app/Contents/_MASReceipt")).unwrap();
    assert_eq!(
        tailscale.observe(NodeChoice::Auto).await,
        not_running(NodeKind::AppStore)
    );
    assert_eq!(
        tailscale.observe(NodeChoice::Own).await,
        TailnetView::Missing {
            installer: Installer::Homebrew
        }
    );
}

#[tokio::test]
async fn the_app_from_the_package_is_found_by_its_port_and_password() {
    let mut machine = Machine::new();
    machine.places.system = OperatingSystem::MacOs;
    let folder = machine.places.standalone_folder.clone();
    std::fs::create_dir_all(&folder).unwrap();
    let tailnet = ready().standalone_app().start(&folder).await.unwrap();
    let tailscale = machine.tailscale();
    let TailnetView::Running(node) = tailscale.observe(NodeChoice::Auto).await else {
        panic!("it does not run")
    };
    assert_eq!(node.kind, NodeKind::Standalone);
    let claim = tailscale
        .open(NodeChoice::System, support::opening())
        .await
        .unwrap();
    assert!(tailnet.is_funnel_on());
    claim.close().await.unwrap();
    // The app ends and leaves its files behind.
    tailnet.die().await;
    let view = tailscale.observe(NodeChoice::Auto).await;
    assert!(matches!(view, TailnetView::Missing { .. }), "{view:?}");
}

#[tokio::test]
async fn the_app_from_the_app_store_is_found_by_lsof() {
    let mut machine = Machine::new();
    machine.places.system = OperatingSystem::MacOs;
    std::fs::create_dir_all(machine.path("Tailscale.app/Contents/_MASReceipt")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tailnet = ready().standalone_app().start(folder.path()).await.unwrap();
    let (port, token) = (tailnet.app_port().unwrap(), tailnet.app_token().unwrap());
    let name = format!(
        "/Users/a b/Library/Group Containers/W5.io.tailscale.ipn.macos/sameuserproof-{port}-{token}"
    );
    machine.program(
        "lsof",
        &format!("printf 'p1\\nfcwd\\nn/\\nf3\\nn{name}\\n'"),
    );
    let TailnetView::Running(node) = machine.tailscale().observe(NodeChoice::Auto).await else {
        panic!("it does not run")
    };
    assert_eq!(node.kind, NodeKind::AppStore);
}

#[tokio::test]
async fn a_node_that_runs_comes_before_one_that_must_be_signed_in() {
    let world = World::start(Tailnet::builder()).await;
    std::fs::create_dir_all(&world.machine.places.own.state).unwrap();
    let own = ready()
        .socket(&world.machine.places.own.socket)
        .start(&world.machine.places.own.state)
        .await
        .unwrap();
    let TailnetView::Running(node) = world.view().await else {
        panic!("it does not run")
    };
    assert_eq!(node.kind, NodeKind::Own);
    assert_eq!(
        world.tailscale.observe(NodeChoice::System).await,
        TailnetView::NeedsSignIn { kind: SYSTEM }
    );
    drop(own);
    assert_eq!(
        world.view().await,
        TailnetView::NeedsSignIn { kind: SYSTEM }
    );
}

#[tokio::test(start_paused = true)]
async fn every_change_is_noticed() {
    type Act = fn(&Tailnet);
    let acts: [(&str, Act); 7] = [
        ("renamed", |tailnet| tailnet.rename_host("other")),
        ("off", |tailnet| tailnet.set_running_elsewhere(false)),
        ("shields", |tailnet| tailnet.set_shields_up(true)),
        ("signed out", Tailnet::log_out_elsewhere),
        ("allowed", Tailnet::allow_funnel),
        ("cut", Tailnet::cut_watchers),
        ("warning", |tailnet| {
            tailnet.raise_warning(Warning {
                code: "no-derp-connection".to_owned(),
                severity: "high".to_owned(),
                title: "x".to_owned(),
                text: "x".to_owned(),
            });
        }),
    ];
    for (name, act) in acts {
        let world = World::ready().await;
        let mut changes = world.tailscale.changes();
        tokio::time::sleep(Duration::from_secs(1)).await;
        changes.mark_unchanged();
        act(&world.tailnet);
        let noticed = tokio::time::timeout(Duration::from_secs(1), changes.changed()).await;
        assert!(matches!(noticed, Ok(Ok(()))), "{name}: {noticed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_machine_is_left_alone() {
    let world = World::ready().await;
    let mut changes = world.tailscale.changes();
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.tailnet.forget_requests();
    changes.mark_unchanged();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.tailnet.requests(), []);
    assert!(!changes.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_dies_and_comes_back_is_noticed_each_time() {
    let world = World::ready().await;
    let mut changes = world.tailscale.changes();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        changes.mark_unchanged();
        world.tailnet.die().await;
        in_time(changes.changed()).await.unwrap();
        changes.mark_unchanged();
        world.tailnet.come_back().unwrap();
        in_time(changes.changed()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_bus_of_garbage_is_still_heard() {
    for fault in [
        Fault::GarbageLine,
        Fault::LongLine(3_000_000),
        Fault::HalfLine,
        Fault::answer(200, "{\"State\": tru"),
    ] {
        let world = World::ready().await;
        world
            .tailnet
            .faults()
            .fail_always(POINT_BUS_LINE, fault.clone());
        let mut changes = world.tailscale.changes();
        tokio::time::sleep(Duration::from_secs(1)).await;
        changes.mark_unchanged();
        world.tailnet.rename_host("other");
        in_time(changes.changed()).await.unwrap();
    }
}
