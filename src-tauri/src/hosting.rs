//! Keeps a host running in this process, or follows another's until that ends.
//!
//! One host runs at a time. Where `ecto connect` holds the lock, the app shows what that host reports and passes on what
//! is asked; the moment it ends, the app takes over.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ecto_core::Timestamp;
use ecto_core::cause::{Cause, Remedy};
use ecto_core::exposure::Exposure;
use ecto_core::settings::Settings;
use ecto_host::client::{Client, ClientFault};
use ecto_host::control::{Desk, Surroundings};
use ecto_host::host::Host;
use ecto_host::lock::{HostLock, LockFault};
use ecto_host::offers::Offers;
use ecto_host::preferences::PreferencesFile;
use ecto_host::report::Report;
use ecto_host::request::{Answer, Request};
use ecto_host::world::{self, World, WorldChoice, WorldFault};
use ecto_platform::vault::VaultNotice;
use tokio::sync::{Notify, watch};

use crate::launch::Launch;
use crate::refusal::Refusal;
use crate::view::report_of_failure;

/// How long a host that is starting is waited for before something that was asked is refused.
const START_LIMIT: Duration = Duration::from_secs(15);

/// The pause before another host that is starting or ending is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The pause before a host that could not be started is tried again by itself; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a host in another process may take to tell how it is before it is said not to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// The pause before such a host is asked again whether it answers.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// Where requests go.
#[derive(Debug, Clone)]
enum Post {
    /// Nowhere yet: a host is starting, or could not be started.
    Closed,
    /// To the host in this process.
    Own(Desk),
    /// To a host in another process.
    Other,
}

/// A host that answers.
enum Reached {
    Own(Desk),
    Other(Client),
}

/// Something about the secret store, and when it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noticed {
    /// When.
    pub at: Timestamp,
    /// What.
    pub notice: VaultNotice,
}

/// How the app is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quit {
    /// A person asked: Private, and it stays so.
    Person,
    /// The system asked: the door is closed, and what is wanted stays wanted.
    System,
}

/// Keeps a host running, or follows another's.
#[derive(Debug)]
pub struct Hosting {
    launch: Launch,
    reports: watch::Sender<Report>,
    post: watch::Sender<Post>,
    quit: watch::Sender<Option<Quit>>,
    retry: Notify,
    /// Whether a host in another process has the lock and does not answer: it may be stopped.
    silent: watch::Sender<bool>,
    /// Is told when something is asked of such a host, so that nobody waits for the next look.
    doubted: Notify,
    failures: AtomicU64,
    notices: Mutex<Vec<Noticed>>,
    /// Why the last host in this process did not end as it should.
    left_undone: Mutex<Option<Cause>>,
}

impl Hosting {
    /// Makes it; nothing runs yet.
    pub fn new(launch: Launch, reports: watch::Sender<Report>) -> Self {
        Self {
            launch,
            reports,
            post: watch::Sender::new(Post::Closed),
            quit: watch::Sender::new(None),
            retry: Notify::new(),
            silent: watch::Sender::new(false),
            doubted: Notify::new(),
            failures: AtomicU64::new(0),
            notices: Mutex::default(),
            left_undone: Mutex::default(),
        }
    }

