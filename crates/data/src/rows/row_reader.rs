//! Rows of parquet files, read one after the other in bounded memory. Knows files, batches and bad
//! rows; a [`RowFormat`] knows what a row means.

use std::num::NonZeroUsize;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};

use super::bad_row::{OnBadRow, Refusal, SkippedRows};
use super::error::RowError;
use super::parquet_file::ParquetFile;
use crate::files::DataFile;

/// How to read rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// What to do with a bad row.
    pub on_bad_row: OnBadRow,
    /// Reads only the first rows of the source, counted over all its files and with its bad rows.
    pub limit: Option<u64>,
    /// Most rows decoded at a time: fewer where the pages of a file are large.
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

/// What a row of a file means.
pub(crate) trait RowFormat {
    /// The value of a good row.
    type Row;
    /// The columns of a batch.
    type Columns;

    /// The columns of a file to decode; an error if one is missing or of the wrong type.
    fn columns(&self, file: &DataFile, schema: &Schema) -> Result<Vec<usize>, RowError>;

    /// The columns of a batch, in which text is bytes.
    fn batch(&self, file: &DataFile, batch: &RecordBatch) -> Result<Self::Columns, RowError>;

    /// A row of a batch, which is row `file_row` of the file.
    fn row(
        &self,
        columns: &Self::Columns,
        file: &DataFile,
        file_row: u64,
        row: usize,
    ) -> Result<Self::Row, Refusal>;
}

/// The rows of files, in order. Ends after the first error.
pub(crate) struct RowReader<F: RowFormat> {
    format: F,
    options: ReadOptions,
    /// Files that are not yet open, the next one last.
    files: Vec<DataFile>,
    open: Option<OpenFile<F>>,
    /// Rows that may still be decoded, by [`ReadOptions::limit`].
    remaining: u64,
    skipped: SkippedRows,
}

struct OpenFile<F: RowFormat> {
    parquet: ParquetFile,
    /// Rows decoded so far.
    decoded: u64,
    batch: Option<Batch<F::Columns>>,
}

/// Decoded rows, the last of their file so far.
struct Batch<C> {
    columns: C,
    rows: usize,
    /// The next row to return.
    next: usize,
}

impl<F: RowFormat> RowReader<F> {
    /// Opens the first file, so that an error in its columns comes at once.
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
        self.open = None;
        if let Some(file) = self.files.pop() {
            let columns = |file: &DataFile, schema: &Schema| self.format.columns(file, schema);
            self.open = Some(OpenFile {
                parquet: ParquetFile::open(file, columns)?,
                decoded: 0,
                batch: None,
            });
        }
        Ok(())
    }

    /// Decodes the next batch; false at the end of the last file.
    fn decode_next(&mut self) -> Result<bool, RowError> {
        let batch_size = self.options.batch_size.get();
        while let Some(open) = &mut self.open {
            if self.remaining == 0 {
                return Ok(false);
            }
            // A batch holds on to its pages.
            open.batch = None;
            let Some(batch) = open.parquet.next_batch(self.remaining, batch_size)? else {
                self.open_next()?;
                continue;
            };
            let rows = batch.num_rows();
            open.decoded += rows as u64;
            self.remaining = self.remaining.saturating_sub(rows as u64);
            open.batch = Some(Batch {
                columns: self.format.batch(&open.parquet.file, &batch)?,
                rows,
                next: 0,
            });
            return Ok(true);
        }
        Ok(false)
    }

    fn next_row(&mut self) -> Result<Option<F::Row>, RowError> {
        loop {
            match self
                .open
                .as_mut()
                .and_then(|open| open.next_row(&self.format))
            {
                Some((_, Ok(row))) => return Ok(Some(row)),
                Some((row, Err(refusal))) => self.refuse(row, refusal)?,
                None if self.decode_next()? => {}
                None => return Ok(None),
            }
        }
    }

    /// Counts a bad row, or makes it the error that ends reading.
    fn refuse(&mut self, row: u64, refusal: Refusal) -> Result<(), RowError> {
        let Refusal {
            column,
            problem,
            found,
        } = refusal;
        match (self.options.on_bad_row, &self.open) {
            (OnBadRow::Error, Some(open)) => Err(RowError::BadRow {
                file: open.parquet.file.name.clone(),
                row,
                column,
                problem,
                found,
            }),
            _ => {
                self.skipped.rows += 1;
                *self.skipped.reasons.entry((column, problem)).or_default() += 1;
                Ok(())
            }
        }
    }
}

impl<F: RowFormat> OpenFile<F> {
    /// The next decoded row, and its number in the file.
    fn next_row(&mut self, format: &F) -> Option<(u64, Result<F::Row, Refusal>)> {
        let batch = self
            .batch
            .as_mut()
            .filter(|batch| batch.next < batch.rows)?;
        let row = batch.next;
        batch.next += 1;
        let file_row = self.decoded - (batch.rows - row) as u64;
        let file = &self.parquet.file;
        Some((file_row, format.row(&batch.columns, file, file_row, row)))
    }
}

impl<F: RowFormat> Iterator for RowReader<F> {
    type Item = Result<F::Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.next_row().transpose();
        if matches!(row, Some(Err(_))) {
            self.files.clear();
            self.open = None;
        }
        row
    }
}
