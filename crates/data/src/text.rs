//! Parquet rows as texts to pretrain on: one column, read as questions are.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use crate::bad_row::{Refusal, SkippedRows, required};
use crate::columns::{TextColumn, is_text};
use crate::hub::Hub;
use crate::read::{ReadOptions, RowError, RowFormat, Rows, column_of};
use crate::source::{DataFile, Source};
use crate::split::Split;

/// Opens the texts of a source's column (`text`, usually), in bounded memory like [`crate::read_examples`]. A text
/// that is null or empty is a bad row.
pub fn read_text(
    source: &Source,
    split: Split,
    column: &str,
    options: &ReadOptions,
) -> Result<TextReader, RowError> {
    let files = source.files(split, &Hub::from_env())?;
    Rows::open(
        files,
        Texts {
            column: column.to_owned(),
        },
        options,
    )
    .map(TextReader)
}

/// A source's texts, one after the other. Ends after the first error.
pub struct TextReader(Rows<Texts>);

impl TextReader {
    /// The rows left out so far.
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

/// Rows that are texts.
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
