//! Rows as multiple-choice questions: the columns of a question, and which rows are bad.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;

use plw_batch::option_letter;
use plw_hub::Hub;

use super::bad_row::{Problem, Refusal, SkippedRows, check_length, required, text};
use super::error::RowError;
use super::example::Example;
use super::row_reader::{ReadOptions, RowFormat, RowReader};
use super::schema::column_of;
use super::text_columns::{TextColumn, TextListColumn, is_printable, is_text, is_text_list};
use crate::files::{DataFile, Source, Split};

const EXAMPLE_ID: &str = "example_id";
const ARTICLE: &str = "article";
const ANSWER: &str = "answer";
const QUESTION: &str = "question";
const OPTIONS: &str = "options";

/// Opens the questions of a source. The environment says how to reach the hub ([`Hub::from_env`]).
///
/// A file must have the text columns `article`, `question` and `answer` (a letter), and `options`,
/// a list of text. Without a column `example_id`, the id of a question is its file and row:
/// `train-00000-of-00001-17`. Other columns of text, numbers or booleans go into
/// [`Example::columns`] as text, except for nulls; columns of other types are not read. The level
/// is `high` or `middle` if the letters at the start of `example_id` spell that word, else the name
/// of the file's folder.
///
/// Files come in the order of their names, rows in the order of the file. Only the pages of one
/// batch of rows are in memory at a time. A row is bad if a field is null, empty or not UTF-8, if
/// it has fewer than 2 or more than 26 options, if its answer is not the letter of an option, or if
/// it is longer than [`crate::LONGEST_ROW`]. [`crate::OnBadRow`] says what to do with it.
///
/// # Errors
/// The source has no files of the split, or the first file cannot be read. The iterator returns the
/// errors of later files.
pub fn read_examples(
    source: &Source,
    split: Split,
    options: &ReadOptions,
) -> Result<ExampleReader, RowError> {
    read_example_files(source.files(split, Hub::from_env)?, options)
}

/// Like [`read_examples`], for files that [`Source::files`] returned.
pub fn read_example_files(
    files: Vec<DataFile>,
    options: &ReadOptions,
) -> Result<ExampleReader, RowError> {
    RowReader::open(files, Questions, options).map(ExampleReader)
}

/// The questions of a source, one after the other. Ends after the first error.
pub struct ExampleReader(RowReader<Questions>);

impl ExampleReader {
    /// The bad rows left out so far.
    pub fn skipped(&self) -> &SkippedRows {
        self.0.skipped()
    }
}

impl Iterator for ExampleReader {
    type Item = Result<Example, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// A row is a multiple-choice question.
struct Questions;

/// The columns of a batch of questions.
struct QuestionColumns {
    example_id: Option<TextColumn>,
    article: TextColumn,
    answer: TextColumn,
    question: TextColumn,
    options: TextListColumn,
    others: Vec<(String, TextColumn)>,
}

impl RowFormat for Questions {
    type Row = Example;
    type Columns = QuestionColumns;

    fn columns(&self, file: &DataFile, schema: &Schema) -> Result<Vec<usize>, RowError> {
        let text = |column| column_of(file, schema, column, is_text, "text");
        let mut indices = vec![
            text(ARTICLE)?,
            text(ANSWER)?,
            text(QUESTION)?,
            column_of(file, schema, OPTIONS, is_text_list, "a list of text")?,
        ];
        if schema.column_with_name(EXAMPLE_ID).is_some() {
            indices.push(column_of(file, schema, EXAMPLE_ID, is_text, "text")?);
        }
        for (index, field) in schema.fields().iter().enumerate() {
            if is_printable(field.data_type()) && !indices.contains(&index) {
                indices.push(index);
            }
        }
        Ok(indices)
    }

    fn batch(&self, file: &DataFile, batch: &RecordBatch) -> Result<QuestionColumns, RowError> {
        QuestionColumns::of(file, batch)
    }

