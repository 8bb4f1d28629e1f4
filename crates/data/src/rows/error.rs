//! Why rows cannot be read.

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::bad_row::{Problem, subject};
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
    /// A file is a folder, a device, a pipe or a socket.
    #[error("{file} is not a regular file: copy the data into one")]
    NotRegular {
        /// The file.
        file: Arc<str>,
    },
    /// A file cannot be read or unpacked to its end.
    #[error("cannot read {file}: {source}; check that the file is complete")]
    Read {
        /// The file.
        file: Arc<str>,
        /// The cause.
        source: std::io::Error,
    },
    /// Nothing tells how a file is written.
    #[error(
        "neither the name of {file} nor its beginning tells its format: give it an ending \
         ({endings})"
    )]
    UnknownFormat {
        /// The file.
        file: Arc<str>,
        /// The endings that are known.
        endings: &'static str,
    },
    /// A file that should be text is none.
    #[error("{file} is not text in UTF-8; {what}")]
    NotText {
        /// The file.
        file: Arc<str>,
        /// What it is instead, and what to do.
        what: &'static str,
    },
    /// A file of Arrow's IPC is damaged.
    #[error(
        "cannot read {file} as Arrow IPC: {problem}; check that the file is complete, and not \
         compressed"
    )]
    Arrow {
        /// The file.
        file: Arc<str>,
        /// The cause.
        problem: String,
    },
    /// A file of separated values is damaged.
    #[error("cannot read {file} as separated values: {problem}")]
    Separated {
        /// The file.
        file: Arc<str>,
        /// The cause.
        problem: String,
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
    /// A column that a setting names, or that rows of a known shape have, is missing.
    #[error(
        "{file} has no column `{column}`{reason}; it has {found}. Say which column it is, as with \
         --column {ours}=NAME"
    )]
    MissingColumn {
        /// The file.
        file: Arc<str>,
        /// The column.
        column: String,
        /// What plw calls it.
        ours: String,
        /// Why it is needed, ` in words`.
        reason: String,
        /// The columns of the file, with their types.
        found: String,
    },
    /// Nothing tells what the rows are.
    #[error(
        "the columns of {file} are not those of any data that is known; it has {found}. Say which \
         columns they are, as with --column prompt=NAME,completion=NAME or --column \
         question=NAME,options=NAME,answer=NAME"
    )]
    UnknownShape {
        /// The file.
        file: Arc<str>,
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
        "{file}, row {row} (the first is 0{line}): {subject} {problem}{found}. Fix the row, or \
         skip bad rows with on_bad_row = \"skip\"",
        line = line.map_or(String::new(), |line| format!(", line {line}")),
        subject = subject(column)
    )]
    BadRow {
        /// The file.
        file: Arc<str>,
        /// The row, from 0.
        row: u64,
        /// Its first line, from 1, in a file of text.
        line: Option<u64>,
        /// The column; empty if the row as a whole is bad.
        column: String,
        /// What is wrong.
        problem: Problem,
        /// The value, ` (in parentheses)`; empty if the problem needs no value.
        found: String,
    },
}
