//! A machine with nothing on it: folders of its own, an empty environment, and the program on its path.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(40);

/// Such a machine.
pub struct Machine {
    folder: TempDir,
}

impl Machine {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("e").tempdir().unwrap();
        for name in ["home", "bin"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ecto"), folder.path().join("bin/ecto"))
            .unwrap();
        Self { folder }
    }

    /// Everything that belongs to this machine is below here.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn home(&self) -> PathBuf {
        self.folder().join("home")
    }

    /// What `ECTO_HOME` names.
    pub fn state(&self) -> PathBuf {
        self.folder().join("ecto")
    }

    /// Where the sandbox keeps its files.
    pub fn sandbox(&self) -> PathBuf {
        self.state().join("sandbox")
    }

    /// Writes OpenClaw's configuration and returns its path.
    pub fn configure(&self, bytes: &[u8]) -> PathBuf {
        let path = self.home().join(".openclaw/openclaw.json");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// A command with this machine's environment and nothing else.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:/usr/bin:/bin", self.folder().join("bin").display());
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home())
            .env("ECTO_HOME", self.state())
            .env("TZ", "UTC")
            .current_dir(self.folder())
            .stdin(Stdio::null());
        command
    }

    pub fn ecto(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_ecto"));
        command.args(arguments);
        command
    }

    /// Runs `ecto` to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let ran = run(self.ecto(arguments));
        if arguments.contains(&"--sandbox") {
            ran.expect_sandbox_commands();
        }
        ran
    }

    /// Runs a line of shell to its end.
    pub fn shell(&self, line: &str) -> Ran {
        let mut command = self.command("/bin/sh");
        command.arg("-c").arg(line);
        run(command)
    }

    /// Starts `ecto` and goes on.
    pub fn start(&self, arguments: &[&str]) -> Running {
        Running::pipes(self.ecto(arguments))
    }

    /// A sandbox whose door is open, held by a command in the foreground.
    pub fn connected(&self) -> Running {
        let host = self.start(&["connect", "--sandbox"]);
        host.stdout.wait_for("-d '{");
        host.stderr.wait_for("Reachable from the internet");
        host
    }

    /// The report of the sandbox.
    pub fn status(&self) -> Value {
        let ran = self.run(&["status", "--json", "--sandbox"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.json()
    }

    /// Asks for the status until it is as wanted.
    pub fn wait_for_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        wait_until(what, || wanted(&self.status()).then_some(()));
    }

    /// Waits until the lock is proven behind the open door.
    pub fn wait_for_proof(&self) {
        self.wait_for_status("the lock is proven", |status| {
            let exposure = &status["exposure"];
            exposure["state"] == "public" && exposure["held"].is_null()
        });
    }

    /// Takes what differs from run to run out of a text.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.replace(&self.folder().display().to_string(), "[folder]");
        for (prefix, name) in [
            ("127.0.0.1:", "[port]"),
            ("login.tailscale.com/a/", "[link]"),
            ("ecto_…", "[end]"),
            ("(process ", "[process]"),
        ] {
            text = redact_after(&text, prefix, name);
        }
        text
    }

    /// The same for JSON.
    pub fn redact_json(&self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| {
                    let value = match name.as_str() {
                        "host" if value.is_u64() => "[process]".into(),
                        "milliseconds" | "fingerprint" => format!("[{name}]").into(),
                        "at" | "last" | "since" | "until" | "made" | "last_used"
                            if value.is_string() =>
                        {
                            "[time]".into()
                        }
                        _ => self.redact_json(value),
                    };
                    (name.clone(), value)
                })
                .collect(),
            Value::Array(values) => values.iter().map(|value| self.redact_json(value)).collect(),
            Value::String(text) => self.redact(text).into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A host in the background that a failed test leaves behind does not stay.
        for world in [&[][..], &["--sandbox"]] {
            let folder = if world.is_empty() {
                self.state()
            } else {
                self.sandbox()
            };
            if let Some(process) = process_of_lock(&folder) {
                let _ = kill_process(process, Signal::KILL);
            }
        }
    }
}

/// The process that has the lock in this state folder, where it is alive and one of ours.
fn process_of_lock(state: &Path) -> Option<Pid> {
    if !state.join("run/ecto.sock").exists() {
        return None;
    }
    let text = std::fs::read_to_string(state.join("run/host.lock")).ok()?;
    let process = Pid::from_raw(text.trim().parse().ok()?)?;
    std::os::unix::net::UnixStream::connect(state.join("run/ecto.sock")).ok()?;
    Some(process)
}

