//! Rows of files, read one after the other in bounded memory. Knows files and bad rows; a
//! [`RowFormat`] knows what a row means.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};

use super::bad_row::{OnBadRow, Refusal, SkippedRows};
use super::error::RowError;
use super::open_rows::open_rows;
use super::row::{Row, check_length};
use super::row_file::{FileRow, RowFile};
use crate::files::DataFile;

/// How to read rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// What to do with a bad row.
    pub on_bad_row: OnBadRow,
    /// Reads only the first rows of the source, counted over all its files and with its bad rows.
    pub limit: Option<u64>,
    /// Most rows of a table decoded at a time: fewer where the pages of a file are large.
    pub batch_size: NonZeroUsize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        const ROWS: NonZeroUsize = NonZeroUsize::new(256).expect("256 is not zero");
        Self {
            on_bad_row: OnBadRow::default(),
            limit: None,
            batch_size: ROWS,
        }
    }
}

/// What a row of a file means.
pub(crate) trait RowFormat {
    /// What a good row gives, once or several times.
    type Item;

    /// The columns of a file to decode, by their numbers in its schema; an error if one is missing
    /// or of the wrong type.
    fn columns(&mut self, file: &DataFile, schema: &Schema) -> Result<Vec<usize>, RowError>;

    /// What a row gives.
    fn items(&mut self, row: Row) -> Result<Vec<Self::Item>, Refusal>;
}

/// What the rows of files give, in order. Ends after the first error.
pub(crate) struct RowReader<F: RowFormat> {
    format: F,
    options: ReadOptions,
    /// Files that are not yet open, the next one last.
    files: Vec<DataFile>,
    open: Option<OpenFile>,
    /// Rows that may still be read, by [`ReadOptions::limit`].
    remaining: u64,
    /// What the last row gave and was not yet asked for.
    items: VecDeque<F::Item>,
    skipped: SkippedRows,
}

struct OpenFile {
    name: Arc<str>,
    folder: Arc<str>,
    rows: Box<dyn RowFile>,
}

impl<F: RowFormat> RowReader<F> {
    /// Opens the first file, so that an error in its columns comes at once.
    pub(crate) fn open(
        files: Vec<DataFile>,
        format: F,
        options: &ReadOptions,
    ) -> Result<Self, RowError> {
        let mut rows = Self {
            format,
            options: options.clone(),
            files: files.into_iter().rev().collect(),
            open: None,
            remaining: options.limit.unwrap_or(u64::MAX),
            items: VecDeque::new(),
            skipped: SkippedRows::default(),
        };
        rows.open_next()?;
        Ok(rows)
    }

    pub(crate) fn format(&self) -> &F {
        &self.format
    }

    pub(crate) fn skipped(&self) -> &SkippedRows {
        &self.skipped
    }

    fn open_next(&mut self) -> Result<(), RowError> {
        self.open = None;
        if let Some(file) = self.files.pop() {
            let format = &mut self.format;
            let mut columns = |file: &DataFile, schema: &Schema| format.columns(file, schema);
            self.open = Some(OpenFile {
                rows: open_rows(&file, &mut columns)?,
                name: file.name,
                folder: file.folder.into(),
            });
        }
        Ok(())
    }

    fn next_item(&mut self) -> Result<Option<F::Item>, RowError> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Ok(Some(item));
            }
            let Some(open) = self.open.as_mut().filter(|_| self.remaining > 0) else {
                return Ok(None);
            };
            let batch_size = self.options.batch_size.get();
            let Some(row) = open.rows.next_row(self.remaining, batch_size)? else {
                self.open_next()?;
                continue;
            };
            self.remaining -= 1;
            let FileRow {
                number,
                line,
                columns,
            } = row;
            let row = columns.and_then(|columns| {
                check_length(&columns)?;
                self.format.items(Row {
                    file: open.name.clone(),
                    folder: open.folder.clone(),
                    number,
                    columns,
                })
            });
            match row {
                Ok(items) => self.items.extend(items),
                Err(refusal) => self.refuse(number, line, refusal)?,
            }
        }
    }

    /// Counts a bad row, or makes it the error that ends reading.
    fn refuse(&mut self, row: u64, line: Option<u64>, refusal: Refusal) -> Result<(), RowError> {
        let Refusal {
            column,
            problem,
            found,
        } = refusal;
        match (self.options.on_bad_row, &self.open) {
            (OnBadRow::Error, Some(open)) => Err(RowError::BadRow {
                file: open.name.clone(),
                row,
                line,
                column,
                problem,
                found,
            }),
            _ => {
                self.skipped.rows += 1;
                *self.skipped.reasons.entry((column, problem)).or_default() += 1;
                Ok(())
            }
        }
    }
}

impl<F: RowFormat> Iterator for RowReader<F> {
    type Item = Result<F::Item, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.next_item().transpose();
        if matches!(item, Some(Err(_))) {
            self.files.clear();
            self.open = None;
        }
        item
    }
}
