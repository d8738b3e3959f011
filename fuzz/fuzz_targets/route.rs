//! Any bytes, as a path.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ecto_guard::fuzz::route(bytes));
