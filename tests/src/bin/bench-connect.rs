//! Times `ecto connect`, `status` and `disconnect` in the lab, beside a script that does the same by the tools' own
//! commands. Prints a table; compare the rows of one run, not single figures of two.

#![expect(clippy::print_stdout, reason = "its output is its result")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ecto_tests::command::Ecto;
use ecto_tests::lab::{Binaries, Lab, Visitor};

const CONNECTS: usize = 12;
const SCRIPTS: usize = 3;
const STATUSES: usize = 40;

#[tokio::main]
async fn main() -> Result<()> {
    let lab = Lab::start().await?;
    let binaries = Binaries::ready().await?;
    let ecto = Ecto::new(&lab)?;
    let visitor = lab.visitor()?;
    let mut connects = Vec::new();
    let mut statuses = Vec::new();
    let mut commands = Vec::new();
    let mut refusals = Vec::new();
    let mut scripts = Vec::new();
    // One round warms the caches and is not counted.
    for round in 0..=CONNECTS {
        let counted = round > 0;
        let started = Instant::now();
        let mut host = ecto.connect(&[]).await?;
        let connected = started.elapsed();
        for _ in 0..if counted { STATUSES / CONNECTS + 1 } else { 1 } {
            let asked = Instant::now();
            ecto.status().await?;
            if counted {
                statuses.push(asked.elapsed());
            }
        }
        let asked = Instant::now();
        let (ended, refused) =
            tokio::join!(ecto.done(&["disconnect"]), refused_after(&visitor, asked));
        ended?;
        let command = asked.elapsed();
        host.ended().await?;
        if counted {
            connects.push(connected);
            refusals.push(refused?);
            commands.push(command);
        }
        if counted && round <= SCRIPTS {
            scripts.push(script(&lab, &binaries).await?);
        }
    }
    println!("| what | runs | min | median | max |");
    println!("|---|---|---|---|---|");
    row("`ecto connect` to Public", &mut connects);
    row("the script by the tools' own commands", &mut scripts);
    row("`ecto status --json`, whole process", &mut statuses);
    row("`ecto disconnect` to refused from outside", &mut refusals);
    row("`ecto disconnect`, whole process", &mut commands);
    let (ours, theirs) = (median(&mut connects), median(&mut scripts));
    println!();
    println!(
        "connect is {:.0} times as fast as the script (medians of one run)",
        theirs.as_secs_f64() / ours.as_secs_f64()
    );
    Ok(())
}

async fn refused_after(visitor: &Visitor, since: Instant) -> Result<Duration> {
    while visitor.connect().await.is_ok() {
        if since.elapsed() > Duration::from_secs(20) {
            bail!("the door stays open");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(since.elapsed())
}

/// What a person would type: each key by `openclaw config set`, a restart, and a background Funnel.
async fn script(lab: &Lab, binaries: &Binaries) -> Result<Duration> {
    let started = Instant::now();
    let token = format!("\"{}\"", lab.gateway.token());
    for (key, value) in [
        ("gateway.auth.mode", "\"token\""),
        ("gateway.auth.token", token.as_str()),
        ("gateway.http.endpoints.chatCompletions.enabled", "true"),
        ("gateway.http.endpoints.responses.enabled", "true"),
    ] {
        openclaw(
            lab,
            binaries,
            &["config", "set", key, value, "--strict-json"],
        )
        .await?;
    }
    openclaw(lab, binaries, &["gateway", "restart"]).await?;
    let client = lab.gateway.client()?;
    while !client
        .get("/readyz", None)
        .await
        .is_ok_and(|answer| answer.status().is_success())
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let port = lab
        .gateway
        .url()
        .rsplit(':')
        .next()
        .context("no port")?
        .to_owned();
    tailscale(lab, binaries, &["funnel", "--bg", "--yes", &port]).await?;
    let took = started.elapsed();
    tailscale(lab, binaries, &["funnel", "--https=443", "off"]).await?;
    Ok(took)
}

async fn openclaw(lab: &Lab, binaries: &Binaries, arguments: &[&str]) -> Result<()> {
    let mut command = tokio::process::Command::new(binaries.openclaw());
    command
        .args(arguments)
        .env_clear()
        .envs(lab.gateway.environment()?);
    run(command, arguments).await
}

async fn tailscale(lab: &Lab, binaries: &Binaries, arguments: &[&str]) -> Result<()> {
    let mut command = tokio::process::Command::new(binaries.tailscale());
    command
        .arg(format!("--socket={}", lab.node.socket().display()))
        .args(arguments);
    run(command, arguments).await
}

async fn run(mut command: tokio::process::Command, arguments: &[&str]) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().await?;
    if !output.status.success() {
        bail!(
            "{:?} did not work: {}",
            arguments.first(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn row(what: &str, times: &mut [Duration]) {
    let middle = median(times);
    let show = |time: Option<&Duration>| {
        time.map_or_else(String::new, |time| {
            format!("{:.1} ms", time.as_secs_f64() * 1e3)
        })
    };
    println!(
        "| {what} | {} | {} | {} | {} |",
        times.len(),
        show(times.first()),
        show(Some(&middle)),
        show(times.last())
    );
}
