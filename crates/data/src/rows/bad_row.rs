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
    /// A text is not UTF-8.
    NotUtf8,
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
            Self::NoSuchOption => "is not the letter of an option",
            Self::NotUtf8 => "is not valid UTF-8",
            Self::TooLong => "makes the row too long",
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

/// Bytes that must be text.
pub(crate) fn text<'a>(column: &str, bytes: &'a [u8]) -> Result<&'a str, Refusal> {
    std::str::from_utf8(bytes).map_err(|error| Refusal {
        found: format!(" (from its byte {} on)", error.valid_up_to()),
        ..Refusal::new(column, Problem::NotUtf8)
    })
}

/// A text that must be neither null nor empty.
pub(crate) fn required(column: &str, bytes: Option<&[u8]>) -> Result<String, Refusal> {
    let bytes = bytes.ok_or_else(|| Refusal::new(column, Problem::Null))?;
    let text = text(column, bytes)?;
    if text.trim().is_empty() {
        return Err(Refusal::new(column, Problem::Empty));
    }
    Ok(text.to_owned())
}

/// Checks that a row, given as the bytes of each column, is not longer than [`LONGEST_ROW`].
pub(crate) fn check_length<'a>(
    columns: impl Iterator<Item = (&'a str, usize)>,
) -> Result<(), Refusal> {
    let (mut together, mut longest) = (0, ("", 0));
    for (column, bytes) in columns {
        together += bytes;
        if bytes > longest.1 {
            longest = (column, bytes);
        }
    }
    if together <= LONGEST_ROW {
        return Ok(());
    }
    let (column, bytes) = longest;
    let found = format!(" ({bytes} of its {together} bytes; at most {LONGEST_ROW} are read)");
    Err(Refusal {
        found,
        ..Refusal::new(column, Problem::TooLong)
    })
}
