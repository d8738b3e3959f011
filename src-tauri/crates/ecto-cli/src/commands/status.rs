//! `ecto status`.

use ecto_core::Timestamp;
use ecto_core::exposure::{Exposure, Reach};
use ecto_core::gateway::GatewayView;
use ecto_core::offer::Offer;
use ecto_core::ports::VaultPlace;
use ecto_core::snapshot::{Notice, Snapshot};
use ecto_core::tailnet::TailnetView;
use ecto_core::wanted::{RecordDoubt, Wanted};
use ecto_core::words;
use ecto_host::client::ClientFault;
use ecto_host::record::KeyDay;
use ecto_host::report::Report;
use ecto_host::request::Request;
use ecto_host::wanted_file::WantedFile;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress;
use crate::session::Session;

/// Tells what is.
pub async fn run(session: &Session) -> Result<Exit, Failure> {
    let report = read(session).await?;
    show(session, &report)?;
    Ok(Exit::Done)
}

/// Goes on telling until it is interrupted or the host ends.
pub async fn watch(session: &Session) -> Result<Exit, Failure> {
    let mut interrupt = Interrupt::listen();
    tokio::select! {
        outcome = follow(session) => outcome,
        // That is how one ends what goes on.
        () = interrupt.came() => Ok(Exit::Done),
    }
}

async fn follow(session: &Session) -> Result<Exit, Failure> {
    let Some(client) = session.find_host().await? else {
        return run(session).await;
    };
    let mut reports = client.watch().await?;
    let mut watched = None;
    loop {
        let report = match reports.next().await {
            // Cut off or ended: either way nobody holds the door any more.
            Err(ClientFault::Ended) => None,
            report => report?,
        };
        match report {
            Some(report) => {
                watched = report.host;
                show(session, &report)?;
            }
            None => {
                let after = read(session).await?;
                // One that hung up is ending, even where it still answers.
                let is_same = after.host.is_some() && after.host == watched;
                let after = if is_same {
                    without_host(session)
                } else {
                    after
                };
                show(session, &after)?;
                return Ok(Exit::Done);
            }
        }
    }
}

async fn read(session: &Session) -> Result<Report, Failure> {
    let Some(mut client) = session.find_host().await? else {
        return Ok(without_host(session));
    };
    let answer = match client.ask(&Request::Status).await {
        // It was just ending.
        Err(ClientFault::Ended) => return Ok(without_host(session)),
        answer => answer?,
    };
    Ok(answer
        .into_report()
        .unwrap_or_else(|_| without_host(session)))
}

/// What is where no host runs: a door is tied to its host, so there is none.
fn without_host(session: &Session) -> Report {
    let place = VaultPlace::File {
        path: session.folders.credentials().display().to_string(),
    };
    let mut snapshot = Snapshot::new(place);
    match WantedFile::in_folder(session.folders.state()).read() {
        Ok(Some(bytes)) => {
            let (wanted, doubt) = Wanted::from_record(&bytes, Timestamp::now());
            snapshot.wanted = wanted;
            snapshot.notice = doubt.map(|doubt| match doubt {
                RecordDoubt::Unreadable => Notice::WantedUnreadable,
                RecordDoubt::Expired => Notice::DeadlinePassed,
            });
        }
        Ok(None) => {}
        Err(_) => snapshot.notice = Some(Notice::WantedUnreadable),
    }
    Report::without_host(snapshot, session.world.kind())
}

fn show(session: &Session, report: &Report) -> Result<(), Failure> {
    if session.terminal.is_json() {
        return session.terminal.print_json(report);
    }
    for line in lines(report) {
        session.terminal.print(&line)?;
    }
    Ok(())
}

