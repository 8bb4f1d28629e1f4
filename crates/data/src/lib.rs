//! Rows of multiple-choice questions become token sequences. Knows files, text and tokenizers; knows no tensor, no weight, no model.
//!
//! The data's way: parquet row -> [`Example`] -> prompt and completion text -> chat template -> token ids ->
//! [`plw_batch::Sequence`].
#![doc = include_str!("../README.md")]

mod bad_row;
mod columns;
mod example;
mod hub;
mod hub_dataset;
mod read;
mod rows;
mod source;
mod split;
mod text;
mod write;

pub use bad_row::{OnBadRow, Problem, SkippedRows};
pub use example::Example;
pub use hub::{Hub, HubError};
pub use hub_dataset::HubDataset;
pub use read::{ReadOptions, RowError};
pub use rows::{ExampleReader, read_example_files, read_examples};
pub use source::{DataFile, Source, SourceError};
pub use split::Split;
pub use text::{TextReader, read_text};
pub use write::{WriteError, write_examples, write_text};
