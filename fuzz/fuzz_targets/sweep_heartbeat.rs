//! The heartbeat of a worker of a sweep.

#![no_main]

#[path = "../../crates/sweep/tests/hostile/readers.rs"]
#[allow(dead_code, reason = "each target calls one of the readers")]
mod readers;

use libfuzzer_sys::fuzz_target;
use plw_fuzz::folder;

fuzz_target!(|bytes: &[u8]| {
    readers::heartbeat(folder(), bytes);
});
