//! The login item, as System Settings shows it (SMAppService, macOS 13).

use std::ffi::OsString;

use objc2_service_management::{SMAppService, SMAppServiceStatus};

use crate::launch::Options;
use crate::refusal::Refusal;
use crate::view::LoginItem;

/// Whether Ecto opens at login.
#[derive(Debug)]
pub struct Login {
    is_bundle: bool,
}

impl Login {
    /// Only an app in a bundle can be a login item, and it is started without options.
    pub fn find(options: &Options, _environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let in_bundle = std::env::current_exe().is_ok_and(|program| {
            program
                .parent()
                .is_some_and(|folder| folder.ends_with("Contents/MacOS"))
        });
        Self {
            is_bundle: in_bundle && options.to_arguments().is_empty(),
        }
    }

    /// Whether it does.
    #[expect(unsafe_code, reason = "an Objective-C call")]
    pub fn state(&self) -> LoginItem {
        if !self.is_bundle {
            return LoginItem::Unavailable;
        }
        // SAFETY: both take no arguments, and the object is kept while it is asked.
        let status = unsafe { SMAppService::mainAppService().status() };
        match status {
            SMAppServiceStatus::Enabled => LoginItem::On,
            SMAppServiceStatus::RequiresApproval => LoginItem::Refused,
            _ => LoginItem::Off,
        }
    }

    /// Has it do so, or no longer.
    #[expect(unsafe_code, reason = "an Objective-C call")]
    pub fn set(&self, on: bool) -> Result<(), Refusal> {
        if !self.is_bundle {
            return if on {
                Err(Refusal::nothing(
                    "Only the installed app can open at login.",
                ))
            } else {
                Ok(())
            };
        }
        match (on, self.state()) {
            (true, LoginItem::On) | (false, LoginItem::Off | LoginItem::Unavailable) => {
                return Ok(());
            }
            // One that waits for approval is still registered.
            (true, LoginItem::Off | LoginItem::Refused | LoginItem::Unavailable)
            | (false, LoginItem::On | LoginItem::Refused) => {}
        }
        // SAFETY: none takes an argument, and the object is kept while it works.
        let done = unsafe {
            let item = SMAppService::mainAppService();
            if on {
                item.registerAndReturnError()
            } else {
                item.unregisterAndReturnError()
            }
        };
        match (done, self.state()) {
            (_, LoginItem::Refused) if on => Err(Refusal::new(
                "login_item_refused",
                "macOS does not let Ecto open at login.",
                "Allow it in System Settings, General, Login Items.",
            )),
            (Err(fault), _) => Err(Refusal::new(
                "login_item_refused",
                format!("macOS did not change the login item: {fault}."),
                "Change it in System Settings, General, Login Items.",
            )),
            (Ok(()), _) => Ok(()),
        }
    }
}
