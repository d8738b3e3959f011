//! How the door is opened, kept, lost and closed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::{Duration, Instant};

use ecto_core::cause::Cause;
use ecto_core::ports::Tailnet as _;
use ecto_core::tailnet::NodeChoice;
use ecto_sandbox::faults::{Fault, Gate};
use ecto_sandbox::tailnet::{Access, POINT_BUS_LINE, Tailnet, TailnetBuilder};
use ecto_tailscale::OperatingSystem;
use serde_json::{Value, json};
use support::{Machine, World, guard, in_time, opening};

fn ready() -> TailnetBuilder {
    Tailnet::builder().signed_in().funnel_allowed()
}

fn web_on(port: u16) -> Value {
    json!({
        "TCP": {port.to_string(): {"HTTPS": true}},
        "Web": {format!("oc-mac.tail1234.ts.net:{port}"): {"Handlers": {"/": {"Text": "somebody's"}}}},
    })
}

fn web_on_all(ports: &[u16]) -> Value {
    let mut all = json!({"TCP": {}, "Web": {}});
    for port in ports {
        let one = web_on(*port);
        for part in ["TCP", "Web"] {
            for (name, value) in one[part].as_object().unwrap() {
                all[part][name] = value.clone();
            }
        }
    }
    all
}

fn sessions(world: &World) -> usize {
    let config = world.tailnet.serve_config();
    config["Foreground"]
        .as_object()
        .map_or(0, |sessions| sessions.len())
}

