//! Rows of parquet files: how they are read, checked and written. Knows columns, questions and
//! texts; knows no prompt and no token.

mod bad_row;
mod error;
mod example;
#[cfg(test)]
pub(crate) mod example_cases;
mod parquet_file;
mod questions;
mod row_reader;
mod schema;
mod text_as_bytes;
mod text_columns;
mod texts;
mod write;

pub use bad_row::{LONGEST_ROW, OnBadRow, Problem, SkippedRows};
pub use error::RowError;
pub use example::Example;
pub use questions::{ExampleReader, read_example_files, read_examples};
pub use row_reader::ReadOptions;
pub use texts::{Text, TextReader, read_text};
pub use write::{WriteError, write_examples, write_text};
