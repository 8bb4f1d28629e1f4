//! Loads the examples of files, from the token cache where it has them.

use plw_batch::Examples;

use super::data_source::DataSource;
use super::encode_files::encode_files;
use super::encode_rows::ExamplesError;
use super::encoded_row::{EncodedRow, encode_example};
use super::examples::Collector;
use super::reading::Reading;
use crate::rows::RowError;

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
    let encode = |example| encode_example(source.encoder, example);
    let reading = encode_files(
        source,
        |_| true,
        encode,
        |row| {
            if let Some(written) = &mut written {
                written.add(&row);
            }
            take(row);
        },
    )?;
    if let Some(written) = written {
        written.finish(&reading);
    }
    Ok(reading)
}
