//! Which examples belong together: the questions of a passage are one cluster.
//!
//! Every interval and test treats them so, because answers to questions on one passage are not
//! independent.

use std::collections::{BTreeMap, BTreeSet};

use plw_record::PredictionRow;

use crate::metric::Metric;
use crate::statistics::Cluster;

/// What identifies an example: file, row and id, since a row may hold several examples.
pub(crate) type Item<'a> = (&'a str, u64, &'a str);

/// What identifies a passage: file and the id that its rows share. An example that is no question
/// and has no id is one of its own, by its row.
type Passage<'a> = (&'a str, &'a str, Option<u64>);

/// What identifies a prediction's example.
pub(crate) fn item(prediction: &PredictionRow) -> Item<'_> {
    let key = &prediction.key;
    (&key.file, key.row, &key.example_id)
}

fn passage(prediction: &PredictionRow) -> Passage<'_> {
    let key = &prediction.key;
    let is_alone = key.example_id.is_empty() && !prediction.is_question();
    (&key.file, &key.example_id, is_alone.then_some(key.row))
}

/// The examples that a metric counts.
pub(crate) fn items(predictions: &[PredictionRow], metric: Metric) -> BTreeSet<Item<'_>> {
    let counted = predictions.iter().filter(|p| metric.part(p).is_some());
    counted.map(item).collect()
}

/// Number of passages of the examples that a metric counts.
pub(crate) fn passage_count(predictions: &[PredictionRow], metric: Metric) -> usize {
    let counted = predictions.iter().filter(|p| metric.part(p).is_some());
    counted.map(passage).collect::<BTreeSet<_>>().len()
}

/// What each passage adds to a ratio, pooled over `runs`: the `part` of each example that counts.
pub(crate) fn pooled_clusters(
    runs: &[&[PredictionRow]],
    part: impl Fn(&PredictionRow) -> Option<Cluster>,
) -> Vec<Cluster> {
    let mut clusters = BTreeMap::<Passage, Cluster>::new();
    for prediction in runs.iter().flat_map(|run| run.iter()) {
        if let Some(part) = part(prediction) {
            let cluster = clusters.entry(passage(prediction)).or_default();
            cluster.sum += part.sum;
            cluster.count += part.count;
        }
    }
    clusters.into_values().collect()
}

/// Each passage's difference between two groups of runs over the examples that all of them have:
/// the mean of the first group's sums (right answers, or losses) minus that of the second's, and
/// the count (questions, or completion tokens). Pairing by example removes how hard each is.
pub(crate) fn paired_clusters(
    first: &[&[PredictionRow]],
    second: &[&[PredictionRow]],
    metric: Metric,
) -> Vec<Cluster> {
    let shared = shared_items(first.iter().chain(second).copied(), metric);
    let mut clusters = BTreeMap::<Passage, Cluster>::new();
    for (group, sign) in [(first, 1.0), (second, -1.0)] {
        let share = sign / group.len() as f64;
        for prediction in group.iter().flat_map(|run| run.iter()) {
            let Some(part) = metric.part(prediction) else {
                continue;
            };
            if !shared.contains(&item(prediction)) {
                continue;
            }
            let cluster = clusters.entry(passage(prediction)).or_default();
            cluster.sum += share * part.sum;
            // The shares of the first group's runs add up to one for each shared example.
            if sign > 0.0 {
                cluster.count += share * part.count;
            }
        }
    }
    clusters.into_values().collect()
}

/// A metric's numerator and denominator over some examples.
pub(crate) fn total_on(
    predictions: &[PredictionRow],
    on: &BTreeSet<Item<'_>>,
    metric: Metric,
) -> Cluster {
    let mut total = Cluster::default();
    for prediction in predictions.iter().filter(|p| on.contains(&item(p))) {
        if let Some(part) = metric.part(prediction) {
            total.sum += part.sum;
            total.count += part.count;
        }
    }
    total
}

/// The examples that every one of these runs has.
pub(crate) fn shared_items<'a>(
    runs: impl IntoIterator<Item = &'a [PredictionRow]>,
    metric: Metric,
) -> BTreeSet<Item<'a>> {
    let all = runs.into_iter().map(|run| items(run, metric));
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

    /// Conversations: row, id, mean loss and tokens.
    fn conversations(losses: &[(u64, &str, f32, u64)]) -> Vec<PredictionRow> {
        let question = &run(&[(0, "x", true)])[0];
        let row = |&(row, id, loss, tokens): &(u64, &str, f32, u64)| PredictionRow {
            key: ExampleKey {
                row,
                example_id: id.to_string(),
                answer: None,
                ..question.key.clone()
            },
            choice: None,
            logits: Vec::new(),
            argmax_is_answer: false,
            completion_loss: (tokens > 0).then_some(loss),
            completion_tokens: Some(tokens),
            ..question.clone()
        };
        losses.iter().map(row).collect()
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
        let clusters = paired_clusters(&[&first, &again], &[&second], Metric::Accuracy);
        // x: right in (1 + 1/2) of 2 questions against 0; y: 0 of 1 against 1; z is not shared.
        let expected = [(1.5, 2.0), (-1.0, 1.0)].map(|(sum, count)| Cluster { sum, count });
        assert_eq!(clusters, expected);
        let asked = items(&second, Metric::Accuracy);
        let total = total_on(&first, &asked, Metric::Accuracy);
        assert_eq!((total.sum, total.count), (2.0, 3.0));
    }

    #[test]
    fn pooling_counts_each_run() {
        let first = run(&[(0, "x", true), (1, "x", true), (2, "y", false)]);
        let second = run(&[(0, "x", true), (1, "x", false), (2, "y", true)]);
        let clusters = pooled_clusters(&[&first, &second], |p| Metric::Accuracy.part(p));
        let expected = [(3.0, 4.0), (1.0, 2.0)].map(|(sum, count)| Cluster { sum, count });
        assert_eq!(clusters, expected);
        assert_eq!(passage_count(&first, Metric::Accuracy), 2);
    }

    #[test]
    fn losses_are_weighted_by_their_tokens() {
        let metric = Metric::CompletionLoss;
        let first = conversations(&[(0, "x", 1.0, 2), (1, "x", 0.5, 4), (2, "y", 2.0, 1)]);
        let second = conversations(&[(0, "x", 2.0, 2), (1, "x", 1.0, 4), (3, "z", 9.0, 1)]);
        let clusters = paired_clusters(&[&first, &first], &[&second], metric);
        // x: (1 * 2 + 0.5 * 4) - (2 * 2 + 1 * 4) over 6 tokens; y and z are not shared.
        assert_eq!(
            clusters,
            [Cluster {
                sum: -4.0,
                count: 6.0
            }]
        );
        let total = total_on(&first, &items(&second, metric), metric);
        assert_eq!((total.sum, total.count), (4.0, 6.0));
    }

    #[test]
    fn examples_without_an_id_or_of_one_row_stay_apart() {
        let metric = Metric::CompletionLoss;
        // The last has no token that counts.
        let rows = conversations(&[
            (0, "", 1.0, 2),
            (1, "", 1.0, 2),
            (2, "set-0", 1.0, 2),
            (2, "set-1", 1.0, 2),
            (3, "", 1.0, 0),
        ]);
        assert_eq!(items(&rows, metric).len(), 4);
        assert_eq!(passage_count(&rows, metric), 4);
        let clusters = pooled_clusters(&[&rows], |p| metric.part(p));
        assert_eq!(
            clusters,
            [Cluster {
                sum: 2.0,
                count: 2.0
            }; 4]
        );
        assert!(items(&rows, Metric::Accuracy).is_empty());
    }
}
