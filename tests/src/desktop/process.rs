//! Programs on the desktop that end with the test, and the app among them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{Display, LOOK_EVERY};

/// A program that is killed when this is dropped, and also when the test process is: the kernel tells it then.
pub struct Child {
    child: std::process::Child,
    started: Instant,
    log: PathBuf,
}

impl Child {
    /// Starts a program with just this environment, its errors (and its output, unless it is `piped`) in the log file.
    ///
    /// The thread that starts it has to outlive it, because the kernel ends it with that thread.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn start<A, E, K, V>(
        program: &Path,
        arguments: A,
        environment: E,
        log: &Path,
        output: Output,
    ) -> Result<Self>
    where
        A: IntoIterator,
        A::Item: AsRef<OsStr>,
        E: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let file = File::options().create(true).append(true).open(log)?;
        let stdout = match output {
            Output::Logged => file.try_clone()?.into(),
            Output::Piped => Stdio::piped(),
        };
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(file);
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        Ok(Self {
            child,
            started,
            log: log.to_owned(),
        })
    }

    /// When it was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it prints, where that was asked for.
    ///
    /// # Errors
    ///
    /// Where it was not, or was taken before.
    pub fn output(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("its output is not piped")
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// Where it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().try_into()?).context("no process")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    ///
    /// Where it still runs after the limit, with what it told.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if begin.elapsed() > limit {
                bail!("it still runs after {limit:?}:\n{}", self.log());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What it has told so far.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Child {
    #[expect(
        clippy::print_stderr,
        reason = "whoever reads why a test failed reads it there"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ended = self.child.try_wait();
            eprintln!("{}: {ended:?}\n{}", self.log.display(), self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a program's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Into its log.
    Logged,
    /// To who starts it.
    Piped,
}

/// The app on a desktop, with folders of its own.
pub struct App {
    program: PathBuf,
    arguments: Vec<OsString>,
    home: PathBuf,
    variables: Vec<(OsString, OsString)>,
}

impl App {
    /// Prepares the app with a new folder for all that it keeps, and these arguments.
    ///
    /// # Errors
    ///
    /// Where the folder cannot be made.
    pub fn new(display: &Display, program: &Path, arguments: &[&str]) -> Result<Self> {
        let home = tempfile::Builder::new()
            .prefix("e")
            .tempdir_in(display.folder())?
            .keep();
        Ok(Self {
            program: program.to_owned(),
            arguments: arguments.iter().map(OsString::from).collect(),
            home,
            variables: Vec::new(),
        })
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Everything that the app keeps in the sandbox.
    #[must_use]
    pub fn sandbox(&self) -> PathBuf {
        self.home.join("sandbox")
    }

    /// Everything that the app keeps.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The program's file.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The arguments that it is started with.
    #[must_use]
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The desktop's environment, and where the app is to keep its files.
    #[must_use]
    pub fn environment(&self, display: &Display) -> Vec<(OsString, OsString)> {
        let mut environment = display.environment().to_vec();
        environment.push(("ECTO_HOME".into(), self.home.clone().into()));
        environment.extend(self.variables.iter().cloned());
        environment
    }

    /// Starts it; a second time beside the first, as a person does who clicks twice.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn start(&self, display: &Display) -> Result<Child> {
        Child::start(
            &self.program,
            &self.arguments,
            self.environment(display),
            &self.home.join("told.txt"),
            Output::Logged,
        )
    }
}

/// Finds a program beside this one or a folder above: that is where cargo puts what it builds.
///
/// # Errors
///
/// Where it is not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .with_context(|| format!("{name} is not built"))
}
