//! Rows of questions, instructions and conversations become token sequences. Knows files, text and
//! tokenizers; knows no tensor, no model.
//!
//! The stages: row of a file -> [`Example`] -> turns -> chat template -> token ids ->
//! [`plw_batch::Sequence`] -> [`plw_batch::Examples`].
#![doc = include_str!("../README.md")]

mod dataset;
mod encode;
mod files;
mod prompt;
mod rows;
mod shapes;
mod tokenizer;

pub use dataset::{
    DataSource, Dataset, DatasetStatistics, ExamplesError, GenerationRatio, LevelStatistics,
    Reading, Sample, TokenCache, encode_examples, encode_texts, load_examples, measure_lengths,
};
pub use encode::{
    EncodeError, Encoded, OptionTokenError, PromptEncoder, PromptError, PromptSettingsError,
    TokenSpan,
};
pub use files::{DataFile, HubDataset, Source, SourceError, Split, list_files, split_of_file};
pub use prompt::{
    BUILT_IN_CHAT_TEMPLATES, BuiltInChatTemplate, ChatTemplate, ChatTemplateChoice,
    ChatTemplateError, Fields, LossTurns, OptionsStyle, PromptSettings, PromptTemplate,
    TemplateError, UnknownChatTemplate, python_list,
};
pub use rows::{
    LONGEST_ROW, OnBadRow, Problem, ReadOptions, RowError, SkippedRows, Text, TextReader,
    WriteError, read_text, write_text,
};
pub use shapes::{
    AnswerStyle, ColumnNames, ColumnNamesError, ColumnOptions, Conversation, Example,
    ExampleReader, FileColumns, Question, Turn, is_known_column, read_example_files, read_examples,
    write_questions,
};
pub use tokenizer::{ModelFileError, ModelTokenizer, SpecialTokens, TokenizeError};
