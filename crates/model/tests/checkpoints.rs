//! Checkpoints: what is saved loads again, and what is wrong with a file is said.

mod cases;

use std::collections::HashMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use cases::*;
use plw_batch::pad;
use plw_model::{
    CheckpointError, Llama, LlamaConfig, LoraConfig, TargetModule, WeightType, load_adapter,
    load_llama, save_adapter, save_llama,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

fn equal(a: &Llama, b: &Llama) -> bool {
    let (a, b) = (a.values(), b.values());
    a.keys().eq(b.keys())
        && a.into_iter()
            .all(|(name, value)| values(value) == values(b[&name].clone()))
}

#[test]
fn a_saved_model_loads_identically() {
    // f16 and bf16 values are f32 values, and go back without a loss.
    let cases = [
        ("grouped_tied", WeightType::F32),
        ("untied_sharded_bf16", WeightType::F32),
        ("untied_sharded_bf16", WeightType::Bf16),
        ("llama3_f16", WeightType::F16),
    ];
    for (case, weight_type) in cases {
        let directory = tempfile::tempdir().expect("a directory");
        let model = load_llama(&fixture(case), &training_device()).expect("a model");
        save_llama(&model, directory.path(), weight_type).expect("saved");
        let again = load_llama(directory.path(), &Device::flex()).expect("loaded");
        assert!(equal(&model, &again), "{case} {weight_type:?}");
        let read = |path: &Path| -> serde_json::Map<String, serde_json::Value> {
            serde_json::from_str(&std::fs::read_to_string(path.join("config.json")).expect("there"))
                .expect("JSON")
        };
        let (mut before, mut after) = (read(&fixture(case)), read(directory.path()));
        for keys in [&mut before, &mut after] {
            keys.remove("dtype");
            keys.remove("torch_dtype");
        }
        assert_eq!(before, after, "other keys are kept as they were");
    }
}

#[test]
fn a_saved_adapter_loads_identically() {
    let directory = tempfile::tempdir().expect("a directory");
    let base = || load_llama(&fixture("grouped_tied"), &training_device()).expect("a model");
    let model = load_adapter(base(), &fixture("grouped_tied/adapter_some")).expect("an adapter");
    save_adapter(&model, directory.path()).expect("saved");
    let again = load_adapter(base(), directory.path()).expect("loaded");
    assert!(equal(&model, &again));
    assert_eq!(model.lora(), again.lora());
    // In place of the adapter that a model has.
    let replaced = load_adapter(model, &fixture("grouped_tied/adapter_all")).expect("an adapter");
    assert_eq!(
        replaced.lora().map(|lora| lora.target_modules.len()),
        Some(7)
    );
}

#[test]
fn initialisation_depends_on_the_seed_alone() {
    let config = LlamaConfig::from_json(
        r#"{"model_type": "llama", "vocab_size": 400, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 1, "num_attention_heads": 4}"#,
    )
    .expect("valid");
    let model = Llama::init(&config, 1, &Device::flex());
    assert!(equal(&model, &Llama::init(&config, 1, &training_device())));
    assert!(!equal(&model, &Llama::init(&config, 2, &Device::flex())));
    for (name, value) in model.values() {
        let value = values(value);
        let mean = value.iter().map(|&v| f64::from(v)).sum::<f64>() / value.len() as f64;
        let deviation = norm(&value) / (value.len() as f64).sqrt();
        let (expected_mean, expected) = match () {
            () if name.contains("norm") => (1.0, 1.0),
            () if name.contains("down_proj") => (0.0, 1.0 / 96f64.sqrt()),
            () => (0.0, 1.0 / 8.0),
        };
        // Four standard errors.
        let tolerance = 4.0 * expected / (value.len() as f64).sqrt();
        assert!(
            (mean - expected_mean).abs() < tolerance,
            "{name}: mean {mean}"
        );
        assert!(
            (deviation / expected - 1.0).abs() < 0.03,
            "{name}: deviation {deviation}"
        );
    }
    // The very bits: another machine must find them as well.
    let embeddings = values(model.values()["model.embed_tokens.weight"].clone());
    assert_eq!(
        embeddings[..3]
            .iter()
            .map(|v| v.to_bits())
            .collect::<Vec<_>>(),
        FIRST_BITS
    );
}

const FIRST_BITS: [u32; 3] = [3179503862, 3180380474, 1048418712];

#[test]
fn only_the_adapter_is_trained() {
    let lora = LoraConfig {
        r: 2,
        alpha: 4.0,
        dropout: 0.0,
        target_modules: [TargetModule::VProj].into(),
    };
    let model = load_llama(&fixture("grouped_tied"), &training_device()).expect("a model");
    let before = model.values();
    let model = model.with_lora(&lora, 3).expect("valid");
    let trainable: Vec<_> = model
        .parameters()
        .into_iter()
        .filter(|p| p.trainable)
        .map(|p| p.name)
        .collect();
    assert_eq!(trainable.len(), 4);
    let batch = pad(&Golden::read("grouped_tied").sequences());
    // B is zero, so A's gradient is zero and B's is not.
    let found = gradients(&model, &batch, 1.0, None);
    assert!(found.keys().eq(trainable.iter()));
    for (name, gradient) in &found {
        assert_eq!(
            norm(&values(gradient.clone())) > 0.0,
            name.contains("lora_B"),
            "{name}"
        );
    }
    let model = model.update(found, |_, value, gradient| value - gradient);
    assert!(
        model.parameters().iter().filter(|p| p.trainable).count() == 4,
        "updated parameters are leaves again"
    );
    for (name, value) in before {
        assert_eq!(
            values(model.values()[&name].clone()),
            values(value),
            "{name} is frozen"
        );
    }
    // The next step sees the new values: now A has a gradient as well.
    let next = gradients(&model, &batch, 1.0, None);
    assert!(
        next.values()
            .all(|gradient| norm(&values(gradient.clone())) > 0.0)
    );
    let without_graph = model.valid();
    assert!(
        without_graph
            .parameters()
            .iter()
            .all(|parameter| !parameter.trainable)
    );
    assert_eq!(
        values(logits(&without_graph, &batch, None)),
        values(logits(&model, &batch, None))
    );
}

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

#[test]
fn what_is_wrong_is_named() {
    type Damage = fn(&Path);
    let q = "model.layers.1.self_attn.q_proj.weight";
    let table: [(&str, Damage, &[&str]); 18] = [
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
                "not there",
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
    ];
    for (number, (case, damage, expected)) in table.into_iter().enumerate() {
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
        for part in expected {
            assert!(
                error.contains(part),
                "row {number}: `{error}` does not name `{part}`"
            );
        }
    }
}

#[test]
fn what_is_wrong_with_an_adapter_is_named() {
    let table: [(&str, serde_json::Value, &[&str]); 8] = [
        ("peft_type", "IA3".into(), &["peft_type", "IA3", "LORA"]),
        ("use_dora", true.into(), &["use_dora"]),
        ("bias", "all".into(), &["bias", "all"]),
        (
            "rank_pattern",
            serde_json::json!({"q_proj": 2}),
            &["rank_pattern"],
        ),
        ("r", 0.into(), &["r must be at least 1"]),
        (
            "r",
            5.into(),
            &[
                "adapter_model.safetensors",
                "lora_A.weight",
                "[3, 16]",
                "[5, 16]",
            ],
        ),
        (
            "target_modules",
            serde_json::json!(["lm_head"]),
            &["target_modules", "lm_head"],
        ),
        (
            "target_modules",
            serde_json::json!(["q_proj"]),
            &["down_proj.lora_A.weight", "no place"],
        ),
    ];
    for (key, value, expected) in table {
        let directory = tempfile::tempdir().expect("a directory");
        let source = fixture("grouped_tied/adapter_some");
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            std::fs::copy(source.join(file), directory.path().join(file)).expect("copied");
        }
        let path = directory.path().join("adapter_config.json");
        let mut keys: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&std::fs::read_to_string(&path).expect("there")).expect("JSON");
        keys.insert(key.into(), value);
        std::fs::write(&path, serde_json::to_string(&keys).expect("JSON")).expect("written");
        let base = load_llama(&fixture("grouped_tied"), &Device::flex()).expect("a model");
        let error = load_adapter(base, directory.path())
            .expect_err("damaged")
            .to_string();
        for part in expected {
            assert!(
                error.contains(part),
                "{key}: `{error}` does not name `{part}`"
            );
        }
    }
}

#[test]
fn an_adapter_is_not_lost_silently() {
    let directory = tempfile::tempdir().expect("a directory");
    let model = load_llama(&fixture("grouped_tied"), &Device::flex()).expect("a model");
    assert!(matches!(
        save_adapter(&model, directory.path()),
        Err(CheckpointError::AdapterState(_))
    ));
    let adapted = load_adapter(model, &fixture("grouped_tied/adapter_all")).expect("an adapter");
    let saved = save_llama(&adapted, directory.path(), WeightType::F32);
    assert!(matches!(saved, Err(CheckpointError::AdapterState(_))));
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("there").count(),
        0,
        "nothing was written"
    );
}
