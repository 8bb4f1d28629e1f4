//! What rows mean: questions with options, and conversations. Knows columns by name; knows no
//! prompt and no token.

mod answer_style;
mod column_names;
mod conversations;
mod example;
mod example_reader;
mod fields;
mod identity;
#[cfg(test)]
pub(crate) mod question_cases;
mod questions;
mod shape;
mod turns;
mod write_questions;

pub use answer_style::AnswerStyle;
pub use column_names::{ColumnNames, ColumnNamesError, FileColumns};
pub(crate) use example::ASSISTANT;
pub use example::{Conversation, Example, Question, Turn};
pub use example_reader::{ColumnOptions, ExampleReader, read_example_files, read_examples};
pub use shape::is_known_column;
pub use write_questions::write_questions;