fn redact_after(text: &str, prefix: &str, name: &str) -> String {
    let mut redacted = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(prefix) {
        let (before, after) = rest.split_at(start + prefix.len());
        redacted.push_str(before);
        let end = after
            .find(|character: char| {
                !(character.is_ascii_alphanumeric() || character == '-' || character == '_')
            })
            .unwrap_or(after.len());
        redacted.push_str(name);
        rest = &after[end..];
    }
    redacted.push_str(rest);
    redacted
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    /// The exit status as a shell tells it: 128 and the signal, where one ended it.
    pub code: i32,
}

impl Ran {
    /// The one document on stdout.
    pub fn json(&self) -> Value {
        let lines = self.lines();
        assert_eq!(lines.len(), 1, "one document: {self:?}");
        lines.into_iter().next().unwrap()
    }

    /// What the sandbox tells to run is for the sandbox.
    fn expect_sandbox_commands(&self) {
        for text in [&self.stdout, &self.stderr] {
            for command in text.split("`ecto ").skip(1) {
                let command = command.split('`').next().unwrap_or_default();
                assert!(
                    command.ends_with(" --sandbox"),
                    "`ecto {command}`: {self:?}"
                );
            }
        }
    }

    /// The documents on stdout, each with the number of the schema.
    pub fn lines(&self) -> Vec<Value> {
        documents(&self.stdout)
    }

    /// The code of the error on stdout.
    pub fn error_code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("{self:?}"))
            .to_owned()
    }
}

/// The documents in a text, one a line.
pub fn documents(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|fault| {
                panic!("{fault}: {line}");
            });
            assert_eq!(value["schema"], 1, "{line}");
            value
        })
        .collect()
}

pub fn run(command: Command) -> Ran {
    Running::pipes(command).end()
}

/// A command that runs. It is killed when this is dropped.
pub struct Running {
    child: Child,
    pub stdout: Stream,
    pub stderr: Stream,
}

impl Running {
    pub fn pipes(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Stream::read(child.stdout.take().unwrap());
        let stderr = Stream::read(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// A command whose every stream is the terminal that `stream` reads.
    pub fn of_terminal(mut command: Command, stream: Stream) -> Self {
        Self {
            child: command.spawn().unwrap(),
            stderr: stream.clone(),
            stdout: stream,
        }
    }

    pub fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let status = wait_until("the command ends", || self.child.try_wait().unwrap());
        Ran {
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
        }
    }

    /// Has it end as Ctrl-C does.
    pub fn interrupt(self) -> Ran {
        self.signal(Signal::INT);
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a command has printed so far.
#[derive(Clone)]
pub struct Stream {
    printed: Arc<(Mutex<Printed>, Condvar)>,
}

#[derive(Default)]
struct Printed {
    bytes: Vec<u8>,
    ended: bool,
}

impl Stream {
    pub fn read(mut from: impl Read + Send + 'static) -> Self {
        let stream = Self {
            printed: Arc::default(),
        };
        let writing = Arc::clone(&stream.printed);
        std::thread::spawn(move || {
            let (printed, changed) = &*writing;
            let mut buffer = [0; 4096];
            // A terminal that its program has left gives an error, which is its end.
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                printed.lock().unwrap().bytes.extend(&buffer[..read]);
                changed.notify_all();
            }
            printed.lock().unwrap().ended = true;
            changed.notify_all();
        });
        stream
    }

    /// What was printed so far.
    pub fn now(&self) -> String {
        String::from_utf8_lossy(&self.printed.0.lock().unwrap().bytes).into_owned()
    }

    /// Waits until this was printed.
    pub fn wait_for(&self, text: &str) {
        let (printed, changed) = &*self.printed;
        let is_there = |printed: &Printed| String::from_utf8_lossy(&printed.bytes).contains(text);
        let (printed, _) = changed
            .wait_timeout_while(printed.lock().unwrap(), PATIENCE, |printed| {
                !printed.ended && !is_there(printed)
            })
            .unwrap();
        assert!(
            is_there(&printed),
            "not printed: {text}\nbut:\n{}",
            String::from_utf8_lossy(&printed.bytes)
        );
    }

    /// Everything, once it has ended.
    fn whole(&self) -> String {
        let (printed, changed) = &*self.printed;
        let (printed, waited) = changed
            .wait_timeout_while(printed.lock().unwrap(), PATIENCE, |printed| !printed.ended)
            .unwrap();
        assert!(!waited.timed_out(), "somebody still holds the stream");
        String::from_utf8_lossy(&printed.bytes).into_owned()
    }
}

/// Looks again and again until there is something.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not seen: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every file below a folder, with its bytes.
pub fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            found.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
        }
    }
    found.sort();
    found
}
