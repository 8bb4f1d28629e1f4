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
        opened.learn_columns(columns)?;
        Ok(opened)
    }

    /// Reads up to the first row whose columns are right. Those before it are bad rows, and where
    /// no row is right the file is bad as the first of them is.
    fn learn_columns(&mut self, columns: ChooseColumns) -> Result<(), RowError> {
        let (mut failed, mut bytes) = (None, 0);
        while self.first.len() < FIRST_ROWS && bytes <= LONGEST_JSON {
            let row = match self.read_row() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) => return Err(failed.unwrap_or(error)),
            };
            bytes += self.buffer.len();
            let schema: Option<Schema> = row.columns.as_ref().ok().map(schema_of);
            self.first.push_back(row);
            match schema.map(|schema| columns(&self.file, &schema)) {
                Some(Ok(_)) => return Ok(()),
                Some(Err(error)) => failed = failed.or(Some(error)),
                None => {}
            }
        }
        failed.map_or(Ok(()), Err)
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
            true => columns(&self.buffer, line),
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
                "neither a comma nor the end of the array follows its last item",
            ));
        }
        if next == Some(b']') {
            self.text.skip(1);
            self.layout = Layout::End;
            return match self.text.peek()? {
                None => Ok(None),
                Some(_) => Err(invalid(&self.text, "something follows the array")),
            };
        }
        self.layout = Layout::ArrayItems;
        let line = self.text.line();
        let columns = match read_value(&mut self.text, &mut self.buffer, LONGEST_JSON)? {
            Ended::Whole => columns(&self.buffer, line),
            Ended::TooLong => Err(too_long()),
            Ended::Early => {
                return Err(invalid(&self.text, "the array ends without a `]`"));
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

fn invalid(text: &TextFile, problem: &str) -> io::Error {
    io::Error::other(format!("in line {} {problem}", text.line()))
}

/// The object that these bytes, from this line of the file on, are.
fn columns(bytes: &[u8], line: u64) -> Result<Columns, Refusal> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(columns)) => Ok(columns),
        Ok(_) => Err(Refusal::new("", Problem::NotAnObject)),
        Err(error) => Err(Refusal {
            found: format!(" ({})", not_json(&error, line)),
            ..Refusal::new("", Problem::NotJson)
        }),
    }
}

/// What is wrong with JSON, and where. The parser counts lines and bytes from the row's beginning.
fn not_json(error: &serde_json::Error, line: u64) -> String {
    let told = error.to_string();
    let (what, _) = told.rsplit_once(" at line ").unwrap_or((&told, ""));
    match error.line() as u64 {
        _ if error.is_eof() => {
            "it ends early; a row is an object in one line, or an item of an array".to_owned()
        }
        0 | 1 => format!("{what}, at its byte {}", error.column()),
        later => format!("{what}, in line {}", line + later - 1),
    }
}

fn too_long() -> Refusal {
    Refusal {
        found: format!(" (it has more than {LONGEST_JSON} bytes of JSON)"),
        ..Refusal::new("", Problem::TooLong)
    }
}
