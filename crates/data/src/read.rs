//! Rows of parquet files one after the other, in bounded memory. Knows files, batches and what becomes of a bad row;
//! what a row means it leaves to a [`RowFormat`].

use std::fs::File;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde::{Deserialize, Serialize};

use crate::bad_row::{OnBadRow, Problem, Refusal, SkippedRows};
use crate::source::{DataFile, SourceError};

/// How rows are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// What becomes of a bad row.
    pub on_bad_row: OnBadRow,
    /// Only the source's first rows, so many over all its files, bad rows counted among them.
    pub limit: Option<u64>,
    /// Rows decoded at a time: what bounds the memory.
    pub batch_size: NonZeroUsize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        const ROWS: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");
        Self {
            on_bad_row: OnBadRow::default(),
            limit: None,
            batch_size: ROWS,
        }
    }
}

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The source has no such files.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file could not be opened.
    #[error("cannot open {file}: {source}; check that it may be read")]
    Open {
        /// The file.
        file: Arc<str>,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file is no parquet, is damaged, or uses a compression that is not built in.
    #[error(
        "cannot read {file} as parquet: {source}; check that it is whole, and its compression one of none, snappy, gzip, zstd and lz4"
    )]
    Parquet {
        /// The file.
        file: Arc<str>,
        /// The decoder's answer.
        source: parquet::errors::ParquetError,
    },
    /// A column cannot be read as text.
    #[error("cannot read column `{column}` of {file}: {source}")]
    Column {
        /// The file.
        file: Arc<str>,
        /// The column.
        column: String,
        /// Arrow's answer.
        source: arrow::error::ArrowError,
    },
    /// A column that is needed is missing.
    #[error("{file} has no column `{column}`; it has {found}. Rename the column that holds it")]
    MissingColumn {
        /// The file.
        file: Arc<str>,
        /// The column.
        column: String,
        /// The columns that are there, with their types.
        found: String,
    },
    /// A column is of another type than it should be.
    #[error("column `{column}` of {file} is of type {found}, but should be {expected}; convert it")]
    ColumnType {
        /// The file.
        file: Arc<str>,
        /// The column.
        column: String,
        /// Its type.
        found: DataType,
        /// The type needed, in words.
        expected: &'static str,
    },
    /// A row is not as it should be.
    #[error(
        "{file}, row {row} (the first is 0): column `{column}` {problem}{found}; correct the row, or leave such rows \
         out with on_bad_row = \"skip\""
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
        /// What stands there, ` (in brackets)`; empty where the problem says it all.
        found: String,
    },
    /// No treatment of bad rows is called so.
    #[error("`{0}` is no way to treat bad rows; use error or skip")]
    OnBadRow(String),
}

/// What a row is read as.
pub(crate) trait RowFormat {
    /// A row that was accepted.
    type Row;

    /// Which of a file's columns to decode. An error if one is missing or of the wrong type.
    fn columns(&self, file: &DataFile, schema: &Schema) -> Result<Vec<usize>, RowError>;

    /// The rows of a batch of those columns; its first is the file's row `first_row`.
    fn rows(
        &self,
        file: &DataFile,
        first_row: u64,
        batch: &RecordBatch,
    ) -> Result<Vec<Result<Self::Row, Refusal>>, RowError>;
}

/// Rows of files, in order. Ends after the first error.
pub(crate) struct Rows<F: RowFormat> {
    format: F,
    options: ReadOptions,
    /// Files not yet opened, the next one last.
    files: Vec<DataFile>,
    open: Option<OpenFile>,
    /// The rows of the last batch that are not yet handed out.
    ready: std::vec::IntoIter<Result<F::Row, Refusal>>,
    /// Rows that may still be decoded.
    remaining: u64,
    skipped: SkippedRows,
}

struct OpenFile {
    file: DataFile,
    batches: ParquetRecordBatchReader,
    /// Rows decoded so far.
    decoded: u64,
}

impl<F: RowFormat> Rows<F> {
    /// Opens the first file, so that what is wrong with its columns is said at once.
    pub(crate) fn open(
        files: Vec<DataFile>,
        format: F,
        options: &ReadOptions,
    ) -> Result<Self, RowError> {
        let mut rows = Self {
            format,
            options: options.clone(),
            files: files.into_iter().rev().collect(),
            open: None,
            ready: Vec::new().into_iter(),
            remaining: options.limit.unwrap_or(u64::MAX),
            skipped: SkippedRows::default(),
        };
        rows.open_next()?;
        Ok(rows)
    }

