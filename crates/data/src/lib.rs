//! Rows of multiple-choice questions become token sequences. Knows files, text and tokenizers; knows no tensor, no weight, no model.
//!
//! The data's way: parquet row -> [`Example`] -> prompt and completion text -> chat template -> token ids ->
//! [`plw_batch::Sequence`].
#![doc = include_str!("../README.md")]

mod example;
mod write;

pub use example::Example;
pub use write::{WriteError, write_examples, write_text};
