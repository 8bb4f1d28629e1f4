//! How the tests change a checkpoint's files.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value};

/// Types, shapes and bytes of tensors, by name.
pub(crate) type Tensors = HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Changes the tensors of a file.
pub(crate) fn change_tensors(path: &Path, change: impl FnOnce(&mut Tensors)) {
    let bytes = fs::read(path).expect("there");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("safetensors");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let tensors = file.tensors().into_iter();
    let mut tensors: Tensors = tensors
        .map(|(name, view)| {
            let parts = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name, parts)
        })
        .collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        let view = TensorView::new(*dtype, shape.clone(), data);
        (name, view.expect("consistent"))
    });
    safetensors::serialize_to_file(views, header.metadata().clone(), path).expect("written");
}

/// Rounds every tensor of a file to bf16.
pub(crate) fn round_to_bf16(path: &Path) {
    change_tensors(path, |tensors| {
        for (dtype, _, bytes) in tensors.values_mut() {
            *dtype = Dtype::BF16;
            *bytes = bytes
                .chunks(4)
                .flat_map(|value| [value[2], value[3]])
                .collect();
        }
    });
}

/// Changes the keys of a checkpoint's state, as someone who edits the file does.
pub(crate) fn change_state(checkpoint: &Path, change: impl FnOnce(&mut Map<String, Value>)) {
    let path = checkpoint.join("trainer_state/state.json");
    let mut keys = serde_json::from_slice(&fs::read(&path).expect("there")).expect("an object");
    change(&mut keys);
    fs::write(&path, serde_json::to_vec_pretty(&keys).expect("JSON")).expect("written");
}

/// Changes the keys of a checkpoint's state and makes every digest right again.
pub(crate) fn reseal(checkpoint: &Path, change: impl FnOnce(&mut Map<String, Value>)) {
    change_state(checkpoint, |keys| {
        change(keys);
        let files = keys.get_mut("files").and_then(Value::as_object_mut);
        for (name, digest) in files.expect("digests") {
            let now = plw_files::digest_file(checkpoint.join(name)).expect("there");
            *digest = Value::from(now);
        }
        keys.shift_remove("digest");
        let own = plw_files::digest(serde_json::to_vec(keys).expect("JSON"));
        keys.insert("digest".to_string(), Value::from(own));
    });
}

/// Makes a checkpoint's state that of an earlier version of plw, which kept no digests.
pub(crate) fn make_earlier(checkpoint: &Path) {
    change_state(checkpoint, |keys| {
        for key in ["files", "digest", "total_steps", "run"] {
            keys.shift_remove(key);
        }
    });
}

/// Flips the last bit of a file.
pub(crate) fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).expect("there");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(path, bytes).expect("written");
}
