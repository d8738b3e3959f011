//! Sleep and wake, as the workspace tells them.

use std::ptr::NonNull;

use block2::RcBlock;
use objc2_app_kit::{
    NSWorkspace, NSWorkspaceDidWakeNotification, NSWorkspaceWillSleepNotification,
};
use objc2_foundation::{NSNotification, NSNotificationName};
use tokio::sync::mpsc;

use crate::power::Change;

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
    observe(sleep, Change::Sleep, tell.clone());
    observe(wake, Change::Wake, tell);
    told
}

#[expect(unsafe_code, reason = "an Objective-C call")]
fn observe(name: &NSNotificationName, change: Change, tell: mpsc::UnboundedSender<Change>) {
    let heard = RcBlock::new(move |_: NonNull<NSNotification>| {
        // Nobody listens once the app ends.
        let _ = tell.send(change);
    });
    // SAFETY: the block may be sent to another thread, since all that it holds is a sender; the centre keeps the observer.
    unsafe {
        NSWorkspace::sharedWorkspace()
            .notificationCenter()
            .addObserverForName_object_queue_usingBlock(Some(name), None, None, &heard);
    }
}
