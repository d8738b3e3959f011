//! A real tailscaled, run as an ordinary user.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Signal, getuid};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Authority, Binaries, Child, LocalApi, Tailnet, child::User};

/// How long tailscaled may take to answer at all.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A tailscaled of its own, with its state, socket and certificate in a temporary folder.
pub struct Node {
    child: Option<Child>,
    binaries: Binaries,
    folder: TempDir,
    user: Option<User>,
    program: PathBuf,
    name: String,
    host: String,
    control_url: String,
}

/// What happened while a node signed in.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Link that had to be approved.
    pub link: String,
    /// Time until the link was known.
    pub link_after: Duration,
    /// Time from approval until the node ran.
    pub running_after: Duration,
}

impl Node {
    /// Starts tailscaled and sets its name and control server; it is not signed in yet.
    ///
    /// # Errors
    ///
    /// Where it does not start, with the end of its log.
    pub async fn start(
        binaries: &Binaries,
        tailnet: &Tailnet,
        authority: &Authority,
        name: &str,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ecto-node-").tempdir()?;
        let user = ordinary_user()?;
        let mut node = Self {
            child: None,
            binaries: binaries.clone(),
            user,
            program: binaries.tailscaled(),
            name: name.to_owned(),
            host: format!("{name}.{}", tailnet.domain()),
            control_url: tailnet.control_url().to_owned(),
            folder,
        };
        node.prepare(authority)?;
        node.start_again().await?;
        let preferences = json!({
            "ControlURL": node.control_url, "ControlURLSet": true,
            "Hostname": node.name, "HostnameSet": true,
        });
        let answer = node.localapi().patch("prefs", &preferences).await?;
        ensure!(answer.status.is_success(), "set prefs: {}", answer.text());
        Ok(node)
    }

    /// Starts tailscaled with the state that it had when it ended.
    ///
    /// # Errors
    ///
    /// Where it does not answer, with the end of its log.
    pub async fn start_again(&mut self) -> Result<()> {
        let state = self.state();
        let mut child = Child::start(
            &self.binaries,
            self.user,
            &self.program,
            [
                "--no-logs-no-support".to_owned(),
                "--tun=userspace-networking".to_owned(),
                "--port=0".to_owned(),
                format!("--statedir={}", state.display()),
                format!("--socket={}", self.socket().display()),
            ],
            self.environment(),
            &state,
            &self.log_path(),
        )?;
        let started = Instant::now();
        while self.localapi().get("status?peers=false").await.is_err() {
            if !child.is_running()? || started.elapsed() > START_LIMIT {
                bail!("tailscaled does not answer:\n{}", child.log_tail());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.child = Some(child);
        Ok(())
    }

    /// Kills tailscaled as `kill -9` does.
    ///
    /// # Errors
    ///
    /// Where it does not run.
    pub async fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("tailscaled does not run")?;
        child.signal(Signal::KILL)?;
        child.ended(START_LIMIT).await?;
        Ok(())
    }

    /// Signs in with a link that the tailnet's administrator approves, and waits until the node runs.
    ///
    /// # Errors
    ///
    /// Where any step fails.
    pub async fn sign_in(&self, tailnet: &Tailnet) -> Result<Signed> {
        let localapi = self.localapi();
        let mut bus = localapi.watch(2).await?;
        let started = Instant::now();
        self.begin_sign_in().await?;
        let link = bus
            .find(|message| message["BrowseToURL"].as_str().map(str::to_owned))
            .await?;
        let link_after = started.elapsed();
        let approved = Instant::now();
        tailnet.approve(&link).await?;
        bus.find(|message| (message["State"] == 6).then_some(()))
            .await?;
        let running_after = approved.elapsed();
        self.certificates_allowed(&mut bus, tailnet).await?;
        Ok(Signed {
            link,
            link_after,
            running_after,
        })
    }

    /// Asks tailscaled to sign in; its link comes on the bus and in the status.
    ///
    /// # Errors
    ///
    /// Where tailscaled refuses.
    pub async fn begin_sign_in(&self) -> Result<()> {
        let localapi = self.localapi();
        let mut preferences = localapi.get("prefs").await?.json()?;
        preferences["WantRunning"] = Value::Bool(true);
        preferences["LoggedOut"] = Value::Bool(false);
        let answer = localapi
            .post("start", &json!({ "UpdatePrefs": preferences }))
            .await?;
        ensure!(answer.status == 204, "start: {}", answer.text());
        let answer = localapi.post("login-interactive", &Value::Null).await?;
        ensure!(answer.status == 204, "login: {}", answer.text());
        Ok(())
    }

    /// Waits until the node knows what the tailnet grants to it.
    async fn certificates_allowed(&self, bus: &mut super::Bus, tailnet: &Tailnet) -> Result<()> {
        let granted =
            tailnet.nodes().await?.into_iter().any(|node| {
                node.name == self.name && node.capabilities != super::Capabilities::None
            });
        if !granted {
            return Ok(());
        }
        loop {
            let status = self.localapi().status().await?;
            if status["Self"]["CapMap"].get("https").is_some() {
                return Ok(());
            }
            bus.next().await?;
        }
    }

    /// Speaks to this tailscaled with nothing of Ecto in between.
    #[must_use]
    pub fn localapi(&self) -> LocalApi {
        LocalApi::new(&self.socket())
    }

    /// Path of its LocalAPI socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("tailscaled.sock")
    }

