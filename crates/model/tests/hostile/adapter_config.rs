//! `adapter_config.json`.

use plw_model::LoraConfig;
use serde_json::json;

use plw_mutate::{mutated, mutations, try_all, with_little_memory};

#[test]
fn any_adapter_config_is_read_or_refused() {
    let good = json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "model",
        "r": 8, "lora_alpha": 16, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"],
        "bias": "none", "fan_in_fan_out": false, "init_lora_weights": true, "use_dora": false,
        "rank_pattern": {}, "modules_to_save": null, "inference_mode": true
    });
    LoraConfig::from_json(&good.to_string()).expect("good");
    with_little_memory(
        "adapter_config::any_adapter_config_is_read_or_refused",
        || {
            try_all(2000, mutations(), |mutations| {
                let text = mutated(&good, &mutations).to_string();
                match LoraConfig::from_json(&text) {
                    Ok(config) => assert_eq!(config.check(), Ok(())),
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
                serde_json::from_str::<serde_json::Map<_, serde_json::Value>>(&text).is_ok()
            });
        },
    );
}
