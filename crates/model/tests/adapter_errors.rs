//! An error about an adapter names the file, and the tensor or key.

mod cases;

use burn::tensor::Device;
use cases::fixture;
use plw_model::{load_adapter, load_llama};

#[test]
fn what_is_wrong_with_an_adapter_is_named() {
    let table: [(&str, serde_json::Value, &[&str]); 12] = [
        ("peft_type", "IA3".into(), &["peft_type", "IA3", "LORA"]),
        ("use_dora", true.into(), &["use_dora"]),
        ("some_new_variation", 3.into(), &["some_new_variation"]),
        (
            "init_lora_weights",
            "pissa".into(),
            &["init_lora_weights", "pissa"],
        ),
        ("bias", "all".into(), &["bias", "all"]),
        (
            "rank_pattern",
            serde_json::json!({"q_proj": 2}),
            &["rank_pattern"],
        ),
        ("r", 0.into(), &["PEFT's r", "from 1 to 65536, not 0"]),
        (
            "lora_dropout",
            "../../etc/passwd".into(),
            &["lora_dropout", "../../etc/passwd", "a number"],
        ),
        ("lora_alpha", 1e300.into(), &["lora_alpha", "not 1e300"]),
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
fn an_adapter_and_a_model_are_told_apart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    let device = Device::flex();
    let error = load_llama(path, &device).expect_err("empty").to_string();
    assert!(error.contains("holds no config.json"), "{error}");
    let adapter = r#"{"base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M"}"#;
    std::fs::write(path.join("adapter_config.json"), adapter).expect("written");
    let error = load_llama(path, &device)
        .expect_err("an adapter")
        .to_string();
    assert!(
        error.contains("an adapter, not a model") && error.contains("(HuggingFaceTB/SmolLM2-135M)"),
        "{error}"
    );
    let model = load_llama(&fixture("grouped_tied"), &device).expect("a model");
    let none = tempfile::tempdir().expect("a temporary directory");
    let error = load_adapter(model, none.path())
        .expect_err("none")
        .to_string();
    assert!(error.contains("holds no adapter_config.json"), "{error}");
}
