//! The adapter against the stand-in gateway: HTTP, RPC, hot apply, restarts, and everything that may go wrong between them.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use ecto_core::cause::Cause;
use ecto_core::gateway::{GatewayView, ReadyGateway};
use ecto_core::key::Route;
use ecto_core::offer::Offer;
use ecto_core::ports::Gateway as _;
use ecto_core::step::Reporter;
use ecto_openclaw::OpenClaw;
use ecto_sandbox::faults::Fault;
use ecto_sandbox::gateway::{Builder, Gateway, Phase, Timing, VERSION};
use secrecy::ExposeSecret;
use tokio::time::timeout;

mod support;
use support::{Home, MADE};

const TOKEN: &str = "stand-in-token-0123456789abcdef0123456789abcdef";

/// Generous: the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

/// With comments, and neither endpoint on.
const COMMENTED: &str = "// mine\n{\n  gateway: {\n    mode: 'local', port: $PORT, // here\n    auth: { mode: 'token', token: 'stand-in-token-0123456789abcdef0123456789abcdef' },\n  },\n}\n";

/// As OpenClaw's own writer leaves it, and neither endpoint on.
fn canonical() -> String {
    format!(
        "{{\n  \"gateway\": {{\n    \"mode\": \"local\",\n    \"port\": $PORT,\n    \"auth\": {{\n      \"mode\": \"token\",\n      \"token\": \"{TOKEN}\"\n    }}\n  }},\n  \"meta\": {{\n    \"lastTouchedVersion\": \"{VERSION}\",\n    \"migrations\": {{\n      \"modelPolicyAllowlist\": true,\n      \"utilityModelSeparation\": true\n    }}\n  }}\n}}\n"
    )
}

async fn started(builder: Builder) -> (Home, Gateway) {
    let home = Home::new();
    let gateway = builder.start(home.openclaw()).await.unwrap();
    (home, gateway)
}

async fn ready_one() -> (Home, Gateway) {
    started(Gateway::builder()).await
}

async fn ready(adapter: &OpenClaw) -> ReadyGateway {
    let view = adapter.observe().await;
    let GatewayView::Ready(gateway) = view else {
        unreachable!("not ready: {view:?}")
    };
    gateway
}

async fn refused(adapter: &OpenClaw) -> Cause {
    let view = adapter.observe().await;
    let GatewayView::Refused { cause } = view else {
        unreachable!("not refused: {view:?}")
    };
    cause
}

/// Observes at every change until the view is as wanted.
async fn observe_until(adapter: &OpenClaw, wanted: impl Fn(&GatewayView) -> bool) -> GatewayView {
    let mut changes = adapter.changes();
    let look = async {
        loop {
            changes.borrow_and_update();
            let view = adapter.observe().await;
            if wanted(&view) {
                return view;
            }
            changes.changed().await.unwrap();
        }
    };
    timeout(LIMIT, look).await.unwrap()
}

fn offered(route: Route) -> Offer {
    Offer {
        routes: [route].into(),
        ..Offer::default()
    }
}

fn with_hooks() -> Offer {
    offered(Route::Hooks)
}

fn is_ready(view: &GatewayView) -> bool {
    matches!(view, GatewayView::Ready(_))
}

/// Makes the file look as if it had been written long ago.
fn age(home: &Home) {
    let file = File::options().append(true).open(home.config()).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    file.set_modified(long_ago).unwrap();
}

