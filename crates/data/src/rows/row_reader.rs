//! Rows of parquet files, read one after the other in bounded memory. Knows files, batches and bad
//! rows; a [`RowFormat`] knows what a row means.

use std::fs::File;
use std::num::NonZeroUsize;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde::{Deserialize, Serialize};

use super::bad_row::{OnBadRow, Refusal, SkippedRows};
use super::error::RowError;
use crate::files::DataFile;

/// How to read rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// What to do with a bad row.
    pub on_bad_row: OnBadRow,
    /// Reads only the first rows of the source, counted over all its files and with its bad rows.
    pub limit: Option<u64>,
    /// Rows decoded at a time; this bounds the memory.
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

    /// The columns of a file to decode; an error if one is missing or of the wrong type.
    fn columns(&self, file: &DataFile, schema: &Schema) -> Result<Vec<usize>, RowError>;

    /// The rows of a batch of those columns; its first is row `first_row` of the file.
    fn rows(
        &self,
        file: &DataFile,
        first_row: u64,
        batch: &RecordBatch,
    ) -> Result<Vec<Result<Self::Row, Refusal>>, RowError>;
}

/// The rows of files, in order. Ends after the first error.
pub(crate) struct RowReader<F: RowFormat> {
    format: F,
    options: ReadOptions,
    /// Files that are not yet open, the next one last.
    files: Vec<DataFile>,
    open: Option<OpenFile>,
    /// The rows of the last batch that are not yet returned.
    ready: std::vec::IntoIter<Result<F::Row, Refusal>>,
    /// Rows that may still be decoded, by [`ReadOptions::limit`].
    remaining: u64,
    skipped: SkippedRows,
}

struct OpenFile {
    file: DataFile,
    batches: ParquetRecordBatchReader,
    /// Rows decoded so far.
    decoded: u64,
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

    /// Counts a bad row, or makes it the error that ends reading.
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

impl<F: RowFormat> Iterator for RowReader<F> {
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
