//! Rows of multiple-choice questions become token sequences. Knows files, text and tokenizers; knows no tensor, no weight, no model.
//!
//! The data's way: parquet row -> [`Example`] -> prompt and completion text -> chat template -> token ids ->
//! [`plw_batch::Sequence`].
#![doc = include_str!("../README.md")]

mod bad_row;
mod chat;
mod chat_choice;
mod chat_environment;
mod columns;
mod dataset;
mod encode;
mod example;
#[cfg(test)]
mod example_cases;
mod generation_ratio;
mod hub;
mod hub_dataset;
mod inspect;
mod model_files;
mod model_tokenizer;
mod option_tokens;
mod prompt_settings;
mod python_repr;
mod read;
mod rows;
mod source;
mod special_tokens;
mod split;
mod statistics;
mod template;
mod text;
mod write;

pub use bad_row::{OnBadRow, Problem, SkippedRows};
pub use chat::{ChatTemplate, ChatTemplateError};
pub use chat_choice::{ChatTemplateChoice, UnknownChatTemplate};
pub use dataset::{Dataset, DatasetError, DroppedExample, ExampleKey};
pub use encode::{EncodeError, Encoded, PromptEncoder, PromptError, PromptSettingsError};
pub use example::Example;
pub use generation_ratio::GenerationRatio;
pub use hub::{Hub, HubError};
pub use hub_dataset::HubDataset;
pub use inspect::TokenSpan;
pub use model_files::ModelFileError;
pub use model_tokenizer::{ModelTokenizer, TokenizeError};
pub use option_tokens::OptionTokenError;
pub use prompt_settings::{OptionsStyle, PromptSettings};
pub use python_repr::python_list;
pub use read::{ReadOptions, RowError};
pub use rows::{ExampleReader, read_example_files, read_examples};
pub use source::{DataFile, Source, SourceError, list_files};
pub use special_tokens::SpecialTokens;
pub use split::{Split, split_of_file};
pub use statistics::{DatasetStatistics, LevelStatistics};
pub use template::{Fields, PromptTemplate, TemplateError};
pub use text::{TextReader, read_text};
pub use write::{WriteError, write_examples, write_text};
