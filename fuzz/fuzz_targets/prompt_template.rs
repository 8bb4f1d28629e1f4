//! A prompt template, and a text that it makes.

#![no_main]

#[path = "../../crates/data/tests/damaged/readers.rs"]
#[allow(dead_code, reason = "each target calls one of the readers")]
mod readers;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    readers::prompt_template(source);
});
