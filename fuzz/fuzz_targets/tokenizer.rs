//! A `tokenizer.json`, and a text that it tokenizes.

#![no_main]

#[path = "../../crates/data/tests/damaged/readers.rs"]
#[allow(dead_code, reason = "each target calls one of the readers")]
mod readers;

use libfuzzer_sys::fuzz_target;
use plw_fuzz::folder;

fuzz_target!(|bytes: &[u8]| {
    readers::tokenizer(folder(), bytes);
});
