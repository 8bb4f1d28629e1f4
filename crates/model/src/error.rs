//! What can be wrong with a checkpoint. Each error names the file, and the tensor or key.

use std::path::PathBuf;

use plw_files::FileError;

use crate::config_error::ConfigError;
use crate::lora::LoraError;
use crate::shard_index::IndexError;

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The directory holds no model.
    #[error(
        "{directory} holds no config.json, so it is not a model: \
         give the directory of a model in the Hugging Face layout"
    )]
    NoModel {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory holds an adapter where a model is wanted.
    #[error(
        "{directory} holds an adapter, not a model: \
         give the model that it was trained on{base}, and this directory as its adapter"
    )]
    AdapterAlone {
        /// The directory.
        directory: PathBuf,
        /// The name of that model in brackets, after a space. Empty if the adapter names none.
        base: String,
    },
    /// The directory holds no adapter.
    #[error(
        "{directory} holds no adapter_config.json, so it is not an adapter: \
         give a directory that PEFT or `plw train --lora-r` has written"
    )]
    NoAdapter {
        /// The directory.
        directory: PathBuf,
    },
    /// config.json describes a model that this crate does not implement.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        source: ConfigError,
    },
    /// adapter_config.json describes an adapter that this crate does not implement.
    #[error("{path}: {source}")]
    Adapter {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        source: LoraError,
    },
    /// A file is not a safetensors file, or is damaged.
    #[error("{path}: not a complete safetensors file ({reason}); download or copy it again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The directory holds no weights.
    #[error(
        "{directory} holds neither model.safetensors nor model.safetensors.index.json; \
         convert other formats with transformers' save_pretrained"
    )]
    NoWeights {
        /// The model's directory.
        directory: PathBuf,
    },
    /// The index of the shards cannot be used.
    #[error("{path}: {source}; download it again")]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IndexError,
    },
    /// The index names a tensor for a shard that does not hold it.
    #[error(
        "{path}: tensor `{tensor}` is missing, although model.safetensors.index.json names this \
         shard for it; use the index and the shards of one model"
    )]
    NotInShard {
        /// The shard.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// Two shards hold a tensor, or one holds a tensor of another.
    #[error(
        "{path}: tensor `{tensor}` belongs to another shard of the model; \
         use the index and the shards of one model"
    )]
    TwoShards {
        /// The shard.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// The index names a shard that does not exist.
    #[error(
        "{path}: the shard of tensor `{tensor}` (named in model.safetensors.index.json) \
         does not exist; download or copy it again"
    )]
    MissingShard {
        /// The shard.
        path: PathBuf,
        /// A tensor that it should hold.
        tensor: String,
    },
    /// A tensor of the model is not in its file.
    #[error("{path}: tensor `{tensor}` of shape {expected:?} is missing")]
    MissingTensor {
        /// Where it was looked for.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor has no place in the model.
    #[error(
        "{path}: tensor `{tensor}` of shape {found:?} has no place in the model \
         that the configuration describes"
    )]
    UnexpectedTensor {
        /// The file that holds it.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor's shape is not what the configuration asks for.
    #[error(
        "{path}: tensor `{tensor}` has shape {found:?}, \
         but the configuration asks for {expected:?}"
    )]
    Shape {
        /// The file that holds it.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor has another element type than f32, bf16 or f16.
    #[error("{path}: tensor `{tensor}` has type {found}, but only F32, BF16 and F16 are supported")]
    Type {
        /// The file that holds it.
        path: PathBuf,
        /// Its name.
        tensor: String,
        /// Its type, as safetensors names it.
        found: String,
    },
    /// A tensor holds NaN or an infinity.
    #[error(
        "{path}: tensor `{tensor}` holds values that are not finite (NaN or infinite), with which \
         nothing can be computed; download or convert the model again, or use another"
    )]
    NotFinite {
        /// The file that holds it.
        path: PathBuf,
        /// Its name.
        tensor: String,
    },
    /// config.json ties `lm_head` to the embeddings, but the file holds another one.
    #[error(
        "{path}: config.json ties `lm_head` to the embeddings, \
         but `lm_head.weight` differs from `model.embed_tokens.weight`; \
         set `tie_word_embeddings` to false"
    )]
    UntiedHead {
        /// The file that holds `lm_head.weight`.
        path: PathBuf,
    },
    /// The model has an adapter where it must have none, or none where it must have one.
    #[error("{0}")]
    AdapterState(&'static str),
}

impl CheckpointError {
    /// Whether the machine has not the memory for the weights now, which is no fault of the files.
    pub fn lacks_memory(&self) -> bool {
        matches!(
            self,
            Self::Config {
                source: ConfigError::Memory { .. },
                ..
            }
        )
    }
}
