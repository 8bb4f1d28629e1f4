//! What a reader must know before trusting a comparison.

use std::collections::BTreeSet;

use plw_files::Verified;

use crate::format::weight_label;
use crate::passages::questions;
use crate::sweep::Run;

/// Warns of runs in one section that were not asked the same questions on the same split.
pub(crate) fn warn_of_differences(runs: &[&Run], warnings: &mut Vec<String>) {
    let first = runs[0];
    let asked = questions(&first.predictions);
    for run in &runs[1..] {
        if run.reported.split != first.reported.split {
            warnings.push(format!(
                "{} was evaluated on {}, {} on {}",
                run.name, run.reported.split, first.name, first.reported.split
            ));
        }
        let own = questions(&run.predictions);
        if own != asked {
            warnings.push(format!(
                "{} and {} were asked different questions: {} in common, {} only the former, {} \
                 only the latter; accuracies are over each run's own, comparisons over those in \
                 common",
                run.name,
                first.name,
                own.intersection(&asked).count(),
                own.difference(&asked).count(),
                asked.difference(&own).count()
            ));
        }
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
