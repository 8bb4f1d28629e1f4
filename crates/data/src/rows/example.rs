//! A multiple-choice question, as a row of a data file holds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use plw_batch::option_letter;

/// One row of a multiple-choice data set, checked: 2 to 26 options, none empty, and an answer that
/// is one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The name of its file ([`crate::DataFile::name`]).
    pub file: Arc<str>,
    /// Its row in that file, from 0. File and row identify a question; RACE's `example_id`
    /// identifies only its passage.
    pub row: u64,
    /// The data set's own id. In RACE it is the id of the passage, such as `middle1548.txt`.
    pub example_id: String,
    /// `high` or `middle` by the letters at the start of `example_id`, else the name of the folder.
    pub level: String,
    /// The passage that the question is about; named after its column.
    pub article: String,
    /// The question.
    pub question: String,
    /// The texts of the options, 2 to 26.
    pub options: Vec<String>,
    /// The index of the right option.
    pub answer: usize,
    /// The other columns as text, by name, for templates that use them.
    pub columns: BTreeMap<String, String>,
}

impl Example {
    /// The length of its text in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let options = self.options.iter().map(String::len);
        let columns = self.columns.values().map(String::len);
        self.article.len() + self.question.len() + options.chain(columns).sum::<usize>()
    }

    /// The letter of the right option.
    pub fn answer_letter(&self) -> char {
        option_letter(self.answer)
    }
}
