//! Adapter directories of PEFT: adapter_config.json and adapter_model.safetensors.

use std::path::Path;

use plw_files::{MOST_SETTINGS, read_text, write_json_atomic};
use serde_json::{Map, Value, json};

use crate::config::LlamaConfig;
use crate::error::CheckpointError;
use crate::llama::Llama;
use crate::lora::{LoraConfig, LoraError, TargetModule};
use crate::tensor_files::TensorFiles;
use crate::weight_type::WeightType;
use crate::write_tensors::{StoredTensor, write_weights};

/// The prefix that PEFT gives the names of layers.
const PREFIX: &str = "base_model.model.";

/// The settings of PEFT that are read here, or do not change what a trained adapter computes. Any
/// other setting is a variation of LoRA and must be off: null, false, empty, or "none" for `bias`.
const KNOWN: [&str; 16] = [
    "peft_type",
    "task_type",
    "base_model_name_or_path",
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "inference_mode",
    "init_lora_weights",
    "revision",
    "auto_mapping",
    "peft_version",
    "megatron_core",
    "layers_pattern",
    "qalora_group_size",
    "ensure_weight_tying",
];

/// Reads the settings of an adapter directory of PEFT.
pub fn load_lora_config(directory: &Path) -> Result<LoraConfig, CheckpointError> {
    let path = directory.join("adapter_config.json");
    if !path.exists() {
        return Err(CheckpointError::NoAdapter {
            directory: directory.into(),
        });
    }
    LoraConfig::from_json(&read_text(&path, MOST_SETTINGS)?)
        .map_err(|source| CheckpointError::Adapter { path, source })
}

impl LoraConfig {
    /// Parses and checks the text of an `adapter_config.json`.
    ///
    /// # Errors
    ///
    /// If it is not a JSON object, or its settings are invalid or not supported.
    pub fn from_json(text: &str) -> Result<Self, LoraError> {
        let keys: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| LoraError::Json(error.to_string()))?;
        parse(&keys)
    }
}

fn parse(keys: &Map<String, Value>) -> Result<LoraConfig, LoraError> {
    let unsupported = |key: &str, supported| LoraError::Unsupported {
        key: key.into(),
        found: keys.get(key).unwrap_or(&Value::Null).to_string(),
        supported,
    };
    if keys.get("peft_type") != Some(&json!("LORA")) {
        return Err(unsupported("peft_type", "\"LORA\""));
    }
    // PiSSA and similar initializations change the base model.
    if matches!(keys.get("init_lora_weights"), Some(Value::String(name)) if name != "gaussian") {
        return Err(unsupported(
            "init_lora_weights",
            "true, false or \"gaussian\"",
        ));
    }
    for (key, value) in keys
        .iter()
        .filter(|(key, _)| !KNOWN.contains(&key.as_str()))
    {
        let off = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            Value::String(name) => key == "bias" && name == "none",
            _ => false,
        };
        if !off {
            return Err(unsupported(key, "plain LoRA without this setting"));
        }
    }
    let number = |key: &str| keys.get(key).map(Value::as_f64);
    let r = keys.get("r").and_then(Value::as_u64);
    let config = LoraConfig {
        r: r.ok_or_else(|| unsupported("r", "a positive integer"))? as usize,
        alpha: number("lora_alpha")
            .flatten()
            .ok_or_else(|| unsupported("lora_alpha", "a number"))?,
        dropout: number("lora_dropout")
            .unwrap_or(Some(0.0))
            .ok_or_else(|| unsupported("lora_dropout", "a number"))?,
        target_modules: match keys.get("target_modules") {
            Some(Value::String(all)) if all == "all-linear" => TargetModule::ALL.into(),
            Some(list) => serde_json::from_value(list.clone()).map_err(|_| {
                unsupported(
                    "target_modules",
                    "a list of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj",
                )
            })?,
            None => return Err(unsupported("target_modules", "a list of layers")),
        },
    };
    config.check()?;
    Ok(config)
}

/// Freezes a model and adds the adapter of a PEFT directory, which replaces one that the model has.
/// It can be trained further or merged.
pub fn load_adapter(model: Llama, directory: &Path) -> Result<Llama, CheckpointError> {
    let config = load_lora_config(directory)?;
    let mut file = TensorFiles::open(&directory.join("adapter_model.safetensors"))?;
    let model = model
        .without_lora()
        .attach_lora(&config, |name, shape| {
            file.take(&format!("{PREFIX}{name}"), &shape)
        })
        .map_err(|source| CheckpointError::Adapter {
            path: directory.into(),
            source,
        })??;
    file.finish()?;
    Ok(model)
}

/// Checks that the weights of an adapter's directory are those of an adapter of a model with this
/// configuration, without reading them.
///
/// # Errors
///
/// As [`load_adapter`], but for values that are not finite, and for memory.
pub fn check_adapter(config: &LlamaConfig, directory: &Path) -> Result<(), CheckpointError> {
    let lora = load_lora_config(directory)?;
    let mut file = TensorFiles::open(&directory.join("adapter_model.safetensors"))?;
    for (name, shape) in config.adapter_tensors(&lora) {
        file.skip(&format!("{PREFIX}{name}"), &shape)?;
    }
    file.finish()
}

/// Saves a model's adapter as PEFT does, in f32. It names the model by the directory that it was
/// loaded from, so that `AutoPeftModelForCausalLM` finds it. The directory is created if necessary;
/// files appear complete or not at all.
pub fn save_adapter(model: &Llama, directory: &Path) -> Result<(), CheckpointError> {
    let Some(config) = model.lora() else {
        return Err(CheckpointError::AdapterState(
            "the model has no LoRA adapter to save",
        ));
    };
    let is_adapter = |name: &str| name.contains(".lora_");
    let values = model.values_of(is_adapter);
    let tensors = model
        .parameters()
        .into_iter()
        .filter(|parameter| is_adapter(&parameter.name))
        .map(|parameter| StoredTensor {
            values: values[&parameter.name].clone(),
            name: format!("{PREFIX}{}", parameter.name),
            shape: parameter.shape,
        });
    write_weights(
        &directory.join("adapter_model.safetensors"),
        tensors,
        WeightType::F32,
    )?;
    // PEFT writes a whole alpha as an integer.
    let alpha = match config.alpha.fract() {
        0.0 => json!(config.alpha as u64),
        _ => json!(config.alpha),
    };
    let keys = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": model.name_or_path,
        "r": config.r,
        "lora_alpha": alpha,
        "lora_dropout": config.dropout,
        "target_modules": config.target_modules,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "inference_mode": true,
    });
    Ok(write_json_atomic(
        directory.join("adapter_config.json"),
        &keys,
    )?)
}