    /// Runs until the app is to end; the door of a host in this process is closed then.
    pub async fn keep(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        while self.quit.borrow().is_none() {
            match HostLock::take(self.launch.folders.runtime()) {
                Ok(lock) => match self.be_host(lock).await {
                    Ok(()) => self.ask_to_quit(Quit::System),
                    Err(cause) => {
                        self.fail(cause, pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                },
                Err(LockFault::Taken { .. }) => {
                    self.follow().await;
                    pause = FIRST_PAUSE;
                }
                Err(fault @ LockFault::Unusable { .. }) => {
                    let cause = Cause::Internal {
                        detail: fault.to_string().into(),
                    };
                    self.fail(cause, pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Begins to end.
    pub fn ask_to_quit(&self, quit: Quit) {
        self.quit.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(quit);
            first
        });
    }

    /// Makes it ready to run once more, after it ended.
    pub fn begin_again(&self) {
        let left_undone = self.left_undone.lock();
        *left_undone.unwrap_or_else(PoisonError::into_inner) = None;
        self.quit.send_replace(None);
    }

    /// Whether it ends within this time.
    pub async fn ends_within(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.quit_asked()).await.is_ok()
    }

    /// Whether the host is in this process.
    #[cfg(test)]
    pub fn is_own(&self) -> bool {
        matches!(*self.post.borrow(), Post::Own(_))
    }

    /// What a person should be told about where the host in this process keeps its secrets.
    pub fn notices(&self) -> Vec<Noticed> {
        let notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        notices.clone()
    }

    /// Why the last host in this process did not end as it should, where that is so: nobody can ask it any more.
    pub fn left_undone(&self) -> Option<Cause> {
        let left_undone = self.left_undone.lock();
        left_undone.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a host in another process does not answer, now and from now on.
    pub fn silence(&self) -> watch::Receiver<bool> {
        self.silent.subscribe()
    }

    /// Whether there is a host, here or in another process.
    pub fn is_there(&self) -> bool {
        !matches!(*self.post.borrow(), Post::Closed)
    }

    /// Tells the engine that the machine woke up.
    pub async fn wake(&self) {
        let post = self.post.borrow().clone();
        if let Post::Own(desk) = post {
            desk.engine.wake().await;
        }
    }

    /// Asks the host, wherever it is. Where none could be started, that is tried again first.
    pub async fn ask(&self, request: Request) -> Result<Answer, Refusal> {
        let reached = tokio::time::timeout(START_LIMIT, self.reach()).await;
        let Ok(Some(reached)) = reached else {
            return Err(self.not_started());
        };
        let answer = match reached {
            Reached::Own(desk) => desk.answer(request).await,
            Reached::Other(client) => self.ask_other(client, &request).await?,
        };
        Ok(answer.settle()?)
    }

    /// Asks a host in another process, as long as that answers at all.
    async fn ask_other(
        &self,
        mut client: Client,
        request: &Request,
    ) -> Result<Answer, ClientFault> {
        // A stopped host does what it finds when it goes on. It should find nothing that was refused, but for closing.
        if !matches!(request, Request::Disconnect { .. }) {
            tokio::time::timeout(ANSWERS_WITHIN, client.ask(&Request::Status))
                .await
                .unwrap_or(Err(ClientFault::Silent))?;
        }
        let mut silent = self.silence();
        let mut answer = pin!(client.ask(request));
        self.doubted.notify_one();
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            Ok(_) = silent.wait_for(|silent| *silent) => Err(ClientFault::Silent),
        }
    }

    /// Waits for a host, and has one started where that failed before; `None` once that fails again. One in another
    /// process may have ended a moment ago; then this process takes over at once.
    async fn reach(&self) -> Option<Reached> {
        let before = self.failures.load(Ordering::SeqCst);
        loop {
            self.retry.notify_waiters();
            let post = self.post.borrow().clone();
            match post {
                Post::Own(desk) => return Some(Reached::Own(desk)),
                Post::Other => {
                    if let Ok(client) = Client::connect(&self.launch.socket).await {
                        return Some(Reached::Other(client));
                    }
                }
                Post::Closed => {}
            }
            if self.failures.load(Ordering::SeqCst) != before {
                return None;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn not_started(&self) -> Refusal {
        let report = self.reports.borrow();
        // What is shown may be older than a host that has still to report.
        if !matches!(report.snapshot.exposure, Exposure::Blocked { .. }) {
            return Refusal::new(
                "not_started",
                "Ecto is not ready yet.",
                "Wait a moment, then try again. If another Ecto runs in a terminal, end it there.",
            );
        }
        let message = report.message.clone();
        Refusal {
            code: "not_started".to_owned(),
            what: format!("Ecto is not ready. {}", message.what),
            next: message.next,
        }
    }

    async fn quit_asked(&self) -> Quit {
        let mut asked = self.quit.subscribe();
        match asked.wait_for(Option::is_some).await {
            Ok(quit) => quit.unwrap_or(Quit::System),
            Err(_) => Quit::System,
        }
    }

    fn show(&self, report: Report) {
        self.reports.send_if_modified(|shown| {
            let changed = *shown != report;
            *shown = report;
            changed
        });
    }

    async fn be_host(&self, lock: HostLock) -> Result<(), Cause> {
        let variables = std::env::vars_os().collect();
        let launch = &self.launch;
        let world = world::open(&launch.world, &launch.folders, launch.vault, variables)
            .await
            .map_err(cause_of)?;
        self.be_host_in(world, lock).await
    }

    async fn be_host_in(&self, world: World, lock: HostLock) -> Result<(), Cause> {
        let launch = &self.launch;
        for notice in &world.notices {
            tracing::warn!(%notice, "about the secret store");
        }
        let at = Timestamp::now();
        let noticed = world.notices.into_iter();
        *self.notices.lock().unwrap_or_else(PoisonError::into_inner) =
            noticed.map(|notice| Noticed { at, notice }).collect();
        let settings = Settings {
            // A stand-in's link leads nowhere.
            open_links: launch.world == WorldChoice::Real,
            ..Settings::default()
        };
        let surroundings = Surroundings {
            world: world.kind,
            client_access: world.client_access,
            record: world.record,
            offers: Offers::in_folder(launch.folders.state()),
            metrics: PreferencesFile::in_folder(launch.folders.state())
                .read()
                .preferences()
                .metrics,
        };
        let host = Host::start(
            lock,
            Some(&launch.socket),
            world.ports,
            settings,
            surroundings,
        )
        .map_err(|fault| Cause::Internal {
            detail: fault.to_string().into(),
        })?;
        self.post.send_replace(Post::Own(host.desk().clone()));
        let quit = self.report_until_quit(&host).await;
        if quit == Quit::Person
            && let Err(cause) = host.engine().disconnect().await
        {
            tracing::error!(code = cause.code(), "the door could not be closed as asked");
        }
        let ended = host.end().await;
        self.post.send_replace(Post::Closed);
        if let Err(cause) = &ended {
            tracing::error!(code = cause.code(), "Ecto did not end as it should");
        }
        let left_undone = self.left_undone.lock();
        *left_undone.unwrap_or_else(PoisonError::into_inner) = ended.err();
        // The stand-ins of the sandbox end after the host.
        drop(world.keep);
        Ok(())
    }

    async fn report_until_quit(&self, host: &Host) -> Quit {
        let mut snapshots = host.engine().snapshots();
        // So that the page can tell what is missing before anything happens.
        let look = host.engine().clone();
        tokio::spawn(async move { look.look().await });
        loop {
            snapshots.borrow_and_update();
            self.show(host.desk().report());
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return Quit::System },
                quit = self.quit_asked() => return quit,
                () = host.wait() => return Quit::System,
            }
        }
    }

    /// Shows what another host reports, until it ends.
    async fn follow(&self) {
        let Ok(client) = Client::connect(&self.launch.socket).await else {
            return tokio::time::sleep(LOOK_AGAIN).await;
        };
        let Ok(mut reports) = client.watch().await else {
            return tokio::time::sleep(LOOK_AGAIN).await;
        };
        let mut watched = pin!(self.watch_over());
        loop {
            tokio::select! {
                report = reports.next() => match report {
                    Ok(Some(report)) => {
                        self.show(report);
                        self.post.send_replace(Post::Other);
                    }
                    Ok(None) | Err(_) => break,
                },
                () = &mut watched => {}
                _ = self.quit_asked() => break,
            }
        }
        self.set_silent(false);
        self.post.send_replace(Post::Closed);
    }

    /// Finds out again and again whether the host in another process answers.
    async fn watch_over(&self) {
        loop {
            let mut asked = pin!(self.hear());
            if tokio::time::timeout(ANSWERS_WITHIN, &mut asked)
                .await
                .is_err()
            {
                tracing::warn!("the host in another process does not answer");
                self.set_silent(true);
                // Whoever asks for something is told so, and need not wait for the first report.
                self.post.send_replace(Post::Other);
                asked.await;
            }
            self.set_silent(false);
            tokio::select! {
                () = self.doubted.notified() => {}
                () = tokio::time::sleep(LISTEN_AGAIN) => {}
            }
        }
    }

    /// Waits until that host says anything, or is gone, which [`follow`](Self::follow) sees by itself.
    async fn hear(&self) {
        if let Ok(client) = Client::connect(&self.launch.socket).await
            && let Ok(mut reports) = client.watch().await
        {
            let _ = reports.next().await;
        }
    }

    fn set_silent(&self, is_silent: bool) {
        self.silent.send_if_modified(|silent| {
            let changed = *silent != is_silent;
            *silent = is_silent;
            changed
        });
    }

    /// Shows why no host runs, until somebody asks for something; where waiting may help, it is tried again by itself.
    async fn fail(&self, cause: Cause, pause: Duration) {
        tracing::error!(code = cause.code(), "no host could be started");
        let may_pass = cause.remedy() == Remedy::Wait;
        self.show(report_of_failure(cause, self.launch.world.kind()));
        self.failures.fetch_add(1, Ordering::SeqCst);
        tokio::select! {
            () = self.retry.notified() => {}
            _ = self.quit_asked() => {}
            () = tokio::time::sleep(pause), if may_pass => {}
        }
    }
}

fn cause_of(fault: WorldFault) -> Cause {
    match fault {
        WorldFault::Vault(fault) => fault.into(),
        WorldFault::Randomness(_)
        | WorldFault::Lab { .. }
        | WorldFault::Sandbox(_)
        | WorldFault::Outside(_) => Cause::Internal {
            detail: fault.to_string().into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use ecto_core::key::{Key, KeyName, KeyRing};
    use ecto_core::ports::{Vault, VaultFault, VaultPlace};
    use ecto_core::wanted::NewDeadline;
    use ecto_host::report::WorldKind;

    use super::*;
    use crate::launch::Options;
    use crate::view::report_at_start;

    struct Started {
        hosting: Arc<Hosting>,
        reports: watch::Receiver<Report>,
        ended: tokio::task::JoinHandle<()>,
    }

    fn sandbox(home: &std::path::Path) -> Launch {
        let options = Options {
            sandbox: true,
            ..Options::of_app(["ecto".into()]).unwrap()
        };
        Launch::prepare(options, |name| (name == "HOME").then(|| home.into())).unwrap()
    }

    fn start(launch: &Launch) -> Started {
        let reports = watch::Sender::new(report_at_start(WorldKind::Sandbox));
        let received = reports.subscribe();
        let hosting = Arc::new(Hosting::new(launch.clone(), reports));
        Started {
            ended: tokio::spawn(Arc::clone(&hosting).keep()),
            hosting,
            reports: received,
        }
    }

    async fn until(started: &mut Started, wanted: impl FnMut(&Report) -> bool) -> Report {
        tokio::time::timeout(Duration::from_secs(60), started.reports.wait_for(wanted))
            .await
            .unwrap()
            .unwrap()
            .clone()
    }

    #[tokio::test]
    async fn another_processs_host_is_followed_until_it_ends() {
        let home = tempfile::tempdir().unwrap();
        let launch = sandbox(home.path());
        let mut first = start(&launch);
        until(&mut first, |report| report.host.is_some()).await;
        assert!(first.hosting.is_own());

        let mut second = start(&launch);
        until(&mut second, |report| report.host.is_some()).await;
        let seen = until(&mut first, |report| report.snapshot.gateway.is_some()).await;
        until(&mut second, |report| *report == seen).await;
        second.hosting.ask(Request::Status).await.unwrap();
        assert!(!second.hosting.is_own());

        first.hosting.ask_to_quit(Quit::Person);
        first.ended.await.unwrap();
        second.hosting.ask(Request::Status).await.unwrap();
        assert!(second.hosting.is_own());
        second.hosting.ask_to_quit(Quit::System);
        second.ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_start_that_fails_is_tried_again_when_asked_and_said_at_once() {
        let home = tempfile::tempdir().unwrap();
        let launch = sandbox(home.path());
        let runtime = launch.folders.runtime();
        std::fs::remove_dir_all(runtime).unwrap();
        std::fs::write(runtime, "in the way").unwrap();
        let mut app = start(&launch);
        until(&mut app, |report| {
            matches!(report.snapshot.exposure, Exposure::Blocked { .. })
        })
        .await;
        let asked = tokio::time::timeout(START_LIMIT * 2 / 3, app.hosting.ask(Request::Look));
        let refusal = asked.await.unwrap().unwrap_err();
        assert_eq!(refusal.code, "not_started");

        std::fs::remove_file(runtime).unwrap();
        launch.folders.create().unwrap();
        app.hosting.ask(Request::Look).await.unwrap();
        assert!(app.hosting.is_own());
        app.hosting.ask_to_quit(Quit::System);
        app.ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_host_that_was_ended_by_another_process_can_run_once_more() {
        let home = tempfile::tempdir().unwrap();
        let launch = sandbox(home.path());
        let mut app = start(&launch);
        until(&mut app, |report| report.host.is_some()).await;
        let mut other = Client::connect(&launch.socket).await.unwrap();
        other.ask(&Request::Quit).await.unwrap();
        assert!(app.hosting.ends_within(START_LIMIT).await);
        app.ended.await.unwrap();

        app.hosting.begin_again();
        app.ended = tokio::spawn(Arc::clone(&app.hosting).keep());
        app.hosting.ask(Request::Status).await.unwrap();
        assert!(app.hosting.is_own());
        app.hosting.ask_to_quit(Quit::Person);
        app.ended.await.unwrap();
    }

    #[tokio::test]
    async fn what_was_wanted_survives_the_system_and_not_the_person() {
        let home = tempfile::tempdir().unwrap();
        let launch = sandbox(home.path());
        let connect = Request::Connect {
            until: NewDeadline::AsBefore,
            node: None,
        };
        for (quit, survives) in [(Quit::System, true), (Quit::Person, false)] {
            let mut app = start(&launch);
            app.hosting.ask(connect.clone()).await.unwrap();
            until(&mut app, |report| {
                matches!(
                    report.snapshot.exposure,
                    Exposure::Preparing { .. } | Exposure::Public { .. }
                )
            })
            .await;
            app.hosting.ask_to_quit(quit);
            app.ended.await.unwrap();
            let kept = std::fs::read_to_string(launch.folders.state().join("wanted.json")).unwrap();
            assert_eq!(kept.contains("public"), survives, "{quit:?}: {kept}");
        }
    }

    /// A vault with a key for a phone, which does not let go of it.
    #[derive(Default)]
    struct HangingVault {
        asked: Arc<Notify>,
    }

    fn phone() -> KeyName {
        "phone".parse().unwrap()
    }

    type Answered<'a, T> = Pin<Box<dyn Future<Output = Result<T, VaultFault>> + Send + 'a>>;

    impl Vault for HangingVault {
        fn load<'a, 'b>(&'a self) -> Answered<'b, Option<KeyRing>>
        where
            'a: 'b,
            Self: 'b,
        {
            let first = Key::first("ecto_first".to_owned().into(), None);
            let other = Key {
                name: phone(),
                ..Key::first("ecto_other".to_owned().into(), None)
            };
            let keys = vec![first, other];
            Box::pin(async move { Ok(Some(KeyRing { keys })) })
        }

        fn store<'a, 'k, 'b>(&'a self, _: &'k KeyRing) -> Answered<'b, ()>
        where
            'a: 'b,
            'k: 'b,
            Self: 'b,
        {
            self.asked.notify_one();
            Box::pin(std::future::pending())
        }

        fn erase<'a, 'b>(&'a self) -> Answered<'b, ()>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async { Ok(()) })
        }

        fn place(&self) -> VaultPlace {
            VaultPlace::Memory
        }
    }

    #[tokio::test]
    async fn a_key_that_stays_although_it_was_to_be_revoked_is_known_after_the_end() {
        let home = tempfile::tempdir().unwrap();
        let launch = sandbox(home.path());
        let lock = HostLock::take(launch.folders.runtime()).unwrap();
        let mut world = world::open(&launch.world, &launch.folders, launch.vault, Vec::new())
            .await
            .unwrap();
        let vault = HangingVault::default();
        let asked = Arc::clone(&vault.asked);
        world.ports.vault = Arc::new(vault);
        let reports = watch::Sender::new(report_at_start(WorldKind::Sandbox));
        let hosting = Arc::new(Hosting::new(launch, reports));
        let host = Arc::clone(&hosting);
        let ended = tokio::spawn(async move { host.be_host_in(world, lock).await });
        let revoking = Arc::clone(&hosting);
        let revoked = tokio::spawn(async move {
            let request = Request::RevokeKey { name: phone() };
            revoking.ask(request).await
        });
        asked.notified().await;
        hosting.ask_to_quit(Quit::Person);
        ended.await.unwrap().unwrap();
        assert_eq!(revoked.await.unwrap().unwrap_err().code, "key_not_revoked");
        let left_undone = hosting.left_undone();
        assert!(
            matches!(left_undone, Some(Cause::KeyNotRevoked { .. })),
            "{left_undone:?}"
        );
    }
}
