//! Starts and restarts the gateway, by the means with which it is run.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ecto_core::cause::Cause;
use ecto_core::gateway::GatewayView;
use ecto_core::step::{Reporter, Waiting};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::config::shown;
use crate::gateway::{OpenClaw, SETTLING, address, lock};
use crate::launch_agent::{LaunchAgent, Program};
use crate::probe::Presence;
use crate::reading::Usable;

/// How long a command may take; OpenClaw's own take up to 12 s (tried with OpenClaw 2026.9.6).
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// The shortest time between two restarts that OpenClaw allows (2026.9.6).
const COOLDOWN: Duration = Duration::from_secs(30);

/// How long a gateway that was told to restart may go on as if nothing had been said.
const DEAF_LIMIT: Duration = Duration::from_secs(45);

/// How long one that said it puts the restart off is looked at: it says so too where what it waits for ends in a moment, as
/// a task of its own start does (tried with OpenClaw 2026.9.6). Nobody is held meanwhile.
const DEFERRED_LIMIT: Duration = Duration::from_secs(8);

/// How long whoever has the gateway's port may say nothing at all before it counts as another program, or, where the
/// gateway was ready there, as one that does not answer any more. A gateway listens for some seconds before it first answers.
const SILENT_LIMIT: Duration = Duration::from_secs(60);

/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(200);

/// When a gateway that was told to restart says that it will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// In a moment.
    Now,
    /// Once what it is doing has ended.
    Deferred,
}

impl Promise {
    /// Reads the `status` of `gateway.restart.request`. A restart that it joins to one that is pending (`coalesced`) waits
    /// as that one does (OpenClaw 2026.9.6, `src/infra/restart-coordinator.ts`).
    fn of(status: &Value) -> Self {
        match status.as_str() {
            Some("deferred" | "coalesced") => Self::Deferred,
            Some(_) | None => Self::Now,
        }
    }
}

impl OpenClaw {
    /// See [`ecto_core::ports::Gateway::start`].
    pub(crate) async fn get_ready(&self, reporter: &Reporter) -> Result<(), Cause> {
        let usable = self.usable().await?;
        let address = address(&usable);
        match self.presence(address).await {
            Presence::Foreign => return Err(port_taken(address)),
            seen @ (Presence::Starting | Presence::Silent) => {
                return self.wait_until_ready(&usable, seen, reporter).await;
            }
            presence @ Presence::Ready { .. } => {
                if !self.needs_restart_after_all().await {
                    return Ok(());
                }
                self.restart_running(&usable, presence, reporter).await?;
            }
            Presence::Away => {
                if let Some(cause) = self.just_failed() {
                    return Err(cause);
                }
                self.launch(&usable, reporter).await?;
            }
        }
        self.wait_until_started(&usable, reporter).await
    }

    /// See [`ecto_core::ports::Gateway::restart`].
    pub(crate) async fn restart_as_asked(&self, reporter: &Reporter) -> Result<(), Cause> {
        let usable = self.usable().await?;
        let address = address(&usable);
        let first = self.presence(address).await;
        match self.once_it_answers(address, first).await {
            Presence::Foreign => return Err(port_taken(address)),
            Presence::Away if first == Presence::Away => self.launch(&usable, reporter).await?,
            // It went away by itself just now, and so it comes back.
            Presence::Away => {}
            presence @ (Presence::Starting | Presence::Silent | Presence::Ready { .. }) => {
                self.restart_running(&usable, presence, reporter).await?;
            }
        }
        self.wait_until_started(&usable, reporter).await
    }

    /// What is on the port once it answers, where that is soon: what does not is not asked to end what it is doing first.
    async fn once_it_answers(&self, address: SocketAddr, first: Presence) -> Presence {
        let end = Instant::now() + self.inner.options.busy_limit;
        let mut presence = first;
        while matches!(presence, Presence::Starting | Presence::Silent) && Instant::now() < end {
            sleep(LOOK).await;
            presence = self.presence(address).await;
        }
        presence
    }

