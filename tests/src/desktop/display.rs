//! The screen and the session on it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use zbus::zvariant::{DynamicType, ObjectPath, OwnedObjectPath, OwnedValue, Value};

use super::process::{Child, Output};
use super::{LIMIT, LOOK_EVERY};

/// What a desktop is made of.
const PROGRAMS: [&str; 5] = [
    "Xvfb",
    "openbox",
    "dbus-daemon",
    "setpriv",
    "WebKitWebDriver",
];

/// The password of the secret store.
const PASSWORD: &[u8] = b"the password of nobody";

/// What holds the secrets.
const COLLECTION: &str = "/org/freedesktop/secrets/collection/login";

/// The Secret Service's own interface.
const SERVICE: &str = "org.freedesktop.Secret.Service";

/// A bus on which nothing is started because somebody asks for it.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;

/// A private screen with a window manager and a session bus, and a home with nothing in it.
pub struct Display {
    environment: Vec<(OsString, OsString)>,
    bus: String,
    name: String,
    // Ends in this order: what draws before what it draws on, the folder last.
    children: Vec<Child>,
    folder: TempDir,
}

/// The programs that a desktop needs and that this machine does not have; `cargo xtask test` installs them.
#[must_use]
pub fn missing_programs() -> Vec<&'static str> {
    PROGRAMS
        .into_iter()
        .filter(|program| which::which(program).is_err())
        .collect()
}

impl Display {
    /// Starts all of it, and waits until windows are managed.
    ///
    /// # Errors
    ///
    /// What is missing or did not start.
    pub async fn start() -> Result<Self> {
        let missing = missing_programs();
        if !missing.is_empty() {
            bail!(
                "{} missing on this machine; `cargo xtask test` installs them where apt-get can",
                missing.join(", ")
            );
        }
        let folder = tempfile::Builder::new().prefix("ecto-d").tempdir()?;
        let (name, screen) = start_screen(folder.path())?;
        let (bus, session) = start_bus(folder.path())?;
        let environment = environment(folder.path(), &name, &bus)?;
        let mut display = Self {
            environment,
            bus,
            name,
            children: vec![session, screen],
            folder,
        };
        let manager = display.start_window_manager().await?;
        display.children.insert(0, manager);
        Ok(display)
    }

    /// The variables that programs on this desktop have, and no others.
    #[must_use]
    pub fn environment(&self) -> &[(OsString, OsString)] {
        &self.environment
    }

    /// The address of the session bus.
    #[must_use]
    pub fn bus(&self) -> &str {
        &self.bus
    }

    /// The name of the screen, such as `:99`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A folder that ends with the desktop.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a program on this desktop.
    ///
    /// # Errors
    ///
    /// Where it cannot be started.
    pub fn run<A>(&self, program: &str, arguments: A) -> Result<Child>
    where
        A: IntoIterator,
        A::Item: AsRef<OsStr>,
    {
        let found = which::which(program).with_context(|| format!("{program} is missing"))?;
        let log = self.folder().join(format!(
            "{}.txt",
            found.file_name().unwrap_or_default().display()
        ));
        Child::start(
            &found,
            arguments,
            self.environment.iter().cloned(),
            &log,
            Output::Logged,
        )
    }

