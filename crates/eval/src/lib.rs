//! Multiple-choice scoring: which option a causal language model chooses, and its losses.
//!
//! Knows models, batches and predictions; knows no file format, no tokenizer, no optimizer.
#![doc = include_str!("../README.md")]

mod evaluate;
mod passes;

pub use evaluate::{Evaluation, EvaluationError, EvaluationOptions, check_tokens, evaluate};
