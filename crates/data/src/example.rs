//! A multiple-choice question as the reader hands it on.

use std::collections::BTreeMap;
use std::sync::Arc;

/// One row of a multiple-choice data set, checked: 2 to 26 options, none empty, and an answer among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The file it was read from, as given to the reader.
    pub file: Arc<str>,
    /// Its row in that file, from 0. File and row are a question's key: RACE's `example_id` names the article.
    pub row: u64,
    /// The data set's own identifier; in RACE the article's, for example `middle1548.txt`.
    pub example_id: String,
    /// `high` or `middle` by the `example_id`'s alphabetic prefix, else the folder's name.
    pub level: String,
    /// The text that the question is about.
    pub article: String,
    /// The question.
    pub question: String,
    /// The options' texts, 2 to 26 of them.
    pub options: Vec<String>,
    /// Index of the right option.
    pub answer: usize,
    /// Every other column of text, by name, for templates that use it.
    pub columns: BTreeMap<String, String>,
}

impl Example {
    /// The letter of an option: `A` for 0.
    pub fn letter(option: usize) -> char {
        char::from(b'A' + option as u8)
    }

    /// The letter of the right option.
    pub fn answer_letter(&self) -> char {
        Self::letter(self.answer)
    }
}
