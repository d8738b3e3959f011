//! The login item, as System Settings shows it (SMAppService, macOS 13).

use std::ffi::OsString;

use objc2_service_management::{SMAppService, SMAppServiceStatus};

use crate::launch::Options;
use crate::login::approval;
use crate::refusal::Refusal;
use crate::view::LoginItem;

const _: () = assert!(
    SMAppServiceStatus::Enabled.0 == approval::ENABLED
        && SMAppServiceStatus::RequiresApproval.0 == approval::REQUIRES_APPROVAL
);

/// Whether Ecto opens at login.
#[derive(Debug)]
pub struct Login {
    is_bundle: bool,
}

impl Login {
    /// Only an app in a bundle can be a login item, and it is started without options.
    pub fn find(options: &Options, _environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let in_bundle =
            std::env::current_exe().is_ok_and(|program| approval::is_in_bundle(&program));
        Self {
            is_bundle: in_bundle && options.to_arguments().is_empty(),
        }
    }

    /// Whether it does.
    #[expect(unsafe_code, reason = "an Objective-C call")]
    pub fn state(&self) -> LoginItem {
        // SAFETY: both take no arguments, and the object is kept while it is asked.
        let status = || unsafe { SMAppService::mainAppService().status() };
        approval::item_of(self.is_bundle.then(|| status().0))
    }

    /// Has it do so, or no longer.
    #[expect(unsafe_code, reason = "an Objective-C call")]
    pub fn set(&self, on: bool) -> Result<(), Refusal> {
        if !approval::is_to_be_asked(on, self.state())? {
            return Ok(());
        }
        // SAFETY: none takes an argument, and the object is kept while it works.
        let answer = unsafe {
            let item = SMAppService::mainAppService();
            if on {
                item.registerAndReturnError()
            } else {
                item.unregisterAndReturnError()
            }
        };
        approval::outcome(on, answer.map_err(|fault| fault.to_string()), self.state())
    }
}
