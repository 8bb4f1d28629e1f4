//! `model.safetensors.index.json` of a model.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plw_model::ShardIndex;
use std::path::{Component, Path};

fuzz_target!(|text: &str| {
    if let Ok(index) = ShardIndex::from_json(text) {
        for (_, shard) in index.iter() {
            let mut parts = Path::new(shard).components();
            assert!(parts.all(|part| matches!(part, Component::Normal(_))));
        }
    }
});
