//! Rows of multiple-choice questions become token sequences. Knows files, text and tokenizers;
//! knows no tensor, no weight, no model.
//!
//! The stages: parquet row -> [`Example`] -> prompt and completion text -> chat template -> token
//! ids -> [`plw_batch::Sequence`] -> [`plw_batch::Examples`].
#![doc = include_str!("../README.md")]

mod dataset;
mod encode;
mod files;
mod prompt;
mod rows;
mod tokenizer;

pub use dataset::{
    Dataset, DatasetStatistics, ExamplesError, GenerationRatio, LevelStatistics, LoadError,
    encode_examples, encode_texts, load_questions, load_texts,
};
pub use encode::{
    EncodeError, Encoded, OptionTokenError, PromptEncoder, PromptError, PromptSettingsError,
    TokenSpan,
};
pub use files::{DataFile, HubDataset, Source, SourceError, Split, list_files, split_of_file};
pub use prompt::{
    BUILT_IN_CHAT_TEMPLATES, BuiltInChatTemplate, ChatTemplate, ChatTemplateChoice,
    ChatTemplateError, Fields, OptionsStyle, PromptSettings, PromptTemplate, TemplateError,
    UnknownChatTemplate, python_list,
};
pub use rows::{
    Example, ExampleReader, LONGEST_ROW, OnBadRow, Problem, ReadOptions, RowError, SkippedRows,
    Text, TextReader, WriteError, read_example_files, read_examples, read_text, write_examples,
    write_text,
};
pub use tokenizer::{ModelFileError, ModelTokenizer, SpecialTokens, TokenizeError};
