//! Llama-family models on Burn, LoRA, and Hugging Face and PEFT checkpoints in and out.
//!
//! Knows batches and weights; never a loss, a data set or a question, so that any training
//! objective can use it.
#![doc = include_str!("../README.md")]

mod activation_checkpointing;
mod adapter;
mod checkpoint;
mod config;
mod config_error;
mod config_sizes;
mod dropout;
mod error;
mod initialization;
mod linear;
mod llama;
mod lora;
mod memory;
mod parameters;
mod rope_scaling;
mod shard_index;
mod size;
mod tensor_files;
mod tensor_header;
mod tensor_shapes;
mod weight;
mod weight_type;
mod write_tensors;

pub use activation_checkpointing::CheckpointedForward;
pub use adapter::{check_adapter, load_adapter, load_lora_config, save_adapter};
pub use checkpoint::{
    check_llama, init_llama, load_config, load_llama, load_llama_as, read_config, save_llama,
};
pub use config::LlamaConfig;
pub use config_error::ConfigError;
pub use dropout::DropoutKey;
pub use error::CheckpointError;
pub use llama::Llama;
pub use lora::{LoraConfig, LoraError, TargetModule};
pub use parameters::{NamedTensors, ParameterInfo, ParameterUpdate, accumulate};
pub use rope_scaling::RopeScaling;
pub use shard_index::{IndexError, ShardIndex};
pub use size::PassSize;
pub use tensor_files::TensorFiles;
pub use tensor_header::{HeaderError, TensorHeader, TensorPlace};
pub use weight::{HeldWeights, LinearWeightType};
pub use weight_type::WeightType;
pub use write_tensors::{StoredTensor, write_tensors};
