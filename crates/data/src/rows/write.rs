//! Parquet files written with the columns that RACE has on the Hugging Face hub.

use std::borrow::Borrow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use plw_files::{FileError, write_atomic_with};

use super::example::Example;

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

/// Writes questions in the columns of RACE (example_id, article, answer, question, options),
/// compressed with snappy, and returns their number. [`Example::columns`] and [`Example::level`]
/// are not written: RACE has no such columns.
///
/// Creates missing folders. Writes under a temporary name in the folder, syncs and renames, so that
/// `path` never names an incomplete file.
///
/// # Errors
/// [`WriteError`].
pub fn write_examples<I>(path: &Path, examples: I) -> Result<u64, WriteError>
where
    I: IntoIterator,
    I::Item: Borrow<Example>,
{
    let text = |name| Field::new(name, DataType::Utf8, true);
    let options = Field::new_list("options", Field::new_list_field(DataType::Utf8, true), true);
    let schema = Schema::new(vec![
        text("example_id"),
        text("article"),
        text("answer"),
        text("question"),
        options,
    ]);
    write_rows(path, Arc::new(schema), examples.into_iter(), |rows| {
        let text = |value: fn(&Example) -> String| -> ArrayRef {
            let mut column = StringBuilder::new();
            rows.iter()
                .for_each(|row| column.append_value(value(row.borrow())));
            Arc::new(column.finish())
        };
        let mut options = ListBuilder::new(StringBuilder::new());
        for row in rows {
            options.append_value(row.borrow().options.iter().map(Some));
        }
        vec![
            text(|row| row.example_id.clone()),
            text(|row| row.article.clone()),
            text(|row| row.answer_letter().to_string()),
            text(|row| row.question.clone()),
            Arc::new(options.finish()),
        ]
    })
}

/// Writes pretraining texts as the one column `text`, in the way of [`write_examples`].
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
        let mut column = StringBuilder::new();
        rows.iter().for_each(|row| column.append_value(row));
        vec![Arc::new(column.finish())]
    })
}

/// Streams rows into a parquet file, one row group at a time.
fn write_rows<T>(
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
