//! Parquet files written as Hugging Face lays RACE out. Knows rows and files; knows no prompt and no token.

use std::borrow::Borrow;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::Example;

/// Rows that are held in memory, and rows a row group, so that a reader can stream the file too.
const ROWS_PER_GROUP: usize = 1000;

/// Why a parquet file could not be written. Nothing is left under the file's name then.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}; check that the folder can be written and has room", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The rows could not be encoded.
    #[error("cannot encode rows of {path} as parquet: {source}", path = path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The encoder's answer.
        source: parquet::errors::ParquetError,
    },
}

/// Writes questions in the columns of the Hugging Face RACE data set (example_id, article, answer, question, options),
/// snappy-compressed, and returns their number. Folders are made; the file is written under a temporary name in its
/// folder, fsynced and renamed, so that no partial file ever stands under `path`. Other columns
/// ([`Example::columns`]) and [`Example::level`] are not written: RACE has no such columns.
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

/// Writes texts as the one column `text`, for pretraining, the way [`write_examples`] writes questions.
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

/// Streams rows into a parquet file, a row group at a time.
fn write_rows<T>(
    path: &Path,
    schema: SchemaRef,
    mut rows: impl Iterator<Item = T>,
    columns: impl Fn(&[T]) -> Vec<ArrayRef>,
) -> Result<u64, WriteError> {
    let encoding = |source| WriteError::Parquet {
        path: path.to_owned(),
        source,
    };
    replace_file(path, |file| {
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

/// Lets `fill` write a file under a temporary name in `path`'s folder; once it is on disk it takes `path`'s place.
/// On any error the temporary file is removed and what stood at `path` stays.
fn replace_file<T>(
    path: &Path,
    fill: impl FnOnce(&File) -> Result<T, WriteError>,
) -> Result<T, WriteError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| WriteError::Io {
            action,
            path,
            source,
        }
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed("create folder", folder))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".writing-").suffix(".parquet");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A temporary file is private by default; the data is to be read by whom the umask allows.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let temporary = builder
        .tempfile_in(folder)
        .map_err(failed("create a file in", folder))?;
    let result = fill(temporary.as_file())?;
    temporary
        .as_file()
        .sync_all()
        .map_err(failed("flush", path))?;
    temporary
        .persist(path)
        .map_err(|error| failed("rename a finished file to", path)(error.error))?;
    #[cfg(unix)]
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("flush folder", folder))?;
    Ok(result)
}
