//! Bad rows: what may be wrong with a row, and what to do about it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What to do with a bad row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadRow {
    /// Stop reading, with an error that names the row.
    #[default]
    Error,
    /// Leave the row out, and count it.
    Skip,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Problem {
    /// A value is missing.
    Null,
    /// A text is empty or only white space.
    Empty,
    /// There are fewer than 2 or more than 26 options.
    OptionCount,
    /// An option is null, empty or only white space.
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

/// The rows left out under [`OnBadRow::Skip`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SkippedRows {
    /// Their number.
    pub rows: u64,
    /// Their number by column and problem; a row counts for its first problem.
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

/// A bad row.
pub(crate) struct Refusal {
    pub(crate) column: String,
    pub(crate) problem: Problem,
    /// The value, ` (in parentheses)`, or empty.
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

/// A text that must be neither null nor empty.
pub(crate) fn required(column: &str, text: Option<&str>) -> Result<String, Refusal> {
    let text = text.ok_or_else(|| Refusal::new(column, Problem::Null))?;
    if text.trim().is_empty() {
        return Err(Refusal::new(column, Problem::Empty));
    }
    Ok(text.to_owned())
}
