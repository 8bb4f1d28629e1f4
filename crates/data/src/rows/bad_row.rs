//! Bad rows: what may be wrong with a row, and what to do about it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of text of the longest row that is read, all its columns together. That is a million
/// tokens of English, more than the context of any model of the Llama family; tokenizing it takes
/// about a gigabyte.
pub const LONGEST_ROW: usize = 4 << 20;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Problem {
    /// A value is missing.
    Null,
    /// A text is empty or only white space.
    Empty,
    /// There are fewer than 2 or more than 26 options.
    OptionCount,
    /// An option is null, empty or only white space.
    EmptyOption,
    /// The answer names no option.
    NoSuchOption,
    /// The answer is a number, and nothing says from which number options count.
    UnclearNumber,
    /// A value is of another type than its column needs.
    WrongType,
    /// A column is missing in this row.
    Missing,
    /// A turn has a role that is not known.
    UnknownRole,
    /// No turn is the assistant's.
    NoCompletion,
    /// A turn's weight is not a number of at least 0.
    NotAWeight,
    /// A line or an item is not JSON.
    NotJson,
    /// A line or an item is JSON, but not an object.
    NotAnObject,
    /// A line has more or fewer fields than the first one.
    FieldCount,
    /// A template or the tokenizer fails on the row.
    NotEncoded,
    /// A text is not UTF-8.
    NotUtf8,
    /// The columns are those of no data that is known.
    UnknownShape,
    /// The row has more than [`LONGEST_ROW`] bytes of text, most of them in this column.
    TooLong,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Null => "is null",
            Self::Empty => "is empty",
            Self::OptionCount => "must hold 2 to 26 options",
            Self::EmptyOption => "holds an empty option",
            Self::NoSuchOption => "names no option",
            Self::UnclearNumber => "is a number, which may count from 0 or from 1",
            Self::WrongType => "is of the wrong type",
            Self::Missing => "is missing",
            Self::UnknownRole => "has a turn of an unknown role",
            Self::NoCompletion => "holds no turn of the assistant",
            Self::NotAWeight => "has a weight that is not a number of at least 0",
            Self::NotJson => "is not valid JSON",
            Self::NotAnObject => "is not a JSON object",
            Self::FieldCount => "has another number of fields than the first line",
            Self::NotEncoded => "cannot be put through the templates",
            Self::NotUtf8 => "is not valid UTF-8",
            Self::UnknownShape => "has the columns of no data that is known",
            Self::TooLong => "makes the row too long",
        })
    }
}

/// The rows left out under [`OnBadRow::Skip`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
            let column = subject(column);
            write!(formatter, "{separator}{rows} because {column} {problem}")?;
        }
        Ok(())
    }
}

/// What a problem is of: a column, or the row itself where none is named.
pub(crate) fn subject(column: &str) -> String {
    match column {
        "" => "it".to_owned(),
        column => format!("column `{column}`"),
    }
}

/// A bad row.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Empty where the row as a whole is bad.
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

/// Bytes that must be text.
pub(crate) fn text<'a>(column: &str, bytes: &'a [u8]) -> Result<&'a str, Refusal> {
    std::str::from_utf8(bytes).map_err(|error| Refusal {
        found: format!(" (from its byte {} on)", error.valid_up_to()),
        ..Refusal::new(column, Problem::NotUtf8)
    })
}
