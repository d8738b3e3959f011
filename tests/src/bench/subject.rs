//! The guard and the proxies that it is measured against, each set up for the same work: one bearer key, two exact
//! routes, the upstream's token in place of the key, connections kept on both sides, nothing held back, no access log,
//! one worker thread.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ecto_core::gateway::{GatewayAccess, GatewayFingerprint};
use ecto_core::key::{GuardKey, make_gateway_token, make_key};
use ecto_core::ports::Guard as _;
use ecto_guard::{Limits, LoopbackGuard, Pace};
use ecto_platform::clock::SystemClock;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt as _;

use super::process::{Pinned, raise_open_files, streams_within};

/// How long a program may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

const KEY: &str = "ECTO_BENCH_KEY";
const TOKEN: &str = "ECTO_BENCH_TOKEN";

/// Who stands between the callers and the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nobody.
    NoProxy,
    /// The guard.
    Guard,
    /// nginx.
    Nginx,
    /// `HAProxy`.
    Haproxy,
    /// Caddy.
    Caddy,
}

impl Kind {
    /// All, as they stand in the table.
    pub const ALL: [Self; 5] = [
        Self::NoProxy,
        Self::Guard,
        Self::Nginx,
        Self::Haproxy,
        Self::Caddy,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoProxy => "no proxy",
            Self::Guard => "guard",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Caddy => "Caddy",
        }
    }

    /// Its version, as it says itself.
    ///
    /// # Errors
    ///
    /// Where it is not installed.
    pub fn version(self) -> Result<String> {
        let (program, argument) = match self {
            Self::NoProxy => return Ok(String::new()),
            Self::Guard => return Ok(env!("CARGO_PKG_VERSION").to_owned()),
            Self::Nginx => ("nginx", "-v"),
            Self::Haproxy => ("haproxy", "-v"),
            Self::Caddy => ("caddy", "version"),
        };
        let output = Command::new(program)
            .arg(argument)
            .output()
            .with_context(|| format!("{program} cannot be started; is it installed?"))?;
        // nginx says it on standard error.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        let version = said
            .split(|character: char| character.is_whitespace() || character == '/')
            .map(|word| word.trim_start_matches('v'))
            .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
            .with_context(|| format!("{program} does not say its version"))?;
        Ok(version.to_owned())
    }
}

/// What the callers present, and what the upstream wants. Made anew for each measurement.
#[derive(Debug, Clone)]
pub struct Secrets {
    key: SecretString,
    token: SecretString,
}

impl Secrets {
    /// Makes new ones.
    ///
    /// # Errors
    ///
    /// Where the system has no randomness.
    pub fn new() -> Result<Self> {
        let mut random = rand::rngs::SysRng;
        Ok(Self {
            key: make_key(&mut random)?,
            token: make_gateway_token(&mut random)?,
        })
    }

    /// The ones that this process was given.
    ///
    /// # Errors
    ///
    /// Where it was given none.
    pub fn from_environment() -> Result<Self> {
        Ok(Self {
            key: std::env::var(KEY)?.into(),
            token: std::env::var(TOKEN)?.into(),
        })
    }

    /// What another process is given.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, &str); 2] {
        [(KEY, self.key()), (TOKEN, self.token())]
    }

    /// What callers present.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.expose_secret()
    }

    /// What the upstream wants.
    #[must_use]
    pub fn token(&self) -> &str {
        self.token.expose_secret()
    }
}

/// One that runs.
pub struct Subject {
    kind: Kind,
    child: Option<Child>,
    commands: Option<ChildStdin>,
    answers: Option<BufReader<std::process::ChildStdout>>,
    address: SocketAddr,
    _folder: TempDir,
}

