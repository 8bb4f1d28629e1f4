//! Rows of a file that is decoded in batches.

use arrow::array::RecordBatch;

use super::arrow_values::ValueColumn;
use super::bad_row::{Problem, Refusal};
use super::error::RowError;
use super::row::Columns;
use super::row_file::{FileRow, RowFile};
use crate::files::DataFile;

/// A file that is decoded in batches.
pub(crate) trait Batches: Send {
    /// The next rows, at most `limit` and, where the format allows it, at most `batch_size`; `None`
    /// at the end.
    fn next_batch(
        &mut self,
        limit: u64,
        batch_size: usize,
    ) -> Result<Option<RecordBatch>, RowError>;
}

/// The rows of a table.
pub(crate) struct TableFile<B> {
    file: DataFile,
    batches: B,
    /// Rows decoded so far.
    decoded: u64,
    batch: Option<Batch>,
}

/// Decoded rows, the last of their file so far.
struct Batch {
    columns: Vec<(String, ValueColumn)>,
    rows: usize,
    /// The next row to return.
    next: usize,
}

impl<B: Batches> TableFile<B> {
    pub(crate) fn new(file: DataFile, batches: B) -> Self {
        Self {
            file,
            batches,
            decoded: 0,
            batch: None,
        }
    }

    fn batch_of(&self, batch: &RecordBatch) -> Result<Batch, RowError> {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, column)| {
            let column = ValueColumn::new(column).map_err(|source| RowError::Column {
                file: self.file.name.clone(),
                column: field.name().clone(),
                source,
            })?;
            Ok((field.name().clone(), column))
        });
        Ok(Batch {
            columns: columns.collect::<Result<_, RowError>>()?,
            rows: batch.num_rows(),
            next: 0,
        })
    }
}

impl<B: Batches> RowFile for TableFile<B> {
    fn next_row(&mut self, limit: u64, batch_size: usize) -> Result<Option<FileRow>, RowError> {
        loop {
            if let Some(batch) = self.batch.as_mut().filter(|batch| batch.next < batch.rows) {
                let row = batch.next;
                batch.next += 1;
                return Ok(Some(FileRow {
                    number: self.decoded - (batch.rows - row) as u64,
                    line: None,
                    columns: values(&batch.columns, row),
                }));
            }
            // A batch holds on to its pages.
            self.batch = None;
            let Some(batch) = self.batches.next_batch(limit, batch_size)? else {
                return Ok(None);
            };
            self.decoded += batch.num_rows() as u64;
            self.batch = Some(self.batch_of(&batch)?);
        }
    }
}

/// The values of a row.
fn values(columns: &[(String, ValueColumn)], row: usize) -> Result<Columns, Refusal> {
    let values = columns.iter().map(|(name, column)| match column.get(row) {
        Ok(value) => Ok((name.clone(), value)),
        Err(not_utf8) => Err(Refusal {
            found: format!(" (from its byte {} on)", not_utf8.0),
            ..Refusal::new(name, Problem::NotUtf8)
        }),
    });
    values.collect()
}