/// The report as a person reads it.
pub fn lines(report: &Report) -> Vec<String> {
    let snapshot = &report.snapshot;
    let mut lines = Vec::new();
    if let Some(world) = progress::world(report.world) {
        lines.push(format!("[{world}]"));
    }
    lines.push(report.message.what.clone());
    if let Exposure::Public {
        until,
        reach,
        held: None,
        since,
        ..
    } = &snapshot.exposure
    {
        if matches!(reach, Reach::Reachable { .. }) {
            lines.push(progress::reach(reach));
        }
        lines.push(format!("Open since {}.", clock_time(*since)));
        if let Some(until) = until {
            lines.push(closing(*until));
        }
        let activity = &snapshot.activity;
        lines.push(format!(
            "Requests: {} answered, {} refused, {} under way.",
            activity.passed, activity.refused, activity.in_flight
        ));
    }
    lines.extend(report.today.iter().map(of_today));
    lines.extend(also_offered(&report.offer));
    if let Some(next) = &report.message.next {
        lines.push(next.clone());
    }
    if let Some(notice) = &report.notice_message {
        lines.push(format!("Note: {notice}"));
    }
    if let Some(tailnet) = &snapshot.tailnet {
        lines.push(format!("Tailscale: {}", tailnet_line(tailnet)));
    }
    if let Some(gateway) = &snapshot.gateway {
        lines.push(format!("OpenClaw: {}", gateway_line(gateway)));
    }
    if let Some(key) = &snapshot.key {
        lines.push(format!(
            "Key: {} ({}), {}.",
            key.hint,
            key.name,
            words::vault(&snapshot.vault)
        ));
    }
    lines
}

/// What a key did today.
fn of_today(day: &KeyDay) -> String {
    let who = day.key.as_ref().map_or_else(
        || "without a known key".to_owned(),
        |name| format!("with the key \"{name}\""),
    );
    let requests = counted(day.requests, "request");
    let failed = match day.failed {
        0 => String::new(),
        failed => format!(", {failed} refused or failed"),
    };
    let from = if day.caller.is_empty() {
        String::new()
    } else {
        format!(" from {}", day.caller)
    };
    let last = day.last.to_zoned(jiff::tz::TimeZone::system());
    format!(
        "Today {who}: {requests}{failed}; the last at {}{from}.",
        last.strftime("%H:%M:%S")
    )
}

/// What somebody allowed beside what is always offered; nothing where that is nothing.
fn also_offered(offer: &Offer) -> Option<String> {
    let mut allowed: Vec<String> = offer
        .routes
        .iter()
        .map(|route| route.word().to_owned())
        .collect();
    match offer.origins.len() {
        0 => {}
        pages => allowed.push(counted(pages as u64, "web page")),
    }
    (!allowed.is_empty()).then(|| format!("Also offered: {}.", allowed.join(", ")))
}

fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// The node in a few words.
pub fn tailnet_line(tailnet: &TailnetView) -> String {
    match tailnet {
        TailnetView::Missing { .. } => "not installed".to_owned(),
        TailnetView::NotRunning { kind } => format!("{}, not running", words::node(*kind)),
        TailnetView::Starting { kind } => format!("{}, starting", words::node(*kind)),
        TailnetView::NeedsSignIn { kind } => format!("{}, not signed in", words::node(*kind)),
        TailnetView::Stopped { kind } => format!("{}, switched off", words::node(*kind)),
        TailnetView::NeedsApproval { kind } => {
            format!("{}, waiting for approval", words::node(*kind))
        }
        TailnetView::Running(node) => {
            format!(
                "{} {}, as {}",
                words::node(node.kind),
                node.version,
                node.host.as_str()
            )
        }
        TailnetView::Refused { cause } => words::cause(cause).what,
    }
}

/// The gateway in a few words.
pub fn gateway_line(gateway: &GatewayView) -> String {
    match gateway {
        GatewayView::Missing => "not installed".to_owned(),
        GatewayView::Refused { cause } => words::cause(cause).what,
        GatewayView::NeedsSetUp { config, .. } => format!("to be set up ({})", config.display()),
        GatewayView::NotRunning { config } => format!("not running ({})", config.display()),
        GatewayView::Starting { config } => format!("starting ({})", config.display()),
        GatewayView::NeedsRestart { config } => format!("to be restarted ({})", config.display()),
        GatewayView::Ready(ready) => match &ready.version {
            Some(version) => format!(
                "ready, {version}, at {} ({})",
                ready.address,
                ready.config.display()
            ),
            None => format!("ready at {} ({})", ready.address, ready.config.display()),
        },
    }
}

