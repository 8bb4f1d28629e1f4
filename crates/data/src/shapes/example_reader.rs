//! The examples of a source, read one after the other.

use arrow::datatypes::{DataType, Schema};
use plw_hub::Hub;
use serde::{Deserialize, Serialize};

use super::answer_style::AnswerStyle;
use super::column_names::{ColumnNames, NoSuchColumn};
use super::conversations::conversations;
use super::example::Example;
use super::identity::Identity;
use super::questions::question;
use super::shape::{Lacking, Shape};
use crate::files::{DataFile, Source, Split};
use crate::rows::{
    Columns, Problem, ReadOptions, Refusal, Row, RowError, RowFormat, RowReader, SkippedRows,
    column_of, in_words, is_printable, is_readable, is_text, item_type, schema_of,
};

/// What the columns of a file are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ColumnOptions {
    /// Which of the file's columns stand for which of ours.
    pub column: ColumnNames,
    /// How the answers of questions are written, if not as the data set is known to write them.
    pub answer_style: Option<AnswerStyle>,
}

/// Opens the examples of a source. The environment says how to reach the hub ([`Hub::from_env`]).
///
/// Their columns tell what the rows are: multiple-choice questions of one of the known data sets,
/// instructions and their answers, or lists of chat messages. [`ColumnOptions`] renames columns
/// first. Without a column `example_id` or `id`, the id of an example is its file and row:
/// `train-00000-of-00001-17`. Other columns of text, numbers or booleans are fields of templates;
/// columns of other types are not read. The level is `high` or `middle` if the letters at the start
/// of the id spell that word, else the name of the file's folder.
///
/// Files come in the order of their names, rows in the order of the file. Memory is bounded: only
/// the pages of one batch of rows, or one row of text, are in memory at a time. A row is bad if a
/// field that it needs is missing, null, empty, of the wrong type or not UTF-8, if it has fewer
/// than 2 or more than 26 options, if its answer names no option, if no turn is the assistant's, or
/// if it is longer than [`crate::LONGEST_ROW`]. [`crate::OnBadRow`] says what to do with it.
///
/// # Errors
/// The source has no files of the split, or the first file cannot be read. The iterator returns the
/// errors of later files.
pub fn read_examples(
    source: &Source,
    split: Split,
    columns: &ColumnOptions,
    options: &ReadOptions,
) -> Result<ExampleReader, RowError> {
    read_example_files(source.files(split, Hub::from_env)?, columns, options)
}

/// Like [`read_examples`], for files that [`Source::files`] returned.
pub fn read_example_files(
    files: Vec<DataFile>,
    columns: &ColumnOptions,
    options: &ReadOptions,
) -> Result<ExampleReader, RowError> {
    let format = Examples {
        columns: columns.clone(),
        shape: None,
        shapes: Vec::new(),
    };
    RowReader::open(files, format, options).map(ExampleReader)
}

/// The examples of a source, one after the other. Ends after the first error.
pub struct ExampleReader(RowReader<Examples>);

impl ExampleReader {
    /// The bad rows left out so far.
    pub fn skipped(&self) -> &SkippedRows {
        self.0.skipped()
    }

    /// What the rows are that were read so far, in the words of people: `RACE`, `Alpaca`.
    pub fn shapes(&self) -> Vec<&'static str> {
        let shapes = self.0.format().shapes.iter();
        shapes.map(|shape| shape.name()).collect()
    }
}

impl Iterator for ExampleReader {
    type Item = Result<Example, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// A row is an example.
struct Examples {
    columns: ColumnOptions,
    /// Of the rows so far in the file.
    shape: Option<Shape>,
    /// All that there were, in order.
    shapes: Vec<Shape>,
}

impl Examples {
    fn found(&mut self, shape: Shape) {
        self.shape = Some(shape);
        if !self.shapes.contains(&shape) {
            self.shapes.push(shape);
        }
    }

    /// The shape of a row: that of the rows before it, unless it has other columns.
    fn shape_of(&mut self, columns: &Columns) -> Result<Shape, Refusal> {
        if let Some(shape) = self.shape.filter(|shape| shape.is_first_of(columns)) {
            return Ok(shape);
        }
        let lacking = match Shape::of(&schema_of(columns)) {
            Ok(shape) => {
                self.found(shape);
                return Ok(shape);
            }
            Err(lacking) => lacking.map(|lacking| lacking.column),
        };
        let lacking = self
            .shape
            .and_then(|shape| shape.lacks(columns))
            .or(lacking);
        Err(match lacking {
            Some(column) => Refusal::new(column, Problem::Missing),
            None => Refusal::new("", Problem::UnknownShape),
        })
    }
}

impl RowFormat for Examples {
    type Item = Example;

    fn columns(&mut self, file: &DataFile, schema: &Schema) -> Result<Vec<usize>, RowError> {
        let names = &self.columns.column;
        let missing = |column: &str, ours: &str, reason: String| RowError::MissingColumn {
            file: file.name.clone(),
            column: column.to_owned(),
            ours: ours.to_owned(),
            reason,
            found: in_words(schema),
        };
        let renamed = names
            .renamed_schema(schema)
            .map_err(|NoSuchColumn { ours, theirs }| {
                missing(
                    &theirs,
                    &ours,
                    format!(", which the setting `column` names for {ours}"),
                )
            })?;
        let shape = Shape::of(&renamed).map_err(|lacking| match lacking {
            Some(Lacking { shape, column }) => {
                missing(column, column, format!(", which {} has", shape.name()))
            }
            None => RowError::UnknownShape {
                file: file.name.clone(),
                found: in_words(schema),
            },
        })?;
        let typed = shape.typed_columns(self.columns.answer_style);
        for (column, expected) in typed.text {
            column_of(file, &renamed, column, is_text, expected)?;
        }
        if let Some(column) = typed.list {
            // A list of JSON may be empty, or begin with null.
            let is_item = |kind: &DataType| is_printable(kind) || *kind == DataType::Null;
            let is_list = |kind: &DataType| item_type(kind).is_some_and(is_item);
            column_of(file, &renamed, column, is_list, "a list of text")?;
        }
        let fields = schema.fields().iter().enumerate();
        let chosen = fields.filter(|(_, field)| {
            let kind = field.data_type();
            is_printable(kind) || is_readable(kind) && shape.reads(field.name(), names)
        });
        let chosen = chosen.map(|(index, _)| index).collect();
        self.found(shape);
        Ok(chosen)
    }

    fn items(&mut self, mut row: Row) -> Result<Vec<Example>, Refusal> {
        self.columns.column.rename(&mut row.columns);
        let shape = self.shape_of(&row.columns)?;
        let identity = Identity::of(&row)?;
        if shape.is_question() {
            let style = self.columns.answer_style;
            let question = question(shape, &row.columns, identity, style)?;
            return Ok(vec![Example::Question(question)]);
        }
        let conversations = conversations(shape, &row.columns, identity)?;
        Ok(conversations
            .into_iter()
            .map(Example::Conversation)
            .collect())
    }
}
