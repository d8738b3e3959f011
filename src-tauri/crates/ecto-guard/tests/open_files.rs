//! A guard whose process may open no more files. Alone in its process, because how many may be open is the process's.

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

use std::fs::File;
use std::time::Duration;

use ecto_guard::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpSocket;

use kept_log::KeptLog;
use stand_in::*;

/// So few that they are soon open.
const FILES: u64 = 256;

/// Opens files until there are no more.
fn open_all() -> Vec<File> {
    let mut open = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => open.push(file),
            Err(_) => return open,
        }
    }
}

#[tokio::test]
async fn a_guard_without_files_says_that_it_is_busy_and_tells_the_log_once() {
    let log = KeptLog::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let limit = Rlimit {
        current: Some(FILES),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut gateway = TinyGateway::ordinary().await;
    let setting = Setting::new(gateway.address, Limits::default()).await;

    // A client whose connection was there before, and for which the gateway would have to be called.
    let mut client = setting.connect().await;
    client.send(request("GET /nowhere", &[], "")).await;
    assert_eq!(client.answer().await.status, 404);
    let all = open_all();
    client.send(request("GET /v1/models", &[], "")).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "too_busy"));
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(gateway.saw_nothing());
    drop(all);
    client.send(request("GET /v1/models", &[], "")).await;
    assert_eq!(client.answer().await.status, 200);
    gateway.next().await;

    for times in 1..=2 {
        let socket = TcpSocket::new_v4().unwrap();
        let all = open_all();
        let late = socket.connect(setting.address).await.unwrap();
        let told = || log.text().matches("no connection can be accepted").count();
        let telling = async {
            while told() < times {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon("a line in the log", telling).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(told(), times);
        drop(all);
        let mut late = Client::on(Ok(late));
        late.send(request("GET /v1/models", &[], "")).await;
        assert_eq!(late.answer().await.status, 200);
    }
}
