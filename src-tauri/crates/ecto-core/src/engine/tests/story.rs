//! A running engine in a world, and what a person sees of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::cause::Cause;
use crate::engine::command::Handle;
use crate::exposure::{Closed, Exposure};
use crate::ports::Clock;
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::step::Step;
use crate::tailnet::NodeChoice;
use crate::wanted::NewDeadline;

use super::world::{HOOKS_TOKEN, KEY_MARK, TOKEN, World};

/// No story takes longer than this on the paused clock.
const LIMIT: Duration = Duration::from_secs(3 * 60 * 60);

pub struct Story {
    pub world: Arc<World>,
    pub handle: Handle,
    pub engine: JoinHandle<()>,
    shown: Arc<Mutex<Vec<String>>>,
}

impl Story {
    pub fn begin(world: Arc<World>) -> Self {
        Self::begin_with(world, Settings::default())
    }

    pub fn begin_with(world: Arc<World>, settings: Settings) -> Self {
        let (engine, handle) = world.engine(settings);
        let shown = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(watch(
            handle.snapshots(),
            Arc::clone(&world),
            Arc::clone(&shown),
        ));
        Self {
            world,
            handle,
            engine: tokio::spawn(engine.run()),
            shown,
        }
    }

    /// The process ended and was started again.
    pub fn begin_again(&mut self) {
        let (engine, handle) = self.world.engine(Settings::default());
        self.shown = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(watch(
            handle.snapshots(),
            Arc::clone(&self.world),
            Arc::clone(&self.shown),
        ));
        self.handle = handle;
        self.engine = tokio::spawn(engine.run());
    }

    /// A story that begins with an open door.
    pub async fn public(world: Arc<World>) -> Self {
        let story = Self::begin(world);
        story.connect().await.unwrap();
        story.until(is_public).await;
        story.world.forget_calls();
        story.forget_shown();
        story
    }

    pub async fn connect(&self) -> Result<(), Cause> {
        self.handle
            .connect(NewDeadline::Unlimited, Some(NodeChoice::Auto))
            .await
    }

    /// As a person connects who names neither a time nor a node.
    pub async fn connect_again(&self) -> Result<(), Cause> {
        self.handle.connect(NewDeadline::AsBefore, None).await
    }

    pub async fn connect_for(&self, seconds: i64) -> Timestamp {
        let until = self.world.now() + jiff::SignedDuration::from_secs(seconds);
        self.handle
            .connect(NewDeadline::At(until), Some(NodeChoice::Auto))
            .await
            .unwrap();
        until
    }

    pub fn now(&self) -> Snapshot {
        self.handle.snapshots().borrow().clone()
    }

    pub fn exposure(&self) -> Exposure {
        self.now().exposure
    }

    /// Waits until it looks so.
    pub async fn until(&self, looks: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let mut snapshots = self.handle.snapshots();
        let seen = tokio::time::timeout(LIMIT, snapshots.wait_for(|now| looks(now))).await;
        match seen {
            Ok(Ok(snapshot)) => snapshot.clone(),
            Ok(Err(_)) => panic!("the engine ended; shown: {:#?}", self.shown()),
            Err(_) => panic!("it never came to this; shown: {:#?}", self.shown()),
        }
    }

    /// Lets everything happen that happens within this time.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Every exposure that was shown, as a short word, without repetitions.
    pub fn shown(&self) -> Vec<String> {
        let mut shown = self.shown.lock().unwrap().clone();
        shown.dedup();
        shown
    }

    /// What was shown besides this.
    pub fn shown_but(&self, expected: &str) -> Vec<String> {
        let mut shown = self.shown();
        shown.retain(|word| word != expected);
        shown
    }

    pub fn forget_shown(&self) {
        self.shown.lock().unwrap().clear();
    }

    /// Nothing happened that must never happen.
    pub fn assert_sound(&self) {
        let violations = self.world.state().violations.clone();
        assert!(violations.is_empty(), "{violations:#?}");
        let snapshot = self.now();
        if snapshot.exposure == Exposure::Private {
            assert!(self.world.is_shut(), "Private, and something is open");
        }
        if let Exposure::Blocked {
            closed: Closed::Yes,
            ..
        } = snapshot.exposure
        {
            assert!(self.world.state().door.is_none(), "a door is open unseen");
        }
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_sound();
        }
    }
}

async fn watch(
    mut snapshots: tokio::sync::watch::Receiver<Snapshot>,
    world: Arc<World>,
    shown: Arc<Mutex<Vec<String>>>,
) {
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        let text = serde_json::to_string(&snapshot).unwrap() + &format!("{snapshot:?}");
        if [KEY_MARK, TOKEN, HOOKS_TOKEN]
            .iter()
            .any(|secret| text.contains(secret))
        {
            world
                .state()
                .violations
                .push(format!("a secret is shown: {text}"));
        }
        shown.lock().unwrap().push(word(&snapshot.exposure));
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

/// The exposure in a word.
pub fn word(exposure: &Exposure) -> String {
    match exposure {
        Exposure::Private => "private".into(),
        Exposure::Preparing {
            step,
            waiting: Some(_),
            ..
        } => format!("{} waiting", step_word(*step)),
        Exposure::Preparing { step, .. } => step_word(*step),
        Exposure::Public { held: None, .. } => "public".into(),
        Exposure::Public {
            held: Some(cause), ..
        } => format!("held {}", cause.code()),
        Exposure::Closing => "closing".into(),
        Exposure::Blocked {
            cause,
            closed: Closed::Yes,
        } => format!("blocked {}", cause.code()),
        Exposure::Blocked {
            cause,
            closed: Closed::Unconfirmed,
        } => format!("unconfirmed {}", cause.code()),
    }
}

fn step_word(step: Step) -> String {
    serde_json::to_value(step).unwrap().as_str().unwrap().into()
}

pub fn is_public(snapshot: &Snapshot) -> bool {
    word(&snapshot.exposure) == "public"
}

pub fn is_private(snapshot: &Snapshot) -> bool {
    snapshot.exposure == Exposure::Private
}

pub fn looks(expected: &'static str) -> impl Fn(&Snapshot) -> bool {
    move |snapshot| word(&snapshot.exposure) == expected
}
