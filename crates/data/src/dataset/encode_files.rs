//! Reads the examples of files and makes something of each, on all threads.

use super::data_source::DataSource;
use super::encode_rows::{ExamplesError, encode_rows};
use super::reading::Reading;
use crate::encode::PromptError;
use crate::rows::{OnBadRow, Problem, RowError};
use crate::shapes::{Example, read_example_files};

/// Hands what `encode` makes of the examples to `take`, in their order. Only those are encoded
/// whose place `is_wanted`. Examples that cannot be encoded are bad rows.
pub(crate) fn encode_files<T: Send>(
    source: &DataSource,
    is_wanted: impl Fn(u64) -> bool + Sync,
    encode: impl Fn(Example) -> Result<T, PromptError> + Sync,
    mut take: impl FnMut(T),
) -> Result<Reading, ExamplesError<RowError>> {
    let mut reader = read_example_files(source.files.to_vec(), source.columns, source.options)
        .map_err(ExamplesError::Read)?;
    let rows = (0..)
        .zip(reader.by_ref())
        .filter(|(place, row)| row.is_err() || is_wanted(*place));
    let rows = rows.map(|(_, row)| row).inspect(|_| (source.progress)());
    let encode = |example| match (encode(example), source.options.on_bad_row) {
        (Ok(encoded), _) => Ok(Some(encoded)),
        (Err(_), OnBadRow::Skip) => Ok(None),
        (Err(error), OnBadRow::Error) => Err(error.into()),
    };
    let mut left_out = 0;
    encode_rows(rows, Example::bytes, encode, |encoded| match encoded {
        Some(encoded) => take(encoded),
        None => left_out += 1,
    })?;
    let mut skipped = reader.skipped().clone();
    if left_out > 0 {
        skipped.rows += left_out;
        let reason = (String::new(), Problem::NotEncoded);
        *skipped.reasons.entry(reason).or_default() += left_out;
    }
    Ok(Reading {
        skipped,
        shapes: reader.shapes().into_iter().map(str::to_owned).collect(),
        is_cached: false,
    })
}