async fn until(condition: impl Fn() -> bool) {
    in_time(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_door_leads_from_443_to_the_guard_and_closes_without_a_trace() {
    let world = World::ready().await;
    let claim = world.open().await.unwrap();
    assert_eq!(claim.address().origin(), "https://oc-mac.tail1234.ts.net");
    assert_eq!(claim.verify().await, Ok(()));
    assert!(world.tailnet.is_funnel_on());
    let config = world.tailnet.serve_config().to_string();
    assert!(config.contains("http://127.0.0.1:41000"), "{config}");
    let confirmed = world
        .tailscale
        .confirm_closed(NodeChoice::Auto, guard())
        .await;
    assert!(matches!(confirmed, Err(Cause::CouldNotClose { .. })));
    let begun = Instant::now();
    assert_eq!(claim.close().await, Ok(()));
    assert!(
        begun.elapsed() < Duration::from_millis(200),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(world.tailnet.serve_config(), json!({}));
    let confirmed = world
        .tailscale
        .confirm_closed(NodeChoice::Auto, guard())
        .await;
    assert_eq!(confirmed, Ok(()));
}

#[tokio::test]
async fn dropping_the_claim_closes_the_door() {
    let world = World::ready().await;
    let claim = world.open().await.unwrap();
    drop(claim);
    until(|| !world.tailnet.is_funnel_on()).await;
}

#[tokio::test]
async fn a_door_dropped_a_moment_ago_does_not_take_the_port() {
    let world = World::ready().await;
    for _ in 0..5 {
        let claim = world.open().await.unwrap();
        assert_eq!(claim.address().port.number(), 443);
        drop(claim);
    }
}

#[tokio::test]
async fn ports_in_use_are_passed_over_and_left_alone() {
    for (taken, port) in [
        (vec![443], 8443),
        (vec![443, 8443], 10000),
        (vec![8443], 443),
    ] {
        let before = web_on_all(&taken);
        let world = World::start(ready().serve_config(before.clone())).await;
        let claim = world.open().await.unwrap();
        assert_eq!(claim.address().port.number(), port);
        claim.close().await.unwrap();
        assert_eq!(world.tailnet.serve_config(), before);
    }
    let before = web_on_all(&[443, 8443, 10000]);
    let world = World::start(ready().serve_config(before.clone())).await;
    assert!(matches!(world.open().await, Err(Cause::PortsTaken)));
    assert_eq!(world.tailnet.serve_config(), before);
}

#[tokio::test]
async fn only_ports_that_the_tailnet_allows_are_tried() {
    let world = World::start(ready().funnel_ports("8443-9000")).await;
    assert_eq!(world.open().await.unwrap().address().port.number(), 8443);
    let world = World::start(ready().funnel_ports("443").serve_config(web_on(443))).await;
    assert!(matches!(world.open().await, Err(Cause::PortsTaken)));
}

#[tokio::test]
async fn a_port_that_tailscale_says_is_taken_is_passed_over() {
    let world = World::ready().await;
    let taken = json!({"error": "updating config: listener already exists for port 443"});
    let fault = Fault::answer(500, taken.to_string());
    world.tailnet.faults().fail("POST serve-config", 1, fault);
    let claim = world.open().await.unwrap();
    assert_eq!(claim.address().port.number(), 8443);
}

#[tokio::test]
async fn the_door_of_another_program_stays_open() {
    let world = World::ready().await;
    let other = World {
        tailscale: std::sync::Arc::new(world.machine.tailscale()),
        tailnet: Tailnet::builder()
            .start(tempfile::tempdir().unwrap().path())
            .await
            .unwrap(),
        machine: support::Machine::new(),
    };
    let theirs = other.open().await.unwrap();
    let ours = world.open().await.unwrap();
    assert_eq!(theirs.address().port.number(), 443);
    assert_eq!(ours.address().port.number(), 8443);
    ours.close().await.unwrap();
    assert_eq!(theirs.verify().await, Ok(()));
    assert_eq!(sessions(&world), 1);
}

#[tokio::test]
async fn a_change_by_somebody_else_at_the_same_moment_is_kept() {
    let world = World::ready().await;
    let gate = Gate::new();
    let faults = world.tailnet.faults();
    faults.fail("POST serve-config", 1, Fault::Hold(gate.clone()));
    let tailscale = world.tailscale.clone();
    let opening = tokio::spawn(async move { tailscale.open(NodeChoice::Auto, opening()).await });
    in_time(faults.reached("POST serve-config", 1)).await;
    world.tailnet.set_serve_config(web_on(8443)).unwrap();
    gate.open();
    let claim = in_time(opening).await.unwrap().unwrap();
    assert_eq!(claim.address().port.number(), 443);
    assert_eq!(
        world.tailnet.serve_config()["TCP"],
        json!({"8443": {"HTTPS": true}})
    );

    let gate = Gate::new();
    faults.fail("POST serve-config", 1, Fault::Hold(gate.clone()));
    let closing = tokio::spawn(claim.close());
    in_time(faults.reached("POST serve-config", 3)).await;
    world.tailnet.faults().clear("POST serve-config");
    let mut changed = world.tailnet.serve_config();
    changed["TCP"]["10000"] = json!({"TCPForward": "127.0.0.1:5432"});
    world.tailnet.set_serve_config(changed).unwrap();
    gate.open();
    in_time(closing).await.unwrap().unwrap();
    let after = world.tailnet.serve_config();
    assert_eq!(
        after["TCP"]["10000"],
        json!({"TCPForward": "127.0.0.1:5432"})
    );
    assert_eq!(after.get("Foreground"), None);
}

#[tokio::test]
async fn endless_contention_is_given_up() {
    let world = World::ready().await;
    let changed = Fault::answer(412, "etag mismatch");
    world
        .tailnet
        .faults()
        .fail_always("POST serve-config", changed);
    assert!(matches!(
        world.open().await,
        Err(Cause::ServeConfigContended)
    ));
    assert!(!world.tailnet.is_funnel_on());
}

#[tokio::test]
async fn a_refusal_has_its_own_cause() {
    let refused = |fault: Fault| async {
        let world = World::ready().await;
        world
            .tailnet
            .faults()
            .fail_always("POST serve-config", fault);
        let Err(cause) = world.open().await else {
            panic!("it was opened")
        };
        until(|| sessions(&world) == 0).await;
        cause
    };
    let shields =
        r#"{"error":"updating config: Unable to turn on Funnel while shields-up is enabled"}"#;
    assert_eq!(refused(Fault::answer(500, shields)).await, Cause::ShieldsUp);
    let other = refused(Fault::answer(
        500,
        r#"{"error":"updating config: disk full"}"#,
    ))
    .await;
    assert_eq!(
        other,
        Cause::ClaimRefused {
            detail: "updating config: disk full".into()
        }
    );
    let denied = refused(Fault::answer(403, "serve config denied")).await;
    assert!(matches!(denied, Cause::TailscaleDenied { .. }));
    // It says yes and has forgotten it when it is read back.
    assert_eq!(refused(Fault::answer(200, "")).await, Cause::ClaimLost);
    let cut = refused(Fault::Refuse).await;
    assert_eq!(cut, Cause::TailscaleLost);
}

#[tokio::test(start_paused = true)]
async fn a_silent_bus_opens_nothing() {
    let world = World::ready().await;
    let faults = world.tailnet.faults();
    faults.fail_always(POINT_BUS_LINE, Fault::Silence);
    let opened = world.open().await;
    assert!(matches!(opened, Err(Cause::TailscaleUnreachable { .. })));
    assert!(!world.asked().contains(&"POST serve-config".to_owned()));
}

#[tokio::test]
async fn who_may_only_read_opens_nothing() {
    let world = World::start(ready().access(Access::ReadOnly)).await;
    assert!(matches!(
        world.open().await,
        Err(Cause::TailscaleDenied { .. })
    ));
}

#[tokio::test]
async fn shields_that_go_up_at_the_last_moment_are_named() {
    let world = World::ready().await;
    world.tailnet.set_shields_up(true);
    assert!(matches!(world.open().await, Err(Cause::ShieldsUp)));
}

#[tokio::test]
async fn a_loss_says_what_happened() {
    type Act = fn(&Tailnet);
    let acts: [(&str, Act, Cause); 5] = [
        (
            "renamed",
            |tailnet| tailnet.rename_host("other"),
            Cause::HostRenamed,
        ),
        (
            "other tailnet",
            |tailnet| tailnet.change_tailnet("other9.ts.net"),
            Cause::ClaimLost,
        ),
        (
            "off",
            |tailnet| tailnet.set_running_elsewhere(false),
            Cause::TailscaleLost,
        ),
        (
            "signed out",
            Tailnet::log_out_elsewhere,
            Cause::TailscaleLost,
        ),
        (
            "reset",
            |tailnet| tailnet.set_serve_config(json!({})).unwrap(),
            Cause::ClaimLost,
        ),
    ];
    for (name, act, cause) in acts {
        let world = World::ready().await;
        let claim = world.open().await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(150), claim.lost()).await;
        assert!(early.is_err(), "{name}: {early:?}");
        act(&world.tailnet);
        assert_eq!(in_time(claim.lost()).await, cause, "{name}");
        // Asked again it says the same.
        assert_eq!(in_time(claim.lost()).await, cause, "{name}");
        assert_eq!(claim.verify().await, Err(cause), "{name}");
        assert_eq!(claim.close().await, Ok(()), "{name}");
        assert_eq!(sessions(&world), 0, "{name}");
    }
}

#[tokio::test]
async fn a_daemon_that_dies_takes_the_claim_along_and_a_new_one_can_be_made() {
    let world = World::ready().await;
    let claim = world.open().await.unwrap();
    world.tailnet.die().await;
    assert_eq!(in_time(claim.lost()).await, Cause::TailscaleLost);
    assert_eq!(claim.close().await, Ok(()));
    assert!(matches!(world.open().await, Err(Cause::TailscaleLost)));
    world.tailnet.come_back().unwrap();
    assert_eq!(world.open().await.unwrap().address().port.number(), 443);
}

#[tokio::test]
async fn a_daemon_that_dies_at_any_step_of_opening_leaves_nothing_open() {
    for (point, nth) in [
        ("GET watch-ipn-bus", 1),
        ("GET status", 1),
        ("GET status", 2),
        ("GET serve-config", 1),
        ("POST serve-config", 1),
        ("GET serve-config", 2),
    ] {
        let world = World::ready().await;
        // Let the watcher have its own session first.
        until(|| world.tailnet.watchers() == 1).await;
        world
            .tailnet
            .faults()
            .fail(point, nth, Fault::Die { back_after: None });
        let Err(cause) = world.open().await else {
            panic!("{point} {nth}: it was opened")
        };
        assert!(
            matches!(
                cause,
                Cause::TailscaleLost | Cause::TailscaleUnreachable { .. }
            ),
            "{point} {nth}: {cause:?}"
        );
        world.tailnet.come_back().unwrap();
        until(|| !world.tailnet.is_funnel_on()).await;
    }
}

#[tokio::test]
async fn closing_succeeds_by_hanging_up_where_writing_fails() {
    for fault in [
        Fault::answer(500, "no"),
        Fault::answer(412, "etag mismatch"),
        Fault::answer(403, "serve config denied"),
        Fault::Refuse,
        Fault::Silence,
    ] {
        let world = World::ready().await;
        let claim = world.open().await.unwrap();
        world
            .tailnet
            .faults()
            .fail_always("POST serve-config", fault.clone());
        let begun = Instant::now();
        assert_eq!(claim.close().await, Ok(()), "{fault:?}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{fault:?}");
        assert!(!world.tailnet.is_funnel_on());
    }
}

#[tokio::test]
async fn a_closing_that_cannot_be_seen_is_not_called_closed() {
    for fault in [
        Fault::Silence,
        Fault::answer(500, "no"),
        Fault::answer(200, "[]"),
    ] {
        let world = World::ready().await;
        let claim = world.open().await.unwrap();
        world
            .tailnet
            .faults()
            .fail_always("GET serve-config", fault.clone());
        let begun = Instant::now();
        let closed = claim.close().await;
        assert!(
            matches!(closed, Err(Cause::CouldNotClose { .. })),
            "{fault:?}: {closed:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(2), "{fault:?}");
        // The connection was ended all the same.
        until(|| !world.tailnet.is_funnel_on()).await;
    }
}

#[tokio::test]
async fn an_app_that_cannot_be_asked_is_not_called_closed() {
    let mut machine = Machine::new();
    machine.places.system = OperatingSystem::MacOs;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = machine.places.standalone_folder.clone();
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(port.to_string(), folder.join("ipnport")).unwrap();
    // Nobody can read a folder as a file, not even an administrator.
    std::fs::create_dir(folder.join(format!("sameuserproof-{port}"))).unwrap();
    let tailscale = machine.tailscale();
    let confirm = || in_time(tailscale.confirm_closed(NodeChoice::Auto, guard()));
    let confirmed = confirm().await;
    assert!(
        matches!(&confirmed, Err(Cause::CouldNotClose { detail, .. }) if detail.to_string().contains("password")),
        "{confirmed:?}"
    );
    // The app left its link behind and is gone.
    drop(listener);
    assert_eq!(confirm().await, Ok(()));
}

#[tokio::test]
async fn an_app_that_cannot_be_looked_for_is_not_called_closed() {
    let mut machine = Machine::new();
    machine.places.system = OperatingSystem::MacOs;
    let receipt = machine.places.application.join("Contents/_MASReceipt");
    std::fs::create_dir_all(receipt).unwrap();
    let tailscale = machine.tailscale();
    let confirm = || in_time(tailscale.confirm_closed(NodeChoice::Auto, guard()));
    let confirmed = confirm().await;
    assert!(
        matches!(confirmed, Err(Cause::CouldNotClose { .. })),
        "{confirmed:?}"
    );
    machine.program("lsof", "exit 1");
    assert_eq!(confirm().await, Ok(()));
}
