//! A real OpenClaw gateway with a home of its own.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{Answer, Binaries, Child, Model, model::MODEL, visitor::plain_client};

/// How long the gateway may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(180);

/// How long the gateway may take to stop when asked.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How often a starting gateway is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// OpenClaw's own token in the lab. It is no secret: nothing but loopback ever sees it.
const TOKEN: &str = "lab-token-0123456789abcdef0123456789abcdef";

/// A running gateway, its configuration in a temporary home, and the model that it calls.
pub struct Gateway {
    child: Option<Child>,
    /// The stand-in model provider behind it.
    pub model: Model,
    binaries: Binaries,
    folder: TempDir,
    port: u16,
}

impl Gateway {
    /// Starts a gateway with both HTTP endpoints on, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Where it does not become ready, with the end of its log.
    pub async fn start(binaries: &Binaries) -> Result<Self> {
        Self::start_with(binaries, Self::configuration).await
    }

    /// Starts a gateway with a configuration made from its port and the model's URL.
    ///
    /// # Errors
    ///
    /// Where it does not become ready, with the end of its log.
    pub async fn start_with(
        binaries: &Binaries,
        configuration: impl FnOnce(u16, &str) -> String,
    ) -> Result<Self> {
        let mut gateway = Self::prepare(binaries, configuration).await?;
        gateway.start_again().await?;
        Ok(gateway)
    }

    /// Prepares a gateway that does not run yet.
    ///
    /// # Errors
    ///
    /// Where its folders cannot be made.
    pub async fn prepare(
        binaries: &Binaries,
        configuration: impl FnOnce(u16, &str) -> String,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ecto-gateway-").tempdir()?;
        let gateway = Self {
            child: None,
            model: Model::start().await?,
            binaries: binaries.clone(),
            folder,
            port: free_port()?,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(gateway.state())?;
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(gateway.config_path())?;
        let text = configuration(gateway.port, &gateway.model.url());
        std::io::Write::write_all(&mut &file, text.as_bytes())?;
        Ok(gateway)
    }

    /// The configuration of an ordinary gateway, with comments as people write them.
    #[must_use]
    pub fn configuration(port: u16, model_url: &str) -> String {
        format!(
            r#"// My assistant.
{{
  gateway: {{
    mode: "local", // this machine
    port: {port},
    bind: "loopback",
    auth: {{ mode: "token", token: "{TOKEN}" }},
    http: {{ endpoints: {{ chatCompletions: {{ enabled: true }}, responses: {{ enabled: true }} }} }},
  }},
  // Nothing of the lab leaves loopback or its own folders.
  update: {{ checkOnStart: false }},
  logging: {{ file: "~/.openclaw/openclaw.log" }},
  models: {{
    mode: "replace",
    catalogRefresh: {{ enabled: false }},
    providers: {{
      lab: {{
        baseUrl: "{model_url}",
        apiKey: "not-a-real-key",
        api: "openai-completions",
        models: [
          {{ id: "{MODEL}", name: "Lab", reasoning: false, input: ["text"],
            cost: {{ input: 0, output: 0, cacheRead: 0, cacheWrite: 0 }},
            contextWindow: 128000, maxTokens: 4096 }},
        ],
      }},
    }},
  }},
  agents: {{ defaults: {{ model: {{ primary: "lab/{MODEL}" }}, workspace: "~/.openclaw/workspace", skipBootstrap: true }} }},
}}
"#
        )
    }

    /// Starts the gateway with the home that it had, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Where it does not become ready, with the end of its log.
    pub async fn start_again(&mut self) -> Result<()> {
        self.child = Some(Child::start(
            &self.binaries,
            None,
            &self.binaries.openclaw(),
            ["gateway", "run"],
            self.environment()?,
            &self.home(),
            &self.log_path(),
        )?);
        self.ready().await
    }

    /// Waits until the gateway says that it is ready.
    ///
    /// # Errors
    ///
    /// Where it ended or takes too long, with the end of its log.
    pub async fn ready(&mut self) -> Result<()> {
        let client = self.client()?;
        let started = Instant::now();
        loop {
            if let Ok(response) = client.get("/readyz", None).await
                && response.status().is_success()
                && response.json::<Value>().await?["ready"] == true
            {
                return Ok(());
            }
            let child = self.child.as_mut().context("the gateway does not run")?;
            if !child.is_running()? || started.elapsed() > START_LIMIT {
                bail!("the gateway is not ready:\n{}", child.log_tail());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Stops the gateway as a service manager does.
    ///
    /// # Errors
    ///
    /// Where it does not stop.
    pub async fn stop(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the gateway does not run")?;
        child.signal(Signal::TERM)?;
        child.ended(STOP_LIMIT).await?;
        Ok(())
    }

    /// Kills the gateway as `kill -9` does.
    ///
    /// # Errors
    ///
    /// Where it does not run.
    pub async fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the gateway does not run")?;
        child.signal(Signal::KILL)?;
        child.ended(STOP_LIMIT).await?;
        Ok(())
    }

    /// Has the gateway do nothing, not even answer, as one whose one thread is busy.
    ///
    /// # Errors
    ///
    /// Where it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Has the gateway go on after [`Gateway::freeze`].
    ///
    /// # Errors
    ///
    /// Where it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("the gateway does not run")?;
        child.signal(signal)
    }

    /// Returns a client that speaks to the gateway from this machine.
    ///
    /// # Errors
    ///
    /// Where no client could be made.
    pub fn client(&self) -> Result<GatewayClient> {
        GatewayClient::new(self.port)
    }

    /// Base URL, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Port that the gateway listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The gateway's own token, of [`Gateway::configuration`].
    #[must_use]
    pub const fn token(&self) -> &'static str {
        TOKEN
    }

    /// Home folder that OpenClaw sees.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// OpenClaw's folder in that home.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.path().join(".openclaw")
    }

