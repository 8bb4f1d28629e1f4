//! What was read of a source.

use serde::{Deserialize, Serialize};

use crate::rows::SkippedRows;

/// What was read of a source.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// The bad rows left out, by their problems.
    pub skipped: SkippedRows,
    /// What the rows are, in the words of people: `RACE`, `Alpaca`.
    pub shapes: Vec<String>,
    /// Whether the tokens come from the cache.
    #[serde(skip)]
    pub is_cached: bool,
}
