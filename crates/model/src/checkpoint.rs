//! Hugging Face checkpoints of a Llama: a directory with config.json and safetensors files.

use std::path::Path;

use burn::tensor::Device;

use crate::config::LlamaConfig;
use crate::error::{CheckpointError, io};
use crate::llama::Llama;
use crate::safetensors_files::{StoredTensor, TensorFiles, WeightType, write};

const EMBEDDINGS: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// Reads `config.json` of a model's directory.
pub fn load_config(directory: &Path) -> Result<LlamaConfig, CheckpointError> {
    let path = directory.join("config.json");
    if !path.exists() {
        return Err(no_model(directory));
    }
    let text = std::fs::read_to_string(&path).map_err(io(&path))?;
    LlamaConfig::from_json(&text).map_err(|source| CheckpointError::Config { path, source })
}

/// Why a directory without config.json is no model's: adapters are taken for one at times.
fn no_model(directory: &Path) -> CheckpointError {
    let directory = directory.to_path_buf();
    let Ok(text) = std::fs::read_to_string(directory.join("adapter_config.json")) else {
        return CheckpointError::NoModel { directory };
    };
    let config: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let base = config["base_model_name_or_path"].as_str();
    CheckpointError::AdapterAlone {
        directory,
        base: base.map_or_else(String::new, |base| format!(" ({base})")),
    }
}

/// Loads a model from a Hugging Face directory: `config.json` and `model.safetensors`, or shards named in
/// `model.safetensors.index.json`. Weights of type f32, bf16 or f16 become f32.
///
/// A tensor that is missing, has no place in the model or has another shape is an error that names it.
pub fn load_llama(directory: &Path, device: &Device) -> Result<Llama, CheckpointError> {
    load_llama_as(directory, device, WeightType::F32)
}

/// As [`load_llama`], the layers' linear weights kept in `linear_weights`, for a model whose own weights are not trained:
/// products make them f32 again, so that nothing is lost where the file has them in that type, or in a smaller one.
pub fn load_llama_as(
    directory: &Path,
    device: &Device,
    linear_weights: WeightType,
) -> Result<Llama, CheckpointError> {
    let config = load_config(directory)?;
    let mut files = TensorFiles::open_model(directory)?;
    // Old checkpoints store RoPE's frequencies, which the configuration gives as well.
    files.ignore(|name| name.ends_with(".self_attn.rotary_emb.inv_freq"));
    // A tied head is stored by some tools; a different one would be lost, so it is refused.
    if config.tie_word_embeddings && files.contains(HEAD) {
        let shape = [config.vocab_size, config.hidden_size];
        let path = files.whole().to_owned();
        let head = files.take(HEAD, &shape)?;
        if TensorFiles::open_model(directory)?.take(EMBEDDINGS, &shape)? != head {
            return Err(CheckpointError::UntiedHead { path });
        }
    }
    let model = Llama::assemble(&config, device, linear_weights, |name, shape| {
        files.take(name, shape)
    })?;
    files.finish()?;
    Ok(model)
}

/// Saves a model as `config.json` and `model.safetensors`, so that transformers loads it. The directory is made if it
/// is not there; files appear complete or not at all. An adapter must be merged first ([`Llama::merge_lora`]).
pub fn save_llama(
    model: &Llama,
    directory: &Path,
    weight_type: WeightType,
) -> Result<(), CheckpointError> {
    if model.lora().is_some() {
        return Err(CheckpointError::AdapterState(
            "the model has a LoRA adapter, which a full checkpoint cannot hold: merge it first, or save the adapter",
        ));
    }
    std::fs::create_dir_all(directory).map_err(io(directory))?;
    let values = model.values();
    let tensors = model
        .parameters()
        .into_iter()
        .map(|parameter| StoredTensor {
            values: values[&parameter.name].clone(),
            name: parameter.name,
            shape: parameter.shape,
        });
    write(&directory.join("model.safetensors"), tensors, weight_type)?;
    let config = model.config().with_weight_type(weight_type.name());
    write_json(&directory.join("config.json"), &config)
}

/// Writes pretty JSON under a temporary name, then renames.
pub(crate) fn write_json(
    path: &Path,
    value: &impl serde::Serialize,
) -> Result<(), CheckpointError> {
    let text = serde_json::to_string_pretty(value).map_err(|source| CheckpointError::Json {
        path: path.into(),
        source,
    })?;
    let partial = path.with_extension("json.partial");
    std::fs::write(&partial, text + "\n").map_err(io(&partial))?;
    std::fs::rename(&partial, path).map_err(io(path))
}
