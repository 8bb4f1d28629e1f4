//! Loads the examples of files, from the token cache where it has them.

use plw_batch::Examples;

use super::encode_rows::{ExamplesError, encode_rows};
use super::encoded_row::{EncodedRow, encode_example};
use super::encoding::Encoding;
use super::examples::Collector;
use super::reading::Reading;
use super::token_cache::TokenCache;
use crate::encode::PromptEncoder;
use crate::files::DataFile;
use crate::rows::{ReadOptions, RowError};
use crate::shapes::{ColumnOptions, Example, read_example_files};

/// What examples are made of: files, and how to read and encode their rows.
#[derive(Clone, Copy)]
pub struct DataSource<'a> {
    /// The files, in order.
    pub files: &'a [DataFile],
    /// What their columns are.
    pub columns: &'a ColumnOptions,
    /// How to read them.
    pub options: &'a ReadOptions,
    /// Makes tokens of their rows.
    pub encoder: &'a PromptEncoder,
    /// Where tokens are kept for the next time, if anywhere.
    pub cache: Option<&'a TokenCache>,
    /// Called for each row.
    pub progress: &'a (dyn Fn() + Sync),
}

/// The examples of a source, and what was left out.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The examples; those that are too long are [`Examples::dropped`].
    pub examples: Examples,
    /// What was read.
    pub reading: Reading,
}

/// Reads and encodes examples, and leaves out those of more than `max_length` tokens.
///
/// # Errors
/// The first row that cannot be read or encoded.
pub fn load_examples(
    source: &DataSource,
    max_length: usize,
) -> Result<Dataset, ExamplesError<RowError>> {
    let mut collected = Collector::new(max_length);
    let reading = read_rows(source, |row| collected.add(row))?;
    let mut examples = collected.examples;
    examples.skipped_rows = reading.skipped.rows;
    Ok(Dataset { examples, reading })
}

/// Reads and encodes examples, and hands them to `take` in their order.
pub(crate) fn read_rows(
    source: &DataSource,
    mut take: impl FnMut(EncodedRow),
) -> Result<Reading, ExamplesError<RowError>> {
    let cached = source.cache.and_then(|cache| {
        let key = cache.key(source.files, source.columns, source.options, source.encoder)?;
        Some((cache, key))
    });
    if let Some((cache, key)) = &cached
        && let Some(rows) = cache.open(key)
    {
        let reading = rows.read(|row| {
            (source.progress)();
            take(row);
        });
        let reading = reading.map_err(ExamplesError::Cache)?;
        return Ok(Reading {
            is_cached: true,
            ..reading
        });
    }
    let mut written = cached.and_then(|(cache, key)| cache.write(&key, source.files));
    let mut reader = read_example_files(source.files.to_vec(), source.columns, source.options)
        .map_err(ExamplesError::Read)?;
    let counted = reader.by_ref().inspect(|_| (source.progress)());
    let mut encoding = Encoding::new(source.options.on_bad_row);
    let on_bad_row = encoding.on_bad_row();
    let encode = |example| Encoding::of(on_bad_row, encode_example(source.encoder, example));
    encode_rows(counted, Example::bytes, encode, |row| {
        let Some(row) = encoding.counted(row) else {
            return;
        };
        if let Some(written) = &mut written {
            written.add(&row);
        }
        take(row);
    })?;
    let mut reading = Reading {
        skipped: reader.skipped().clone(),
        shapes: reader.shapes().into_iter().map(str::to_owned).collect(),
        is_cached: false,
    };
    encoding.add_to(&mut reading);
    if let Some(written) = written {
        written.finish(&reading);
    }
    Ok(reading)
}
