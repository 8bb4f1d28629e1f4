//! `summary.json` of a run.

#![no_main]

#[path = "../../crates/record/tests/hostile/readers.rs"]
#[allow(dead_code, reason = "each target calls one of the readers")]
mod readers;

use libfuzzer_sys::fuzz_target;
use plw_fuzz::folder;

fuzz_target!(|bytes: &[u8]| {
    readers::summary(folder(), bytes);
});
