//! A source of rows as a user writes it: paths, patterns and lists of them.

#![no_main]

#[path = "../../crates/data/tests/damaged/readers.rs"]
#[allow(dead_code, reason = "each target calls one of the readers")]
mod readers;

use libfuzzer_sys::fuzz_target;
use plw_fuzz::folder;

fuzz_target!(|text: &str| {
    readers::source(folder(), text);
});
