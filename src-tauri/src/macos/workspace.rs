//! Sleep and wake, as the workspace tells them.

use std::ptr::NonNull;
use std::time::Duration;

use block2::RcBlock;
use objc2_app_kit::{
    NSWorkspace, NSWorkspaceDidWakeNotification, NSWorkspaceWillSleepNotification,
};
use objc2_foundation::{NSNotification, NSNotificationName};
use tokio::sync::mpsc;

use crate::power::Change;

/// How long sleep is held back. The system waits for whoever is handling its notification, and not for ever.
const HOLD_BACK: Duration = Duration::from_secs(5);

/// Tells sleep and wake from now on, for as long as the app runs.
#[expect(unsafe_code, reason = "Objective-C calls")]
pub fn observe_power() -> mpsc::UnboundedReceiver<Change> {
    let (tell, told) = mpsc::unbounded_channel();
    // SAFETY: constants of AppKit, set before any program runs.
    let (sleep, wake) = unsafe {
        (
            NSWorkspaceWillSleepNotification,
            NSWorkspaceDidWakeNotification,
        )
    };
    let woken = tell.clone();
    observe(sleep, move || {
        let (done, is_done) = std::sync::mpsc::channel();
        // Nobody listens once the app ends.
        if tell.send(Change::Sleep(done)).is_ok() && is_done.recv_timeout(HOLD_BACK).is_err() {
            tracing::warn!("the door was not seen to close before sleep");
        }
    });
    observe(wake, move || {
        let _ = woken.send(Change::Wake);
    });
    told
}

#[expect(unsafe_code, reason = "an Objective-C call")]
fn observe(name: &NSNotificationName, heard: impl Fn() + Send + 'static) {
    let heard = RcBlock::new(move |_: NonNull<NSNotification>| heard());
    // SAFETY: the block may be sent to another thread, since all that it holds may be; the centre keeps the observer.
    unsafe {
        NSWorkspace::sharedWorkspace()
            .notificationCenter()
            .addObserverForName_object_queue_usingBlock(Some(name), None, None, &heard);
    }
}