/// When an open door closes by itself, as a sentence.
pub fn closing(until: Timestamp) -> String {
    format!("It closes by itself at {}.", clock_time(until))
}

fn clock_time(moment: Timestamp) -> String {
    moment
        .to_zoned(jiff::tz::TimeZone::system())
        .strftime("%H:%M:%S on %Y-%m-%d")
        .to_string()
}

#[cfg(test)]
mod tests {
    use ecto_core::cause::Cause;
    use ecto_core::key::Route;
    use ecto_core::tailnet::{FunnelPort, HostName, PublicAddress};
    use ecto_host::report::WorldKind;

    use super::*;

    #[test]
    fn a_gateway_that_is_away_is_told_with_its_cause_and_what_becomes_of_it() {
        let mut snapshot = Snapshot::new(VaultPlace::Memory);
        snapshot.exposure = Exposure::Public {
            address: PublicAddress {
                host: HostName::new("mac.tail1234.ts.net").unwrap(),
                port: FunnelPort::Https,
            },
            since: Timestamp::UNIX_EPOCH,
            until: None,
            reach: Reach::Unchecked,
            held: Some(Cause::GatewayNotReady { log: None }),
        };
        snapshot.gateway = Some(GatewayView::NotRunning {
            config: "openclaw.json".into(),
        });
        let report = Report::without_host(snapshot, WorldKind::Real);
        assert_eq!(
            lines(&report),
            [
                "Public at https://mac.tail1234.ts.net/v1/chat/completions, but nobody gets through right now.",
                "The OpenClaw gateway is not ready. Ecto goes on by itself when it is. If it stays like this, restart it with `ecto restart`.",
                "OpenClaw: not running (openclaw.json)",
            ]
        );
    }

    #[test]
    fn what_each_key_did_today_has_a_line() {
        let last = Timestamp::now();
        let clock = last
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime("%H:%M:%S")
            .to_string();
        let day = |key: Option<&str>, requests, failed, caller: &str| KeyDay {
            key: key.map(str::to_owned),
            requests,
            failed,
            bytes: 5,
            last,
            caller: caller.into(),
        };
        let mut report = Report::without_host(Snapshot::new(VaultPlace::Memory), WorldKind::Real);
        report.today = vec![day(Some("phone"), 1, 0, "203.0.113.7"), day(None, 7, 7, "")];
        assert_eq!(
            lines(&report)[1..],
            [
                format!(
                    "Today with the key \"phone\": 1 request; the last at {clock} from 203.0.113.7."
                ),
                format!(
                    "Today without a known key: 7 requests, 7 refused or failed; the last at {clock}."
                ),
            ]
        );
    }

    #[test]
    fn what_somebody_allowed_is_told_and_nothing_where_nobody_did() {
        let offer = |routes: &[Route], origins: &[&str]| Offer {
            routes: routes.iter().copied().collect(),
            origins: origins.iter().map(|text| text.parse().unwrap()).collect(),
        };
        for (offer, told) in [
            (offer(&[], &[]), None),
            (offer(&[Route::Hooks], &[]), Some("Also offered: hooks.")),
            (
                offer(&Route::OPTIONAL, &["https://a.example"]),
                Some("Also offered: embeddings, hooks, 1 web page."),
            ),
            (
                offer(&[], &["https://a.example", "https://b.example"]),
                Some("Also offered: 2 web pages."),
            ),
        ] {
            let mut report =
                Report::without_host(Snapshot::new(VaultPlace::Memory), WorldKind::Real);
            report.offer = offer;
            let lines = lines(&report);
            assert_eq!(lines.get(1).map(String::as_str), told, "{lines:?}");
        }
    }
}