    async fn wait_until_started(&self, usable: &Usable, reporter: &Reporter) -> Result<(), Cause> {
        self.wait_until_ready(usable, Presence::Away, reporter)
            .await?;
        *lock(&self.inner.started_with) = Some(usable.config.digest);
        Ok(())
    }

    /// The cause of a launch that failed a moment ago: what could not be started is not tried at every change elsewhere.
    fn just_failed(&self) -> Option<Cause> {
        let failed = lock(&self.inner.failed);
        failed
            .as_ref()
            .filter(|(at, _)| at.elapsed() < COOLDOWN)
            .map(|(_, cause)| cause.clone())
    }

    /// Whether the gateway has to be restarted to be as it is configured. Gives one that came up by itself, or is taking over
    /// a change, the time to show what it is.
    async fn needs_restart_after_all(&self) -> bool {
        let end = Instant::now() + SETTLING + LOOK;
        while Instant::now() < end {
            match self.look().await {
                Err(GatewayView::Starting { .. }) => sleep(LOOK).await,
                Err(GatewayView::NeedsRestart { .. }) => return true,
                Ok(_)
                | Err(
                    GatewayView::Missing
                    | GatewayView::Refused { .. }
                    | GatewayView::NeedsSetUp { .. }
                    | GatewayView::NotRunning { .. }
                    | GatewayView::Ready(_),
                ) => return false,
            }
        }
        false
    }

    /// Has a gateway that is there restarted, and returns once it is another process, or away on its way to be. One that
    /// says 503 may still be the same, and ready again in a moment.
    async fn restart_running(
        &self,
        usable: &Usable,
        before: Presence,
        reporter: &Reporter,
    ) -> Result<(), Cause> {
        let since = lock(&self.inner.restarted).map(|at| at.elapsed());
        if let Some(rest) = since.and_then(|since| COOLDOWN.checked_sub(since)) {
            reporter.progress(format!(
                "OpenClaw restarts at most every {} seconds; waiting for {} more.",
                COOLDOWN.as_secs(),
                rest.as_secs() + 1
            ));
            sleep(rest).await;
        }
        let address = address(usable);
        let asked = Instant::now();
        reporter.progress("Restarting the OpenClaw gateway.");
        let promised = self.ask_to_restart(usable, before).await?;
        let limit = match promised {
            Promise::Now => {
                *lock(&self.inner.restarted) = Some(Instant::now());
                DEAF_LIMIT
            }
            Promise::Deferred => {
                reporter.progress("OpenClaw first finishes what it is doing, then it restarts.");
                DEFERRED_LIMIT
            }
        };
        let end = Instant::now() + limit;
        let end_where_starting = Instant::now() + limit.max(self.inner.options.ready_limit);
        let was_starting = before == Presence::Starting;
        let mut starting = false;
        reporter.waiting(Waiting::Gateway);
        while Instant::now()
            < if starting || was_starting {
                end_where_starting
            } else {
                end
            }
        {
            match self.presence(address).await {
                Presence::Away => return Ok(()),
                Presence::Starting => starting = !was_starting,
                // Up for less time than has passed since it was asked: it is another process by now.
                Presence::Ready {
                    uptime: Some(uptime),
                } if uptime < asked.elapsed() => return Ok(()),
                Presence::Ready { uptime: None } if starting => return Ok(()),
                Presence::Ready { .. } => starting = false,
                Presence::Foreign if starting => return Err(port_taken(address)),
                Presence::Silent | Presence::Foreign => {}
            }
            sleep(LOOK).await;
        }
        if starting || was_starting {
            return Err(not_ready(usable));
        }
        if promised == Promise::Deferred {
            return Err(Cause::GatewayRestartDeferred);
        }
        Err(self.not_started("it was asked to restart and goes on as before", usable))
    }

