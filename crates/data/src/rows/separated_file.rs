//! Rows of a file of separated values (CSV, TSV). Its first line names the columns.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::{DataType, Field, Schema};
use csv::{ByteRecord, Reader, ReaderBuilder};
use serde_json::Value;

use super::bad_row::{LONGEST_ROW, Problem, Refusal, text};
use super::error::RowError;
use super::row::Columns;
use super::row_file::{ChooseColumns, FileRow, RowFile};
use super::text_file::TextFile;
use crate::files::DataFile;

/// Bytes of the longest row, quotes and what the reader buffers included.
const LONGEST_RECORD: usize = 2 * LONGEST_ROW;

/// An open file.
pub(crate) struct SeparatedFile {
    file: DataFile,
    reader: Reader<Bounded>,
    names: Vec<String>,
    /// Bytes that the row at hand may still have.
    left: Arc<AtomicUsize>,
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
        let left = Arc::new(AtomicUsize::new(LONGEST_RECORD));
        let bounded = Bounded {
            text,
            left: left.clone(),
        };
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .from_reader(bounded);
        let names = reader.headers().map_err(|error| failed(&file, error))?;
        let names: Vec<String> = names.iter().map(str::to_owned).collect();
        if let Some((_, twice)) = names
            .iter()
            .enumerate()
            .find(|(index, name)| names[..*index].contains(name))
        {
            return Err(RowError::Separated {
                file: file.name.clone(),
                problem: format!("its first line names the column `{twice}` twice"),
            });
        }
        let fields = names
            .iter()
            .map(|name| Field::new(name, DataType::Utf8, true));
        columns(&file, &Schema::new(fields.collect::<Vec<_>>()))?;
        Ok(Self {
            file,
            reader,
            names,
            left,
            read: 0,
            record: ByteRecord::new(),
        })
    }

    fn columns(&self) -> Result<Columns, Refusal> {
        let (fields, expected) = (self.record.len(), self.names.len());
        if fields != expected {
            return Err(Refusal {
                found: format!(" (it has {fields}, and the first line {expected})"),
                ..Refusal::new("", Problem::FieldCount)
            });
        }
        let values = self.names.iter().zip(&self.record);
        values
            .map(|(name, bytes)| Ok((name.clone(), Value::from(text(name, bytes)?))))
            .collect()
    }
}

impl RowFile for SeparatedFile {
    fn next_row(&mut self, _: u64, _: usize) -> Result<Option<FileRow>, RowError> {
        self.left.store(LONGEST_RECORD, Ordering::Relaxed);
        let line = self.reader.position().line();
        let columns = match self.reader.read_byte_record(&mut self.record) {
            Ok(false) => return Ok(None),
            Ok(true) => self.columns(),
            Err(error) => return Err(failed(&self.file, error)),
        };
        self.read += 1;
        let line = self.record.position().map_or(line, csv::Position::line);
        Ok(Some(FileRow {
            number: self.read - 1,
            line: Some(line),
            columns,
        }))
    }
}

fn failed(file: &DataFile, error: csv::Error) -> RowError {
    RowError::Separated {
        file: file.name.clone(),
        problem: error.to_string(),
    }
}

/// A reader that fails where a row does not end: where a quote is never closed, say.
struct Bounded {
    text: TextFile,
    left: Arc<AtomicUsize>,
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            let problem = format!(
                "a row has more than {LONGEST_RECORD} bytes; perhaps a quote is not closed"
            );
            return Err(io::Error::other(problem));
        }
        let count = self.text.read(into)?;
        self.left
            .store(left.saturating_sub(count), Ordering::Relaxed);
        Ok(count)
    }
}
