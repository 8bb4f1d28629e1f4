//! The readers of a checkpoint's state as plain functions of bytes, for property tests and for
//! fuzzers. Each may refuse but not panic, and names the file when it refuses.

use std::fs;
use std::path::Path;

use plw_train::{TrainerState, check_saved_model, read_state};
use serde_json::Value;

/// The keys of a state with a digest that is right.
pub(crate) fn sealed(state: Value) -> Value {
    let Value::Object(mut keys) = state else {
        return state;
    };
    keys.shift_remove("digest");
    let own = plw_files::digest(serde_json::to_vec(&keys).expect("JSON"));
    keys.insert("digest".to_string(), Value::from(own));
    Value::Object(keys)
}

/// `trainer_state/state.json` of a checkpoint, whose folder must exist.
pub(crate) fn state(checkpoint: &Path, bytes: &[u8]) -> Option<TrainerState> {
    let path = checkpoint.join("trainer_state/state.json");
    fs::write(&path, bytes).expect("a temporary file");
    let folder = checkpoint
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let names_the_file = |told: String| assert!(told.contains(folder), "{told}");
    if let Err(error) = check_saved_model(checkpoint) {
        names_the_file(error.to_string());
    }
    match read_state(checkpoint) {
        Ok((state, _)) => Some(state),
        Err(error) => {
            names_the_file(error.to_string());
            None
        }
    }
}
