//! `metrics.jsonl` and `evaluations.jsonl` of a run, given the same bytes.

#![no_main]

#[path = "../../crates/record/tests/hostile/readers.rs"]
#[allow(dead_code, reason = "each target calls one of the readers")]
mod readers;

use libfuzzer_sys::fuzz_target;
use plw_fuzz::folder;

fuzz_target!(|bytes: &[u8]| {
    readers::logs(folder(), bytes, bytes);
});