    /// Asks by the RPC, which waits for work in flight; where that is not to be had, by the service, then by the command.
    async fn ask_to_restart(&self, usable: &Usable, before: Presence) -> Result<Promise, Cause> {
        if let Presence::Ready { uptime } = before
            && let Some(promise) = self.ask_by_rpc(usable, uptime).await
        {
            return Ok(promise);
        }
        if let Some(agent) = &usable.place.agent
            && self.kickstart(agent, &["-k"]).await
        {
            return Ok(Promise::Now);
        }
        let Some(program) = &usable.place.program else {
            return Err(self.not_started(
                "it has to be restarted, and the `openclaw` command is not to be found; restart it where it was started",
                usable,
            ));
        };
        // The safe way asks by the RPC too.
        let answers = matches!(before, Presence::Ready { .. });
        let safely = answers.then_some(&["gateway", "restart", "--safe", "--json"][..]);
        for arguments in safely
            .into_iter()
            .chain([&["gateway", "restart", "--json"][..]])
        {
            if self.run_openclaw(program, usable, arguments).await.is_ok() {
                return Ok(Promise::Now);
            }
        }
        Err(self.not_started("`openclaw gateway restart` did not work", usable))
    }

    async fn ask_by_rpc(&self, usable: &Usable, uptime: Option<Duration>) -> Option<Promise> {
        let token = usable.effective.token.as_ref()?;
        let (session, _) = self.session(address(usable), token, uptime).await.ok()?;
        let limit = Duration::from_secs(10);
        let answer = session.call("gateway.restart.request", json!({}), limit);
        let answer = answer.await.ok()?;
        (answer["ok"] != false).then(|| Promise::of(&answer["status"]))
    }

    async fn launch(&self, usable: &Usable, reporter: &Reporter) -> Result<(), Cause> {
        let launched = self.try_launch(usable, reporter).await;
        if let Err(cause) = &launched {
            *lock(&self.inner.failed) = Some((Instant::now(), cause.clone()));
        }
        launched
    }

    async fn try_launch(&self, usable: &Usable, reporter: &Reporter) -> Result<(), Cause> {
        reporter.progress("Starting the OpenClaw gateway.");
        if let Some(agent) = &usable.place.agent
            && (self.kickstart(agent, &[]).await || self.bootstrap(agent).await)
        {
            return Ok(());
        }
        let hint = "start it with `openclaw gateway run`, or install its service with `openclaw gateway install`";
        let Some(program) = &usable.place.program else {
            return Err(self.not_started(
                &format!(
                    "Ecto found no service and no `openclaw` command to start it with; {hint}"
                ),
                usable,
            ));
        };
        match self
            .run_openclaw(program, usable, &["gateway", "start", "--json"])
            .await
        {
            Ok(()) => Ok(()),
            Err(words) if words.is_empty() => Err(self.not_started(
                &format!("`openclaw gateway start` did not work; {hint}"),
                usable,
            )),
            Err(words) => {
                let words = words.trim_end_matches('.');
                Err(self.not_started(&format!("{words}; {hint}"), usable))
            }
        }
    }

    /// `first` is how it was seen the moment before.
    async fn wait_until_ready(
        &self,
        usable: &Usable,
        first: Presence,
        reporter: &Reporter,
    ) -> Result<(), Cause> {
        reporter.waiting(Waiting::Gateway);
        let address = address(usable);
        let end = Instant::now() + self.inner.options.ready_limit;
        let mut seen = first == Presence::Starting;
        let mut silent_since = None;
        while Instant::now() < end {
            let presence = self.presence(address).await;
            if presence != Presence::Silent {
                silent_since = None;
            }
            match presence {
                Presence::Ready { .. } => {
                    self.forget_refusal();
                    return Ok(());
                }
                Presence::Starting => seen = true,
                Presence::Foreign => return Err(port_taken(address)),
                Presence::Silent => {
                    let since = *silent_since.get_or_insert_with(Instant::now);
                    // One that was seen to come up here has all its time for that.
                    if !seen && since.elapsed() > SILENT_LIMIT {
                        return Err(if self.was_ready_at(address) {
                            Cause::GatewayNotAnswering
                        } else {
                            port_taken(address)
                        });
                    }
                }
                Presence::Away => {}
            }
            sleep(LOOK).await;
        }
        if seen {
            return Err(not_ready(usable));
        }
        Err(self.not_started("it does not come up", usable))
    }

