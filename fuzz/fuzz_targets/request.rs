//! Any bytes, as a client sends them.
#![no_main]

use ecto_guard::fuzz::Setting;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static SETTING: Setting = Setting::default();
}

fuzz_target!(|bytes: &[u8]| SETTING.with(|setting| setting.request(bytes)));
