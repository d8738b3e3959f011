//! `ecto connect`.

use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::cause::Remedy;
use ecto_core::exposure::{Exposure, Reach};
use ecto_core::ports::VaultPlace;
use ecto_core::settings::Settings;
use ecto_core::step::Waiting;
use ecto_core::tailnet::NodeChoice;
use ecto_core::wanted::NewDeadline;
use ecto_host::client::Client;
use ecto_host::control::Desk;
use ecto_host::lock::HostLock;
use ecto_host::report::Report;
use ecto_host::request::Request;
use ecto_host::world::WorldChoice;
use ecto_platform::vault::VaultChoice;
use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::{SignalKind, signal};

use super::status;
use super::token::reveal_key;
use crate::arguments::{Connect, OpenFor};
use crate::client_example;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::logging;
use crate::progress::{self, Progress};
use crate::session::{Session, Turn};
use crate::terminal::STRONG;

/// How long a host that was started in the background may take to answer.
const HOST_START: Duration = Duration::from_secs(15);

/// How long the result of the check from outside is waited for, once it is Public.
const FIRST_CHECK: Duration = Duration::from_secs(20);

/// Opens the door and prints the address, the key and an example.
pub async fn run(connect: Connect, session: &Session) -> Result<Exit, Failure> {
    if connect.detach {
        return detach(&connect, session).await;
    }
    match session.take_turn().await? {
        Turn::Ours(lock) => be_host(lock, &connect, session).await,
        Turn::Theirs(client) => {
            tell_of_metrics(&connect, session).await;
            ask_host(&connect, client).await?;
            follow_host(&connect, session).await
        }
    }
}

/// A host that runs already has metrics or does not: that is decided when it starts.
async fn tell_of_metrics(connect: &Connect, session: &Session) {
    if !connect.metrics {
        return;
    }
    // A host that does not answer says so by what else it is asked.
    if let Some(client) = session.client().await
        && client.has_metrics().await.is_ok_and(|has_them| !has_them)
    {
        session.terminal.tell(
            "Ecto runs already, without metrics. End it first (`ecto disconnect`), then connect with --metrics. An Ecto in the menu bar has them where its settings.json says \"metrics\": true.",
        );
    }
}

/// Has the host in the background do it, and starts one where there is none.
async fn detach(connect: &Connect, session: &Session) -> Result<Exit, Failure> {
    match session.take_turn().await? {
        Turn::Ours(lock) => drop(lock),
        Turn::Theirs(client) => {
            tell_of_metrics(connect, session).await;
            ask_host(connect, client).await?;
            return follow_host(connect, session).await;
        }
    }
    let client = start_in_background(connect.metrics, session).await?;
    if let Err(failure) = ask_host(connect, client).await {
        // A host that nobody needs does not stay.
        if let Some(mut client) = session.client().await {
            let _ = client.ask(&Request::Quit).await;
        }
        return Err(failure);
    }
    follow_host(connect, session).await
}

fn deadline(connect: &Connect) -> NewDeadline {
    match connect.open_for {
        None => NewDeadline::AsBefore,
        Some(OpenFor::Unlimited) => NewDeadline::Unlimited,
        Some(OpenFor::Time(time)) => {
            let until = Timestamp::now().checked_add(time);
            NewDeadline::At(until.unwrap_or(Timestamp::MAX))
        }
    }
}

/// What is asked before and with the wish itself, in order.
fn requests(connect: &Connect) -> Vec<Request> {
    let mut requests = Vec::new();
    if connect.regenerate_token {
        requests.push(Request::RegenerateKey);
    }
    if connect.restart {
        requests.push(Request::RestartGateway);
    }
    requests.push(Request::Connect {
        until: deadline(connect),
        node: connect.node.map(NodeChoice::from),
    });
    requests
}

/// Asks the running host for all of it.
async fn ask_host(connect: &Connect, mut client: Client) -> Result<(), Failure> {
    for request in requests(connect) {
        client.ask(&request).await?.settle()?;
    }
    Ok(())
}

