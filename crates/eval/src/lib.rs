//! Evaluation of a causal language model: its losses, and which option of a question it chooses.
//!
//! Knows models, batches and predictions; knows no file format, no tokenizer, no optimizer.
#![doc = include_str!("../README.md")]

mod error;
mod evaluate;
mod gathered;
mod pages;
mod passes;
mod score;

pub use error::EvaluationError;
pub use evaluate::{Evaluation, EvaluationOptions, check_lengths, check_tokens, evaluate};
