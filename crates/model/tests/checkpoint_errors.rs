//! An error about a checkpoint names the file, and the tensor or key.

mod cases;

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::Device;
use cases::fixture;
use plw_model::{check_adapter, check_llama, load_llama};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// A tensor file as a map, changed and written back.
fn change(path: &Path, change: impl FnOnce(&mut HashMap<String, (Dtype, Vec<usize>, Vec<u8>)>)) {
    let bytes = std::fs::read(path).expect("there");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut tensors: HashMap<_, _> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            (
                name,
                (view.dtype(), view.shape().to_vec(), view.data().to_vec()),
            )
        })
        .collect();
    change(&mut tensors);
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| {
            (
                name,
                TensorView::new(*dtype, shape.clone(), data).expect("consistent"),
            )
        })
        .collect();
    safetensors::serialize_to_file(views, None, path).expect("written");
}

fn edit_config(directory: &Path, key: &str, value: serde_json::Value) {
    let path = directory.join("config.json");
    let mut keys: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("there")).expect("JSON");
    keys.insert(key.into(), value);
    std::fs::write(&path, serde_json::to_string(&keys).expect("JSON")).expect("written");
}

/// Names `shard` as the shard of `tensor` in the index.
fn edit_index(directory: &Path, tensor: &str, shard: &str) {
    let path = directory.join("model.safetensors.index.json");
    let text = std::fs::read_to_string(&path).expect("there");
    let mut index: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    index["weight_map"][tensor] = shard.into();
    std::fs::write(&path, index.to_string()).expect("written");
}

#[test]
fn what_is_wrong_is_named() {
    type Damage = fn(&Path);
    let q = "model.layers.1.self_attn.q_proj.weight";
    let table: [(&str, Damage, &[&str]); 25] = [
        (
            "grouped_tied",
            |d| std::fs::remove_file(d.join("config.json")).expect("there"),
            &["config.json"],
        ),
        (
            "grouped_tied",
            |d| std::fs::write(d.join("config.json"), "{").expect("written"),
            &["config.json", "EOF"],
        ),
        (
            "grouped_tied",
            |d| edit_config(d, "model_type", "mistral".into()),
            &["config.json", "model_type", "mistral", "llama"],
        ),
        (
            "grouped_tied",
            |d| edit_config(d, "hidden_act", "gelu".into()),
            &["hidden_act", "gelu", "silu"],
        ),
        (
            "grouped_tied",
            |d| edit_config(d, "attention_bias", true.into()),
            &["attention_bias"],
        ),
        (
            "grouped_tied",
            |d| edit_config(d, "num_key_value_heads", 3.into()),
            &["num_key_value_heads", "multiple"],
        ),
        (
            "grouped_tied",
            |d| {
                edit_config(
                    d,
                    "rope_scaling",
                    serde_json::json!({"rope_type": "yarn", "factor": 2.0}),
                )
            },
            &["rope_type", "yarn"],
        ),
        (
            "grouped_tied",
            |d| std::fs::remove_file(d.join("model.safetensors")).expect("there"),
            &["model.safetensors"],
        ),
        (
            "grouped_tied",
            |d| {
                let path = d.join("model.safetensors");
                let bytes = std::fs::read(&path).expect("there");
                std::fs::write(&path, &bytes[..bytes.len() - 5]).expect("written");
            },
            &["model.safetensors", "not a complete"],
        ),
        (
            "grouped_tied",
            |d| {
                change(&d.join("model.safetensors"), |t| {
                    drop(t.remove("model.layers.1.self_attn.q_proj.weight"))
                })
            },
            &["model.safetensors", q, "[16, 16]", "missing"],
        ),
        (
            "grouped_tied",
            |d| {
                change(&d.join("model.safetensors"), |t| {
                    drop(t.insert("model.layers.2.x".into(), (Dtype::F32, vec![1], vec![0; 4])))
                })
            },
            &["model.safetensors", "model.layers.2.x", "[1]", "no place"],
        ),
        (
            "grouped_tied",
            |d| {
                change(&d.join("model.safetensors"), |t| {
                    t.get_mut("model.layers.1.self_attn.q_proj.weight")
                        .expect("there")
                        .1 = vec![8, 32]
                })
            },
            &["model.safetensors", q, "[8, 32]", "[16, 16]"],
        ),
        (
            "grouped_tied",
            |d| {
                change(&d.join("model.safetensors"), |t| {
                    t.get_mut("model.norm.weight").expect("there").0 = Dtype::I32
                })
            },
            &["model.safetensors", "model.norm.weight", "I32", "BF16"],
        ),
        (
            "grouped_tied",
            |d| {
                change(&d.join("model.safetensors"), |t| {
                    let mut head = t["model.embed_tokens.weight"].clone();
                    head.2[0] ^= 1;
                    t.insert("lm_head.weight".into(), head);
                })
            },
            &["model.safetensors", "lm_head.weight", "tie_word_embeddings"],
        ),
        (
            "untied_sharded_bf16",
            |d| std::fs::remove_file(d.join("model-00002-of-00003.safetensors")).expect("there"),
            &[
                "model-00002-of-00003.safetensors",
                "model.layers.",
                "does not exist",
            ],
        ),
        (
            "untied_sharded_bf16",
            |d| {
                change(&d.join("model-00001-of-00003.safetensors"), |t| {
                    let name = t.keys().next().expect("one").clone();
                    t.remove(&name);
                })
            },
            &["model.safetensors.index.json", "missing"],
        ),
        (
            "untied_sharded_bf16",
            |d| edit_config(d, "tie_word_embeddings", true.into()),
            &["lm_head.weight", "differs"],
        ),
        (
            "untied_sharded_bf16",
            |d| edit_config(d, "num_hidden_layers", 3.into()),
            &["model.layers.2.", "missing"],
        ),
        (
            "untied_sharded_bf16",
            |d| edit_index(d, "model.norm.weight", "../elsewhere.safetensors"),
            &["index.json", "model.norm.weight", "outside"],
        ),
        (
            "untied_sharded_bf16",
            |d| edit_index(d, "model.norm.weight", "/dev/zero"),
            &["index.json", "model.norm.weight", "/dev/zero", "outside"],
        ),
        (
            "untied_sharded_bf16",
            |d| {
                let shard = "model-00002-of-00003.safetensors";
                edit_index(d, "model.embed_tokens.weight", shard);
            },
            &["model-00001-of-00003", "embed_tokens", "another shard"],
        ),
        (
            "untied_sharded_bf16",
            |d| edit_index(d, "model.extra.weight", "model-00001-of-00003.safetensors"),
            &[
                "model-00001-of-00003",
                "model.extra.weight",
                "missing",
                "index.json",
            ],
        ),
        (
            "untied_sharded_bf16",
            |d| {
                for number in [1, 2] {
                    let shard = format!("model-0000{number}-of-00003.safetensors");
                    change(&d.join(shard), |t| {
                        t.insert("model.extra".into(), (Dtype::F32, vec![1], vec![0; 4]));
                    });
                }
            },
            &["model-00002-of-00003", "model.extra", "another shard"],
        ),
        (
            "grouped_tied",
            |d| std::fs::write(d.join("model.safetensors"), "").expect("written"),
            &["model.safetensors", "shorter than 8 bytes"],
        ),
        (
            "grouped_tied",
            // A sparse file of 10 GB that says it is all header.
            |d| {
                let path = d.join("model.safetensors");
                std::fs::write(&path, 10_000_000_000u64.to_le_bytes()).expect("written");
                let file = std::fs::OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .expect("there");
                file.set_len(8 + 10_000_000_000).expect("sparse");
            },
            &[
                "model.safetensors",
                "its header should have 10000000000 bytes",
            ],
        ),
    ];
    for (row, (case, damage, expected)) in table.into_iter().enumerate() {
        let directory = tempfile::tempdir().expect("a directory");
        for entry in std::fs::read_dir(fixture(case)).expect("there") {
            let path = entry.expect("readable").path();
            if path.is_file() {
                std::fs::copy(
                    &path,
                    directory.path().join(path.file_name().expect("a file")),
                )
                .expect("copied");
            }
        }
        damage(directory.path());
        let error = load_llama(directory.path(), &Device::flex())
            .expect_err("damaged")
            .to_string();
        // Without reading the weights, too.
        let checked = check_llama(directory.path()).expect_err("damaged");
        assert_eq!(checked.to_string(), error);
        for part in expected {
            assert!(
                error.contains(part),
                "row {row}: `{error}` does not name `{part}`"
            );
        }
    }
}