/// Follows the running host until it is Public or needs a person.
async fn follow_host(connect: &Connect, session: &Session) -> Result<Exit, Failure> {
    let client = session
        .client()
        .await
        .ok_or(Failure::from(ecto_host::client::ClientFault::NoHost))?;
    let mut reports = client.watch().await?;
    let mut progress = Progress::default();
    let mut printed_at = None;
    let mut closes = None;
    let mut compared = false;
    loop {
        let patience = match printed_at {
            Some(printed) => {
                FIRST_CHECK.saturating_sub(tokio::time::Instant::now().duration_since(printed))
            }
            None => Duration::from_secs(24 * 60 * 60),
        };
        let report = tokio::select! {
            report = reports.next() => report?.ok_or(ecto_host::client::ClientFault::Ended)?,
            () = tokio::time::sleep(patience) => {
                tell_of_going_on(session, closes);
                return Ok(Exit::Done);
            }
            _ = tokio::signal::ctrl_c() => {
                progress.clear_interrupt(session.terminal);
                tell_of_going_on(session, None);
                return Ok(Exit::Interrupted);
            }
        };
        if !std::mem::replace(&mut compared, true) {
            compare_vault(session, &report);
        }
        progress.tell(session.terminal, &report);
        match &report.snapshot.exposure {
            Exposure::Public { reach, until, .. } => {
                closes = *until;
                if printed_at.is_none() {
                    progress.clear(session.terminal);
                    let key = reveal_key(session).await?;
                    print_result(session, connect, &report, &key)
                        .map_err(|failure| failure.or_unprinted("The door is open.", CLOSE_IT))?;
                    printed_at = Some(tokio::time::Instant::now());
                }
                if session.terminal.is_json() {
                    return Ok(Exit::Done);
                }
                if *reach != Reach::Unchecked {
                    session.terminal.tell(&progress::reach(reach));
                    tell_of_going_on(session, closes);
                    return Ok(Exit::Done);
                }
            }
            Exposure::Blocked { cause, .. }
                if cause.remedy() == Remedy::Ask || session.terminal.is_json() =>
            {
                progress.clear(session.terminal);
                return Err(cause.clone().into());
            }
            Exposure::Preparing {
                waiting: Some(waiting),
                ..
            } if session.terminal.is_json() && needs_person(waiting) => {
                let printed = session.terminal.print_json(&report);
                printed.map_err(|failure| {
                    failure.or_unprinted("Ecto waits for you, and goes on by itself.", CLOSE_IT)
                })?;
                return Ok(Exit::NeedsPerson);
            }
            Exposure::Private if !report.snapshot.wanted.is_public() => {
                progress.clear(session.terminal);
                let message = report.notice_message.as_ref().unwrap_or(&report.message);
                session.terminal.tell(&message.to_string());
                return Ok(Exit::Done);
            }
            Exposure::Private
            | Exposure::Preparing { .. }
            | Exposure::Closing
            | Exposure::Blocked { .. } => {}
        }
    }
}

/// What there is to do where the result did not reach anybody.
const CLOSE_IT: &str =
    "Close the door with `ecto disconnect`, or see how it is with `ecto status`.";

/// Says what there is to know of a door that stays open without this command.
fn tell_of_going_on(session: &Session, closes: Option<Timestamp>) {
    if let Some(until) = closes {
        session.terminal.tell(&status::closing(until));
    }
    session
        .terminal
        .tell("Ecto goes on in the background; `ecto disconnect` closes the door.");
}

/// Says so where the running host keeps its secrets elsewhere than was asked for.
fn compare_vault(session: &Session, report: &Report) {
    let is_file = matches!(report.snapshot.vault, VaultPlace::File { .. });
    if session.vault == VaultChoice::File && !is_file {
        session
            .terminal
            .tell("The Ecto that runs keeps its key elsewhere; --vault file counts from its next start on.");
    }
}

fn needs_person(waiting: &Waiting) -> bool {
    match waiting {
        Waiting::SignIn { .. }
        | Waiting::Approval { .. }
        | Waiting::FunnelPermission { .. }
        | Waiting::AdministratorPrompt => true,
        Waiting::Tailscale | Waiting::Gateway => false,
    }
}

