//! Rows as pretraining texts: one column of text.

use std::sync::Arc;

use arrow::datatypes::Schema;
use plw_hub::Hub;

use serde_json::Value;

use super::arrow_values::is_text;
use super::bad_row::{Problem, Refusal, SkippedRows};
use super::error::RowError;
use super::row::Row;
use super::row_reader::{ReadOptions, RowFormat, RowReader};
use super::schema::column_of;
use crate::files::{DataFile, Source, Split};

/// A text to pretrain on, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The name of its file ([`crate::DataFile::name`]).
    pub file: Arc<str>,
    /// Its row in that file, from 0.
    pub row: u64,
    /// The text.
    pub text: String,
}

/// Opens the texts of a source: one column of its rows, usually `text`. Bounds memory as
/// [`crate::read_examples`] does. A text is a bad row if it is null, empty, not UTF-8, or longer
/// than [`crate::LONGEST_ROW`].
///
/// # Errors
/// As for [`crate::read_examples`].
pub fn read_text(
    source: &Source,
    split: Split,
    column: &str,
    options: &ReadOptions,
) -> Result<TextReader, RowError> {
    let files = source.files(split, Hub::from_env)?;
    RowReader::open(
        files,
        Texts {
            column: column.to_owned(),
        },
        options,
    )
    .map(TextReader)
}

/// The texts of a source, one after the other. Ends after the first error.
pub struct TextReader(RowReader<Texts>);

impl TextReader {
    /// The bad rows left out so far.
    pub fn skipped(&self) -> &SkippedRows {
        self.0.skipped()
    }
}

impl Iterator for TextReader {
    type Item = Result<Text, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// A row is a text.
struct Texts {
    column: String,
}

impl RowFormat for Texts {
    type Item = Text;

    fn columns(&mut self, file: &DataFile, schema: &Schema) -> Result<Vec<usize>, RowError> {
        let column = column_of(file, schema, &self.column, is_text, "text")?;
        Ok(vec![column])
    }

    fn items(&mut self, mut row: Row) -> Result<Vec<Text>, Refusal> {
        let refused = |problem| Err(Refusal::new(&self.column, problem));
        let text = match row.columns.remove(&self.column) {
            Some(Value::String(text)) => text,
            Some(Value::Null) => return refused(Problem::Null),
            Some(_) => return refused(Problem::WrongType),
            None => return refused(Problem::Missing),
        };
        match text.trim().is_empty() {
            true => refused(Problem::Empty),
            false => Ok(vec![Text {
                file: row.file,
                row: row.number,
                text,
            }]),
        }
    }
}
