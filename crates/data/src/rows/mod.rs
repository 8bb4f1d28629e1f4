//! Rows of data files: how they are read, checked and written. Knows formats, columns and texts;
//! knows no question, no prompt and no token.

mod arrow_file;
mod arrow_values;
mod bad_row;
mod error;
mod json_file;
mod json_schema;
mod json_values;
mod open_rows;
mod parquet_file;
mod regular_file;
mod row;
mod row_file;
mod row_reader;
mod schema;
mod separated_file;
mod table_file;
mod text_as_bytes;
mod text_beginning;
mod text_file;
mod texts;
mod write;

pub(crate) use arrow_values::{is_printable, is_readable, is_text, item_type};
pub(crate) use bad_row::Refusal;
pub use bad_row::{LONGEST_ROW, OnBadRow, Problem, SkippedRows};
pub use error::RowError;
pub(crate) use json_schema::schema_of;
pub(crate) use row::{Columns, Row, bytes};
pub use row_reader::ReadOptions;
pub(crate) use row_reader::{RowFormat, RowReader};
pub(crate) use schema::{column_of, in_words};
pub use texts::{Text, TextReader, read_text};
pub use write::{WriteError, write_text};
pub(crate) use write::{text_column, write_rows};