/// Starts a host in the background and returns the way to it.
async fn start_in_background(metrics: bool, session: &Session) -> Result<Client, Failure> {
    let not_started = |detail: String| {
        Failure::own(
            "host_not_started",
            format!("Ecto could not be started in the background: {detail}."),
            "Look at `ecto logs`, or connect without --detach.",
        )
    };
    let program = std::env::current_exe().map_err(|fault| not_started(fault.to_string()))?;
    let mut command = std::process::Command::new(program);
    command.arg("serve").arg("--until-private");
    if metrics {
        command.arg("--metrics");
    }
    match &session.world {
        WorldChoice::Real => {}
        WorldChoice::Lab(places) => {
            command.arg("--lab").arg(&places.file);
        }
        WorldChoice::Sandbox => {
            command.arg("--sandbox");
        }
    }
    if session.vault == VaultChoice::File {
        command.arg("--vault").arg("file");
    }
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut host = command
        .spawn()
        .map_err(|fault| not_started(fault.to_string()))?;
    let end = tokio::time::Instant::now() + HOST_START;
    while tokio::time::Instant::now() < end {
        if let Some(client) = session.client().await {
            return Ok(client);
        }
        if let Ok(Some(status)) = host.try_wait() {
            return Err(not_started(format!("it ended at once ({status})")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(not_started("it does not answer".to_owned()))
}

/// Is the host, in the foreground, until it is interrupted or the door is closed.
async fn be_host(lock: HostLock, connect: &Connect, session: &Session) -> Result<Exit, Failure> {
    let _log = logging::start(session.folders.logs());
    let mut terminate = signal(SignalKind::terminate()).ok();
    let own = session
        .start_host(
            lock,
            Settings {
                follow_wanted: false,
                ..Settings::default()
            },
            connect.metrics,
        )
        .await?;
    let desk = own.host.desk().clone();
    let mut watcher = Foreground {
        connect,
        session,
        progress: Progress::default(),
        key: None,
        told_reach: None,
    };
    let outcome = tokio::select! {
        outcome = watcher.pursue(&desk) => outcome,
        _ = tokio::signal::ctrl_c() => Ok(Ended::Interrupted),
        () = terminated(&mut terminate) => Ok(Ended::Terminated),
        () = own.host.wait() => Ok(Ended::Elsewhere),
    };
    if matches!(outcome, Ok(Ended::Interrupted)) {
        watcher.progress.clear_interrupt(session.terminal);
    }
    watcher.progress.clear(session.terminal);
    let was_public = watcher.key.is_some();
    let closed = match &outcome {
        Ok(Ended::Interrupted) | Err(_) => close(&desk).await,
        Ok(Ended::Terminated | Ended::Elsewhere) => Ok(()),
        Ok(Ended::Private) => {
            let signalled = async {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    () = terminated(&mut terminate) => {}
                }
            };
            own.host.finish_errands(signalled).await;
            Ok(())
        }
    };
    let ended = own.host.end().await;
    // A door that may be open is told before whatever else went wrong.
    if let Err(failure) = &closed
        && failure.exit() != Exit::Danger
    {
        outcome.as_ref().map_err(Clone::clone)?;
    }
    closed?;
    let outcome = outcome?;
    ended?;
    if session.terminal.is_json() {
        session.terminal.print_json(&desk.report())?;
    }
    session
        .terminal
        .tell("Private: the door is closed, and nothing is reachable from the internet.");
    Ok(match outcome {
        Ended::Interrupted if !was_public => Exit::Interrupted,
        Ended::Interrupted | Ended::Terminated | Ended::Elsewhere | Ended::Private => Exit::Done,
    })
}

async fn close(desk: &Desk) -> Result<(), Failure> {
    desk.answer(Request::DISCONNECT).await.settle()?;
    Ok(())
}

async fn terminated(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

enum Ended {
    Interrupted,
    Terminated,
    /// Somebody asked the host to end.
    Elsewhere,
    /// The deadline passed, or somebody asked for Private.
    Private,
}

struct Foreground<'session> {
    connect: &'session Connect,
    session: &'session Session,
    progress: Progress,
    /// Known once it is Public.
    key: Option<SecretString>,
    told_reach: Option<String>,
}

impl Foreground<'_> {
    async fn pursue(&mut self, desk: &Desk) -> Result<Ended, Failure> {
        let mut snapshots = desk.engine.snapshots();
        for request in requests(self.connect) {
            desk.answer(request).await.settle()?;
        }
        loop {
            snapshots.borrow_and_update();
            let report = desk.report();
            self.progress.tell(self.session.terminal, &report);
            let ended = self.take(desk, &report).await?;
            if ended.is_none() && self.session.terminal.is_json() {
                let document = document(self.connect, &report, self.key.as_ref());
                self.session.terminal.print_json(&document)?;
            }
            if let Some(ended) = ended {
                return Ok(ended);
            }
            if snapshots.changed().await.is_err() {
                return Ok(Ended::Elsewhere);
            }
        }
    }

    async fn take(&mut self, desk: &Desk, report: &Report) -> Result<Option<Ended>, Failure> {
        let terminal = self.session.terminal;
        match &report.snapshot.exposure {
            Exposure::Public {
                reach, held, until, ..
            } => {
                if self.key.is_none() {
                    self.progress.clear(terminal);
                    let key = desk.answer(Request::RevealKey).await.into_key()?;
                    if !terminal.is_json() {
                        print_result(self.session, self.connect, report, &key)?;
                    }
                    self.key = Some(key);
                    if let Some(until) = until {
                        terminal.tell(&status::closing(*until));
                    }
                    terminal.tell("Press Ctrl-C to close the door.");
                }
                let line = match (held, reach) {
                    (Some(_), _) => Some(report.message.to_string()),
                    (None, Reach::Unchecked) => None,
                    (None, reach) => Some(progress::reach(reach)),
                };
                if let Some(line) = line
                    && self.told_reach.as_ref() != Some(&line)
                {
                    terminal.tell(&line);
                    self.told_reach = Some(line);
                }
                Ok(None)
            }
            Exposure::Blocked { cause, .. } if cause.remedy() == Remedy::Ask => {
                Err(cause.clone().into())
            }
            Exposure::Private if !report.snapshot.wanted.is_public() => {
                if let Some(notice) = &report.notice_message {
                    terminal.tell(&notice.to_string());
                }
                Ok(Some(Ended::Private))
            }
            Exposure::Private
            | Exposure::Preparing { .. }
            | Exposure::Closing
            | Exposure::Blocked { .. } => Ok(None),
        }
    }
}

/// The report as `ecto connect --json` prints it: with the curl and, where it was asked for, the key.
fn document(connect: &Connect, report: &Report, key: Option<&SecretString>) -> serde_json::Value {
    let mut document = serde_json::to_value(report).unwrap_or_default();
    let (Some(fields), Some(url)) = (document.as_object_mut(), &report.url) else {
        return document;
    };
    let secret = key
        .filter(|_| connect.reveal)
        .map(|key| key.expose_secret());
    let curl = client_example::curl(report, url, secret);
    fields.insert("curl".to_owned(), curl.into());
    if let Some(secret) = secret {
        fields.insert("key_secret".to_owned(), secret.into());
    }
    document
}

fn print_result(
    session: &Session,
    connect: &Connect,
    report: &Report,
    key: &SecretString,
) -> Result<(), Failure> {
    let terminal = session.terminal;
    let Some(url) = &report.url else {
        return Ok(());
    };
    if terminal.is_json() {
        terminal.print_json(&document(connect, report, Some(key)))?;
        return Ok(());
    }
    let shown = connect.reveal || terminal.shows_secrets();
    let secret = shown.then(|| key.expose_secret());
    let curl = client_example::curl(report, url, secret);
    let key = secret.map_or_else(|| ecto_core::key::hint(key), str::to_owned);
    terminal.print("")?;
    terminal.print(&format!(
        "URL  {}{url}{}",
        STRONG.render(),
        STRONG.render_reset()
    ))?;
    terminal.print(&format!(
        "Key  {}{key}{}",
        STRONG.render(),
        STRONG.render_reset()
    ))?;
    terminal.print("")?;
    terminal.print(&curl)?;
    terminal.print("")?;
    Ok(())
}
