//! Rows of a file of JSON: an array of objects, or an object in each line. Each row is read by
//! itself, so that a file of any length takes the memory of its longest row.

use std::collections::VecDeque;
use std::io;

use arrow::datatypes::Schema;
use serde_json::Value;

use super::bad_row::{LONGEST_ROW, Problem, Refusal};
use super::error::RowError;
use super::json_schema::schema_of;
use super::json_values::{Ended, read_value};
use super::row::Columns;
use super::row_file::{ChooseColumns, FileRow, RowFile};
use super::text_file::TextFile;
use crate::files::DataFile;

/// Bytes of JSON of the longest row: its text may be written in escapes.
const LONGEST_JSON: usize = 4 * LONGEST_ROW;

/// Rows that are read to find one that tells the columns.
const FIRST_ROWS: usize = 100;

/// An open file.
pub(crate) struct JsonFile {
    file: DataFile,
    text: TextFile,
    layout: Layout,
    /// Rows read so far.
    read: u64,
    /// Rows that were read to learn the columns.
    first: VecDeque<FileRow>,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// An object in each line.
    Lines,
    /// An array, at its beginning.
    Array,
    /// An array, behind an item.
    ArrayItems,
    /// Behind the last row.
    End,
}

impl JsonFile {
    /// Opens a file. All columns are read; `columns` checks those of the first good row.
    pub(crate) fn open(
        file: DataFile,
        mut text: TextFile,
        columns: ChooseColumns,
    ) -> Result<Self, RowError> {
        let first = text.peek().map_err(|source| RowError::Read {
            file: file.name.clone(),
            source,
        })?;
        let layout = match first {
            Some(b'[') => {
                text.skip(1);
                Layout::Array
            }
            Some(_) => Layout::Lines,
            None => Layout::End,
        };
        let mut opened = Self {
            file,
            text,
            layout,
            read: 0,
            first: VecDeque::new(),
            buffer: Vec::new(),
        };
        while opened.first.len() < FIRST_ROWS {
            let Some(row) = opened.read_row()? else { break };
            let schema: Option<Schema> = row.columns.as_ref().ok().map(schema_of);
            opened.first.push_back(row);
            if let Some(schema) = schema {
                columns(&opened.file, &schema)?;
                break;
            }
        }
        Ok(opened)
    }

    fn read_row(&mut self) -> Result<Option<FileRow>, RowError> {
        let row = match self.layout {
            Layout::Lines => self.read_line(),
            Layout::Array | Layout::ArrayItems => self.read_item(),
            Layout::End => return Ok(None),
        };
        let row = row.map_err(|source| RowError::Read {
            file: self.file.name.clone(),
            source,
        })?;
        Ok(row.map(|(line, columns)| {
            self.read += 1;
            FileRow {
                number: self.read - 1,
                line: Some(line),
                columns,
            }
        }))
    }

    /// The next line that is not blank.
    fn read_line(&mut self) -> io::Result<Option<(u64, Result<Columns, Refusal>)>> {
        if self.text.peek()?.is_none() {
            self.layout = Layout::End;
            return Ok(None);
        }
        let line = self.text.line();
        let fits = self.text.read_line(&mut self.buffer, LONGEST_JSON)?;
        let columns = match fits {
            true => columns(&self.buffer),
            false => Err(too_long()),
        };
        Ok(Some((line, columns)))
    }

    /// The next item of the array.
    fn read_item(&mut self) -> io::Result<Option<(u64, Result<Columns, Refusal>)>> {
        let mut next = self.text.peek()?;
        if self.layout == Layout::ArrayItems && next == Some(b',') {
            self.text.skip(1);
            next = self.text.peek()?;
        } else if self.layout == Layout::ArrayItems && next != Some(b']') {
            return Err(invalid(
                &self.text,
                "a comma or the end of the array should be",
            ));
        }
        if next == Some(b']') {
            self.text.skip(1);
            self.layout = Layout::End;
            return match self.text.peek()? {
                None => Ok(None),
                Some(_) => Err(invalid(&self.text, "behind the array nothing should be")),
            };
        }
        self.layout = Layout::ArrayItems;
        let line = self.text.line();
        let columns = match read_value(&mut self.text, &mut self.buffer, LONGEST_JSON)? {
            Ended::Whole => columns(&self.buffer),
            Ended::TooLong => Err(too_long()),
            Ended::Early => {
                return Err(invalid(&self.text, "the array should end with `]`, not"));
            }
        };
        Ok(Some((line, columns)))
    }
}

impl RowFile for JsonFile {
    fn next_row(&mut self, _: u64, _: usize) -> Result<Option<FileRow>, RowError> {
        match self.first.pop_front() {
            Some(row) => Ok(Some(row)),
            None => self.read_row(),
        }
    }
}

fn invalid(text: &TextFile, expected: &str) -> io::Error {
    let line = text.line();
    io::Error::other(format!(
        "{expected} in line {line}; the file is damaged or incomplete"
    ))
}

/// The object that these bytes are.
fn columns(bytes: &[u8]) -> Result<Columns, Refusal> {
    let refusal = |problem, found: String| Refusal {
        problem,
        found,
        ..Refusal::new("", problem)
    };
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(columns)) => Ok(columns),
        Ok(_) => Err(refusal(Problem::NotAnObject, String::new())),
        Err(error) => {
            // The line and the column are those in the row.
            let found = match error.is_eof() {
                true => " (it ends early; a row is an object in one line, or an item of an array)"
                    .to_owned(),
                false => format!(" ({error})"),
            };
            Err(refusal(Problem::NotJson, found))
        }
    }
}

fn too_long() -> Refusal {
    Refusal {
        found: format!(" (it has more than {LONGEST_JSON} bytes of JSON)"),
        ..Refusal::new("", Problem::TooLong)
    }
}