impl Subject {
    /// Starts it in front of an upstream, kept to a processor where one is given.
    ///
    /// # Errors
    ///
    /// Where it does not start, with what it printed.
    pub fn start(
        kind: Kind,
        program: &Path,
        secrets: &Secrets,
        upstream: SocketAddr,
        processor: Option<usize>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ecto-bench-").tempdir()?;
        let port = free_port()?;
        let open_files = raise_open_files()?;
        let mut command = match kind {
            Kind::NoProxy => {
                return Ok(Self {
                    kind,
                    child: None,
                    commands: None,
                    answers: None,
                    address: upstream,
                    _folder: folder,
                });
            }
            Kind::Guard => {
                // A file of its own, so that no memory is shared with the callers and the upstream.
                let own = folder.path().join("guard");
                fs::copy(program, &own)?;
                let mut command = Command::new(own);
                command
                    .args(["guard", &upstream.to_string()])
                    .envs(secrets.environment());
                command
            }
            Kind::Nginx => {
                let file = folder.path().join("nginx.conf");
                write(
                    &file,
                    &nginx(folder.path(), open_files, port, upstream, secrets),
                )?;
                let mut command = Command::new("nginx");
                command.arg("-e").arg(folder.path().join("error.log"));
                command.arg("-p").arg(folder.path()).arg("-c").arg(file);
                command
            }
            Kind::Haproxy => {
                let file = folder.path().join("haproxy.cfg");
                write(&file, &haproxy(open_files, port, upstream, secrets))?;
                let mut command = Command::new("haproxy");
                command.arg("-db").arg("-q").arg("-f").arg(file);
                command
            }
            Kind::Caddy => {
                let file = folder.path().join("Caddyfile");
                write(&file, &caddy(port, upstream, secrets))?;
                let mut command = Command::new("caddy");
                command
                    .args(["run", "--adapter", "caddyfile", "--config"])
                    .arg(file)
                    .env("GOMAXPROCS", "1")
                    .env("HOME", folder.path());
                command
            }
        };
        let log = folder.path().join("log");
        let pinned = processor.map(Pinned::to).transpose()?;
        let mut child = command
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("start {}; is it installed?", kind.name()))?;
        drop(pinned);
        let commands = child.stdin.take();
        let mut subject = Self {
            kind,
            child: None,
            commands,
            answers: None,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            _folder: folder,
        };
        if kind == Kind::Guard {
            let line = first_line(&mut child)?;
            subject.address = line.parse()?;
            subject.answers = child.stdout.take().map(BufReader::new);
        }
        subject.child = Some(child);
        subject.listens().with_context(|| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            format!("{} does not listen:\n{said}", kind.name())
        })?;
        Ok(subject)
    }

    /// Where callers ask it.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a caller presents who may.
    #[must_use]
    pub fn key<'a>(&self, secrets: &'a Secrets) -> &'a str {
        match self.kind {
            Kind::NoProxy => secrets.token(),
            Kind::Guard | Kind::Nginx | Kind::Haproxy | Kind::Caddy => secrets.key(),
        }
    }

    /// Its process, where it is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Gives the guard other keys, which are in force when this returns.
    ///
    /// # Errors
    ///
    /// Where it does not take them.
    pub fn set_keys(&mut self, keys: &[&str]) -> Result<()> {
        let (Some(commands), Some(answers)) = (&mut self.commands, &mut self.answers) else {
            bail!("only the guard takes other keys");
        };
        let order = Order {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        writeln!(commands, "{}", serde_json::to_string(&order)?)?;
        let mut line = String::new();
        answers.read_line(&mut line)?;
        if line.trim() != DONE {
            bail!("the guard did not take its keys");
        }
        Ok(())
    }

    fn listens(&mut self) -> Result<()> {
        let started = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = match &mut self.child {
                Some(child) => child.try_wait()?.is_some(),
                None => false,
            };
            if ended || started.elapsed() > START_LIMIT {
                bail!("nothing answers");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        drop(self.commands.take());
        let Some(child) = &mut self.child else {
            return;
        };
        // nginx ends its workers when it is asked to end, and not when it is killed.
        if let Some(pid) = i32::try_from(child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(5) {
            if child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn write(file: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// The first line that a child prints.
pub(super) fn first_line(child: &mut Child) -> Result<String> {
    use std::io::Read as _;
    let stdout = child.stdout.as_mut().context("no stdout")?;
    let mut line = Vec::new();
    let mut byte = [0];
    while stdout.read(&mut byte)? == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    Ok(String::from_utf8(line)?)
}

/// Returns when standard input closes: the parent has ended.
pub(super) async fn parent_ended() {
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {}
}

const DONE: &str = "done";

/// What the guard's process is told.
#[derive(Serialize, Deserialize)]
struct Order {
    keys: Vec<String>,
}

/// Is the guard until standard input closes. Prints its address first, and takes other keys from standard input.
///
/// # Errors
///
/// Where it cannot listen.
#[expect(clippy::print_stdout, reason = "its parent reads the address there")]
pub fn guard_process(upstream: SocketAddr) -> Result<()> {
    let secrets = Secrets::from_environment()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut random = rand::rngs::SysRng;
        let guard = LoopbackGuard::new(limits(), Arc::new(SystemClock), &mut random)?;
        let access = || GatewayAccess {
            address: upstream,
            token: secrets.token.clone(),
            hooks: None,
            fingerprint: GatewayFingerprint("pinned".to_owned()),
        };
        let open = async |keys: Vec<GuardKey>| {
            let address = guard
                .start(access(), keys)
                .await
                .map_err(|cause| anyhow::anyhow!("{cause:?}"))?;
            guard.release();
            anyhow::Ok(address)
        };
        println!("{}", open(vec![guard_key(0, secrets.key())?]).await?);
        let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            let order: Order = serde_json::from_str(&line)?;
            let keys = (0..).zip(&order.keys);
            open(
                keys.map(|(number, key)| guard_key(number, key))
                    .collect::<Result<_>>()?,
            )
            .await?;
            println!("{DONE}");
        }
        Ok(())
    })
}

/// The guard's own limits, but for those of one address: all callers of the measurement come from one.
fn limits() -> Limits {
    Limits {
        address_requests: Pace::new(NonZeroU32::MAX, Duration::from_secs(1)),
        address_under_way: usize::MAX,
        ..Limits::default()
    }
}

fn guard_key(number: usize, key: &str) -> Result<GuardKey> {
    let name = format!("caller-{number}").parse()?;
    Ok(GuardKey::with_all_routes(name, &key.into()))
}

fn nginx(
    folder: &Path,
    open_files: u64,
    port: u16,
    upstream: SocketAddr,
    secrets: &Secrets,
) -> String {
    let folder = folder.display();
    // As soon as fewer than a sixteenth are free, it closes those that have not asked yet (1.22): more than there can be.
    let connections = open_files + open_files / 8;
    format!(
        r#"daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log error;
events {{ worker_connections {connections}; multi_accept on; }}
http {{
  access_log off;
  server_tokens off;
  keepalive_requests 1000000000;
  keepalive_timeout 120s;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 20m;
  map_hash_bucket_size 256;
  map $http_authorization $may {{ default 0; "Bearer {key}" 1; }}
  upstream gateway {{
    server {upstream};
    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    default_type application/json;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Authorization "Bearer {token}";
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_read_timeout 1h;
    location = /v1/chat/completions {{
      if ($request_method != POST) {{ return 405; }}
      if ($may = 0) {{ return 401 '{{"error":{{"message":"wrong key"}}}}'; }}
      proxy_pass http://gateway;
    }}
    location = /v1/models {{
      if ($request_method != GET) {{ return 405; }}
      if ($may = 0) {{ return 401 '{{"error":{{"message":"wrong key"}}}}'; }}
      proxy_pass http://gateway;
    }}
    location / {{ return 404 '{{"error":{{"message":"no such path"}}}}'; }}
  }}
}}
"#,
        key = secrets.key(),
        token = secrets.token(),
    )
}

fn haproxy(open_files: u64, port: u16, upstream: SocketAddr, secrets: &Secrets) -> String {
    format!(
        r#"global
  nbthread 1
  maxconn {streams}
defaults
  mode http
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 120s
  http-reuse always
  option abortonclose
  option http-no-delay
frontend public
  bind 127.0.0.1:{port} backlog 4096
  acl key req.hdr(authorization) -m str "Bearer {key}"
  acl chat path /v1/chat/completions
  acl models path /v1/models
  http-request return status 404 content-type application/json string "{{}}" if !chat !models
  http-request return status 405 content-type application/json string "{{}}" if chat !METH_POST
  http-request return status 405 content-type application/json string "{{}}" if models !METH_GET
  http-request return status 401 content-type application/json string "{{}}" if !key
  http-request set-header Authorization "Bearer {token}"
  default_backend gateway
backend gateway
  server gateway {upstream} pool-max-conn 256
"#,
        streams = streams_within(open_files) + 50,
        key = secrets.key(),
        token = secrets.token(),
    )
}

fn caddy(port: u16, upstream: SocketAddr, secrets: &Secrets) -> String {
    let proxy = format!(
        r#"reverse_proxy {upstream} {{
      header_up Authorization "Bearer {token}"
      transport http {{
        keepalive 120s
        keepalive_idle_conns 256
        keepalive_idle_conns_per_host 256
        compression off
      }}
    }}"#,
        token = secrets.token(),
    );
    format!(
        r#"{{
  admin off
  auto_https off
  log {{
    level ERROR
  }}
}}
http://127.0.0.1:{port}, http://bench.example:{port} {{
  bind 127.0.0.1
  @chat {{
    method POST
    path /v1/chat/completions
    header Authorization "Bearer {key}"
  }}
  @models {{
    method GET
    path /v1/models
    header Authorization "Bearer {key}"
  }}
  @listed path /v1/chat/completions /v1/models
  handle @chat {{
    {proxy}
  }}
  handle @models {{
    {proxy}
  }}
  handle @listed {{
    respond `{{"error":{{"message":"wrong key"}}}}` 401
  }}
  handle {{
    respond `{{"error":{{"message":"no such path"}}}}` 404
  }}
}}
"#,
        key = secrets.key(),
    )
}
