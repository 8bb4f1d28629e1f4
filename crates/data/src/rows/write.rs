//! Parquet files written row by row.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use plw_files::{FileError, write_atomic_with};

/// Rows in memory at a time, and in a row group, so that a reader can stream the file too.
const ROWS_PER_GROUP: usize = 1000;

/// Why a parquet file cannot be written. Nothing is left under its name then.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file operation fails.
    #[error(transparent)]
    File(#[from] FileError),
    /// The rows cannot be encoded.
    #[error("cannot encode rows of {path} as parquet: {source}", path = path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: ParquetError,
    },
}

/// Writes pretraining texts as the one column `text`, compressed with snappy, and returns their
/// number.
///
/// Creates missing folders. Writes under a temporary name in the folder, syncs and renames, so that
/// `path` never names an incomplete file.
///
/// # Errors
/// [`WriteError`].
pub fn write_text<I>(path: &Path, texts: I) -> Result<u64, WriteError>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let schema = Schema::new(vec![Field::new("text", DataType::Utf8, true)]);
    write_rows(path, Arc::new(schema), texts.into_iter(), |rows| {
        vec![text_column(rows.iter().map(AsRef::as_ref))]
    })
}

/// A column of text.
pub(crate) fn text_column<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> ArrayRef {
    let mut column = StringBuilder::new();
    texts.for_each(|text| column.append_value(text));
    Arc::new(column.finish())
}

/// Streams rows into a parquet file, one row group at a time.
pub(crate) fn write_rows<T>(
    path: &Path,
    schema: SchemaRef,
    mut rows: impl Iterator<Item = T>,
    columns: impl Fn(&[T]) -> Vec<ArrayRef>,
) -> Result<u64, WriteError> {
    let encoding = |source| match source {
        // The file cannot be written.
        ParquetError::External(cause) if cause.is::<io::Error>() => {
            let cause = cause.downcast::<io::Error>().map(|cause| *cause);
            let cause = cause.unwrap_or_else(io::Error::other);
            FileError::cannot("write", path)(cause).into()
        }
        source => WriteError::Parquet {
            path: path.to_owned(),
            source,
        },
    };
    write_atomic_with(path, |file| {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
            .build();
        let mut writer =
            ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(encoding)?;
        let mut written = 0;
        loop {
            let group: Vec<T> = rows.by_ref().take(ROWS_PER_GROUP).collect();
            if group.is_empty() {
                break;
            }
            written += group.len() as u64;
            let batch = RecordBatch::try_new(schema.clone(), columns(&group));
            batch
                .map_err(Into::into)
                .and_then(|batch| writer.write(&batch))
                .map_err(encoding)?;
        }
        writer.close().map_err(encoding)?;
        Ok(written)
    })
}