    #[expect(clippy::unused_self, reason = "reads as what the gateway did not do")]
    fn not_started(&self, detail: &str, usable: &Usable) -> Cause {
        Cause::GatewayNotStarted {
            detail: detail.into(),
            log: usable.place.log().map(|log| shown(&log)),
        }
    }

    async fn kickstart(&self, agent: &LaunchAgent, flags: &[&str]) -> bool {
        let mut arguments: Vec<OsString> = vec!["kickstart".into()];
        arguments.extend(flags.iter().map(OsString::from));
        arguments.push(format!("{}/{}", domain(), agent.label).into());
        run(&self.inner.options.launchctl, &arguments, &[])
            .await
            .is_ok()
    }

    async fn bootstrap(&self, agent: &LaunchAgent) -> bool {
        let arguments = [
            "bootstrap".into(),
            domain().into(),
            agent.file.clone().into(),
        ];
        run(&self.inner.options.launchctl, &arguments, &[])
            .await
            .is_ok()
    }

    /// Runs OpenClaw's command with the variables that its service has. `Err` holds what it said is wrong.
    async fn run_openclaw(
        &self,
        program: &Program,
        usable: &Usable,
        arguments: &[&str],
    ) -> Result<(), String> {
        let mut words: Vec<OsString> = Vec::new();
        let start = match &program.node {
            Some(node) => {
                words.push(program.openclaw.clone().into());
                node
            }
            None => &program.openclaw,
        };
        words.extend(arguments.iter().map(OsString::from));
        let environment = &self.inner.options.environment;
        let mut folders: Vec<PathBuf> = start.parent().map(Path::to_owned).into_iter().collect();
        folders.extend(environment.program_folders.iter().cloned());
        folders.extend(["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(PathBuf::from));
        let path = std::env::join_paths(folders).unwrap_or_default();
        let mut variables: Vec<(OsString, OsString)> = usable
            .place
            .variables
            .iter()
            .filter(|(name, _)| {
                name.starts_with("OPENCLAW_") || name.starts_with("LC_") || *name == "LANG"
            })
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        variables.push(("HOME".into(), environment.home.clone().into()));
        variables.push(("PATH".into(), path));
        variables.push(("NO_COLOR".into(), "1".into()));
        run(start, &words, &variables).await
    }
}

fn port_taken(address: SocketAddr) -> Cause {
    Cause::GatewayPortTaken {
        port: address.port(),
    }
}

fn not_ready(usable: &Usable) -> Cause {
    let log = usable.place.log().map(|log| shown(&log));
    Cause::GatewayNotReady { log }
}

fn domain() -> String {
    #[cfg(unix)]
    let user = rustix::process::getuid().as_raw();
    #[cfg(not(unix))]
    let user = 0;
    format!("gui/{user}")
}

/// Runs a program to its end with these variables alone. `Err` holds what its JSON or its last line says.
async fn run(
    program: &Path,
    arguments: &[OsString],
    variables: &[(OsString, OsString)],
) -> Result<(), String> {
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match timeout(COMMAND_LIMIT, child).await {
        Err(_) => return Err("it did not end in time".to_owned()),
        Ok(Err(error)) => return Err(crate::config::reason(&error)),
        Ok(Ok(output)) => output,
    };
    let answer: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    if output.status.success() && answer.as_ref().is_none_or(|answer| answer["ok"] != false) {
        return Ok(());
    }
    let said = answer.and_then(|answer| {
        [
            &answer["error"]["message"],
            &answer["error"],
            &answer["message"],
        ]
        .iter()
        .find_map(|words| words.as_str().map(str::to_owned))
    });
    Err(said.unwrap_or_else(|| {
        String::from_utf8_lossy(&output.stderr)
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned()
    }))
}
