//! `ecto doctor`.

use ecto_core::cause::{Cause, Severity};
use ecto_core::gateway::GatewayView;
use ecto_core::ports::VaultFault;
use ecto_core::tailnet::{FunnelPermission, Installer, TailnetView};
use ecto_core::words;
use ecto_host::lock::HostLock;
use ecto_host::report::{Report, SCHEMA};
use ecto_host::request::Request;
use serde::Serialize;

use super::status::{gateway_line, tailnet_line};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::progress;
use crate::session::{Session, Turn};
use crate::terminal::{GOOD, WARN};

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    /// What.
    about: &'static str,
    /// Whether it is as Ecto needs it.
    good: bool,
    /// How it is.
    what: String,
    /// What to do.
    next: Option<String>,
    /// The stable code of what is wrong.
    code: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

impl Finding {
    fn good(about: &'static str, what: impl Into<String>) -> Self {
        Self {
            about,
            good: true,
            what: what.into(),
            next: None,
            code: None,
            exit: Exit::Done,
        }
    }

    fn bad(about: &'static str, cause: &Cause) -> Self {
        let message = words::cause(cause);
        let exit = if cause.severity() == Severity::Danger {
            Exit::Danger
        } else {
            Exit::NeedsPerson
        };
        Self {
            code: Some(cause.code()),
            exit,
            about,
            good: false,
            what: message.what,
            next: message.next,
        }
    }
}

/// Looks at everything that Ecto depends on, changing nothing.
pub async fn run(session: &Session) -> Result<Exit, Failure> {
    let mut findings = vec![Finding::good(
        "folders",
        format!(
            "state {}, logs {}",
            session.folders.state().display(),
            session.folders.logs().display()
        ),
    )];
    match session.take_turn().await? {
        Turn::Theirs(mut client) => {
            // The host has just looked; a look that was interrupted is no finding.
            let _ = client.ask(&Request::Look).await;
            let report = client.ask(&Request::Status).await?.into_report()?;
            of_host(&report, &mut findings);
        }
        Turn::Ours(lock) => of_world(session, &lock, &mut findings).await?,
    }
    show(session, &findings)?;
    let worst = findings.iter().map(|finding| finding.exit);
    Ok(worst.max_by_key(|exit| exit.number()).unwrap_or(Exit::Done))
}

fn of_host(report: &Report, findings: &mut Vec<Finding>) {
    let process = report
        .host
        .map_or_else(String::new, |process| format!(" as process {process}"));
    findings.push(Finding::good(
        "host",
        format!("running{process}. {}", report.message.what),
    ));
    if let ecto_core::exposure::Exposure::Blocked { cause, .. } = &report.snapshot.exposure {
        findings.push(Finding::bad("door", cause));
    }
    if let Some(tailnet) = &report.snapshot.tailnet {
        findings.push(tailnet_finding(tailnet));
    }
    if let Some(gateway) = &report.snapshot.gateway {
        findings.push(gateway_finding(gateway));
    }
    findings.push(Finding::good(
        "secrets",
        words::vault(&report.snapshot.vault),
    ));
}

async fn of_world(
    session: &Session,
    lock: &HostLock,
    findings: &mut Vec<Finding>,
) -> Result<(), Failure> {
    findings.push(Finding::good(
        "host",
        "not running, so nothing is reachable from the internet",
    ));
    let world = session.open_world(lock).await?;
    let ports = &world.ports;
    let (tailnet, gateway, secrets) = tokio::join!(
        ports.tailnet.observe(Default::default()),
        ports.gateway.observe(),
        ports.vault.look()
    );
    findings.push(tailnet_finding(&tailnet));
    findings.push(gateway_finding(&gateway));
    let place = words::vault(&ports.vault.place());
    findings.push(match secrets {
        Ok(Some(_)) => Finding::good("secrets", format!("a key is {place}")),
        Ok(None) => Finding::good(
            "secrets",
            format!("there is no key yet; it will be {place}"),
        ),
        Err(fault) => Finding::bad("secrets", &vault_cause(fault)),
    });
    Ok(())
}

fn vault_cause(fault: VaultFault) -> Cause {
    fault.into()
}

fn tailnet_finding(tailnet: &TailnetView) -> Finding {
    let about = "tailscale";
    match tailnet {
        TailnetView::Refused { cause } => Finding::bad(about, cause),
        TailnetView::Missing { installer } => match installer {
            Installer::Homebrew => {
                Finding::good(about, "not installed; Ecto installs it with Homebrew")
            }
            Installer::Download => Finding::bad(about, &Cause::TailscaleToDownload),
            Installer::Person { command } => Finding::bad(
                about,
                &Cause::TailscaleMissing {
                    command: command.clone(),
                },
            ),
        },
        TailnetView::Running(node) if node.funnel == FunnelPermission::Missing => Finding::good(
            about,
            format!(
                "{}; Funnel is not allowed yet, Ecto asks for it",
                tailnet_line(tailnet)
            ),
        ),
        TailnetView::Running(_)
        | TailnetView::NotRunning { .. }
        | TailnetView::Starting { .. }
        | TailnetView::NeedsSignIn { .. }
        | TailnetView::Stopped { .. }
        | TailnetView::NeedsApproval { .. } => Finding::good(about, tailnet_line(tailnet)),
    }
}

fn gateway_finding(gateway: &GatewayView) -> Finding {
    let about = "openclaw";
    match gateway {
        GatewayView::Missing => Finding::bad(about, &Cause::OpenClawMissing),
        GatewayView::Refused { cause } => Finding::bad(about, cause),
        GatewayView::NeedsSetUp { config, keys, .. } => Finding::good(
            about,
            format!("Ecto would set {} in {}", keys.join(", "), config.display()),
        ),
        GatewayView::NotRunning { .. }
        | GatewayView::Starting { .. }
        | GatewayView::NeedsRestart { .. }
        | GatewayView::Ready(_) => Finding::good(about, gateway_line(gateway)),
    }
}

fn show(session: &Session, findings: &[Finding]) -> Result<(), Failure> {
    if session.terminal.is_json() {
        session
            .terminal
            .print_json(&serde_json::json!({ "schema": SCHEMA, "findings": findings }))?;
        return Ok(());
    }
    if let Some(world) = progress::world(session.world.kind()) {
        session.terminal.print(&format!("[{world}]"))?;
    }
    for finding in findings {
        let (mark, style) = if finding.good {
            ("✓", GOOD)
        } else {
            ("!", WARN)
        };
        session.terminal.print(&format!(
            "{}{mark}{} {}: {}",
            style.render(),
            style.render_reset(),
            finding.about,
            finding.what
        ))?;
        if let Some(next) = &finding.next {
            session.terminal.print(&format!("    {next}"))?;
        }
    }
    Ok(())
}
