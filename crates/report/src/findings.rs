//! A section's results in sentences that claim no more than its numbers.

use crate::comparison::best_group;
use crate::format::{interval, p_value, percent, points};
use crate::report::{Comparison, GroupStatistics, Section};

/// A section's findings, the most important first.
pub(crate) fn findings(section: &Section) -> Vec<String> {
    let best = best_group(&section.groups).map(|best| &section.groups[best]);
    let mut findings = Vec::new();
    match (best, section.groups.as_slice()) {
        (Some(best), groups) if groups.len() > 1 => {
            findings.push(format!(
                "The highest accuracy is {} % at prompt loss weight {} ({}).",
                percent(best.accuracy.over_seeds.mean),
                best.label,
                uncertainty(best)
            ));
            let against_others = section.comparisons.iter().filter(|c| c.group == best.label);
            findings.extend(against_others.map(difference));
            if section.comparisons.iter().all(|c| c.group != best.label) {
                findings.extend(section.comparisons.iter().map(difference));
            }
            if section.split != "test" {
                findings.push(format!(
                    "The best weight was chosen on the same {} questions that its accuracy is \
                     reported on, which makes that accuracy slightly optimistic.",
                    section.split
                ));
            }
        }
        (_, groups) => findings.extend(groups.iter().map(|group| {
            format!(
                "The accuracy is {} % ({}).",
                percent(group.accuracy.over_seeds.mean),
                uncertainty(group)
            )
        })),
    }
    findings.push(reference(section));
    findings
}

fn uncertainty(group: &GroupStatistics) -> String {
    let over_passages = interval(group.accuracy.passage_interval, percent);
    match group.accuracy.over_seeds.seed_interval {
        Some(bounds) => format!(
            "mean of {} seeds; 95 % interval over seeds {}, over passages {over_passages}",
            group.runs.len(),
            interval(Some(bounds), percent)
        ),
        None => format!(
            "a single seed, so the variation between seeds is unknown; 95 % interval over \
             passages {over_passages}"
        ),
    }
}

fn difference(comparison: &Comparison) -> String {
    let verdict = match comparison.holm_p {
        p if p < 0.05 => "more than the choice of passages explains at the 5 % level",
        _ => "no clear difference at the 5 % level",
    };
    format!(
        "Weight {} minus weight {}: {} points (95 % interval over passages {}; permutation p {}, \
         Holm-corrected {}): {verdict}.",
        comparison.group,
        comparison.against,
        points(comparison.difference),
        interval(comparison.passage_interval, points),
        p_value(comparison.permutation_p),
        p_value(comparison.holm_p),
    )
}

/// Chance, and the model before training.
fn reference(section: &Section) -> String {
    let chance = format!("Guessing gives {} %", percent(section.chance));
    let before = match &section.before {
        Some(before) => format!(
            "{chance}; before training the model reaches {} %",
            percent(before.accuracy.over_seeds.mean)
        ),
        None => chance,
    };
    let at_chance: Vec<&str> = section
        .groups
        .iter()
        .filter(|group| {
            group
                .accuracy
                .passage_interval
                .is_some_and(|[low, _]| low <= section.chance)
        })
        .map(|group| group.label.as_str())
        .collect();
    match at_chance.as_slice() {
        [] => format!("{before}."),
        ["all"] => format!("{before}. The runs are not clearly above guessing."),
        labels => format!(
            "{before}. Not clearly above guessing: weight {}.",
            labels.join(", ")
        ),
    }
}
