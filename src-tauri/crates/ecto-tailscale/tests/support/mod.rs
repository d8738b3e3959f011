//! A machine in a temp folder, with a stand-in for tailscaled where the test wants one.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ecto_core::cause::Cause;
use ecto_core::ports::{Claim, Tailnet as _};
use ecto_core::proof::Opening;
use ecto_core::step::{Reporter, StepNote, Waiting};
use ecto_core::tailnet::{NodeChoice, TailnetView};
use ecto_sandbox::tailnet::{Tailnet, TailnetBuilder};
use ecto_tailscale::{Administrator, OperatingSystem, OwnNodePlaces, Places, Tailscale};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

/// Longer than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(60);

pub async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work)
        .await
        .unwrap_or_else(|_| panic!("it took too long"))
}

/// Remembers what it was asked to run.
#[derive(Default)]
pub struct RecordingAdministrator {
    pub runs: Mutex<Vec<(PathBuf, Vec<OsString>)>>,
    pub refuses: bool,
}

#[async_trait]
impl Administrator for RecordingAdministrator {
    async fn run(&self, program: &Path, arguments: &[OsString]) -> Result<(), Cause> {
        let run = (program.to_owned(), arguments.to_vec());
        self.runs.lock().unwrap().push(run);
        if self.refuses {
            return Err(Cause::AdministratorCancelled);
        }
        Ok(())
    }
}

pub struct Machine {
    pub folder: TempDir,
    pub places: Places,
    pub administrator: Arc<RecordingAdministrator>,
}

impl Machine {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("ts").tempdir().unwrap();
        let places = places(folder.path());
        Self {
            folder,
            places,
            administrator: Arc::default(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a program for `/bin/sh` into the folder in which programs are looked for.
    pub fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.path("bin").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let draft = path.with_extension("draft");
        std::fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Written by another process: a child that a test beside this one starts meanwhile would hold the file open
        // for writing, and it could not be run.
        let copied = std::process::Command::new("/bin/cp")
            .arg("-f")
            .args([&draft, &path])
            .status();
        assert!(copied.unwrap().success());
        path
    }

    pub fn tailscale(&self) -> Tailscale {
        Tailscale::new(self.places.clone(), self.administrator.clone())
    }
}

pub fn places(folder: &Path) -> Places {
    let own = folder.join("own");
    Places {
        system: OperatingSystem::Linux,
        system_sockets: vec![folder.join("tailscaled.sock")],
        standalone_folder: folder.join("standalone"),
        application: folder.join("Tailscale.app"),
        program_folders: vec![folder.join("bin")],
        launch_daemons: folder.join("daemons"),
        os_release: folder.join("os-release"),
        lsof: folder.join("bin/lsof"),
        open: folder.join("bin/open"),
        own: OwnNodePlaces {
            socket: own.join("s.sock"),
            log: own.join("tailscaled.log"),
            state: own,
            arguments: Vec::new(),
            environment: Vec::new(),
        },
        environment: Vec::new(),
        host_name: "Sams-Mac.local".to_owned(),
        control: None,
    }
}

/// A machine whose system tailscaled is the stand-in.
pub struct World {
    pub tailscale: Arc<Tailscale>,
    pub tailnet: Tailnet,
    pub machine: Machine,
}

impl World {
    pub async fn start(builder: TailnetBuilder) -> Self {
        let machine = Machine::new();
        let tailnet = builder.start(machine.folder.path()).await.unwrap();
        Self {
            tailscale: Arc::new(machine.tailscale()),
            tailnet,
            machine,
        }
    }

    pub async fn ready() -> Self {
        Self::start(Tailnet::builder().signed_in().funnel_allowed()).await
    }

    pub async fn view(&self) -> TailnetView {
        self.tailscale.observe(NodeChoice::Auto).await
    }

    pub async fn open(&self) -> Result<Box<dyn Claim>, Cause> {
        in_time(self.tailscale.open(NodeChoice::Auto, opening())).await
    }

    /// Begins to sign in, and returns what it tells and how it ends.
    pub fn sign_in(&self) -> (Notes, tokio::task::JoinHandle<Result<(), Cause>>) {
        let (reporter, notes) = Reporter::channel();
        let tailscale = self.tailscale.clone();
        let task = tokio::spawn(async move { tailscale.sign_in(NodeChoice::Auto, reporter).await });
        (Notes(notes), task)
    }

    pub fn allow_funnel(&self) -> (Notes, tokio::task::JoinHandle<Result<(), Cause>>) {
        let (reporter, notes) = Reporter::channel();
        let tailscale = self.tailscale.clone();
        let task =
            tokio::spawn(async move { tailscale.allow_funnel(NodeChoice::Auto, reporter).await });
        (Notes(notes), task)
    }

    /// Methods and names of what the stand-in was asked.
    pub fn asked(&self) -> Vec<String> {
        let name = |path: &str| {
            let name = path.trim_start_matches("/localapi/v0/");
            name.split('?').next().unwrap_or_default().to_owned()
        };
        let requests = self.tailnet.requests();
        let asked = requests
            .iter()
            .map(|request| format!("{} {}", request.method, name(&request.path)));
        asked.collect()
    }
}

pub fn guard() -> std::net::SocketAddr {
    "127.0.0.1:41000".parse().unwrap()
}

pub fn opening() -> Opening {
    Opening::unproven_for_test(guard())
}

pub struct Notes(pub UnboundedReceiver<StepNote>);

impl Notes {
    pub async fn next(&mut self) -> Option<StepNote> {
        in_time(self.0.recv()).await
    }

    /// Waits for a link, and returns what it is for and where it leads.
    pub async fn link(&mut self) -> (Waiting, String) {
        loop {
            let Some(note) = self.next().await else {
                panic!("it ended without a link")
            };
            if let StepNote::Waiting(waiting) = note
                && let Some(link) = waiting.link()
            {
                let link = link.as_str().to_owned();
                return (waiting, link);
            }
        }
    }
}
