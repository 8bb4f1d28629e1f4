//! Questions for the unit tests of this crate.

use super::example::Question;

/// A question of level `middle`, row 0 of `made-up.parquet`.
pub(crate) fn question(article: &str, question: &str, options: &[&str], answer: usize) -> Question {
    Question {
        file: "made-up.parquet".into(),
        row: 0,
        example_id: "middle1.txt".into(),
        level: "middle".into(),
        article: Some(article.into()),
        question: question.into(),
        options: options.iter().map(ToString::to_string).collect(),
        answer,
        columns: Default::default(),
    }
}
