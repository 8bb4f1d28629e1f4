//! A section's results in sentences that claim no more than its numbers.

use crate::comparison::best_group;
use crate::format::{interval, p_value, perplexity};
use crate::metric::Metric;
use crate::report::{Comparison, GroupStatistics, Scores, Section};

/// A section's findings, the most important first.
pub(crate) fn findings(section: &Section) -> Vec<String> {
    let metric = section.metric;
    let best = best_group(metric, &section.groups).map(|best| &section.groups[best]);
    let mut findings = Vec::new();
    match (best, section.groups.as_slice()) {
        (Some(best), groups) if groups.len() > 1 => {
            findings.push(format!(
                "The {} {} is {} at prompt loss weight {} ({}).",
                metric.superlative(),
                metric.name(),
                mean(section, best),
                best.label,
                uncertainty(section, best)
            ));
            let of_best = |c: &&Comparison| c.group == best.label;
            let against_others = section.comparisons.iter().filter(of_best);
            findings.extend(against_others.map(|c| difference(section, c)));
            if section.comparisons.iter().all(|c| c.group != best.label) {
                let all = section.comparisons.iter();
                findings.extend(all.map(|c| difference(section, c)));
            }
            if section.split != "test" {
                findings.push(format!(
                    "The best weight was chosen on the same {} {} that its {} is reported on, \
                     which makes that {} slightly optimistic.",
                    section.split,
                    metric.items(),
                    metric.name(),
                    metric.name(),
                ));
            }
        }
        (_, groups) => findings.extend(groups.iter().map(|group| {
            format!(
                "The {} is {} ({}).",
                metric.name(),
                mean(section, group),
                uncertainty(section, group)
            )
        })),
    }
    findings.extend(reference(section));
    findings
}

/// A group's mean with its unit.
fn mean(section: &Section, group: &GroupStatistics) -> String {
    let mean = group.estimate().over_seeds.mean;
    format!("{} {}", section.metric.value(mean), section.metric.unit())
}

/// Both intervals, after the perplexity that a loss is.
fn uncertainty(section: &Section, group: &GroupStatistics) -> String {
    let number = |value| section.metric.value(value);
    let clusters = section.clusters();
    let estimate = group.estimate();
    let over_clusters = interval(estimate.passage_interval, number);
    let intervals = match estimate.over_seeds.seed_interval {
        Some(bounds) => format!(
            "mean of {} seeds; 95 % interval over seeds {}, over {clusters} {over_clusters}",
            group.runs.len(),
            interval(Some(bounds), number)
        ),
        None => format!(
            "a single seed, so the variation between seeds is unknown; 95 % interval over \
             {clusters} {over_clusters}"
        ),
    };
    match &group.scores {
        Scores::Answers(_) => intervals,
        Scores::Completions(scores) => {
            format!("perplexity {}; {intervals}", perplexity(scores.perplexity))
        }
    }
}

fn difference(section: &Section, comparison: &Comparison) -> String {
    let number = |value| section.metric.difference(value);
    let clusters = section.clusters();
    let verdict = match comparison.holm_p {
        p if p < 0.05 => format!("more than the choice of {clusters} explains at the 5 % level"),
        _ => "no clear difference at the 5 % level".to_string(),
    };
    format!(
        "Weight {} minus weight {}: {} {} (95 % interval over {clusters} {}; permutation p {}, \
         Holm-corrected {}): {verdict}.",
        comparison.group,
        comparison.against,
        number(comparison.difference),
        section.metric.difference_unit(),
        interval(comparison.passage_interval, number),
        p_value(comparison.permutation_p),
        p_value(comparison.holm_p),
    )
}

/// What the results are to be held against: guessing, and the model before training. None if
/// neither is known.
fn reference(section: &Section) -> Option<String> {
    match section.metric {
        Metric::Accuracy => section.chance.map(|chance| guessing(section, chance)),
        Metric::CompletionLoss => section
            .before
            .as_ref()
            .map(|before| untrained(section, before)),
    }
}

/// Chance, and the model before training.
fn guessing(section: &Section, chance: f64) -> String {
    let number = |value| section.metric.value(value);
    let guessing = format!("Guessing gives {} %", number(chance));
    let before = match &section.before {
        Some(before) => format!(
            "{guessing}; before training the model reaches {} %",
            number(before.estimate().over_seeds.mean)
        ),
        None => guessing,
    };
    let at_chance = labels(section, |[low, _]| low <= chance);
    match at_chance.as_slice() {
        [] => format!("{before}."),
        ["all"] => format!("{before}. The runs are not clearly above guessing."),
        labels => format!(
            "{before}. Not clearly above guessing: weight {}.",
            labels.join(", ")
        ),
    }
}

/// The completion loss before training.
fn untrained(section: &Section, before: &GroupStatistics) -> String {
    let loss = before.estimate().over_seeds.mean;
    let before = format!(
        "Before training the completion loss is {} {} (perplexity {})",
        section.metric.value(loss),
        section.metric.unit(),
        perplexity(loss.exp())
    );
    let not_below = labels(section, |[_, high]| high >= loss);
    match not_below.as_slice() {
        [] => format!("{before}."),
        ["all"] => format!("{before}. The runs are not clearly below it."),
        labels => format!(
            "{before}. Not clearly below it: weight {}.",
            labels.join(", ")
        ),
    }
}

/// The labels of the groups whose interval is such.
fn labels(section: &Section, is_such: impl Fn([f64; 2]) -> bool) -> Vec<&str> {
    let groups = section.groups.iter();
    let such = groups.filter(|group| group.estimate().passage_interval.is_some_and(&is_such));
    such.map(|group| group.label.as_str()).collect()
}