    /// Name in the tailnet.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Public host name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Process id of tailscaled, where it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().map(Child::pid)
    }

    /// Folder of its state; certificates are in `certs`.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Returns everything that tailscaled logged.
    ///
    /// # Errors
    ///
    /// Where the log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.log_path())?).into_owned())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Environment in which tailscaled takes a certificate that is already there, and speaks to loopback alone.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let home = self.state().display().to_string();
        vec![
            ("HOME", home.clone()),
            ("TMPDIR", home),
            ("PATH", "/usr/bin:/bin:/usr/sbin:/sbin".to_owned()),
            // Any value but the public one makes it accept certificates of an unknown authority
            // (feature/acme/certstore.go of v1.102.5). Nothing listens there.
            (
                "TS_DEBUG_ACME_DIRECTORY_URL",
                "http://127.0.0.1:1/directory".to_owned(),
            ),
            ("TS_DISABLE_PORTMAPPER", "true".to_owned()),
            ("TS_NO_LOGS_NO_SUPPORT", "true".to_owned()),
            ("TS_PANIC_IF_HIT_MAIN_CONTROL", "true".to_owned()),
        ]
    }

    fn prepare(&mut self, authority: &Authority) -> Result<()> {
        let certificates = self.state().join("certs");
        fs::create_dir_all(&certificates)?;
        let certificate = authority.certify(&self.host)?;
        let file = |extension| certificates.join(format!("{}.{extension}", self.host));
        fs::write(file("crt"), &certificate.chain_pem)?;
        fs::write(file("key"), &certificate.key_pem)?;
        fs::write(self.log_path(), "")?;
        let Some(user) = self.user else {
            return Ok(());
        };
        for path in [
            self.folder.path(),
            &self.state(),
            &certificates,
            &file("crt"),
            &file("key"),
        ] {
            give(path, user)?;
        }
        // The ordinary user may not be allowed to look into the target folder.
        let program = self.folder.path().join("tailscaled");
        fs::copy(&self.program, &program)?;
        self.program = program;
        Ok(())
    }
}

fn give(path: &Path, user: User) -> Result<()> {
    chown(path, Some(user.uid), Some(user.gid))
        .with_context(|| format!("give {} to an ordinary user", path.display()))
}

/// Returns whom to run tailscaled as: `nobody` where the tests run as root, and otherwise no one else.
fn ordinary_user() -> Result<Option<User>> {
    if !getuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let nobody = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&"nobody") && fields.len() > 3)
        .context("the tests run as root and there is no user nobody")?;
    Ok(Some(User {
        uid: nobody[2].parse()?,
        gid: nobody[3].parse()?,
    }))
}
