//! `trainer_state/state.json` of a checkpoint. Its digest is made right, so that what lies behind
//! is tested.

#![no_main]

#[path = "../../crates/train/tests/hostile/readers.rs"]
#[allow(dead_code, reason = "each target calls one of the readers")]
mod readers;

use libfuzzer_sys::fuzz_target;
use plw_fuzz::folder;

fuzz_target!(|bytes: &[u8]| {
    let folder = folder();
    std::fs::create_dir_all(folder.join("trainer_state")).expect("made");
    match serde_json::from_slice(bytes) {
        Ok(state) => readers::state(folder, readers::sealed(state).to_string().as_bytes()),
        Err(_) => readers::state(folder, bytes),
    };
});
