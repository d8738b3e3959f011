//! A home folder with OpenClaw in it, and the adapter that looks at it.

#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ecto_core::gateway::GatewayView;
use ecto_core::ports::Gateway as _;
use ecto_core::step::Reporter;
use ecto_openclaw::{Environment, OpenClaw, Options};
use secrecy::SecretString;

/// The token that the adapter makes where there is none.
pub const MADE: &str = "made-for-the-test-0123456789abcdefghijklmnop";

/// A home folder.
pub struct Home {
    folder: tempfile::TempDir,
    pub variables: BTreeMap<String, String>,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join(".openclaw")).unwrap();
        Self {
            folder,
            variables: BTreeMap::new(),
        }
    }

    /// A home folder with this configuration, on a port on which nobody listens.
    pub fn with_config(text: impl AsRef<[u8]>) -> Self {
        let home = Self::new();
        fs::write(home.config(), text).unwrap();
        home
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    pub fn openclaw(&self) -> PathBuf {
        self.path().join(".openclaw")
    }

    pub fn config(&self) -> PathBuf {
        self.openclaw().join("openclaw.json")
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("ecto")
    }

    pub fn programs(&self) -> PathBuf {
        self.path().join("programs")
    }

    pub fn options(&self) -> Options {
        let mut environment = Environment::new(self.variables.clone(), self.path());
        environment.program_folders = vec![self.programs()];
        environment.launch_agents = None;
        let make = Arc::new(|| Ok(SecretString::from(MADE)));
        Options::new(environment, self.state(), make)
    }

    pub fn adapter(&self) -> OpenClaw {
        OpenClaw::new(self.options())
    }

    /// What is seen, in one line without the folder of the test.
    pub fn shown(&self, view: &GatewayView) -> String {
        let text = serde_json::to_string(view).unwrap();
        text.replace(&self.path().display().to_string(), "~")
    }

    pub async fn seen(&self) -> String {
        self.shown(&self.adapter().observe().await)
    }

    pub async fn set_up(&self) -> String {
        match self.adapter().set_up(Reporter::silent()).await {
            Ok(()) => fs::read_to_string(self.config()).unwrap(),
            Err(cause) => self.plain(&serde_json::to_string(&cause).unwrap()),
        }
    }

    pub fn plain(&self, text: &str) -> String {
        text.replace(&self.path().display().to_string(), "~")
    }
}

/// Every file below a folder with its content, to see that nothing was changed or left over.
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap_or_default());
        }
    }
    found
}

/// A port on which nobody listens.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