#[tokio::test]
async fn a_ready_gateway_is_seen_as_such_and_costs_no_model_turn() {
    let (home, gateway) = ready_one().await;
    let adapter = home.adapter();
    let first = ready(&adapter).await;
    assert_eq!(first.address.port(), gateway.port());
    assert_eq!(first.version.as_ref().unwrap().as_str(), VERSION);
    assert_eq!(ready(&adapter).await, first);

    let access = adapter.access(&Offer::default()).await.unwrap();
    assert_eq!(access.token.expose_secret(), TOKEN);
    assert_eq!(access.fingerprint, first.fingerprint);
    adapter.refuses_without_token(&access).await.unwrap();
    assert!(
        gateway
            .requests()
            .iter()
            .all(|request| request.method == "GET")
    );
    assert_eq!(
        gateway
            .calls()
            .iter()
            .filter(|call| call.method == "connect")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_file_with_comments_is_edited_and_taken_without_a_restart() {
    let (home, gateway) = started(Gateway::builder().config_json5(COMMENTED)).await;
    let before = fs::read_to_string(home.config()).unwrap();
    let adapter = home.adapter();
    assert!(matches!(
        adapter.observe().await,
        GatewayView::NeedsSetUp { running: true, .. }
    ));
    adapter.set_up(Reporter::silent()).await.unwrap();
    ready(&adapter).await;
    let after = fs::read_to_string(home.config()).unwrap();
    assert!(
        after.starts_with("// mine\n") && after.contains("// here"),
        "{after}"
    );
    assert!(
        !gateway
            .calls()
            .iter()
            .any(|call| call.method == "config.patch")
    );
    assert_eq!(gateway.restarts(), 0);

    adapter.restore(Reporter::silent()).await.unwrap();
    assert_eq!(fs::read_to_string(home.config()).unwrap(), before);
}

#[tokio::test]
async fn a_file_as_openclaw_writes_it_is_changed_by_openclaw_and_comes_back() {
    let (home, gateway) = started(Gateway::builder().config_json5(canonical())).await;
    let before = fs::read_to_string(home.config()).unwrap();
    let adapter = home.adapter();
    adapter.set_up(Reporter::silent()).await.unwrap();
    assert!(
        gateway
            .calls()
            .iter()
            .any(|call| call.method == "config.patch")
    );
    ready(&adapter).await;
    adapter.restore(Reporter::silent()).await.unwrap();
    assert_eq!(fs::read_to_string(home.config()).unwrap(), before);
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_found_to_be_made() {
    let (home, gateway) = started(Gateway::builder().config_json5(canonical())).await;
    gateway
        .faults()
        .fail("rpc config.patch answer", 1, Fault::Refuse);
    let adapter = home.adapter();
    adapter.set_up(Reporter::silent()).await.unwrap();
    ready(&adapter).await;
}

#[tokio::test]
async fn a_refused_change_is_told_and_nothing_is_left_of_it() {
    let (home, gateway) = started(Gateway::builder().config_json5(canonical())).await;
    let before = fs::read_to_string(home.config()).unwrap();
    gateway.faults().fail(
        "rpc config.patch",
        1,
        Fault::answer(400, "invalid config: gateway: no"),
    );
    let result = home.adapter().set_up(Reporter::silent()).await;
    assert_eq!(
        result,
        Err(Cause::ConfigRejected {
            detail: "invalid config: gateway: no".into()
        })
    );
    assert_eq!(fs::read_to_string(home.config()).unwrap(), before);
    assert!(
        home.adapter()
            .restore(Reporter::silent())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_key_that_this_openclaw_does_not_know_is_not_written() {
    let (home, gateway) = started(Gateway::builder().config_json5(COMMENTED)).await;
    let before = fs::read_to_string(home.config()).unwrap();
    gateway.faults().fail(
        "rpc config.schema.lookup",
        2,
        Fault::answer(400, "config schema path not found"),
    );
    let result = home.adapter().set_up(Reporter::silent()).await;
    assert!(
        matches!(result, Err(Cause::ConfigRejected { .. })),
        "{result:?}"
    );
    assert_eq!(fs::read_to_string(home.config()).unwrap(), before);
}

#[tokio::test]
async fn a_gateway_without_a_token_gets_one_and_takes_it() {
    let text = "{ gateway: { mode: 'local', port: $PORT } } // bare\n";
    let (home, gateway) = started(Gateway::builder().config_json5(text)).await;
    let adapter = home.adapter();
    adapter.set_up(Reporter::silent()).await.unwrap();
    let view = observe_until(&adapter, is_ready).await;
    assert!(is_ready(&view));
    assert_eq!(gateway.token().unwrap().expose_secret(), MADE);
    assert_eq!(
        adapter
            .access(&Offer::default())
            .await
            .unwrap()
            .token
            .expose_secret(),
        MADE
    );
}

#[tokio::test]
async fn what_the_gateway_does_wrong_has_a_name_each() {
    let (home, gateway) = ready_one().await;
    let attribution = r#"{"error":{"message":"no","type":"proxy_attribution_required"}}"#;
    let answer = |status, headers: &[(&str, &str)], body: &str| Fault::Answer {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: body.to_owned(),
    };
    let json = ("content-type", "application/json");
    for (fault, expected) in [
        (answer(200, &[], "all yours"), "gateway_open"),
        (
            answer(302, &[("location", "/elsewhere")], ""),
            "gateway_unexpected",
        ),
        (answer(403, &[json], attribution), "gateway_rejects_proxy"),
        (answer(403, &[], "<html>"), "gateway_unexpected"),
        (
            answer(429, &[("retry-after", "300")], ""),
            "gateway_locked_out",
        ),
        (answer(500, &[], ""), "gateway_unexpected"),
        (Fault::Refuse, "gateway_unexpected"),
    ] {
        gateway.faults().fail("GET /v1/models", 1, fault);
        assert_eq!(refused(&home.adapter()).await.code(), expected);
    }
    gateway.faults().fail(
        "GET /v1/models",
        2,
        answer(429, &[("retry-after", "300")], ""),
    );
    let adapter = home.adapter();
    let access = adapter.access(&Offer::default()).await.unwrap();
    assert_eq!(
        adapter.refuses_without_token(&access).await,
        Err(Cause::GatewayLockedOut { seconds: 300 })
    );
}

#[tokio::test]
async fn a_port_that_answers_200_to_everything_is_not_the_gateway() {
    let (home, gateway) = ready_one().await;
    gateway.answer_everything(true);
    assert_eq!(
        refused(&home.adapter()).await,
        Cause::GatewayPortTaken {
            port: gateway.port()
        }
    );
    let result = home.adapter().start(Reporter::silent()).await;
    assert_eq!(
        result,
        Err(Cause::GatewayPortTaken {
            port: gateway.port()
        })
    );
}

/// OpenClaw does everything in one thread, which can be busy for long.
#[tokio::test]
async fn a_gateway_that_does_not_answer_for_a_while_is_waited_for_and_not_taken_for_another_program()
 {
    for point in ["GET /readyz", "GET /v1/models", "GET /v1/responses"] {
        let (home, gateway) = ready_one().await;
        let adapter = home.adapter();
        let before = ready(&adapter).await;
        gateway.faults().fail(point, 1, Fault::Silence);
        let busy = adapter.observe().await;
        assert!(
            matches!(busy, GatewayView::Starting { .. }),
            "{point}: {busy:?}"
        );
        adapter.start(Reporter::silent()).await.unwrap();
        assert_eq!(gateway.restarts(), 0, "{point}");
        assert_eq!(
            ready(&adapter).await.fingerprint,
            before.fingerprint,
            "{point}"
        );
    }
}

#[tokio::test]
async fn a_gateway_on_its_way_down_or_up_is_waited_for() {
    let (home, gateway) = ready_one().await;
    let adapter = home.adapter();
    for (point, fault) in [
        ("GET /readyz", Fault::Refuse),
        ("GET /v1/models", Fault::answer(503, "")),
    ] {
        gateway.faults().fail(point, 1, fault);
        let view = adapter.observe().await;
        assert!(
            matches!(view, GatewayView::Starting { .. }),
            "{point}: {view:?}"
        );
    }
    // It was ready a moment ago, ends a connection without an answer, and is not ready by now.
    gateway.faults().fail("GET /v1/models", 1, Fault::Refuse);
    gateway
        .faults()
        .fail("GET /readyz", 2, Fault::answer(503, ""));
    let view = adapter.observe().await;
    assert!(matches!(view, GatewayView::Starting { .. }), "{view:?}");
    assert!(is_ready(&adapter.observe().await));
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_at_all_on_its_port_is_another_program_after_a_minute() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let home = Home::with_config(canonical().replace("$PORT", &port.to_string()));
    let begun = tokio::time::Instant::now();
    let result = home.adapter().start(Reporter::silent()).await;
    assert_eq!(result, Err(Cause::GatewayPortTaken { port }));
    let took = begun.elapsed().as_secs();
    assert!((60..80).contains(&took), "after {took} s");
}

#[tokio::test]
async fn what_does_not_speak_http_on_its_port_is_another_program_at_once() {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    let home = Home::with_config(canonical().replace("$PORT", &port.to_string()));
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = other.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await;
        }
    });
    let result = home.adapter().start(Reporter::silent()).await;
    assert_eq!(result, Err(Cause::GatewayPortTaken { port }));
}

#[tokio::test]
async fn a_restart_is_asked_for_once_and_voids_the_fingerprint() {
    let (home, gateway) = ready_one().await;
    let adapter = home.adapter();
    let before = ready(&adapter).await;
    adapter.start(Reporter::silent()).await.unwrap();
    assert_eq!(gateway.restarts(), 0, "it was as it is configured");
    adapter.restart(Reporter::silent()).await.unwrap();
    assert_eq!(gateway.restarts(), 1);
    observe_until(&adapter, is_ready).await;
    assert_ne!(ready(&adapter).await.fingerprint, before.fingerprint);
}

/// Being busy is no reason to do nothing where a person asked for a restart, and then to say that it was restarted.
#[tokio::test]
async fn a_gateway_that_is_busy_for_a_moment_is_restarted_where_a_person_asked_for_it() {
    for looks_before in [0, 1] {
        let (home, gateway) = ready_one().await;
        let adapter = home.adapter();
        let before = ready(&adapter).await;
        gateway.faults().fail("GET /readyz", 1, Fault::Silence);
        for _ in 0..looks_before {
            let busy = adapter.observe().await;
            assert!(matches!(busy, GatewayView::Starting { .. }), "{busy:?}");
        }
        adapter.restart(Reporter::silent()).await.unwrap();
        assert_eq!(gateway.restarts(), 1);
        observe_until(&adapter, is_ready).await;
        assert_ne!(ready(&adapter).await.fingerprint, before.fingerprint);
    }
}

/// Asks the gateway something that it does not come to an end with.
async fn keep_busy(gateway: &Gateway) -> tokio::net::TcpStream {
    gateway.stall(LIMIT * 10);
    let body = r#"{"messages":[{"role":"user","content":"Hello"}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut asking = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port()))
        .await
        .unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut asking, request.as_bytes())
        .await
        .unwrap();
    gateway
        .wait_until(|gateway| {
            gateway
                .requests()
                .iter()
                .any(|asked| asked.method == "POST")
        })
        .await;
    asking
}

#[tokio::test]
async fn a_restart_that_is_put_off_is_told_soon_and_comes_by_itself() {
    let (home, gateway) = ready_one().await;
    let adapter = home.adapter();
    let before = ready(&adapter).await;
    let asking = keep_busy(&gateway).await;
    // Asked again, it joins the one that is pending.
    for _ in 0..2 {
        let begun = std::time::Instant::now();
        let result = adapter.restart(Reporter::silent()).await;
        assert_eq!(result, Err(Cause::GatewayRestartDeferred));
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(ready(&adapter).await.fingerprint, before.fingerprint);
    }
    assert_eq!(gateway.restarts(), 0);
    drop(asking);
    gateway.wait_until(|gateway| gateway.restarts() == 1).await;
    observe_until(&adapter, is_ready).await;
    assert_ne!(ready(&adapter).await.fingerprint, before.fingerprint);
}

/// A single 503 is no proof of another process.
#[tokio::test]
async fn a_restart_that_is_put_off_is_not_told_as_done_for_a_moment_in_which_it_is_not_ready() {
    let (home, gateway) = ready_one().await;
    let adapter = home.adapter();
    let before = ready(&adapter).await;
    let _asking = keep_busy(&gateway).await;
    // The first look is before it is asked, the others are after that.
    for look in [2, 4] {
        gateway
            .faults()
            .fail("GET /readyz", look, Fault::answer(503, ""));
    }
    let result = adapter.restart(Reporter::silent()).await;
    assert_eq!(result, Err(Cause::GatewayRestartDeferred));
    assert_eq!(gateway.restarts(), 0);
    assert_eq!(ready(&adapter).await.fingerprint, before.fingerprint);
}

/// It is restarted by what runs it, since nobody can ask it any more.
#[tokio::test]
async fn a_gateway_that_hangs_is_restarted_where_a_person_asked_for_it() {
    let (home, gateway) = ready_one().await;
    gateway.write_command(home.programs()).unwrap();
    let mut options = home.options();
    options.busy_limit = Duration::ZERO;
    let adapter = OpenClaw::new(options);
    let before = ready(&adapter).await;
    gateway.faults().fail_always("GET /readyz", Fault::Silence);
    let asked = gateway.calls().len();
    let (restarted, ()) = tokio::join!(adapter.restart(Reporter::silent()), async {
        gateway.wait_until(|gateway| gateway.restarts() == 1).await;
        gateway.faults().clear("GET /readyz");
    });
    restarted.unwrap();
    let calls = gateway.calls();
    assert!(calls.len() == asked, "it was asked: {calls:?}");
    observe_until(&adapter, is_ready).await;
    assert_ne!(ready(&adapter).await.fingerprint, before.fingerprint);
}

#[tokio::test]
async fn a_gateway_that_hangs_and_cannot_be_restarted_is_not_said_to_be() {
    let (home, gateway) = ready_one().await;
    gateway.faults().fail_always("GET /readyz", Fault::Silence);
    let mut options = home.options();
    options.busy_limit = Duration::ZERO;
    let result = OpenClaw::new(options).restart(Reporter::silent()).await;
    let Err(Cause::GatewayNotStarted { detail, .. }) = result else {
        unreachable!("{result:?}")
    };
    assert!(detail.as_str().contains("restart it"), "{detail}");
    assert_eq!(gateway.restarts(), 0);
}

#[tokio::test]
async fn a_gateway_that_was_ready_and_falls_silent_is_said_not_to_answer() {
    let (home, gateway) = ready_one().await;
    let adapter = home.adapter();
    ready(&adapter).await;
    gateway.faults().fail_always("GET /readyz", Fault::Silence);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let result = adapter.start(Reporter::silent()).await;
    assert_eq!(result, Err(Cause::GatewayNotAnswering));
    let took = begun.elapsed().as_secs();
    assert!((60..80).contains(&took), "after {took} s");
}

#[tokio::test]
async fn what_says_nothing_on_the_port_after_a_restart_is_not_taken_for_the_gateway() {
    let (home, gateway) = ready_one().await;
    let adapter = home.adapter();
    ready(&adapter).await;
    gateway.set_timing(Timing {
        down: Duration::from_secs(5),
        ..Timing::short()
    });
    tokio::time::pause();
    let (restarted, ()) = tokio::join!(adapter.restart(Reporter::silent()), async {
        gateway
            .wait_until(|gateway| gateway.phase() == Phase::Down)
            .await;
        gateway.faults().fail_always("GET /readyz", Fault::Silence);
    });
    let port = gateway.port();
    assert_eq!(restarted, Err(Cause::GatewayPortTaken { port }));
}

#[tokio::test]
async fn a_gateway_that_comes_up_and_says_nothing_for_more_than_a_minute_is_waited_for() {
    let (home, gateway) = ready_one().await;
    let adapter = home.adapter();
    ready(&adapter).await;
    gateway
        .faults()
        .fail("GET /readyz", 1, Fault::answer(503, ""));
    // Each is given five seconds.
    for look in 2..=16 {
        gateway.faults().fail("GET /readyz", look, Fault::Silence);
    }
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    adapter.start(Reporter::silent()).await.unwrap();
    let took = begun.elapsed().as_secs();
    assert!((70..90).contains(&took), "after {took} s");
}

#[tokio::test]
async fn a_gateway_that_goes_away_and_comes_back_is_noticed() {
    let (home, gateway) = ready_one().await;
    let adapter = home.adapter();
    let mut changes = adapter.changes();
    ready(&adapter).await;
    changes.borrow_and_update();
    gateway.kill(None).await;
    timeout(LIMIT, changes.changed()).await.unwrap().unwrap();
    assert!(matches!(
        adapter.observe().await,
        GatewayView::NotRunning { .. }
    ));
    gateway.start_again().await.unwrap();
    observe_until(&adapter, is_ready).await;
}

#[tokio::test]
async fn openclaws_own_off_switch_is_noticed() {
    let (home, _gateway) = ready_one().await;
    let adapter = home.adapter();
    let mut changes = adapter.changes();
    ready(&adapter).await;
    changes.borrow_and_update();
    let text = fs::read_to_string(home.config()).unwrap();
    let without = text.replace("auth: {", "controlUi: {}, //");
    let new = home.openclaw().join("new");
    fs::write(&new, &without).unwrap();
    fs::rename(&new, home.config()).unwrap();
    timeout(Duration::from_secs(5), changes.changed())
        .await
        .unwrap()
        .unwrap();
    let GatewayView::NeedsSetUp { keys, .. } = adapter.observe().await else {
        panic!("not noticed")
    };
    assert_eq!(keys, ["gateway.auth.mode", "gateway.auth.token"]);
}

#[tokio::test]
async fn a_token_that_the_process_does_not_take_yet_is_presented_once() {
    let text = COMMENTED.replace(
        "mode: 'local',",
        "mode: 'local', reload: { mode: 'off' }, http: { endpoints: { chatCompletions: { enabled: true }, responses: { enabled: true } } },",
    );
    let (home, gateway) = started(Gateway::builder().config_json5(text)).await;
    let text = fs::read_to_string(home.config()).unwrap();
    fs::write(
        home.config(),
        text.replace(TOKEN, "another-token-0123456789abcdef"),
    )
    .unwrap();
    age(&home);
    let adapter = home.adapter();
    for _ in 0..5 {
        assert!(matches!(
            adapter.observe().await,
            GatewayView::NeedsRestart { .. }
        ));
    }
    assert_eq!(
        gateway
            .calls()
            .iter()
            .filter(|call| call.method == "connect")
            .count(),
        1
    );

    gateway.write_command(home.programs()).unwrap();
    adapter.start(Reporter::silent()).await.unwrap();
    observe_until(&adapter, is_ready).await;
}

#[tokio::test]
async fn a_restart_that_does_not_help_is_not_tried_for_ever() {
    let (home, gateway) = ready_one().await;
    gateway.write_command(home.programs()).unwrap();
    age(&home);
    gateway.faults().fail_always(
        "rpc connect",
        Fault::answer(400, "unauthorized: gateway token mismatch"),
    );
    let adapter = home.adapter();
    let view = adapter.observe().await;
    assert!(matches!(view, GatewayView::NeedsRestart { .. }), "{view:?}");
    adapter.start(Reporter::silent()).await.unwrap();
    assert_eq!(refused(&adapter).await, Cause::GatewayTokenRefused);
    assert_eq!(gateway.restarts(), 1);
}

#[tokio::test]
async fn an_endpoint_that_is_configured_and_absent_needs_a_restart() {
    let (home, gateway) = ready_one().await;
    age(&home);
    gateway
        .faults()
        .fail("GET /v1/responses", 1, Fault::answer(404, ""));
    let view = home.adapter().observe().await;
    assert!(matches!(view, GatewayView::NeedsRestart { .. }), "{view:?}");
}

#[tokio::test]
async fn a_gateway_with_a_service_is_started_by_it() {
    let home = Home::new();
    let gateway = Gateway::builder()
        .service(true)
        .prepare(home.openclaw())
        .unwrap();
    gateway.write_command(home.programs()).unwrap();
    let adapter = home.adapter();
    assert!(matches!(
        adapter.observe().await,
        GatewayView::NotRunning { .. }
    ));
    adapter.start(Reporter::silent()).await.unwrap();
    ready(&adapter).await;
}

#[tokio::test]
async fn a_gateway_without_a_service_says_how_it_is_started() {
    let home = Home::new();
    let gateway = Gateway::builder().prepare(home.openclaw()).unwrap();
    for with_command in [false, true] {
        if with_command {
            gateway.write_command(home.programs()).unwrap();
        }
        let Err(Cause::GatewayNotStarted { detail, .. }) =
            home.adapter().start(Reporter::silent()).await
        else {
            panic!("it was started")
        };
        assert!(detail.as_str().contains("openclaw gateway run"), "{detail}");
    }
}

#[tokio::test]
async fn a_gateway_that_refuses_to_start_is_given_up() {
    let home = Home::new();
    let gateway = Gateway::builder()
        .service(true)
        .prepare(home.openclaw())
        .unwrap();
    gateway.write_command(home.programs()).unwrap();
    gateway
        .faults()
        .fail_always("start", Fault::answer(78, "refused"));
    let mut options = home.options();
    options.ready_limit = Duration::from_secs(1);
    let result = OpenClaw::new(options).start(Reporter::silent()).await;
    assert!(
        matches!(result, Err(Cause::GatewayNotStarted { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_gateway_whose_rpc_is_of_another_kind_is_asked_over_http() {
    let (home, gateway) = ready_one().await;
    gateway
        .faults()
        .fail_always("rpc connect", Fault::answer(400, "protocol mismatch"));
    let adapter = home.adapter();
    let gateway_seen = ready(&adapter).await;
    assert_eq!(gateway_seen.version, None);
    assert_eq!(ready(&adapter).await.fingerprint, gateway_seen.fingerprint);
}

#[tokio::test]
async fn hooks_that_are_enabled_while_it_runs_are_seen_as_something_else_to_prove() {
    let (home, _gateway) = ready_one().await;
    let adapter = home.adapter();
    let before = adapter.access(&with_hooks()).await.unwrap();
    assert!(before.hooks.is_none());
    let text = fs::read_to_string(home.config()).unwrap();
    let enable = |hooks: &str| {
        let text = text.replacen('{', &format!("{{ hooks: {{ {hooks} }},"), 1);
        fs::write(home.config(), text).unwrap();
    };
    enable("enabled: true, token: 'of-the-hooks-0123456789abcdef'");
    let enabled = adapter.access(&with_hooks()).await.unwrap();
    let hooks = enabled.hooks.unwrap();
    assert_eq!(hooks.path, "/hooks");
    assert_eq!(hooks.token.expose_secret(), "of-the-hooks-0123456789abcdef");
    assert_ne!(enabled.fingerprint, before.fingerprint);
    enable("enabled: true, token: 'of-the-hooks-0123456789abcdef', path: '/events'");
    let moved = adapter.access(&with_hooks()).await.unwrap();
    assert_eq!(moved.hooks.unwrap().path, "/events");
    assert_ne!(moved.fingerprint, enabled.fingerprint);
}

/// Nobody's program is run for a token that nobody needs.
#[cfg(unix)]
#[tokio::test]
async fn the_hooks_own_token_is_asked_for_only_where_they_are_offered() {
    use std::os::unix::fs::PermissionsExt as _;
    let (home, _gateway) = ready_one().await;
    let (program, runs) = (home.path().join("vault"), home.path().join("runs"));
    let answer = r#"{"protocolVersion":1,"values":{"hooks":"of-the-hooks-0123456789abcdef"}}"#;
    let script = format!(
        "#!/bin/sh\necho run >> '{}'\ncat >/dev/null\necho '{answer}'\n",
        runs.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let text = fs::read_to_string(home.config()).unwrap();
    let with = format!(
        "{{ hooks: {{ enabled: true, token: {{ source: 'exec', provider: 'vault', id: 'hooks' }} }}, \
         secrets: {{ providers: {{ vault: {{ source: 'exec', command: '{}' }} }} }},",
        program.display()
    );
    fs::write(home.config(), text.replacen('{', &with, 1)).unwrap();
    let adapter = home.adapter();
    for offer in [Offer::default(), offered(Route::Embeddings)] {
        let access = adapter.access(&offer).await.unwrap();
        assert!(access.hooks.is_none() && ready(&adapter).await.hooks);
    }
    assert!(!runs.exists(), "it was asked for although nobody needs it");
    let access = adapter.access(&with_hooks()).await.unwrap();
    let hooks = access.hooks.unwrap();
    assert_eq!(hooks.token.expose_secret(), "of-the-hooks-0123456789abcdef");
    assert_eq!(fs::read_to_string(runs).unwrap(), "run\n");
}

#[tokio::test]
async fn a_gateway_that_is_starting_is_waited_for() {
    let home = Home::new();
    let gateway = Gateway::builder().prepare(home.openclaw()).unwrap();
    gateway
        .faults()
        .fail("GET /readyz", 1, Fault::answer(503, ""));
    gateway.start_again().await.unwrap();
    let adapter = home.adapter();
    assert!(matches!(
        adapter.observe().await,
        GatewayView::Starting { .. }
    ));
    adapter.start(Reporter::silent()).await.unwrap();
    assert_eq!(gateway.restarts(), 0, "{:?}", gateway.log());
    observe_until(&adapter, is_ready).await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_launch_agent_is_started_and_restarted_by_launchctl() {
    use std::os::unix::fs::PermissionsExt;

    let home = Home::new();
    let gateway = Gateway::builder().prepare(home.openclaw()).unwrap();
    let agents = home.path().join("agents");
    fs::create_dir_all(&agents).unwrap();
    fs::write(
        agents.join("ai.openclaw.gateway.plist"),
        "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>ProgramArguments</key><array><string>/gone/openclaw</string><string>gateway</string></array></dict></plist>",
    )
    .unwrap();
    let said = home.path().join("said");
    let launchctl = home.path().join("launchctl");
    // Not loaded yet: kickstart fails once, and bootstrap is what starts it.
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> '{said}'\n[ \"$1\" = bootstrap ] || [ -e '{said}.loaded' ]\n",
        said = said.display()
    );
    fs::write(&launchctl, script).unwrap();
    fs::set_permissions(&launchctl, fs::Permissions::from_mode(0o700)).unwrap();
    let mut options = home.options();
    options.environment.launch_agents = Some(agents.clone());
    options.launchctl = launchctl;
    let adapter = OpenClaw::new(options.clone());

    let (started, came_up) = tokio::join!(adapter.start(Reporter::silent()), async {
        while !said.exists() || !fs::read_to_string(&said).unwrap().contains("bootstrap") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gateway.start_again().await
    });
    came_up.unwrap();
    started.unwrap();
    ready(&adapter).await;

    // The RPC is the first choice; where it fails, the job is restarted.
    fs::write(said.with_extension("loaded"), "").unwrap();
    gateway
        .faults()
        .fail_always("rpc gateway.restart.request", Fault::answer(500, "no"));
    let before = gateway.restarts();
    let restarted = |adapter: OpenClaw, times: usize| {
        let (gateway, said) = (&gateway, &said);
        async move {
            let (restarted, ()) = tokio::join!(adapter.restart(Reporter::silent()), async {
                while fs::read_to_string(said).unwrap().matches("-k").count() < times {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                gateway.faults().clear("GET /readyz");
                gateway.restart();
            });
            restarted.unwrap();
        }
    };
    restarted(adapter, 1).await;
    assert_eq!(gateway.restarts(), before + 1);

    // Where it hangs, nothing else is tried.
    gateway.faults().fail_always("GET /readyz", Fault::Silence);
    let asked = gateway.calls().len();
    options.busy_limit = Duration::ZERO;
    restarted(OpenClaw::new(options), 2).await;
    assert_eq!(gateway.restarts(), before + 2);
    assert_eq!(gateway.calls().len(), asked);

    let user = rustix::process::getuid().as_raw();
    let agent = agents.join("ai.openclaw.gateway.plist");
    assert_eq!(
        fs::read_to_string(&said).unwrap(),
        format!(
            "kickstart gui/{user}/ai.openclaw.gateway\nbootstrap gui/{user} {}\n{restart}{restart}",
            agent.display(),
            restart = format_args!("kickstart -k gui/{user}/ai.openclaw.gateway\n"),
        )
    );
}
