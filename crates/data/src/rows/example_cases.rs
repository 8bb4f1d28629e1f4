//! Questions for the unit tests of this crate.

use super::example::Example;

/// A question of level `middle`, row 0 of `made-up.parquet`.
pub(crate) fn example(article: &str, question: &str, options: &[&str], answer: usize) -> Example {
    Example {
        file: "made-up.parquet".into(),
        row: 0,
        example_id: "middle1.txt".into(),
        level: "middle".into(),
        article: article.into(),
        question: question.into(),
        options: options.iter().map(ToString::to_string).collect(),
        answer,
        columns: Default::default(),
    }
}