    /// Starts the secret store of this desktop, unlocked and empty, and waits until it answers.
    ///
    /// # Errors
    ///
    /// Where gnome-keyring is missing or does not start.
    pub async fn unlock_secret_store(&mut self) -> Result<()> {
        // It goes into the background by itself, and ends with the session bus.
        let mut store = Command::new("gnome-keyring-daemon")
            .args(["--unlock", "--components=secrets"])
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("gnome-keyring-daemon cannot be started")?;
        let mut password = store.stdin.take().context("no input")?;
        password.write_all(PASSWORD)?;
        drop(password);
        let status = tokio::task::spawn_blocking(move || store.wait()).await??;
        if !status.success() {
            bail!("gnome-keyring-daemon did not start: {status}");
        }
        let connection = self.connect().await?;
        let names = zbus::fdo::DBusProxy::new(&connection).await?;
        let begin = Instant::now();
        while !names
            .name_has_owner("org.freedesktop.secrets".try_into()?)
            .await?
        {
            if begin.elapsed() > LIMIT {
                bail!("the secret store does not answer");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Locks the secret store, as a person or a screen saver does. Nothing on this desktop asks for its password.
    ///
    /// # Errors
    ///
    /// Where there is none, or it does not lock.
    pub async fn lock_secret_store(&self) -> Result<()> {
        let collections = vec![ObjectPath::try_from(COLLECTION)?];
        let connection = self.connect().await?;
        let locked = ask_secret_store(&connection, SERVICE, "Lock", &collections).await?;
        let (locked, _): (Vec<OwnedObjectPath>, OwnedObjectPath) = locked.body().deserialize()?;
        if locked.len() != 1 {
            bail!("the secret store is not locked: {locked:?}");
        }
        Ok(())
    }

    /// Unlocks it again, as somebody does who types its password.
    ///
    /// # Errors
    ///
    /// Where there is none, or it takes another password.
    pub async fn unlock_secret_store_again(&self) -> Result<()> {
        let connection = self.connect().await?;
        let plain = ("plain", Value::from(""));
        let opened = ask_secret_store(&connection, SERVICE, "OpenSession", &plain).await?;
        let (_, session): (OwnedValue, OwnedObjectPath) = opened.body().deserialize()?;
        let password = (session, Vec::<u8>::new(), PASSWORD.to_vec(), "text/plain");
        // gnome-keyring's own, which its prompt is not needed for.
        let internal = "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface";
        let unlock = (ObjectPath::try_from(COLLECTION)?, password);
        ask_secret_store(&connection, internal, "UnlockWithMasterPassword", &unlock).await?;
        Ok(())
    }

    async fn connect(&self) -> Result<zbus::Connection> {
        let bus = zbus::connection::Builder::address(self.bus.as_str())?;
        Ok(bus.build().await?)
    }

    /// Writes what is on the screen into a PNG file.
    ///
    /// # Errors
    ///
    /// Where ImageMagick is missing or cannot write there.
    pub fn screenshot(&self, file: &Path) -> Result<()> {
        let status = Command::new("import")
            .args(["-window", "root"])
            .arg(file)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .status()
            .context("import is missing; ImageMagick has it")?;
        if !status.success() {
            bail!("import failed: {status}");
        }
        Ok(())
    }

    async fn start_window_manager(&self) -> Result<Child> {
        let ready = self.folder().join("managed");
        let mut manager = self.run(
            "openbox",
            [
                "--sm-disable",
                "--startup",
                &format!("touch {}", ready.display()),
            ],
        )?;
        let begin = Instant::now();
        while !ready.exists() {
            if begin.elapsed() > LIMIT {
                bail!("the window manager does not start:\n{}", manager.log());
            }
            if let Ok(status) = manager.ended(LOOK_EVERY).await {
                bail!("the window manager ended: {status}\n{}", manager.log());
            }
        }
        Ok(manager)
    }
}

async fn ask_secret_store(
    connection: &zbus::Connection,
    interface: &str,
    method: &str,
    arguments: &(impl serde::Serialize + DynamicType),
) -> Result<zbus::Message> {
    let (name, place) = ("org.freedesktop.secrets", "/org/freedesktop/secrets");
    let answer = connection
        .call_method(Some(name), place, Some(interface), method, arguments)
        .await?;
    Ok(answer)
}

fn start_screen(folder: &Path) -> Result<(String, Child)> {
    let mut screen = Child::start(
        &which::which("Xvfb")?,
        [
            "-displayfd",
            "1",
            "-screen",
            "0",
            "1280x800x24",
            "-nolisten",
            "tcp",
            "-noreset",
        ],
        [("PATH", path())],
        &folder.join("Xvfb.txt"),
        Output::Piped,
    )?;
    let number = first_line(&mut screen)?;
    Ok((format!(":{number}"), screen))
}

fn start_bus(folder: &Path) -> Result<(String, Child)> {
    let configuration = folder.join("bus.conf");
    let socket = folder.join("bus");
    fs::write(
        &configuration,
        BUS.replace("SOCKET", &socket.display().to_string()),
    )?;
    let mut bus = Child::start(
        &which::which("dbus-daemon")?,
        [
            OsString::from("--nofork"),
            "--print-address=1".into(),
            format!("--config-file={}", configuration.display()).into(),
        ],
        [("PATH", path())],
        &folder.join("dbus-daemon.txt"),
        Output::Piped,
    )?;
    Ok((first_line(&mut bus)?, bus))
}

fn first_line(child: &mut Child) -> Result<String> {
    let mut line = String::new();
    BufReader::new(child.output()?).read_line(&mut line)?;
    let line = line.trim().to_owned();
    if line.is_empty() {
        bail!("it did not start:\n{}", child.log());
    }
    Ok(line)
}

fn environment(folder: &Path, screen: &str, bus: &str) -> Result<Vec<(OsString, OsString)>> {
    let mut environment: Vec<(OsString, OsString)> = [
        ("DISPLAY", screen),
        ("DBUS_SESSION_BUS_ADDRESS", bus),
        ("LANG", "C.UTF-8"),
        ("GDK_BACKEND", "x11"),
        ("QT_QPA_PLATFORM", "xcb"),
        ("XDG_CURRENT_DESKTOP", "test"),
        // There is no graphics card, and no screen reader.
        ("LIBGL_ALWAYS_SOFTWARE", "1"),
        ("WEBKIT_DISABLE_DMABUF_RENDERER", "1"),
        ("NO_AT_BRIDGE", "1"),
        ("GTK_A11Y", "none"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into();
    environment.push(("PATH".into(), path()));
    for (variable, name) in [
        ("HOME", "home"),
        ("XDG_RUNTIME_DIR", "run"),
        ("XDG_CONFIG_HOME", "config"),
        ("XDG_DATA_HOME", "data"),
        ("XDG_STATE_HOME", "state"),
        ("XDG_CACHE_HOME", "cache"),
        ("TMPDIR", "tmp"),
    ] {
        let own = folder.join(name);
        make_private(&own)?;
        environment.push((variable.into(), own.into()));
    }
    Ok(environment)
}

fn make_private(folder: &PathBuf) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    Ok(fs::DirBuilder::new().mode(0o700).create(folder)?)
}

fn path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into())
}