#[test]
fn weights_that_fit_are_checked_without_reading_them() {
    for case in ["grouped_tied", "untied_sharded_bf16", "llama3_f16"] {
        let config = check_llama(&fixture(case)).expect(case);
        let model = load_llama(&fixture(case), &Device::flex()).expect(case);
        assert_eq!(&config, model.config());
    }
    let config = check_llama(&fixture("grouped_tied")).expect("a model");
    check_adapter(&config, &fixture("grouped_tied/adapter_some")).expect("its adapter");
    let other = check_llama(&fixture("llama3_f16")).expect("a model");
    let error = check_adapter(&other, &fixture("grouped_tied/adapter_some"));
    let error = error.expect_err("of another model").to_string();
    assert!(error.contains("q_proj.lora_B.weight"), "{error}");
}

#[test]
fn values_that_are_not_finite_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    for file in ["config.json", "model.safetensors"] {
        let from = fixture("grouped_tied").join(file);
        std::fs::copy(from, directory.path().join(file)).expect("copied");
    }
    let tensor = "model.layers.1.self_attn.q_proj.weight";
    for value in [f32::NAN, f32::NEG_INFINITY] {
        change(&directory.path().join("model.safetensors"), |tensors| {
            let (_, _, bytes) = tensors.get_mut(tensor).expect("there");
            bytes[8..12].copy_from_slice(&value.to_le_bytes());
        });
        let error = load_llama(directory.path(), &Device::flex()).expect_err("damaged");
        let error = error.to_string();
        assert!(
            error.contains("model.safetensors") && error.contains(tensor),
            "{error}"
        );
        assert!(error.contains("not finite"), "{error}");
    }
}
