//! Hugging Face checkpoints of a Llama: a directory with config.json and safetensors files.

use std::path::Path;

use burn::tensor::Device;
use plw_files::{MOST_SETTINGS, read_text, write_json_atomic};

use crate::config::LlamaConfig;
use crate::config_error::ConfigError;
use crate::error::CheckpointError;
use crate::llama::Llama;
use crate::tensor_files::TensorFiles;
use crate::weight::{HeldWeights, LinearWeightType};
use crate::weight_type::WeightType;
use crate::write_tensors::{StoredTensor, write_weights};

const EMBEDDINGS: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// Reads the `config.json` of a model's directory.
///
/// # Errors
///
/// If the directory holds no model, or one that this crate does not implement.
pub fn load_config(directory: &Path) -> Result<LlamaConfig, CheckpointError> {
    let path = directory.join("config.json");
    if !path.exists() {
        return Err(no_model(directory));
    }
    read_config(&path)
}

/// Reads a `config.json`.
///
/// # Errors
///
/// If it cannot be read, or describes a model that this crate does not implement.
pub fn read_config(path: &Path) -> Result<LlamaConfig, CheckpointError> {
    LlamaConfig::from_json(&read_text(path, MOST_SETTINGS)?).map_err(in_config(path))
}

/// For `map_err`: names the file that a configuration is from.
fn in_config(path: &Path) -> impl FnOnce(ConfigError) -> CheckpointError {
    let path = path.to_path_buf();
    |source| CheckpointError::Config { path, source }
}

/// What is wrong with a directory without config.json: it may be an adapter's.
fn no_model(directory: &Path) -> CheckpointError {
    let directory = directory.to_path_buf();
    let Ok(text) = read_text(directory.join("adapter_config.json"), MOST_SETTINGS) else {
        return CheckpointError::NoModel { directory };
    };
    let config: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let base = config["base_model_name_or_path"].as_str();
    CheckpointError::AdapterAlone {
        directory,
        base: base.map_or_else(String::new, |base| format!(" ({base})")),
    }
}

/// A random model of the `config.json` at `path`, as [`Llama::init`] makes it, with weights held in
/// these types.
///
/// # Errors
///
/// As [`read_config`], and if its weights take more memory than the machine gives.
pub fn init_llama(
    path: &Path,
    seed: u64,
    device: &Device,
    held_as: impl Into<HeldWeights>,
) -> Result<Llama, CheckpointError> {
    let (config, held_as) = (read_config(path)?, held_as.into());
    config
        .check_memory(held_as.linear)
        .map_err(in_config(path))?;
    Ok(Llama::init_as(&config, seed, device, held_as))
}

/// Loads a model from a Hugging Face directory: `config.json` and `model.safetensors`, or shards
/// named in `model.safetensors.index.json`. Weights of type f32, bf16 or f16 become f32.
///
/// # Errors
///
/// If a file cannot be used, or a tensor is missing, has no place in the model, or has another
/// shape. The error names file and tensor.
pub fn load_llama(directory: &Path, device: &Device) -> Result<Llama, CheckpointError> {
    load_llama_as(directory, device, LinearWeightType::F32)
}

/// Like [`load_llama`], but holds the weights in these types: a [`LinearWeightType`] for the linear
/// weights of the layers alone, or [`HeldWeights`]. Use it for a model whose own weights are not
/// trained. Matrix products convert the weights to f32, so nothing is lost if the file holds that
/// type. NF4 does lose precision.
///
/// # Errors
///
/// As [`load_llama`].
pub fn load_llama_as(
    directory: &Path,
    device: &Device,
    held_as: impl Into<HeldWeights>,
) -> Result<Llama, CheckpointError> {
    let (config, held_as) = (load_config(directory)?, held_as.into());
    config
        .check_memory(held_as.linear)
        .map_err(in_config(&directory.join("config.json")))?;
    let mut files = open_weights(directory, &config)?;
    let mut model = Llama::assemble(&config, device, held_as, |name, shape| {
        files.take(name, shape)
    })?;
    files.finish()?;
    model.name_or_path = Some(directory.display().to_string());
    Ok(model)
}

/// Checks that the weights in a model's directory have the names, shapes and types that its
/// `config.json` asks for, without reading them, and returns the configuration.
///
/// # Errors
///
/// As [`load_llama`], but for values that are not finite, and for memory.
pub fn check_llama(directory: &Path) -> Result<LlamaConfig, CheckpointError> {
    let config = load_config(directory)?;
    let mut files = open_weights(directory, &config)?;
    for (name, shape) in config.tensors() {
        files.skip(&name, &shape)?;
    }
    files.finish()?;
    Ok(config)
}

/// The tensors of a model's directory that belong to the model.
fn open_weights(directory: &Path, config: &LlamaConfig) -> Result<TensorFiles, CheckpointError> {
    let mut files = TensorFiles::open_model(directory)?;
    // Old checkpoints store RoPE's frequencies, which the configuration defines as well.
    files.ignore(|name| name.ends_with(".self_attn.rotary_emb.inv_freq"));
    // Some tools store a tied head. A head that differs from the embeddings would be lost.
    if config.tie_word_embeddings && files.contains(HEAD) {
        let shape = [config.vocab_size, config.hidden_size];
        let path = files.whole().to_owned();
        let head = files.take(HEAD, &shape)?;
        if TensorFiles::open_model(directory)?.take(EMBEDDINGS, &shape)? != head {
            return Err(CheckpointError::UntiedHead { path });
        }
    }
    Ok(files)
}

/// Saves a model as `config.json` and `model.safetensors`, which transformers can load. Creates the
/// directory if it is missing. Each file appears complete or not at all.
///
/// # Errors
///
/// If the model has an adapter (merge it first with [`Llama::merge_lora`]), or a file cannot be
/// written.
pub fn save_llama(
    model: &Llama,
    directory: &Path,
    weight_type: WeightType,
) -> Result<(), CheckpointError> {
    if model.lora().is_some() {
        return Err(CheckpointError::AdapterState(
            "the model has a LoRA adapter, which a full checkpoint cannot hold: \
             merge it first, or save the adapter",
        ));
    }
    let model = model.clone().dequantized();
    let values = model.values();
    let tensors = model
        .parameters()
        .into_iter()
        .map(|parameter| StoredTensor {
            values: values[&parameter.name].clone(),
            name: parameter.name,
            shape: parameter.shape,
        });
    write_weights(&directory.join("model.safetensors"), tensors, weight_type)?;
    let config = model.config().with_weight_type(weight_type.name());
    Ok(write_json_atomic(directory.join("config.json"), &config)?)
}
