//! Thousands of quiet streams at once. Alone in its process, because how many files may be open is the process's.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    reason = "a test that cannot go on fails; the stand-ins are shared with the other tests, which use more of them"
)]

#[path = "guard/stand_in.rs"]
mod stand_in;

use std::time::Duration;

use ecto_guard::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc;

use stand_in::*;

/// As many streams as are held, where so many files may be open.
const STREAMS: usize = 3_000;

/// As many as there have to be.
const FEWEST: usize = 2_000;

/// What a stream has open in this process: a socket at each end of either connection.
const FILES_EACH: usize = 4;

/// What else may be open.
const OTHER_FILES: usize = 200;

/// What every system lets a process have that asks for it, also where it names no limit (macOS).
const ALWAYS_TO_BE_HAD: u64 = 10_240;

/// So many are begun at once: fewer than wait to be taken.
const AT_ONCE: usize = 50;

/// After so long a silence there is a comment.
const SILENCE: Duration = Duration::from_secs(3);

/// How many streams fit into as many files as this process may have open.
fn streams_that_fit() -> usize {
    let wanted = u64::try_from(STREAMS * FILES_EACH + OTHER_FILES).unwrap();
    let before = getrlimit(Resource::Nofile);
    if before.current.is_some_and(|limit| limit < wanted) {
        let maximum = before.maximum;
        let most = maximum.map_or(wanted, |most| most.min(wanted));
        let raise = |limit| {
            let current = Some(limit);
            setrlimit(Resource::Nofile, Rlimit { current, maximum })
        };
        raise(most)
            .or_else(|_| raise(most.min(ALWAYS_TO_BE_HAD)))
            .unwrap();
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    let fit = usize::try_from(files).unwrap().saturating_sub(OTHER_FILES) / FILES_EACH;
    assert!(fit >= FEWEST, "{files} open files are too few");
    fit.min(STREAMS)
}

/// A gateway that tells which stream was begun.
async fn gateway() -> (TinyGateway, mpsc::UnboundedReceiver<(usize, OpenStream)>) {
    let (tell, begun) = mpsc::unbounded_channel();
    let gateway = TinyGateway::start(move |request| {
        let number = request.headers()["x-request-id"].to_str().unwrap().parse();
        let (response, stream) = event_stream();
        let _ = tell.send((number.unwrap(), stream));
        async move { Some(response) }
    });
    (gateway.await, begun)
}

/// Begins so many streams, and tells both ends of each.
async fn begin_all(
    setting: &Setting,
    begun: &mut mpsc::UnboundedReceiver<(usize, OpenStream)>,
    count: usize,
) -> Vec<(Client, OpenStream)> {
    let mut held = Vec::with_capacity(count);
    while held.len() < count {
        let numbers = held.len()..(held.len() + AT_ONCE).min(count);
        let mut clients = Vec::new();
        for number in numbers.clone() {
            let mut client = setting.connect().await;
            // From several addresses, each with fewer than it may have under way.
            let from = format!("X-Forwarded-For: 203.0.113.{}", number / AT_ONCE);
            let own = format!("X-Request-Id: {number}");
            let text = request("POST /v1/responses", &[&from, &own], "{}");
            client.send(text).await;
            clients.push(client);
        }
        let mut streams = Vec::new();
        for _ in numbers {
            streams.push(soon("a stream", begun.recv()).await.unwrap());
        }
        streams.sort_by_key(|(number, _)| *number);
        let streams = streams.into_iter().map(|(_, stream)| stream);
        held.extend(clients.into_iter().zip(streams));
    }
    held
}

/// The next event of a stream, and the comments before it.
async fn next_event(client: &mut Client) -> String {
    client.until("\n\n").await
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_quiet_streams_stay_alive_and_each_has_its_own_events() {
    // A comment comes all the time, so that a lost event would be waited for without end.
    tokio::time::timeout(PATIENCE * 10, hold_thousands())
        .await
        .unwrap();
}

async fn hold_thousands() {
    let count = streams_that_fit();
    let limits = Limits {
        stream_silence: SILENCE,
        ..Limits::default()
    };
    let (gateway, mut begun) = gateway().await;
    let setting = Setting::new(gateway.address, limits).await;
    let mut held = begin_all(&setting, &mut begun, count).await;

    // From here on all of them are held.
    for (number, (client, stream)) in held.iter_mut().enumerate() {
        stream.send(&format!("data: first of {number}\n\n"));
        let own = next_event(client).await;
        assert!(
            own.ends_with(&format!("data: first of {number}\n\n")),
            "{own}"
        );
    }
    for (client, _) in &mut held {
        let quiet = client.until(": keep-alive\n").await;
        assert!(!quiet.contains("data: "), "{quiet}");
    }
    for (number, (_, stream)) in held.iter().enumerate().rev() {
        stream.send(&format!("data: last of {number}\n\n"));
    }
    for (number, (client, _)) in held.iter_mut().enumerate() {
        let own = next_event(client).await;
        assert!(
            own.ends_with(&format!("data: last of {number}\n\n")),
            "{own}"
        );
    }

    let (clients, streams): (Vec<_>, Vec<_>) = held.into_iter().unzip();
    assert!(streams.iter().all(|stream| !stream.0.is_closed()));
    drop(clients);
    for stream in &streams {
        stream.broke_off().await;
    }
    // Their places are free again.
    begin_all(&setting, &mut begun, 1).await;
}
