//! Work that the system does not slow down because nobody looks at its window (App Nap).

use objc2::rc::Retained;
use objc2::runtime::{NSObjectProtocol, ProtocolObject};
use objc2_foundation::{NSActivityOptions, NSProcessInfo, NSString};

/// Holds App Nap off until it is dropped. The machine still goes to sleep when it is idle.
#[derive(Debug)]
pub struct Activity(Retained<ProtocolObject<dyn NSObjectProtocol>>);

// SAFETY: the token is only handed back, and the process information takes it from any thread.
#[expect(unsafe_code, reason = "an Objective-C object that is only handed back")]
unsafe impl Send for Activity {}

impl Activity {
    /// Begins it.
    pub fn begin() -> Self {
        let reason = NSString::from_str("Answering requests from the internet");
        Self(
            NSProcessInfo::processInfo().beginActivityWithOptions_reason(
                NSActivityOptions::UserInitiatedAllowingIdleSystemSleep,
                &reason,
            ),
        )
    }
}

impl Drop for Activity {
    #[expect(unsafe_code, reason = "an Objective-C call")]
    fn drop(&mut self) {
        // SAFETY: it is the token that was given when this began, and it is given back once.
        unsafe { NSProcessInfo::processInfo().endActivity(&self.0) };
    }
}
