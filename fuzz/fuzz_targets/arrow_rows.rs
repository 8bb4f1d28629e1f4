//! Rows of an Arrow file or stream.

#![no_main]

#[path = "../../crates/data/tests/damaged/readers.rs"]
#[allow(dead_code, reason = "each target calls one of the readers")]
mod readers;

use libfuzzer_sys::fuzz_target;
use plw_fuzz::folder;

fuzz_target!(|bytes: &[u8]| {
    readers::rows_of(folder(), "train.arrow", bytes);
});
