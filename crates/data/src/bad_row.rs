//! Rows that are not as they should be: what may be wrong with one, and what becomes of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::read::RowError;

/// What becomes of a row that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadRow {
    /// It ends the reading with an error that names it.
    #[default]
    Error,
    /// It is left out and counted.
    Skip,
}

impl FromStr for OnBadRow {
    type Err = RowError;

    fn from_str(text: &str) -> Result<Self, RowError> {
        match text {
            "error" => Ok(Self::Error),
            "skip" => Ok(Self::Skip),
            other => Err(RowError::OnBadRow(other.to_owned())),
        }
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Problem {
    /// A value is missing.
    Null,
    /// A text is empty or nothing but white space.
    Empty,
    /// There are fewer than 2 or more than 26 options.
    OptionCount,
    /// An option is missing, empty or nothing but white space.
    EmptyOption,
    /// The answer is not the letter of an option.
    NoSuchOption,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Null => "is null",
            Self::Empty => "is empty",
            Self::OptionCount => "must hold 2 to 26 options",
            Self::EmptyOption => "holds an empty option",
            Self::NoSuchOption => "is not the letter of an option",
        })
    }
}

/// The rows that were left out, under [`OnBadRow::Skip`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SkippedRows {
    /// How many there were.
    pub rows: u64,
    /// How many by column and problem; a row counts for the first that it has.
    pub reasons: BTreeMap<(String, Problem), u64>,
}

impl fmt::Display for SkippedRows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} rows skipped", self.rows)?;
        for (index, ((column, problem), rows)) in self.reasons.iter().enumerate() {
            let separator = if index == 0 { ": " } else { ", " };
            write!(formatter, "{separator}{rows} because `{column}` {problem}")?;
        }
        Ok(())
    }
}

/// A row that was refused.
pub(crate) struct Refusal {
    pub(crate) column: String,
    pub(crate) problem: Problem,
    /// What stands there, ` (in brackets)` or empty.
    pub(crate) found: String,
}

impl Refusal {
    pub(crate) fn new(column: &str, problem: Problem) -> Self {
        Self {
            column: column.to_owned(),
            problem,
            found: String::new(),
        }
    }
}

/// A text that must not be null or empty.
pub(crate) fn required(column: &str, text: Option<&str>) -> Result<String, Refusal> {
    let text = text.ok_or_else(|| Refusal::new(column, Problem::Null))?;
    if text.trim().is_empty() {
        return Err(Refusal::new(column, Problem::Empty));
    }
    Ok(text.to_owned())
}
