//! Rows of a file of separated values (CSV, TSV). Its first line names the columns.

use std::io::{self, Read};

use arrow::datatypes::{DataType, Field, Schema};
use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};
use serde_json::Value;

use super::bad_row::{LONGEST_ROW, Problem, Refusal, text};
use super::error::RowError;
use super::row::Columns;
use super::row_file::{ChooseColumns, FileRow, RowFile};
use super::text_file::TextFile;
use crate::files::DataFile;

/// Bytes of the longest row, quotes and what the reader buffers included.
const LONGEST_RECORD: usize = 2 * LONGEST_ROW;

/// What is read behind the end of a file: a row of its own, unless a quote is still open.
const END: &[u8] = b"\n\0end of file\0\n";

/// An open file.
pub(crate) struct SeparatedFile {
    file: DataFile,
    reader: Reader<Bounded>,
    names: Vec<String>,
    read: u64,
    record: ByteRecord,
}

impl SeparatedFile {
    /// Opens a file. All columns are read, as text; `columns` checks them.
    pub(crate) fn open(
        file: DataFile,
        text: TextFile,
        delimiter: u8,
        columns: ChooseColumns,
    ) -> Result<Self, RowError> {
        let bounded = Bounded {
            text,
            left: LONGEST_RECORD,
            end: END,
        };
        // The line of a row is counted right only if its last byte ends the line.
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .terminator(Terminator::Any(b'\n'))
            .has_headers(false)
            .flexible(true)
            .from_reader(bounded);
        let mut opened = Self {
            file,
            reader,
            names: Vec::new(),
            read: 0,
            record: ByteRecord::new(),
        };
        opened.names = opened.read_names()?;
        let fields = opened.names.iter();
        let fields = fields.map(|name| Field::new(name, DataType::Utf8, true));
        columns(&opened.file, &Schema::new(fields.collect::<Vec<_>>()))?;
        Ok(opened)
    }

    /// The names of the columns.
    fn read_names(&mut self) -> Result<Vec<String>, RowError> {
        if self.read_record()?.is_none() {
            return Err(self.damaged("it is empty; its first line should name the columns".into()));
        }
        let mut names: Vec<String> = Vec::new();
        for bytes in fields(&self.record) {
            let Ok(name) = std::str::from_utf8(bytes) else {
                return Err(self.damaged("its first line is not UTF-8; write it in UTF-8".into()));
            };
            if names.iter().any(|known| known == name) {
                let problem =
                    format!("its first line names the column `{name}` twice; rename one of them");
                return Err(self.damaged(problem));
            }
            names.push(name.to_owned());
        }
        Ok(names)
    }

    /// Reads a row and returns its first line; `None` at the end of the file.
    fn read_record(&mut self) -> Result<Option<u64>, RowError> {
        loop {
            self.reader.get_mut().left = LONGEST_RECORD;
            let read = self.reader.read_byte_record(&mut self.record);
            if !read.map_err(|error| self.failed(error))? {
                return Ok(None);
            }
            let last = self.record.get(self.record.len().saturating_sub(1));
            let last = last.unwrap_or_default();
            let is_alone = self.record.len() == 1;
            let inside = self.record.as_slice().iter().filter(|&&byte| byte == b'\n');
            let line = self.reader.position().line() - inside.count() as u64;
            if self.reader.get_ref().end.is_empty() && last.ends_with(&END[1..]) {
                let problem = format!(
                    "in the row that begins in line {line} a quote is opened and never closed"
                );
                return Err(self.damaged(problem));
            }
            if self.reader.get_ref().end.is_empty() && is_alone && *last == END[1..END.len() - 1] {
                return Ok(None);
            }
            // A blank line that ends as on Windows.
            if !is_alone || last != b"\r" {
                return Ok(Some(line - 1));
            }
        }
    }

    fn columns(&self) -> Result<Columns, Refusal> {
        let (found, expected) = (self.record.len(), self.names.len());
        if found != expected {
            return Err(Refusal {
                found: format!(" (it has {found}, and the first line {expected})"),
                ..Refusal::new("", Problem::FieldCount)
            });
        }
        let values = self.names.iter().zip(fields(&self.record));
        values
            .map(|(name, bytes)| Ok((name.clone(), Value::from(text(name, bytes)?))))
            .collect()
    }

    fn failed(&self, error: csv::Error) -> RowError {
        match error.into_kind() {
            csv::ErrorKind::Io(source) => RowError::Read {
                file: self.file.name.clone(),
                source,
            },
            other => self.damaged(format!("{other:?}")),
        }
    }

    fn damaged(&self, problem: String) -> RowError {
        RowError::Separated {
            file: self.file.name.clone(),
            problem,
        }
    }
}

impl RowFile for SeparatedFile {
    fn next_row(&mut self, _: u64, _: usize) -> Result<Option<FileRow>, RowError> {
        let Some(line) = self.read_record()? else {
            return Ok(None);
        };
        self.read += 1;
        Ok(Some(FileRow {
            number: self.read - 1,
            line: Some(line),
            columns: self.columns(),
        }))
    }
}

/// The fields of a row, without the first half of a line end as on Windows.
fn fields(record: &ByteRecord) -> impl Iterator<Item = &[u8]> {
    let last = record.len().saturating_sub(1);
    record
        .iter()
        .enumerate()
        .map(move |(index, field)| match index == last {
            true => field.strip_suffix(b"\r").unwrap_or(field),
            false => field,
        })
}

/// A reader that fails where a row does not end: where a quote is never closed, say.
struct Bounded {
    text: TextFile,
    /// Bytes that the row at hand may still have.
    left: usize,
    /// What is still to be read of [`END`].
    end: &'static [u8],
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let problem = format!(
                "a row has more than {LONGEST_RECORD} bytes; perhaps a quote is not closed"
            );
            return Err(io::Error::other(problem));
        }
        let count = match self.text.read(into)? {
            0 => self.end.read(into)?,
            count => count,
        };
        self.left = self.left.saturating_sub(count);
        Ok(count)
    }
}
