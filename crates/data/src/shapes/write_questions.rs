//! Questions written as RACE is on the Hugging Face hub.

use std::borrow::Borrow;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};

use super::example::Question;
use crate::rows::{WriteError, text_column, write_rows};

/// Writes questions in the columns of RACE (example_id, article, answer, question, options),
/// compressed with snappy, and returns their number. [`Question::columns`] and [`Question::level`]
/// are not written: RACE has no such columns.
///
/// Creates missing folders. Writes under a temporary name in the folder, syncs and renames, so that
/// `path` never names an incomplete file.
///
/// # Errors
/// [`WriteError`].
pub fn write_questions<I>(path: &Path, questions: I) -> Result<u64, WriteError>
where
    I: IntoIterator,
    I::Item: Borrow<Question>,
{
    let text = |name| Field::new(name, DataType::Utf8, true);
    let options = Field::new_list("options", Field::new_list_field(DataType::Utf8, true), true);
    let schema = Schema::new(vec![
        text("example_id"),
        text("article"),
        text("answer"),
        text("question"),
        options,
    ]);
    write_rows(path, Arc::new(schema), questions.into_iter(), |rows| {
        let text = |value: fn(&Question) -> String| {
            text_column(rows.iter().map(|row| value(row.borrow())))
        };
        let mut options = ListBuilder::new(StringBuilder::new());
        for row in rows {
            options.append_value(row.borrow().options.iter().map(Some));
        }
        vec![
            text(|row| row.example_id.clone()),
            text(|row| row.article.clone().unwrap_or_default()),
            text(|row| row.answer_letter().to_string()),
            text(|row| row.question.clone()),
            Arc::new(options.finish()),
        ]
    })
}
