//! Llama-family models on Burn, LoRA, and Hugging Face and PEFT checkpoints in and out.
//!
//! Knows batches and weights; knows no loss, no data set, no question.
#![doc = include_str!("../README.md")]

mod activation_checkpointing;
mod adapter;
mod checkpoint;
mod config;
mod dropout;
mod error;
mod initialization;
mod linear;
mod llama;
mod lora;
mod parameters;
mod rope_scaling;
mod safetensors_files;
mod size;

pub use activation_checkpointing::CheckpointedForward;
pub use adapter::{load_adapter, load_lora_config, save_adapter};
pub use checkpoint::{load_config, load_llama, load_llama_as, save_llama};
pub use config::{ConfigError, LlamaConfig};
pub use dropout::DropoutKey;
pub use error::CheckpointError;
pub use llama::Llama;
pub use lora::{LoraConfig, LoraError, TargetModule};
pub use parameters::{NamedTensors, ParameterInfo, accumulate};
pub use rope_scaling::RopeScaling;
pub use safetensors_files::{StoredTensor, WeightType, open_tensors, write_tensors};
pub use size::PassSize;
