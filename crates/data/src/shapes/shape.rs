//! What rows are, recognized by their columns.

use arrow::datatypes::{DataType, Schema};

use super::column_names::ColumnNames;
use crate::rows::{Columns, item_type};

/// The shapes of rows that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Messages,
    ShareGpt,
    Race,
    LabeledChoices,
    LabeledStem,
    QueryChoicesGold,
    Mmlu,
    SciQ,
    Dream,
    Options,
    LetterColumns,
    Instances,
    Alpaca,
    Dolly,
    PromptCompletion,
    PromptResponse,
    OpenOrca,
    SamSum,
    XSum,
    QuestionAnswer,
}

/// A shape, what people call it, and its columns.
struct Known {
    shape: Shape,
    name: &'static str,
    required: &'static [&'static str],
    /// Columns that are read if they are there, and need not be printable.
    optional: &'static [&'static str],
}

const fn known(
    shape: Shape,
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
) -> Known {
    Known {
        shape,
        name,
        required,
        optional,
    }
}

/// The first whose columns are all there is what the rows are.
#[rustfmt::skip]
const KNOWN: [Known; 20] = [
    known(Shape::Messages, "chat messages", &["messages"], &["tools"]),
    known(Shape::ShareGpt, "ShareGPT conversations", &["conversations"], &["system", "tools"]),
    known(Shape::Race, "RACE", &["article", "question", "options", "answer"], &[]),
    known(Shape::LabeledChoices, "ARC", &["question", "choices", "answerKey"], &[]),
    known(Shape::LabeledStem, "OpenBookQA", &["question_stem", "choices", "answerKey"], &[]),
    known(Shape::QueryChoicesGold, "query, choices and gold", &["query", "choices", "gold"], &[]),
    known(Shape::Mmlu, "MMLU", &["question", "choices", "answer"], &[]),
    known(Shape::SciQ, "SciQ",
        &["question", "distractor1", "distractor2", "distractor3", "correct_answer"], &[]),
    known(Shape::Dream, "DREAM", &["dialogue", "question", "choice", "answer"], &[]),
    known(Shape::Options, "questions with options", &["question", "options", "answer"], &[]),
    known(Shape::LetterColumns, "questions with a column for each option",
        &["question", "A", "B", "answer"], &[]),
    known(Shape::Instances, "Alpaca with instances", &["instruction", "instances"], &[]),
    known(Shape::Alpaca, "Alpaca", &["instruction", "output"], &["history"]),
    known(Shape::Dolly, "Dolly", &["instruction", "response"], &[]),
    known(Shape::PromptCompletion, "prompts and completions",
        &["prompt", "completion"], &["tools"]),
    known(Shape::PromptResponse, "prompts and responses", &["prompt", "response"], &["tools"]),
    known(Shape::OpenOrca, "OpenOrca", &["system_prompt", "question", "response"], &[]),
    known(Shape::QuestionAnswer, "questions and answers", &["question", "answer"], &[]),
    known(Shape::SamSum, "SAMSum", &["dialogue", "summary"], &[]),
    known(Shape::XSum, "XSum", &["document", "summary"], &[]),
];

/// Columns beside those of a shape that rows may have.
const OTHERS: [&str; 10] = [
    "article",
    "input",
    "context",
    "system",
    "support",
    "subject",
    "level",
    "example_id",
    "id",
    "text",
];

/// Whether rows of any shape may have a column of this name.
pub fn is_known_column(name: &str) -> bool {
    let of_shapes = KNOWN
        .iter()
        .flat_map(|known| known.required.iter().chain(known.optional));
    let is_letter = name.len() == 1 && name.chars().all(|c| c.is_ascii_uppercase());
    is_letter || of_shapes.chain(&OTHERS).any(|known| *known == name)
}

/// A column of a question that tells that a row is more than a question and its answer.
const NOT_FREE_FORM: [&str; 4] = ["article", "options", "choices", "A"];

/// The shape that columns come closest to, and what they lack of it.
pub(crate) struct Lacking {
    pub(crate) shape: Shape,
    pub(crate) column: &'static str,
}

impl Shape {
    /// What people call such rows.
    pub(crate) fn name(self) -> &'static str {
        self.known().name
    }

    fn known(self) -> &'static Known {
        let mut known = KNOWN.iter();
        known
            .find(|known| known.shape == self)
            .expect("every shape is in the table")
    }

    /// The shape of rows with these columns. If it is none, the one that they come closest to, if
    /// they come close to any.
    pub(crate) fn of(columns: &Schema) -> Result<Self, Option<Lacking>> {
        let has = |column: &&str| columns.column_with_name(column).is_some();
        let fits = |known: &&Known| known.required.iter().all(has) && known.shape.suits(columns);
        if let Some(known) = KNOWN.iter().find(fits) {
            return Ok(known.shape);
        }
        let lacking = |known: &Known| known.required.iter().filter(|c| !has(c)).count();
        let close = KNOWN.iter().filter(|known| {
            let lacking = lacking(known);
            (1..known.required.len() - lacking).contains(&lacking)
        });
        let closest = close.min_by_key(|known| lacking(known));
        Err(closest.and_then(|known| {
            let column = known.required.iter().find(|column| !has(column))?;
            Some(Lacking {
                shape: known.shape,
                column,
            })
        }))
    }

    /// Whether the types of columns with the right names are those of this shape and not of
    /// another.
    fn suits(self, columns: &Schema) -> bool {
        let type_of = |column| columns.column_with_name(column).map(|(_, f)| f.data_type());
        match self {
            Self::LabeledChoices | Self::LabeledStem => {
                matches!(
                    type_of("choices"),
                    Some(DataType::Struct(_) | DataType::Null)
                )
            }
            Self::Mmlu => type_of("choices").is_some_and(|kind| item_type(kind).is_some()),
            Self::QuestionAnswer => NOT_FREE_FORM.iter().all(|column| type_of(column).is_none()),
            _ => true,
        }
    }

    /// Whether this is the first shape whose columns a row has, whatever their types.
    pub(crate) fn is_first_of(self, columns: &Columns) -> bool {
        let has = |column: &&str| columns.contains_key(*column);
        let first = KNOWN.iter().find(|known| known.required.iter().all(has));
        first.is_some_and(|known| known.shape == self)
    }

    /// The first column of this shape that a row lacks.
    pub(crate) fn lacks(self, columns: &Columns) -> Option<&'static str> {
        let mut required = self.known().required.iter().copied();
        required.find(|column| !columns.contains_key(*column))
    }

    /// Whether a column is needed whatever its type, by its name in the file.
    pub(crate) fn reads(self, in_file: &str, names: &ColumnNames) -> bool {
        let known = self.known();
        let needed = known.required.iter().chain(known.optional);
        let mut in_files = needed.flat_map(|ours| names.in_file(ours));
        in_files.any(|name| name == in_file)
    }
}
