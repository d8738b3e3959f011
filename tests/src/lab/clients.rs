//! OpenAI's own client libraries, run as an ordinary program on the internet runs them.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::binaries::{is_set, is_stamped, may_install, run, say, target_folder, timed};
use super::{Binaries, Lab};

const PYTHON_LIBRARY: &str = "openai==3.51.0";
const JAVASCRIPT_LIBRARY: &str = "openai@7.55.0";

/// How long a program may take to say something.
const LIMIT: Duration = Duration::from_secs(60);

/// The language of a program, and with it the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// The `openai` package of Python's registry.
    Python,
    /// The `openai` package of JavaScript's registry.
    JavaScript,
}

/// Both libraries, and the way from them to the lab's public side.
pub struct Clients {
    folder: PathBuf,
    node: PathBuf,
    own: TempDir,
    base_url: String,
    way: Way,
}

/// Says that there is no network to install the libraries from, where it is set to something.
const NO_NETWORK: &str = "ECTO_NO_NETWORK";

impl Clients {
    /// Installs the libraries where they are not there yet. `None`, after saying so, where they cannot be had and
    /// `ECTO_NO_NETWORK` says why.
    ///
    /// # Errors
    ///
    /// Where they cannot be installed, and where the lab has no public side.
    pub async fn ready(lab: &Lab) -> Result<Option<Self>> {
        let binaries = Binaries::ready().await?;
        let Some(folder) = Self::install(&binaries).await? else {
            return Ok(None);
        };
        let own = tempfile::Builder::new().prefix("ecto-clients-").tempdir()?;
        fs::write(own.path().join("root.pem"), lab.authority.root_pem())?;
        Ok(Some(Self {
            folder,
            node: binaries.node_folder(),
            own,
            base_url: format!("https://{}/v1", lab.node.host()),
            way: Way::start(lab.ingress(443)?).await?,
        }))
    }

    /// Installs the libraries where they are not there yet, and gives their folder; `None` as for [`Clients::ready`].
    ///
    /// # Errors
    ///
    /// Where they cannot be installed.
    pub async fn install(binaries: &Binaries) -> Result<Option<PathBuf>> {
        let node = binaries.node_folder();
        let installed = tokio::task::spawn_blocking(move || install(&node)).await?;
        unless_excused(installed, is_set(NO_NETWORK))
    }

    /// A program with a key, which asks again as often as its library does by itself.
    #[must_use]
    pub fn client(&self, language: Language, key: &str) -> Client<'_> {
        Client {
            clients: self,
            language,
            key: key.to_owned(),
            max_retries: None,
        }
    }
}

/// A program with a key, to be run.
pub struct Client<'a> {
    clients: &'a Clients,
    /// The language that it is written in.
    pub language: Language,
    key: String,
    max_retries: Option<u32>,
}

impl Client<'_> {
    /// The same program, which asks once.
    #[must_use]
    pub fn without_retries(mut self) -> Self {
        self.max_retries = Some(0);
        self
    }

    /// Starts it: what it does (see `tests/clients`), and the text that it says to the model.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn start(&self, act: &str, text: &str) -> Result<Program> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let clients = self.clients;
        let mut command = match self.language {
            Language::Python => {
                let mut command = Command::new(clients.folder.join("python/bin/python"));
                command.arg("-B").arg(sources.join("client.py"));
                command
            }
            Language::JavaScript => {
                // Node finds packages from where the program is.
                let program = clients.folder.join("javascript/client.mjs");
                fs::copy(sources.join("client.mjs"), &program)?;
                let mut command = Command::new(clients.node.join("node"));
                command.arg(program);
                command
            }
        };
        let root: OsString = clients.own.path().join("root.pem").into();
        let mut child = command
            .args([act, text])
            .args(self.max_retries.map(|count| count.to_string()))
            .env_clear()
            .env("HOME", clients.own.path())
            .env("PATH", "/usr/bin:/bin")
            .env("OPENAI_API_KEY", &self.key)
            .env("OPENAI_BASE_URL", &clients.base_url)
            .env("HTTPS_PROXY", clients.way.url())
            .env("SSL_CERT_FILE", &root)
            .env("NODE_EXTRA_CA_CERTS", &root)
            .env("NODE_USE_ENV_PROXY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        Ok(Program { child, lines })
    }

    /// Runs it to its end and gives all that it said.
    ///
    /// # Errors
    ///
    /// Where it does not end by itself.
    pub async fn run(&self, act: &str, text: &str) -> Result<Vec<Value>> {
        self.start(act, text)?.rest().await
    }
}

