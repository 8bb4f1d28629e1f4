//! Loads the examples of a source, and says what was left out.

use plw_batch::Examples;

use super::examples::{ExamplesError, encode_examples, encode_texts};
use crate::encode::PromptEncoder;
use crate::files::{Source, Split};
use crate::rows::{ReadOptions, RowError, SkippedRows, read_text};
use crate::shapes::{ColumnOptions, read_examples};
use crate::tokenizer::ModelTokenizer;

/// The examples of a source, at least one, and why rows were left out.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The examples; those that are too long are [`Examples::dropped`].
    pub examples: Examples,
    /// The bad rows left out, by their problems.
    pub skipped: SkippedRows,
}

/// Why a data set cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A row cannot be read or encoded.
    #[error(transparent)]
    Examples(#[from] ExamplesError<RowError>),
    /// No example is left.
    #[error(
        "{place} holds no example that can be used ({dropped} longer than max_length {max_length}, \
         {skipped} bad rows); check the data, or raise max_length"
    )]
    Empty {
        /// The source.
        place: Box<Source>,
        /// Number of examples that are too long.
        dropped: usize,
        /// The greatest number of tokens allowed.
        max_length: usize,
        /// Number of bad rows left out.
        skipped: u64,
    },
}

/// Reads and encodes the examples of a source's split, and leaves out those of more than
/// `max_length` tokens.
///
/// # Errors
/// [`LoadError`].
pub fn load_examples(
    source: &Source,
    split: Split,
    columns: &ColumnOptions,
    options: &ReadOptions,
    encoder: &PromptEncoder,
    max_length: usize,
) -> Result<Dataset, LoadError> {
    let mut reader = read_examples(source, split, columns, options).map_err(ExamplesError::Read)?;
    let examples = encode_examples(reader.by_ref(), encoder, max_length)?;
    dataset(source, examples, reader.skipped(), max_length)
}

/// Reads and tokenizes the plain texts of a source's split, its column `text`, and leaves out those
/// of more than `max_length` tokens.
///
/// # Errors
/// [`LoadError`].
pub fn load_texts(
    source: &Source,
    split: Split,
    options: &ReadOptions,
    tokenizer: &ModelTokenizer,
    max_length: usize,
) -> Result<Dataset, LoadError> {
    let mut reader = read_text(source, split, "text", options).map_err(ExamplesError::Read)?;
    let examples = encode_texts(reader.by_ref(), tokenizer, max_length)?;
    dataset(source, examples, reader.skipped(), max_length)
}

fn dataset(
    source: &Source,
    mut examples: Examples,
    skipped: &SkippedRows,
    max_length: usize,
) -> Result<Dataset, LoadError> {
    if examples.is_empty() {
        return Err(LoadError::Empty {
            place: Box::new(source.clone()),
            dropped: examples.dropped.len(),
            max_length,
            skipped: skipped.rows,
        });
    }
    examples.skipped_rows = skipped.rows;
    Ok(Dataset {
        examples,
        skipped: skipped.clone(),
    })
}
