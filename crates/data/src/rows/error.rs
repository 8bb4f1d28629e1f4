//! Why rows cannot be read.

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::bad_row::Problem;
use crate::files::SourceError;
use plw_parquet::{LARGEST_PAGES, MOST_LIST_ITEMS};

/// Why rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The files of the source cannot be found.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file cannot be opened.
    #[error("cannot open {file}: {source}; check its permissions")]
    Open {
        /// The file.
        file: Arc<str>,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is not parquet.
    #[error("{file} is not a parquet file; {what}")]
    NotParquet {
        /// The file.
        file: Arc<str>,
        /// What it is instead, and what to do.
        what: &'static str,
    },
    /// A row group cannot be decoded in bounded memory.
    #[error(
        "{file}: the pages of a row group are too large: those of column `{column}` have {bytes} \
         bytes, and those of all columns that are in memory together may have {LARGEST_PAGES}. \
         Write the file again with smaller pages, as with pyarrow's write_batch_size"
    )]
    LargePages {
        /// The file.
        file: Arc<str>,
        /// The column whose pages are the largest.
        column: String,
        /// Bytes of its dictionary and its largest page.
        bytes: u64,
    },
    /// The lists of a row group cannot be decoded in bounded memory.
    #[error(
        "{file}: the lists of column `{column}` have {items} items in one row group, and at most \
         {MOST_LIST_ITEMS} are read. Write the file again with smaller row groups, as with \
         pyarrow's row_group_size"
    )]
    LongLists {
        /// The file.
        file: Arc<str>,
        /// The column.
        column: String,
        /// Items of all its lists.
        items: u64,
    },
    /// A parquet file is damaged, or uses a compression that is not built in.
    #[error(
        "cannot read {file} as parquet: {source}; check that the file is complete, and compressed \
         with none, snappy, gzip, zstd or lz4"
    )]
    Parquet {
        /// The file.
        file: Arc<str>,
        /// The cause.
        source: parquet::errors::ParquetError,
    },
    /// A column cannot be converted to text.
    #[error("{file}, column `{column}` cannot be read as text: {source}; convert it")]
    Column {
        /// The file.
        file: Arc<str>,
        /// The column.
        column: String,
        /// The cause.
        source: arrow::error::ArrowError,
    },
    /// A required column is missing.
    #[error(
        "{file} has no column `{column}`; it has {found}. Rename the column that holds {column}"
    )]
    MissingColumn {
        /// The file.
        file: Arc<str>,
        /// The column.
        column: String,
        /// The columns of the file, with their types.
        found: String,
    },
    /// A column has another type than the required one.
    #[error("{file}, column `{column}` is of type {found}, but should be {expected}; convert it")]
    ColumnType {
        /// The file.
        file: Arc<str>,
        /// The column.
        column: String,
        /// Its type.
        found: DataType,
        /// The required type, in words.
        expected: &'static str,
    },
    /// A row is bad.
    #[error(
        "{file}, row {row} (the first is 0): column `{column}` {problem}{found}. Fix the row, or \
         skip bad rows with on_bad_row = \"skip\""
    )]
    BadRow {
        /// The file.
        file: Arc<str>,
        /// The row, from 0.
        row: u64,
        /// The column.
        column: String,
        /// What is wrong.
        problem: Problem,
        /// The value, ` (in parentheses)`; empty if the problem needs no value.
        found: String,
    },
}
