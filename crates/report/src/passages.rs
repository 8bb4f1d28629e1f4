//! Which questions belong together: the questions of a passage are one cluster.
//!
//! Every interval and test treats them so, because answers to questions on one passage are not
//! independent.

use std::collections::{BTreeMap, BTreeSet};

use plw_record::PredictionRow;

use crate::statistics::Cluster;

/// What identifies a question: file and row.
pub(crate) type Question<'a> = (&'a str, u64);

/// What identifies a passage: file and the id that its rows share.
type Passage<'a> = (&'a str, &'a str);

fn question(prediction: &PredictionRow) -> Question<'_> {
    (&prediction.key.file, prediction.key.row)
}

fn passage(prediction: &PredictionRow) -> Passage<'_> {
    (&prediction.key.file, &prediction.key.example_id)
}

/// The questions that a run was asked.
pub(crate) fn questions(predictions: &[PredictionRow]) -> BTreeSet<Question<'_>> {
    predictions.iter().map(question).collect()
}

/// Number of passages.
pub(crate) fn passage_count(predictions: &[PredictionRow]) -> usize {
    predictions
        .iter()
        .map(passage)
        .collect::<BTreeSet<_>>()
        .len()
}

/// Each passage's right answers and questions, pooled over `runs`, for the questions that `counts`
/// admits.
pub(crate) fn pooled_clusters(
    runs: &[&[PredictionRow]],
    counts: impl Fn(&PredictionRow) -> bool,
    is_right: impl Fn(&PredictionRow) -> bool,
) -> Vec<Cluster> {
    let mut clusters = BTreeMap::<Passage, Cluster>::new();
    for prediction in runs.iter().flat_map(|run| run.iter()).filter(|p| counts(p)) {
        let cluster = clusters.entry(passage(prediction)).or_default();
        cluster.sum += f64::from(u8::from(is_right(prediction)));
        cluster.count += 1.0;
    }
    clusters.into_values().collect()
}

/// Each passage's difference between two groups of runs: over the questions that all of them were
/// asked, the share of the first group's runs that are right minus the second's. Pairing by
/// question removes how hard each question is.
pub(crate) fn paired_clusters(
    first: &[&[PredictionRow]],
    second: &[&[PredictionRow]],
) -> Vec<Cluster> {
    let shared = shared_questions(first.iter().chain(second).copied());
    let mut clusters = BTreeMap::<Passage, Cluster>::new();
    for (group, sign) in [(first, 1.0), (second, -1.0)] {
        let share = sign / group.len() as f64;
        let predictions = group.iter().flat_map(|run| run.iter());
        for prediction in predictions.filter(|p| shared.contains(&question(p))) {
            let cluster = clusters.entry(passage(prediction)).or_default();
            if prediction.is_correct() {
                cluster.sum += share;
            }
            // The shares of the first group's runs add up to one for each shared question.
            if sign > 0.0 {
                cluster.count += share;
            }
        }
    }
    clusters.into_values().collect()
}

/// The share of right answers over some questions.
pub(crate) fn accuracy_on(predictions: &[PredictionRow], on: &BTreeSet<Question<'_>>) -> f64 {
    let asked = predictions.iter().filter(|p| on.contains(&question(p)));
    let right = asked.clone().filter(|p| p.is_correct()).count();
    right as f64 / asked.count() as f64
}

/// The questions that every one of these runs was asked.
pub(crate) fn shared_questions<'a>(
    runs: impl IntoIterator<Item = &'a [PredictionRow]>,
) -> BTreeSet<Question<'a>> {
    let all = runs.into_iter().map(questions);
    all.reduce(|shared, own| shared.intersection(&own).copied().collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plw_batch::ExampleKey;

    fn run(outcomes: &[(u64, &str, bool)]) -> Vec<PredictionRow> {
        let row = |&(row, passage, right): &(u64, &str, bool)| PredictionRow {
            key: ExampleKey {
                file: "a".into(),
                row,
                example_id: passage.to_string(),
                level: "middle".into(),
                answer: Some('A'),
            },
            choice: Some(if right { 'A' } else { 'B' }),
            logits: vec![0.0; 4],
            argmax_is_answer: right,
            prompt_loss: None,
            completion_loss: None,
            answer_loss: None,
            completion_tokens: None,
        };
        outcomes.iter().map(row).collect()
    }

    #[test]
    fn differences_are_over_shared_questions() {
        let first = run(&[
            (0, "x", true),
            (1, "x", true),
            (2, "y", false),
            (3, "z", true),
        ]);
        let again = run(&[
            (0, "x", true),
            (1, "x", false),
            (2, "y", false),
            (3, "z", true),
        ]);
        let second = run(&[(2, "y", true), (1, "x", false), (0, "x", false)]);
        let clusters = paired_clusters(&[&first, &again], &[&second]);
        // x: right in (1 + 1/2) of 2 questions against 0; y: 0 of 1 against 1; z is not shared.
        let expected = [(1.5, 2.0), (-1.0, 1.0)].map(|(sum, count)| Cluster { sum, count });
        assert_eq!(clusters, expected);
        assert_eq!(accuracy_on(&first, &questions(&second)), 2.0 / 3.0);
    }

    #[test]
    fn pooling_counts_each_run() {
        let first = run(&[(0, "x", true), (1, "x", true), (2, "y", false)]);
        let second = run(&[(0, "x", true), (1, "x", false), (2, "y", true)]);
        let clusters = pooled_clusters(&[&first, &second], |_| true, PredictionRow::is_correct);
        let expected = [(3.0, 4.0), (1.0, 2.0)].map(|(sum, count)| Cluster { sum, count });
        assert_eq!(clusters, expected);
        assert_eq!(passage_count(&first), 2);
    }
}
