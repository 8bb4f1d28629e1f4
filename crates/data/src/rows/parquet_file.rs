//! One open parquet file, decoded in batches of bounded memory. Knows columns by number; knows no
//! row.

use std::fs::File;

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

use super::error::RowError;
use super::regular_file::open_regular;
use super::row_file::ChooseColumns;
use super::table_file::Batches;
use super::text_as_bytes::text_as_bytes;
use plw_files::guarded;
use plw_parquet::{FooterFault, PageFault, check_footer, rows_at_a_time};

use crate::files::DataFile;

/// An open file, and the batches of its current row group.
pub(crate) struct ParquetFile {
    file: DataFile,
    handle: File,
    metadata: ArrowReaderMetadata,
    projection: ProjectionMask,
    next_group: usize,
    batches: Option<ParquetRecordBatchReader>,
    /// Rows of the current row group that are not yet decoded.
    left: u64,
}

impl ParquetFile {
    /// Opens a file to read the columns that `columns` chooses by number. Text will be decoded as
    /// bytes.
    pub(crate) fn open(file: DataFile, columns: ChooseColumns) -> Result<Self, RowError> {
        let handle = open_regular(&file)?;
        check_footer(&handle).map_err(|fault| match fault {
            FooterFault::NotParquet(what) => RowError::NotParquet {
                file: file.name.clone(),
                what,
            },
            FooterFault::Footer(problem) => damaged(&file, problem.to_string()),
        })?;
        let metadata = decode(&file, || {
            ArrowReaderMetadata::load(&handle, ArrowReaderOptions::new())
        })?;
        let columns = columns(&file, metadata.schema())?;
        let metadata = decode(&file, || text_as_bytes(&metadata, &columns))?;
        let projection = ProjectionMask::roots(metadata.parquet_schema(), columns);
        Ok(Self {
            file,
            handle,
            metadata,
            projection,
            next_group: 0,
            batches: None,
            left: 0,
        })
    }

    fn open_group(
        &self,
        limit: u64,
        batch_size: usize,
    ) -> Result<ParquetRecordBatchReader, RowError> {
        let group = self.metadata.metadata().row_group(self.next_group);
        let leaves = (0..group.num_columns()).filter(|&leaf| self.projection.leaf_included(leaf));
        let rows = decode(&self.file, || {
            Ok(rows_at_a_time(&self.handle, group, leaves, batch_size))
        })?;
        let rows = rows.map_err(|fault| self.unreadable(fault))?;
        decode(&self.file, || {
            let handle = self.handle.try_clone()?;
            let builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(handle, self.metadata.clone());
            let builder = builder
                .with_row_groups(vec![self.next_group])
                .with_projection(self.projection.clone())
                .with_batch_size(rows);
            // A limit that is not needed would hide rows that the group does not count.
            match i64::try_from(limit) {
                Ok(limit) if limit < group.num_rows() => builder.with_limit(limit as usize),
                _ => builder,
            }
            .build()
        })
    }

    fn unreadable(&self, fault: PageFault) -> RowError {
        let file = self.file.name.clone();
        match fault {
            PageFault::Damaged(problem) => damaged(&self.file, problem.to_string()),
            PageFault::LargePages { column, bytes } => RowError::LargePages {
                file,
                column,
                bytes,
            },
            PageFault::LongLists { column, items } => RowError::LongLists {
                file,
                column,
                items,
            },
        }
    }
}

impl Batches for ParquetFile {
    fn next_batch(
        &mut self,
        limit: u64,
        batch_size: usize,
    ) -> Result<Option<RecordBatch>, RowError> {
        loop {
            if let Some(batches) = &mut self.batches {
                let batch = decode(&self.file, || {
                    batches.next().transpose().map_err(ParquetError::from)
                })?;
                let rows = batch.as_ref().map_or(0, RecordBatch::num_rows) as u64;
                // The library reads what pages it finds, whatever the number of rows.
                if rows > self.left || (batch.is_none() && self.left > 0) {
                    let problem = "a row group has another number of rows than it says";
                    return Err(damaged(&self.file, problem.to_owned()));
                }
                self.left -= rows;
                if batch.is_some() {
                    return Ok(batch);
                }
                self.batches = None;
            }
            if self.next_group == self.metadata.metadata().num_row_groups() {
                return Ok(None);
            }
            self.batches = Some(self.open_group(limit, batch_size)?);
            let group = self.metadata.metadata().row_group(self.next_group);
            let rows = group.num_rows();
            self.left = limit.min(u64::try_from(rows).unwrap_or(0));
            self.next_group += 1;
        }
    }
}

/// Calls the parquet library, whose panics mean that the file is damaged.
fn decode<T>(
    file: &DataFile,
    work: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, RowError> {
    let decoded = guarded(work).map_err(|panic| damaged(file, panic))?;
    decoded.map_err(|source| RowError::Parquet {
        file: file.name.clone(),
        source,
    })
}

fn damaged(file: &DataFile, problem: String) -> RowError {
    RowError::Parquet {
        file: file.name.clone(),
        source: ParquetError::General(problem),
    }
}
