//! How long the prompts and completions of examples are, for their generation ratios. Memory does
//! not grow with the rows.

use plw_batch::Role;
use plw_ratio::{Lengths, Unit};

use super::encode_rows::{ExamplesError, encode_rows};
use super::encoding::Encoding;
use super::load::{DataSource, read_rows};
use super::reading::Reading;
use super::sample::Sample;
use crate::rows::RowError;
use crate::shapes::{Example, read_example_files};

/// Hands the lengths of examples to `take`, in their order: of all of them, or of a sample.
///
/// # Errors
/// The first row that cannot be read or encoded.
pub fn measure_lengths(
    source: &DataSource,
    unit: Unit,
    sample: Option<Sample>,
    mut take: impl FnMut(Lengths),
) -> Result<Reading, ExamplesError<RowError>> {
    if unit == Unit::Tokens && sample.is_none() {
        let tokens =
            |role| move |row: &super::encoded_row::EncodedRow| row.sequence.tokens_of(role);
        let (prompt, completion) = (tokens(Role::Prompt), tokens(Role::Completion));
        return read_rows(source, |row| take(lengths(prompt(&row), completion(&row))));
    }
    let open = || {
        read_example_files(source.files.to_vec(), source.columns, source.options)
            .map_err(ExamplesError::Read)
    };
    let chosen = match sample {
        Some(sample) => Some(sample.choose(open()?).map_err(ExamplesError::Read)?),
        None => None,
    };
    let mut reader = open()?;
    let is_chosen = |index: u64| {
        chosen
            .as_ref()
            .is_none_or(|c| c.binary_search(&index).is_ok())
    };
    let rows = (0..)
        .zip(reader.by_ref())
        .filter(|(index, row)| row.is_err() || is_chosen(*index));
    let rows = rows.map(|(_, row)| row).inspect(|_| (source.progress)());
    let encoder = source.encoder;
    let mut encoding = Encoding::new(source.options.on_bad_row);
    let on_bad_row = encoding.on_bad_row();
    let measure = |example: Example| {
        let measured = match unit {
            Unit::Chars => encoder.count_characters(&example),
            Unit::Tokens => {
                let encoded = encoder.encode(&example);
                encoded.map(|encoded| Role::ALL.map(|role| encoded.tokens_of(role)))
            }
        };
        Encoding::of(on_bad_row, measured)
    };
    encode_rows(rows, Example::bytes, measure, |measured| {
        if let Some([prompt, completion]) = encoding.counted(measured) {
            take(lengths(prompt, completion));
        }
    })?;
    let mut reading = Reading {
        skipped: reader.skipped().clone(),
        shapes: reader.shapes().into_iter().map(str::to_owned).collect(),
        is_cached: false,
    };
    encoding.add_to(&mut reading);
    Ok(reading)
}

fn lengths(prompt: usize, completion: usize) -> Lengths {
    // A text has at most some million characters.
    Lengths {
        prompt: prompt as u32,
        completion: completion as u32,
    }
}
