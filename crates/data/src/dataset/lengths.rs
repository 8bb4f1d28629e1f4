//! How long the prompts and completions of examples are, for their generation ratios. Memory does
//! not grow with the rows.

use plw_batch::Role;
use plw_ratio::{Lengths, Unit};

use super::data_source::DataSource;
use super::encode_files::encode_files;
use super::encode_rows::ExamplesError;
use super::load::read_rows;
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
        return read_rows(source, |row| {
            take(lengths(Role::ALL.map(|role| row.sequence.tokens_of(role))));
        });
    }
    let chosen = match sample {
        Some(sample) => {
            let rows = read_example_files(source.files.to_vec(), source.columns, source.options);
            let chosen = rows.and_then(|rows| sample.choose(rows));
            Some(chosen.map_err(ExamplesError::Read)?)
        }
        None => None,
    };
    let is_chosen = |place: u64| {
        chosen
            .as_ref()
            .is_none_or(|chosen| chosen.binary_search(&place).is_ok())
    };
    let encoder = source.encoder;
    let measure = |example: Example| match unit {
        Unit::Chars => encoder.count_characters(&example),
        Unit::Tokens => {
            let encoded = encoder.encode(&example)?;
            Ok(Role::ALL.map(|role| encoded.tokens_of(role)))
        }
    };
    encode_files(source, is_chosen, measure, |measured| {
        take(lengths(measured))
    })
}

/// Lengths in the order of [`Role::ALL`].
fn lengths([prompt, completion]: [usize; 2]) -> Lengths {
    // A text has at most some million characters.
    Lengths {
        prompt: prompt as u32,
        completion: completion as u32,
    }
}
