//! `model.safetensors.index.json`.

use std::path::{Component, Path};

use plw_model::ShardIndex;
use serde_json::json;

use plw_mutate::{mutated, mutations, try_all, with_little_memory};

#[test]
fn any_index_is_read_or_refused() {
    let good = json!({
        "metadata": {"total_size": 1000},
        "weight_map": {
            "model.embed_tokens.weight": "model-00001-of-00002.safetensors",
            "model.norm.weight": "model-00002-of-00002.safetensors",
            "lm_head.weight": "model-00002-of-00002.safetensors"
        }
    });
    ShardIndex::from_json(&good.to_string()).expect("good");
    with_little_memory("index::any_index_is_read_or_refused", || {
        try_all(2000, mutations(), |mutations| {
            let text = mutated(&good, &mutations).to_string();
            match ShardIndex::from_json(&text) {
                Ok(index) => {
                    for (_, shard) in index.iter() {
                        let mut parts = Path::new(shard).components();
                        assert!(
                            parts.all(|part| matches!(part, Component::Normal(_))),
                            "{shard}"
                        );
                    }
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
            serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(&text).is_ok()
        });
    });
}
