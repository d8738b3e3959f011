//! Any bytes, as a client sends them: to a guard where nothing is allowed beside what always is, and to one where all is.
#![no_main]

use ecto_guard::fuzz::{Client, Setting};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static SETTINGS: [Setting; 2] = [Setting::default(), Setting::with_everything_allowed()];
}

fuzz_target!(|bytes: &[u8]| {
    SETTINGS.with(|settings| {
        for setting in settings {
            for client in Client::ALL {
                setting.request(bytes, client);
            }
        }
    });
});
