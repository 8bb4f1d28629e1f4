//! Weights against each other: paired differences, their intervals and tests.

use plw_record::PredictionRow;

use crate::metric::Metric;
use crate::passages::{paired_clusters, shared_items, total_on};
use crate::report::{AnalysisOptions, Comparison, GroupStatistics};
use crate::statistics::{bootstrap_ratio, holm, paired_seeds, sign_flip_p_value};
use crate::sweep::Run;

/// Each weight against the baseline, and the best against 0; none without two weights.
pub(crate) fn comparisons(
    metric: Metric,
    by_weight: &[(Option<f64>, Vec<&Run>)],
    groups: &[GroupStatistics],
    options: &AnalysisOptions,
    warnings: &mut Vec<String>,
) -> Vec<Comparison> {
    let weighted: Vec<usize> = (0..groups.len())
        .filter(|&g| groups[g].weight.is_some())
        .collect();
    let of_weight = |weight: f64| {
        weighted
            .iter()
            .copied()
            .find(|&g| groups[g].weight == Some(weight))
    };
    // Groups are ordered by weight, so the last has the largest.
    let Some(baseline) = of_weight(1.0).or(weighted.last().copied()) else {
        return Vec::new();
    };
    let best = best_group(metric, groups).unwrap_or(baseline);
    let mut pairs: Vec<(usize, usize, bool)> = weighted
        .iter()
        .filter(|&&group| group != baseline)
        .map(|&group| (group, baseline, false))
        .collect();
    if let Some(zero) = of_weight(0.0)
        && zero != baseline
        && best != zero
        && best != baseline
    {
        pairs.push((best, zero, true));
    }
    let mut comparisons = Vec::new();
    for (group, against, chosen_as_best) in pairs {
        match compare(metric, &by_weight[group].1, &by_weight[against].1, options) {
            Some(comparison) => comparisons.push(Comparison {
                group: groups[group].label.clone(),
                against: groups[against].label.clone(),
                chosen_as_best,
                ..comparison
            }),
            None => warnings.push(format!(
                "weights {} and {} were {}, so they are not compared",
                groups[group].label,
                groups[against].label,
                match metric {
                    Metric::Accuracy => "asked no common question",
                    Metric::CompletionLoss => "scored on no common example",
                }
            )),
        }
    }
    let p_values: Vec<f64> = comparisons
        .iter()
        .map(|comparison| comparison.permutation_p)
        .collect();
    for (comparison, adjusted) in comparisons.iter_mut().zip(holm(&p_values)) {
        comparison.holm_p = adjusted;
    }
    comparisons
}

/// The weight whose mean is best by the metric; the smallest weight among equals.
pub(crate) fn best_group(metric: Metric, groups: &[GroupStatistics]) -> Option<usize> {
    let weighted = (0..groups.len()).filter(|&g| groups[g].weight.is_some());
    weighted.reduce(|best, group| {
        let mean = |g: usize| groups[g].estimate().over_seeds.mean;
        match metric.is_better(mean(group), mean(best)) {
            true => group,
            false => best,
        }
    })
}

fn compare<'a>(
    metric: Metric,
    first: &[&'a Run],
    second: &[&'a Run],
    options: &AnalysisOptions,
) -> Option<Comparison> {
    let rows = |runs: &[&'a Run]| -> Vec<&'a [PredictionRow]> {
        runs.iter().map(|run| run.predictions.as_slice()).collect()
    };
    let (first_rows, second_rows) = (rows(first), rows(second));
    let shared = shared_items(first_rows.iter().chain(&second_rows).copied(), metric);
    if shared.is_empty() {
        return None;
    }
    let clusters = paired_clusters(&first_rows, &second_rows, metric);
    let sums: Vec<f64> = clusters.iter().map(|cluster| cluster.sum).collect();
    let bootstrap = bootstrap_ratio(&clusters, options.resamples, options.seed);
    let seed_differences: Vec<f64> = first
        .iter()
        .filter_map(|run| {
            let seed = run.seed?;
            let partner = second.iter().find(|other| other.seed == Some(seed))?;
            let [own, its] = [run, partner].map(|run| {
                let total = total_on(&run.predictions, &shared, metric);
                total.sum / total.count
            });
            Some(own - its)
        })
        .collect();
    Some(Comparison {
        group: String::new(),
        against: String::new(),
        chosen_as_best: false,
        questions: match metric {
            Metric::Accuracy => shared.len(),
            Metric::CompletionLoss => 0,
        },
        examples: (metric == Metric::CompletionLoss).then_some(shared.len()),
        // Every run has the same questions, or completion tokens, of the examples in common.
        difference: sums.iter().sum::<f64>() / total_on(first_rows[0], &shared, metric).count,
        passage_interval: bootstrap.as_ref().map(|bootstrap| bootstrap.interval(0.95)),
        bootstrap_p: bootstrap.map(|bootstrap| bootstrap.p_value_of_zero()),
        permutation_p: sign_flip_p_value(&sums, options.resamples, options.seed),
        holm_p: 1.0,
        over_seeds: paired_seeds(&seed_differences),
    })
}
