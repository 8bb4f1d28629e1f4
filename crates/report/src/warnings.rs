//! What a reader must know before trusting a comparison.

use std::collections::BTreeSet;

use plw_files::Verified;

use crate::format::weight_label;
use crate::metric::Metric;
use crate::passages::items;
use crate::sweep::Run;

/// Warns of runs in one section that were not evaluated on the same questions or examples of the
/// same split.
pub(crate) fn warn_of_differences(metric: Metric, runs: &[&Run], warnings: &mut Vec<String>) {
    let first = runs[0];
    let asked = items(&first.predictions, metric);
    let (were, values) = match metric {
        Metric::Accuracy => ("asked different questions", "accuracies"),
        Metric::CompletionLoss => ("scored on different examples", "completion losses"),
    };
    for run in &runs[1..] {
        if run.reported.split != first.reported.split {
            warnings.push(format!(
                "{} was evaluated on {}, {} on {}",
                run.name, run.reported.split, first.name, first.reported.split
            ));
        }
        let own = items(&run.predictions, metric);
        if own != asked {
            warnings.push(format!(
                "{} and {} were {were}: {} in common, {} only the former, {} only the latter; \
                 {values} are over each run's own, comparisons over those in common",
                run.name,
                first.name,
                own.intersection(&asked).count(),
                own.difference(&asked).count(),
                asked.difference(&own).count()
            ));
        }
    }
}

/// Warns of examples that completion loss says nothing about, by the first run of a section.
pub(crate) fn warn_of_unscored(metric: Metric, first: &Run, warnings: &mut Vec<String>) {
    let unscored = first.predictions.iter();
    let unscored = unscored.filter(|p| metric.part(p).is_none()).count();
    if metric == Metric::CompletionLoss && unscored > 0 {
        warnings.push(format!(
            "completion loss says nothing about {} of {} examples, whose completion tokens have \
             no loss weight",
            unscored,
            first.predictions.len()
        ));
    }
}

/// Warns of runs whose records cannot be checked.
pub(crate) fn warn_of_missing_digests(runs: &[Run], warnings: &mut Vec<String>) {
    let unchecked = runs
        .iter()
        .filter(|run| run.verified == Verified::WithoutDigests);
    let names: Vec<&str> = unchecked.map(|run| run.name.as_str()).collect();
    if !names.is_empty() {
        warnings.push(format!(
            "whether the records were changed after these runs cannot be checked, because their \
             version of plw kept no digests: {}",
            names.join(", ")
        ));
    }
}

/// Warns of seeds that some weights have and others lack, and of seeds that a weight has twice.
pub(crate) fn warn_of_seeds(by_weight: &[(Option<f64>, Vec<&Run>)], warnings: &mut Vec<String>) {
    let all: BTreeSet<i64> = by_weight
        .iter()
        .flat_map(|(_, runs)| runs.iter().filter_map(|run| run.seed))
        .collect();
    for (weight, runs) in by_weight {
        let seeds: Vec<i64> = runs.iter().filter_map(|run| run.seed).collect();
        let own: BTreeSet<i64> = seeds.iter().copied().collect();
        let lacking: Vec<String> = all.difference(&own).map(i64::to_string).collect();
        let label = weight_label(*weight);
        if !lacking.is_empty() {
            warnings.push(format!(
                "weight {label} lacks seed {}, which another weight has",
                lacking.join(", ")
            ));
        }
        if own.len() < seeds.len() {
            warnings.push(format!(
                "weight {label} has a seed more than once; each run counts"
            ));
        }
    }
}
