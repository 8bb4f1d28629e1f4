//! `config.json`.

use plw_model::{LinearWeightType, LlamaConfig, LoraConfig, PassSize, TargetModule};
use serde_json::json;

use plw_mutate::{mutated, mutations, try_all, with_little_memory};

/// What an accepted configuration promises: all that follows from its sizes can be counted.
fn check(config: &LlamaConfig) {
    assert!(config.parameter_count() <= 1 << 42);
    assert!(config.weight_bytes(LinearWeightType::F32) <= 1 << 44);
    let lora = LoraConfig {
        r: 1 << 16,
        alpha: 1.0,
        dropout: 0.5,
        target_modules: TargetModule::ALL.into(),
    };
    assert!(config.adapter_parameter_count(&lora) < 1 << 60);
    let size = PassSize {
        positions: u64::MAX,
        rows: u64::MAX,
    };
    assert_eq!(config.kept_activations(size), u64::MAX);
    assert_eq!(config.kept_activations_recomputed(size), u64::MAX);
    assert_eq!(config.forward_activations(size), u64::MAX);
    assert!(config.max_position_embeddings() > 0);
}

#[test]
fn any_config_is_read_or_refused() {
    let good = json!({
        "model_type": "llama", "vocab_size": 640, "hidden_size": 64, "intermediate_size": 168,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 5e5,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
        "attention_bias": false, "mlp_bias": false, "tie_word_embeddings": true,
        "max_position_embeddings": 1024, "pad_token_id": 1, "eos_token_id": [1, 2],
        "quantization_config": null, "architectures": ["LlamaForCausalLM"]
    });
    check(&LlamaConfig::from_json(&good.to_string()).expect("good"));
    with_little_memory("config::any_config_is_read_or_refused", || {
        try_all(2000, mutations(), |mutations| {
            let text = mutated(&good, &mutations).to_string();
            match LlamaConfig::from_json(&text) {
                Ok(config) => check(&config),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
            serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(&text).is_ok()
        });
    });
}
