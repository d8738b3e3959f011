//! The real `ecto` command, run as a process with folders of its own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ecto_host::world::LabPlaces;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::lab::Lab;

/// How long one line or one end may take.
const LIMIT: Duration = Duration::from_secs(120);

/// The command, with folders of its own and a lab to work in.
pub struct Ecto {
    program: PathBuf,
    folder: TempDir,
    environment: Vec<(&'static str, OsString)>,
    places: PathBuf,
}

/// What a finished command left.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it told.
    pub stderr: String,
}

impl Ended {
    /// The one JSON document that was printed.
    ///
    /// # Errors
    ///
    /// Where something else was printed.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("not one JSON document: {self:?}"))
    }
}

impl Ecto {
    /// Prepares the command for this lab.
    ///
    /// # Errors
    ///
    /// Where the program was not built, or the folder cannot be made.
    pub fn new(lab: &Lab) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ecto-").tempdir()?;
        let root_certificate = folder.path().join("root.pem");
        fs::write(&root_certificate, lab.authority.root_pem())?;
        let places = folder.path().join("lab.json");
        let document = LabPlaces {
            file: PathBuf::new(),
            tailscaled_socket: lab.node.socket(),
            resolvers: vec![
                lab.resolver.dns_query_url().parse()?,
                lab.resolver.resolve_url().parse()?,
            ],
            root_certificate,
            edge: lab.ingress(443)?,
        };
        fs::write(&places, serde_json::to_vec(&document)?)?;
        let mut environment = lab.gateway.environment()?;
        environment.push(("ECTO_HOME", folder.path().join("home").into()));
        Ok(Self {
            program: program()?,
            folder,
            environment,
            places,
        })
    }

    /// Everything that Ecto keeps.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The command, ready to be started.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .arg("--lab")
            .arg(&self.places)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    ///
    /// Where it cannot be started or takes too long.
    pub async fn run(&self, arguments: &[&str]) -> Result<Ended> {
        let output = tokio::time::timeout(LIMIT, self.command(arguments).output())
            .await
            .with_context(|| format!("ecto {arguments:?} takes too long"))??;
        Ok(Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs a command that has to succeed.
    ///
    /// # Errors
    ///
    /// Where it does not, with what it told.
    pub async fn done(&self, arguments: &[&str]) -> Result<Ended> {
        let ended = self.run(arguments).await?;
        if ended.code != Some(0) {
            bail!("ecto {arguments:?} did not work: {ended:?}");
        }
        Ok(ended)
    }

    /// Connects in the foreground and waits until it is Public.
    ///
    /// # Errors
    ///
    /// Where it does not become Public.
    pub async fn connect(&self, arguments: &[&str]) -> Result<Foreground> {
        let mut given = vec!["connect", "--json"];
        given.extend(arguments);
        let mut child = self.command(&given).spawn()?;
        let stdout = child.stdout.take().context("no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let public = async {
            while let Some(line) = lines.next_line().await? {
                let report: Value = serde_json::from_str(&line)?;
                if report["exposure"]["state"] == "public" {
                    return anyhow::Ok(Some(report));
                }
            }
            Ok(None)
        };
        let report = tokio::time::timeout(LIMIT, public)
            .await
            .context("it does not become Public")??;
        let Some(report) = report else {
            let output = child.wait_with_output().await?;
            bail!("it ended: {}", String::from_utf8_lossy(&output.stderr));
        };
        // A document comes with every change; left unread, they would fill the pipe and hold the command up.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Foreground { report, child })
    }

    /// The key, as `ecto token --reveal` prints it.
    ///
    /// # Errors
    ///
    /// Where it cannot be had.
    pub async fn key(&self) -> Result<String> {
        Ok(self
            .done(&["token", "--reveal"])
            .await?
            .stdout
            .trim()
            .to_owned())
    }

    /// What `ecto status --json` prints.
    ///
    /// # Errors
    ///
    /// Where it cannot be had.
    pub async fn status(&self) -> Result<Value> {
        self.done(&["status", "--json"]).await?.json()
    }

    /// Waits until the status is as wanted.
    ///
    /// # Errors
    ///
    /// Where it does not become so, with the last one.
    pub async fn wait_for_status(&self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = tokio::time::Instant::now() + LIMIT;
        loop {
            let status = self.status().await?;
            if wanted(&status) {
                return Ok(status);
            }
            if tokio::time::Instant::now() > end {
                bail!("the status stays {status:#}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A foreground `ecto connect` that is Public.
pub struct Foreground {
    /// The first report that it printed while Public.
    pub report: Value,
    child: Child,
}

impl Foreground {
    /// Kills it, as a crash would.
    ///
    /// # Errors
    ///
    /// Where it has ended already.
    pub fn kill(&mut self) -> Result<()> {
        Ok(self.child.start_kill()?)
    }

    /// Waits until it has ended and gives its exit status.
    ///
    /// # Errors
    ///
    /// Where it does not end.
    pub async fn ended(&mut self) -> Result<Option<i32>> {
        let status = tokio::time::timeout(LIMIT, self.child.wait())
            .await
            .context("it does not end")??;
        Ok(status.code())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}

/// The program beside this one's folder: `cargo test --workspace` and `cargo build` put it there.
fn program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder: &Path| folder.join("ecto"))
        .find(|program| program.is_file());
    found.context("the ecto command is not built: run `cargo build -p ecto-cli` first")
}
