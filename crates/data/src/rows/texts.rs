//! Rows as pretraining texts: one column of text.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use plw_hub::Hub;

use super::bad_row::{Refusal, SkippedRows, required};
use super::error::RowError;
use super::row_reader::{ReadOptions, RowFormat, RowReader};
use super::schema::column_of;
use super::text_columns::{TextColumn, is_text};
use crate::files::{DataFile, Source, Split};

/// Opens the texts of a source: one column of its rows, usually `text`. Bounds memory as
/// [`crate::read_examples`] does. A null or empty text is a bad row.
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
    type Item = Result<String, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// A row is a text.
struct Texts {
    column: String,
}

impl RowFormat for Texts {
    type Row = String;

    fn columns(&self, file: &DataFile, schema: &Schema) -> Result<Vec<usize>, RowError> {
        Ok(vec![column_of(
            file,
            schema,
            &self.column,
            is_text,
            "text",
        )?])
    }

    fn rows(
        &self,
        file: &DataFile,
        _first_row: u64,
        batch: &RecordBatch,
    ) -> Result<Vec<Result<String, Refusal>>, RowError> {
        let failed = |source| RowError::Column {
            file: file.name.clone(),
            column: self.column.clone(),
            source,
        };
        let column = TextColumn::new(batch.column(0)).map_err(failed)?;
        Ok(column
            .iter()
            .map(|text| required(&self.column, text))
            .collect())
    }
}
