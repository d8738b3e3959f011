//! Notifications, through the system's own centre.

use std::ptr::NonNull;

use block2::{DynBlock, RcBlock};
use objc2::rc::Retained;
use objc2::runtime::{Bool, NSObject, NSObjectProtocol, ProtocolObject};
use objc2::{AnyThread, DefinedClass, define_class, msg_send};
use objc2_foundation::{NSBundle, NSError, NSString};
use objc2_user_notifications::{
    UNAuthorizationOptions, UNAuthorizationStatus, UNMutableNotificationContent,
    UNNotificationRequest, UNNotificationResponse, UNNotificationSettings,
    UNUserNotificationCenter, UNUserNotificationCenterDelegate,
};
use tauri::AppHandle;
use tokio::sync::mpsc;

use crate::notice::Notification;
use crate::notification::DENIED;

/// Outside of a bundle the centre ends the program.
fn centre() -> Option<Retained<UNUserNotificationCenter>> {
    NSBundle::mainBundle().bundleIdentifier()?;
    Some(UNUserNotificationCenter::currentNotificationCenter())
}

/// Asks for permission, which the system does once, and shows the notification where it was given. Tells whether it is
/// shown; nothing where there is nobody to ask.
pub fn show(notification: &Notification) -> mpsc::UnboundedReceiver<bool> {
    let (tell, told) = mpsc::unbounded_channel();
    let Some(centre) = centre() else {
        return told;
    };
    let notification = notification.clone();
    let answered = RcBlock::new(move |allowed: Bool, _: *mut NSError| {
        if allowed.as_bool() {
            add(&notification, tell.clone());
        } else {
            // Nobody listens once the app ends.
            let _ = tell.send(false);
        }
    });
    centre.requestAuthorizationWithOptions_completionHandler(
        UNAuthorizationOptions::Alert,
        &answered,
    );
    told
}

/// Asks the system whether Ecto may show notifications; nothing where there is nobody to ask.
#[expect(unsafe_code, reason = "the settings come as a pointer")]
pub fn status() -> mpsc::UnboundedReceiver<isize> {
    const _: () = assert!(UNAuthorizationStatus::Denied.0 == DENIED);
    let (tell, told) = mpsc::unbounded_channel();
    let Some(centre) = centre() else {
        return told;
    };
    let answered = RcBlock::new(move |settings: NonNull<UNNotificationSettings>| {
        // SAFETY: the centre keeps them until this returns.
        let status = unsafe { settings.as_ref() }.authorizationStatus();
        // Nobody listens once the app ends.
        let _ = tell.send(status.0);
    });
    centre.getNotificationSettingsWithCompletionHandler(&answered);
    told
}

fn add(notification: &Notification, tell: mpsc::UnboundedSender<bool>) {
    let content = UNMutableNotificationContent::new();
    content.setTitle(&NSString::from_str(&notification.title));
    content.setBody(&NSString::from_str(&notification.body));
    // The same identifier puts the newest in the place of the last one.
    let request = UNNotificationRequest::requestWithIdentifier_content_trigger(
        &NSString::from_str("ecto"),
        &content,
        None,
    );
    let added = RcBlock::new(move |fault: *mut NSError| {
        let _ = tell.send(fault.is_null());
    });
    UNUserNotificationCenter::currentNotificationCenter()
        .addNotificationRequest_withCompletionHandler(&request, Some(&added));
}

/// Opens the popover at a click on a notification, for as long as the app runs.
pub fn follow_clicks(app: &AppHandle) {
    let Some(centre) = centre() else {
        return;
    };
    let clicks = Clicks::new(app.clone());
    centre.setDelegate(Some(ProtocolObject::from_ref(&*clicks)));
    // The centre does not keep it.
    std::mem::forget(clicks);
}

#[allow(
    unsafe_code,
    clippy::allow_attributes,
    reason = "a class of Objective-C is declared"
)]
mod class {
    use super::{
        AnyThread, AppHandle, DefinedClass, DynBlock, NSObject, NSObjectProtocol, Retained,
        UNNotificationResponse, UNUserNotificationCenter, UNUserNotificationCenterDelegate,
        define_class, msg_send,
    };

    define_class!(
        // SAFETY: an NSObject may be subclassed, and this class has no `Drop`.
        #[unsafe(super(NSObject))]
        #[name = "EctoNotificationClicks"]
        #[ivars = AppHandle]
        pub struct Clicks;

        // SAFETY: nothing is required of it.
        unsafe impl NSObjectProtocol for Clicks {}

        // SAFETY: the method has the signature that the protocol gives it.
        unsafe impl UNUserNotificationCenterDelegate for Clicks {
            #[unsafe(method(userNotificationCenter:didReceiveNotificationResponse:withCompletionHandler:))]
            fn clicked(
                &self,
                _centre: &UNUserNotificationCenter,
                _response: &UNNotificationResponse,
                done: &DynBlock<dyn Fn()>,
            ) {
                crate::desktop::open(self.ivars());
                done.call(());
            }
        }
    );

    impl Clicks {
        pub fn new(app: AppHandle) -> Retained<Self> {
            let this = Self::alloc().set_ivars(app);
            // SAFETY: NSObject's `init` takes no arguments.
            unsafe { msg_send![super(this), init] }
        }
    }
}

use class::Clicks;
