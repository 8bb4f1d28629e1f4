//! Rows as pretraining texts: one column of text.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use plw_hub::Hub;

use super::bad_row::{Refusal, SkippedRows, check_length, required};
use super::error::RowError;
use super::row_reader::{ReadOptions, RowFormat, RowReader};
use super::schema::column_of;
use super::text_columns::{TextColumn, is_text};
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
    type Row = Text;
    type Columns = TextColumn;

    fn columns(&self, file: &DataFile, schema: &Schema) -> Result<Vec<usize>, RowError> {
        Ok(vec![column_of(
            file,
            schema,
            &self.column,
            is_text,
            "text",
        )?])
    }

    fn batch(&self, file: &DataFile, batch: &RecordBatch) -> Result<TextColumn, RowError> {
        TextColumn::new(batch.column(0)).map_err(|source| RowError::Column {
            file: file.name.clone(),
            column: self.column.clone(),
            source,
        })
    }

    fn row(
        &self,
        column: &TextColumn,
        file: &DataFile,
        file_row: u64,
        row: usize,
    ) -> Result<Text, Refusal> {
        let name = self.column.as_str();
        check_length([(name, column.length(row))].into_iter())?;
        Ok(Text {
            file: file.name.clone(),
            row: file_row,
            text: required(name, column.get(row))?,
        })
    }
}
