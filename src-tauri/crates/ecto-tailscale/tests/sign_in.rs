//! How a person signs in, and what may get in the way.

mod support;

use std::time::Duration;

use ecto_core::cause::Cause;
use ecto_core::step::Waiting;
use ecto_core::tailnet::TailnetView;
use ecto_sandbox::faults::Fault;
use ecto_sandbox::tailnet::{Access, POINT_BUS_LINE, Tailnet};
use serde_json::json;
use support::{World, in_time};

#[tokio::test(start_paused = true)]
async fn a_person_signs_in_at_the_link_and_the_node_runs() {
    let world = World::start(Tailnet::builder()).await;
    let (mut notes, task) = world.sign_in();
    let (waiting, link) = notes.link().await;
    assert!(matches!(waiting, Waiting::SignIn { .. }));
    assert_eq!(Some(link), world.tailnet.sign_in_link());
    assert!(!task.is_finished());
    assert!(world.tailnet.approve_sign_in());
    assert_eq!(in_time(task).await.unwrap(), Ok(()));
    assert!(matches!(world.view().await, TailnetView::Running(_)));
    let asked = world.asked();
    let at = |what: &str| asked.iter().rposition(|asked| asked == what).unwrap();
    assert!(at("POST start") < at("POST login-interactive"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_preferences_held_is_kept_through_a_sign_in() {
    let world = World::start(Tailnet::builder().host_name("oc-mac")).await;
    let before = world.tailnet.prefs();
    let (mut notes, _task) = world.sign_in();
    notes.link().await;
    let mut expected = before;
    expected["WantRunning"] = json!(true);
    expected["LoggedOut"] = json!(false);
    assert_eq!(world.tailnet.prefs(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_only_off_is_switched_on_without_a_link() {
    let world = World::start(Tailnet::builder().stopped()).await;
    let (_notes, task) = world.sign_in();
    assert_eq!(in_time(task).await.unwrap(), Ok(()));
    assert!(world.asked().contains(&"PATCH prefs".to_owned()));
    assert!(!world.asked().contains(&"POST start".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_link_is_found_in_the_status_where_the_bus_hides_it() {
    let world = World::start(Tailnet::builder().sign_in_link_hidden_from_bus()).await;
    let (mut notes, task) = world.sign_in();
    let (_, link) = notes.link().await;
    assert_eq!(Some(link), world.tailnet.sign_in_link());
    world.tailnet.approve_sign_in();
    assert_eq!(in_time(task).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_a_person_already_has_stays_good() {
    let world = World::start(Tailnet::builder()).await;
    let (mut notes, task) = world.sign_in();
    let (_, first) = notes.link().await;
    task.abort();
    let (mut notes, task) = world.sign_in();
    assert_eq!(notes.link().await.1, first);
    world.tailnet.approve_sign_in();
    assert_eq!(in_time(task).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_ran_out_is_replaced() {
    let world = World::start(Tailnet::builder()).await;
    let (mut notes, task) = world.sign_in();
    let (_, first) = notes.link().await;
    world.tailnet.expire_sign_in_link();
    let (_, second) = notes.link().await;
    assert_ne!(first, second);
    world.tailnet.approve_sign_in();
    assert_eq!(in_time(task).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_administrator_approves_the_machine() {
    let world = World::start(Tailnet::builder().machine_approval_required()).await;
    let (mut notes, task) = world.sign_in();
    notes.link().await;
    world.tailnet.approve_sign_in();
    let (waiting, link) = notes.link().await;
    assert!(matches!(waiting, Waiting::Approval { .. }));
    assert_eq!(link, "https://login.tailscale.com/admin/machines");
    world.tailnet.approve_machine();
    assert_eq!(in_time(task).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_ran_out_is_renewed_by_signing_in() {
    let world = World::ready().await;
    world.tailnet.expire_key();
    assert!(matches!(
        world.view().await,
        TailnetView::NeedsSignIn { .. }
    ));
    let (mut notes, task) = world.sign_in();
    notes.link().await;
    world.tailnet.approve_sign_in();
    assert_eq!(in_time(task).await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_dies_at_any_step_is_waited_for() {
    let points = [
        ("GET watch-ipn-bus", 1),
        ("GET prefs", 1),
        ("GET status", 1),
        ("GET status", 2),
        ("GET status", 3),
        ("GET status", 4),
        ("POST start", 1),
        ("POST login-interactive", 1),
        (POINT_BUS_LINE, 2),
        (POINT_BUS_LINE, 3),
        (POINT_BUS_LINE, 5),
    ];
    for (point, nth) in points {
        let builder = Tailnet::builder()
            .starts_within(Duration::from_millis(30))
            .approves_sign_in_after(Duration::from_millis(800));
        let world = World::start(builder).await;
        let (mut notes, task) = world.sign_in();
        let back_after = Some(Duration::from_millis(300));
        // Past what finding the node asks.
        let nth = if point == "GET status" { nth + 1 } else { nth };
        world
            .tailnet
            .faults()
            .fail(point, nth, Fault::Die { back_after });
        notes.link().await;
        let ended = in_time(task).await.unwrap();
        assert_eq!(ended, Ok(()), "{point} {nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stays_away_is_given_up() {
    let world = World::start(Tailnet::builder()).await;
    let (mut notes, task) = world.sign_in();
    notes.link().await;
    world.tailnet.die().await;
    let ended = in_time(task).await.unwrap();
    assert_eq!(ended, Err(Cause::TailscaleLost));
}

#[tokio::test(start_paused = true)]
async fn who_may_only_read_is_told_what_to_type() {
    let world = World::start(Tailnet::builder().access(Access::ReadOnly)).await;
    let (_notes, task) = world.sign_in();
    let denied = Cause::TailscaleDenied {
        command: "sudo tailscale set --operator=$USER".to_owned(),
    };
    assert_eq!(in_time(task).await.unwrap(), Err(denied));
}

#[tokio::test(start_paused = true)]
async fn a_link_to_somewhere_else_is_not_shown() {
    let world = World::start(Tailnet::builder()).await;
    let (mut notes, task) = world.sign_in();
    notes.link().await;
    let message = json!({"BrowseToURL": "https://login.tailscale.com.evil.example/a/1"});
    world.tailnet.notify(message.as_object().unwrap());
    let ended = in_time(task).await.unwrap();
    assert!(
        matches!(ended, Err(Cause::SignInFailed { .. })),
        "{ended:?}"
    );
    while let Some(note) = notes.next().await {
        assert!(!format!("{note:?}").contains("evil"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_tailscale_says_of_a_failure_is_told() {
    let world = World::start(Tailnet::builder()).await;
    world
        .tailnet
        .faults()
        .fail("POST start", 1, Fault::answer(500, "invalid key: no"));
    let (_notes, task) = world.sign_in();
    let failed = Cause::SignInFailed {
        detail: "invalid key: no".into(),
    };
    assert_eq!(in_time(task).await.unwrap(), Err(failed));
}

#[tokio::test(start_paused = true)]
async fn garbage_and_endless_lines_on_the_bus_do_no_harm() {
    for fault in [
        Fault::GarbageLine,
        Fault::LongLine(2_000_000),
        Fault::HalfLine,
        Fault::Delay(Duration::from_secs(3)),
    ] {
        let builder = Tailnet::builder().approves_sign_in_after(Duration::from_millis(500));
        let world = World::start(builder).await;
        for nth in [1, 3, 4] {
            world
                .tailnet
                .faults()
                .fail(POINT_BUS_LINE, nth, fault.clone());
        }
        let (_notes, task) = world.sign_in();
        assert_eq!(in_time(task).await.unwrap(), Ok(()), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_falls_silent_only_makes_it_slower() {
    let builder = Tailnet::builder().approves_sign_in_after(Duration::from_secs(1));
    let world = World::start(builder).await;
    world
        .tailnet
        .faults()
        .fail_always(POINT_BUS_LINE, Fault::Silence);
    let (_notes, task) = world.sign_in();
    assert_eq!(in_time(task).await.unwrap(), Ok(()));
}
