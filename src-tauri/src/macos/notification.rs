//! Notifications, through the system's own centre.

use block2::RcBlock;
use objc2::runtime::Bool;
use objc2_foundation::{NSBundle, NSError, NSString};
use objc2_user_notifications::{
    UNAuthorizationOptions, UNMutableNotificationContent, UNNotificationRequest,
    UNUserNotificationCenter,
};

use crate::notice::Notification;

/// Asks for permission, which the system does once, and shows the notification where it was given.
pub fn show(notification: &Notification) {
    // Outside of a bundle the centre ends the program.
    if NSBundle::mainBundle().bundleIdentifier().is_none() {
        return;
    }
    let notification = notification.clone();
    let answered = RcBlock::new(move |allowed: Bool, _: *mut NSError| {
        if allowed.as_bool() {
            add(&notification);
        }
    });
    UNUserNotificationCenter::currentNotificationCenter()
        .requestAuthorizationWithOptions_completionHandler(
            UNAuthorizationOptions::Alert,
            &answered,
        );
}

fn add(notification: &Notification) {
    let content = UNMutableNotificationContent::new();
    content.setTitle(&NSString::from_str(&notification.title));
    content.setBody(&NSString::from_str(&notification.body));
    // The same identifier puts the newest in the place of the last one.
    let request = UNNotificationRequest::requestWithIdentifier_content_trigger(
        &NSString::from_str("ecto"),
        &content,
        None,
    );
    UNUserNotificationCenter::currentNotificationCenter()
        .addNotificationRequest_withCompletionHandler(&request, None);
}
