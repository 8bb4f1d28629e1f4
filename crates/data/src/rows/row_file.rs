//! What every format of a data file gives: rows, once it is known which columns are wanted.

use arrow::datatypes::Schema;

use super::bad_row::Refusal;
use super::error::RowError;
use super::row::Columns;
use crate::files::DataFile;

/// An open file of rows.
pub(crate) trait RowFile: Send {
    /// The next of at most `limit` more rows; `None` at the end. Tables are decoded in batches of
    /// `batch_size` rows.
    fn next_row(&mut self, limit: u64, batch_size: usize) -> Result<Option<FileRow>, RowError>;
}

/// A row, or why it is bad.
pub(crate) struct FileRow {
    /// Its number in the file, from 0.
    pub(crate) number: u64,
    /// Its first line, from 1, in a file of text.
    pub(crate) line: Option<u64>,
    pub(crate) columns: Result<Columns, Refusal>,
}

/// Chooses the columns to decode by their numbers in a file's schema. A file of JSON has the schema
/// of its first row.
pub(crate) type ChooseColumns<'a> =
    &'a mut dyn FnMut(&DataFile, &Schema) -> Result<Vec<usize>, RowError>;