    /// OpenClaw's configuration file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.state().join("openclaw.json")
    }

    /// Process id, where it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().map(Child::pid)
    }

    /// Returns everything that the gateway printed.
    ///
    /// # Errors
    ///
    /// Where the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.log_path())?).into_owned())
    }

    /// The environment that `openclaw` needs to find this gateway's home.
    ///
    /// # Errors
    ///
    /// Where a path cannot be in `PATH`.
    pub fn environment(&self) -> Result<Vec<(&'static str, std::ffi::OsString)>> {
        let path = std::env::join_paths([
            self.binaries.node_folder(),
            "/usr/bin".into(),
            "/bin".into(),
        ])?;
        let temporary = self.folder.path().join("tmp");
        fs::create_dir_all(&temporary)?;
        Ok(vec![
            ("HOME", self.home().into()),
            ("TMPDIR", temporary.into()),
            ("PATH", path),
        ])
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("gateway.log")
    }
}

/// Speaks HTTP to a gateway as a local program does.
pub struct GatewayClient {
    client: reqwest::Client,
    port: u16,
    base: String,
}

impl GatewayClient {
    /// Speaks to the gateway at this port.
    ///
    /// # Errors
    ///
    /// Where no client could be made.
    pub fn new(port: u16) -> Result<Self> {
        Ok(Self {
            client: plain_client()?,
            port,
            base: format!("http://127.0.0.1:{port}"),
        })
    }

    /// Sends a request without a body, with the path's bytes exactly as given and just these headers.
    ///
    /// # Errors
    ///
    /// Where the gateway does not answer.
    pub async fn send_raw(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, String)],
    ) -> Result<Answer> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
            .body(Full::new(Bytes::new()))?;
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            request.headers_mut().insert(name, value.try_into()?);
        }
        let host: HeaderValue = format!("127.0.0.1:{}", self.port).try_into()?;
        request.headers_mut().entry(HOST).or_insert(host);
        let (parts, body) = sender.send_request(request).await?.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// Sends a GET, with a bearer token where one is given.
    ///
    /// # Errors
    ///
    /// Where the gateway does not answer.
    pub async fn get(&self, path: &str, token: Option<&str>) -> Result<reqwest::Response> {
        let mut request = self.client.get(format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Ok(request.send().await?)
    }

    /// Sends a POST with a JSON body, with a bearer token where one is given.
    ///
    /// # Errors
    ///
    /// Where the gateway does not answer.
    pub async fn post(
        &self,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> Result<reqwest::Response> {
        let mut request = self.client.post(format!("{}{path}", self.base)).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Ok(request.send().await?)
    }
}

/// Returns a port that nothing listens on. OpenClaw cannot choose one by itself.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
