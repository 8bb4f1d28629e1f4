//! What becomes of rows on which a template or the tokenizer fails.

use super::encode_rows::ExamplesError;
use super::reading::Reading;
use crate::encode::PromptError;
use crate::rows::{OnBadRow, Problem, RowError};

/// Counts the rows that cannot be encoded, where they are left out.
pub(crate) struct Encoding {
    on_bad_row: OnBadRow,
    left_out: u64,
}

impl Encoding {
    pub(crate) fn new(on_bad_row: OnBadRow) -> Self {
        Self {
            on_bad_row,
            left_out: 0,
        }
    }

    /// What an encoded row is worth: none if it is left out.
    pub(crate) fn of<T>(
        on_bad_row: OnBadRow,
        encoded: Result<T, PromptError>,
    ) -> Result<Option<T>, ExamplesError<RowError>> {
        match (encoded, on_bad_row) {
            (Ok(row), _) => Ok(Some(row)),
            (Err(_), OnBadRow::Skip) => Ok(None),
            (Err(error), OnBadRow::Error) => Err(error.into()),
        }
    }

    /// What is done with bad rows.
    pub(crate) fn on_bad_row(&self) -> OnBadRow {
        self.on_bad_row
    }

    /// A row, unless it is left out.
    pub(crate) fn counted<T>(&mut self, row: Option<T>) -> Option<T> {
        self.left_out += u64::from(row.is_none());
        row
    }

    /// Adds what was left out to what was read.
    pub(crate) fn add_to(&self, reading: &mut Reading) {
        if self.left_out > 0 {
            reading.skipped.rows += self.left_out;
            let reason = (String::new(), Problem::NotEncoded);
            *reading.skipped.reasons.entry(reason).or_default() += self.left_out;
        }
    }
}