/// A program that runs.
pub struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// The next thing that it says; `None` once it has ended.
    ///
    /// # Errors
    ///
    /// Where it says nothing for long, or nothing that can be read.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        let line = tokio::time::timeout(LIMIT, self.lines.next_line())
            .await
            .context("the program says nothing")??;
        Ok(line.map(|line| serde_json::from_str(&line)).transpose()?)
    }

    /// All that it still says until it ends.
    ///
    /// # Errors
    ///
    /// As [`Program::next`], and where it fails.
    pub async fn rest(mut self) -> Result<Vec<Value>> {
        let mut said = Vec::new();
        while let Some(line) = self.next().await? {
            said.push(line);
        }
        let output = self.child.wait_with_output().await?;
        ensure!(
            output.status.success(),
            "the program failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }
}

/// What cannot be installed fails, unless somebody said that there is no network; then that is said.
fn unless_excused(installed: Result<PathBuf>, no_network: bool) -> Result<Option<PathBuf>> {
    match installed {
        Ok(folder) => Ok(Some(folder)),
        Err(fault) if no_network => {
            say(&format!(
                "skipped: OpenAI's client libraries are not installed, and {NO_NETWORK} says that there is no network: {fault:#}"
            ));
            Ok(None)
        }
        Err(fault) => Err(fault.context(format!(
            "OpenAI's client libraries cannot be installed, so nothing shows that they work through the guard. They come \
             from the registries of Python and JavaScript; where there is no network, set {NO_NETWORK}=1 to skip this"
        ))),
    }
}

fn install(node: &Path) -> Result<PathBuf> {
    let folder = target_folder()?.join("lab/clients");
    fs::create_dir_all(&folder)?;
    let lock = fs::File::create(folder.join("lock"))?;
    lock.lock().context("wait for the lock of the libraries")?;
    let wanted = format!("{PYTHON_LIBRARY} {JAVASCRIPT_LIBRARY}");
    let stamp = folder.join("stamp");
    if is_stamped(&stamp, &wanted) {
        return Ok(folder);
    }
    may_install()?;
    timed("OpenAI's client libraries are installed", || {
        let python = folder.join("python");
        let mut make = std::process::Command::new("python3");
        run(make.args(["-m", "venv", "--clear"]).arg(&python))?;
        let mut pip = std::process::Command::new(python.join("bin/pip"));
        run(pip.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            PYTHON_LIBRARY,
        ]))?;
        let javascript = folder.join("javascript");
        fs::create_dir_all(&javascript)?;
        fs::write(javascript.join("package.json"), "{\"private\":true}\n")?;
        run(&mut super::binaries::npm_install(
            &javascript,
            JAVASCRIPT_LIBRARY,
            Some(node),
        )?)
    })?;
    fs::write(stamp, wanted)?;
    Ok(folder)
}

/// Takes a program's connections to wherever it wants to the lab's public side: a proxy as `HTTPS_PROXY` names one.
struct Way {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Way {
    async fn start(ingress: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Err(fault) = carry(stream, ingress).await {
                        say(&format!(
                            "a client's connection did not come through: {fault:#}"
                        ));
                    }
                });
            }
        });
        Ok(Self { address, accepting })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(mut client: TcpStream, ingress: SocketAddr) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    if !head.starts_with(b"CONNECT ") {
        bail!("not a CONNECT: {}", String::from_utf8_lossy(&head));
    }
    let mut server = TcpStream::connect(ingress).await?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    // Either side may break off; that is the end of both.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn libraries_that_cannot_be_installed_fail_unless_there_is_no_network() {
        let fault = || Err(anyhow!("pip failed"));
        let failed = format!("{:#}", unless_excused(fault(), false).unwrap_err());
        assert!(failed.contains("pip failed"), "{failed}");
        assert!(failed.contains("set ECTO_NO_NETWORK=1"), "{failed}");
        assert_eq!(unless_excused(fault(), true).unwrap(), None);
        let folder = PathBuf::from("clients");
        for no_network in [false, true] {
            let installed = unless_excused(Ok(folder.clone()), no_network).unwrap();
            assert_eq!(installed, Some(folder.clone()));
        }
    }
}
