//! A row of a data file, whatever its format.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::bad_row::{LONGEST_ROW, Problem, Refusal};

/// The values of a row, by the names of their columns and in the order of the file.
pub(crate) type Columns = Map<String, Value>;

/// A row, and where it is from.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The name of its file.
    pub(crate) file: Arc<str>,
    /// The name of the file's folder.
    pub(crate) folder: Arc<str>,
    /// Its number in that file, from 0.
    pub(crate) number: u64,
    pub(crate) columns: Columns,
}

/// Checks that a row is not longer than [`LONGEST_ROW`].
pub(crate) fn check_length(columns: &Columns) -> Result<(), Refusal> {
    let lengths = columns.iter().map(|(name, value)| (name, bytes(value)));
    let (mut together, mut longest) = (0, ("", 0));
    for (column, bytes) in lengths {
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

/// What an item of a list or an object counts as, besides its text: a row of very many short items
/// takes much memory too.
const ITEM: usize = 8;

/// Bytes of a value's text.
pub(crate) fn bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| ITEM + bytes(item)).sum(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| name.len() + ITEM + bytes(value))
                .sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