    fn row(
        &self,
        columns: &QuestionColumns,
        file: &DataFile,
        file_row: u64,
        row: usize,
    ) -> Result<Example, Refusal> {
        columns.example(file, file_row, row)
    }
}

impl QuestionColumns {
    fn of(file: &DataFile, batch: &RecordBatch) -> Result<Self, RowError> {
        let failed = |column: &str| {
            let (file, column) = (file.name.clone(), column.to_owned());
            move |source| RowError::Column {
                file,
                column,
                source,
            }
        };
        let schema = batch.schema();
        let column = |name: &str| {
            let column = batch.column_by_name(name);
            column.expect("the file was opened with its required columns")
        };
        let text = |name: &str| TextColumn::new(column(name)).map_err(failed(name));
        let mut others = Vec::new();
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            if ![EXAMPLE_ID, ARTICLE, ANSWER, QUESTION, OPTIONS].contains(&field.name().as_str()) {
                let column = TextColumn::new(column).map_err(failed(field.name()))?;
                others.push((field.name().clone(), column));
            }
        }
        Ok(Self {
            example_id: schema
                .column_with_name(EXAMPLE_ID)
                .map(|_| text(EXAMPLE_ID))
                .transpose()?,
            article: text(ARTICLE)?,
            answer: text(ANSWER)?,
            question: text(QUESTION)?,
            options: TextListColumn::new(column(OPTIONS)),
            others,
        })
    }

    /// The question at `row` of a batch, which is row `file_row` of the file.
    fn example(&self, file: &DataFile, file_row: u64, row: usize) -> Result<Example, Refusal> {
        check_length(self.lengths(row))?;
        let (example_id, level) = match &self.example_id {
            Some(column) => {
                let id = required(EXAMPLE_ID, column.get(row))?;
                let level = level_of(&id).unwrap_or(&file.folder).to_owned();
                (id, level)
            }
            None => (
                format!("{}-{file_row}", stem(&file.name)),
                file.folder.clone(),
            ),
        };
        let article = required(ARTICLE, self.article.get(row))?;
        let question = required(QUESTION, self.question.get(row))?;
        let options = self.options(row)?;
        let answer = required(ANSWER, self.answer.get(row))?;
        let answer = index_of(&answer, options.len())?;
        let mut columns = BTreeMap::new();
        for (name, column) in &self.others {
            if let Some(bytes) = column.get(row) {
                columns.insert(name.clone(), text(name, bytes)?.to_owned());
            }
        }
        let file = file.name.clone();
        Ok(Example {
            file,
            row: file_row,
            example_id,
            level,
            article,
            question,
            options,
            answer,
            columns,
        })
    }

    /// The name of each column, and the length of its text in a row.
    fn lengths(&self, row: usize) -> impl Iterator<Item = (&str, usize)> {
        let required = [
            (ARTICLE, self.article.length(row)),
            (QUESTION, self.question.length(row)),
            (ANSWER, self.answer.length(row)),
            (OPTIONS, self.options.length(row)),
        ];
        let example_id = self.example_id.iter().map(|column| (EXAMPLE_ID, column));
        let others = self
            .others
            .iter()
            .map(|(name, column)| (name.as_str(), column));
        let optional = example_id.chain(others);
        let optional = optional.map(move |(name, column)| (name, column.length(row)));
        required.into_iter().chain(optional)
    }

    fn options(&self, row: usize) -> Result<Vec<String>, Refusal> {
        let options = self
            .options
            .get(row)
            .ok_or_else(|| Refusal::new(OPTIONS, Problem::Null))?;
        let count = options.len();
        if !(2..=26).contains(&count) {
            let found = format!(" (it holds {count})");
            return Err(Refusal {
                found,
                ..Refusal::new(OPTIONS, Problem::OptionCount)
            });
        }
        let option = |(index, bytes): (usize, Option<&[u8]>)| {
            let option = text(OPTIONS, bytes.unwrap_or_default())?;
            if option.trim().is_empty() {
                let found = format!(" ({})", option_letter(index));
                return Err(Refusal {
                    found,
                    ..Refusal::new(OPTIONS, Problem::EmptyOption)
                });
            }
            Ok(option.to_owned())
        };
        options.iter().enumerate().map(option).collect()
    }
}

/// The index of the option whose letter `answer` is.
fn index_of(answer: &str, options: usize) -> Result<usize, Refusal> {
    let index = (0..options).find(|&option| answer.chars().eq([option_letter(option)]));
    index.ok_or_else(|| {
        let shown: String = answer.chars().take(40).collect();
        let last = option_letter(options - 1);
        let found = format!(" (it is {shown:?}; the letters are A to {last})");
        Refusal {
            found,
            ..Refusal::new(ANSWER, Problem::NoSuchOption)
        }
    })
}

/// The level that an id such as `high1234.txt` names.
fn level_of(example_id: &str) -> Option<&str> {
    let end = example_id
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(example_id.len());
    Some(&example_id[..end]).filter(|prefix| matches!(*prefix, "high" | "middle"))
}

/// The last part of a file's name, without its extension.
fn stem(name: &str) -> &str {
    // The name of a file on the hub may end with its revision.
    let name = name.split_once(".parquet").map_or(name, |(stem, _)| stem);
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}
