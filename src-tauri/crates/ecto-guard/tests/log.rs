//! What the guard writes into the log. Alone in its process, because what listens to a log is the process's.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "a test that cannot go on fails; the stand-ins are shared with the other tests, which use more of them"
)]

#[path = "guard/kept_log.rs"]
mod kept_log;
#[path = "guard/stand_in.rs"]
mod stand_in;

use ecto_core::ports::Guard as _;
use ecto_guard::Limits;

use kept_log::KeptLog;
use stand_in::*;

#[tokio::test]
async fn the_log_says_of_each_request_that_it_is_one() {
    let log = KeptLog::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .without_time()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;
    let mut activity = setting.guard.activity();
    let mut client = setting.connect().await;
    client.send(&request("GET /v1/models", &[], "")).await;
    client.answer().await;
    soon(
        "a line",
        activity.wait_for(|activity| activity.last.is_some()),
    )
    .await
    .unwrap();
    let text = log.text();
    assert!(
        text.contains("DEBUG ecto_guard::request: request at="),
        "{text}"
    );
}