    pub(crate) fn skipped(&self) -> &SkippedRows {
        &self.skipped
    }

    fn open_next(&mut self) -> Result<(), RowError> {
        let Some(file) = self.files.pop() else {
            return Ok(());
        };
        let handle = File::open(&file.path).map_err(|source| RowError::Open {
            file: file.name.clone(),
            source,
        })?;
        let failed = |source| RowError::Parquet {
            file: file.name.clone(),
            source,
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(handle).map_err(failed)?;
        let columns = self.format.columns(&file, builder.schema())?;
        let projection = ProjectionMask::roots(builder.parquet_schema(), columns);
        let batches = builder
            .with_projection(projection)
            .with_batch_size(self.options.batch_size.get())
            .with_limit(usize::try_from(self.remaining).unwrap_or(usize::MAX))
            .build()
            .map_err(failed)?;
        self.open = Some(OpenFile {
            file,
            batches,
            decoded: 0,
        });
        Ok(())
    }

    /// Decodes the next batch; false at the end of the last file.
    fn decode_next(&mut self) -> Result<bool, RowError> {
        while let Some(open) = &mut self.open {
            if self.remaining == 0 {
                return Ok(false);
            }
            let Some(batch) = open.batches.next() else {
                self.open = None;
                self.open_next()?;
                continue;
            };
            let batch = batch.map_err(|source| RowError::Parquet {
                file: open.file.name.clone(),
                source: source.into(),
            })?;
            self.ready = self
                .format
                .rows(&open.file, open.decoded, &batch)?
                .into_iter();
            open.decoded += batch.num_rows() as u64;
            self.remaining = self.remaining.saturating_sub(batch.num_rows() as u64);
            return Ok(true);
        }
        Ok(false)
    }

    fn next_row(&mut self) -> Result<Option<F::Row>, RowError> {
        loop {
            match self.ready.next() {
                Some(Ok(row)) => return Ok(Some(row)),
                Some(Err(refusal)) => self.refuse(refusal)?,
                None if self.decode_next()? => {}
                None => return Ok(None),
            }
        }
    }

    /// Counts a bad row, or makes it the error that ends the reading.
    fn refuse(&mut self, refusal: Refusal) -> Result<(), RowError> {
        let Refusal {
            column,
            problem,
            found,
        } = refusal;
        match (self.options.on_bad_row, &self.open) {
            (OnBadRow::Error, Some(open)) => {
                let row = open.decoded - self.ready.len() as u64 - 1;
                Err(RowError::BadRow {
                    file: open.file.name.clone(),
                    row,
                    column,
                    problem,
                    found,
                })
            }
            _ => {
                self.skipped.rows += 1;
                *self.skipped.reasons.entry((column, problem)).or_default() += 1;
                Ok(())
            }
        }
    }
}

impl<F: RowFormat> Iterator for Rows<F> {
    type Item = Result<F::Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.next_row().transpose();
        if matches!(row, Some(Err(_))) {
            self.files.clear();
            self.open = None;
            self.ready = Vec::new().into_iter();
        }
        row
    }
}

/// The index of a column that is needed, once its type is found right.
pub(crate) fn column_of(
    file: &DataFile,
    schema: &Schema,
    column: &str,
    is_right: fn(&DataType) -> bool,
    expected: &'static str,
) -> Result<usize, RowError> {
    let Some((index, field)) = schema.column_with_name(column) else {
        let found: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| format!("`{}` ({})", field.name(), field.data_type()))
            .collect();
        let found = if found.is_empty() {
            "none".to_owned()
        } else {
            found.join(", ")
        };
        return Err(RowError::MissingColumn {
            file: file.name.clone(),
            column: column.to_owned(),
            found,
        });
    };
    if !is_right(field.data_type()) {
        let (file, column, found) = (
            file.name.clone(),
            column.to_owned(),
            field.data_type().clone(),
        );
        return Err(RowError::ColumnType {
            file,
            column,
            found,
            expected,
        });
    }
    Ok(index)
}
