//! What a section says, in sentences that claim no more than its numbers.

use crate::comparison::best_group;
use crate::format::{interval, p_value, percent, points};
use crate::{Comparison, GroupStatistics, Section};

/// A section's findings, one sentence or two each.
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
                    "The best weight was chosen on the same {} questions that it is reported on, which flatters it a little.",
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
    let over_articles = interval(group.accuracy.article_interval, percent);
    match group.accuracy.over_seeds.seed_interval {
        Some(bounds) => format!(
            "mean of {} seeds; 95 % interval over seeds {}, over articles {over_articles}",
            group.runs.len(),
            interval(Some(bounds), percent)
        ),
        None => format!(
            "one seed, so nothing is known of how much it varies between seeds; 95 % interval over articles {over_articles}"
        ),
    }
}

fn difference(comparison: &Comparison) -> String {
    let verdict = match comparison.holm_p {
        p if p < 0.05 => "more than articles drawn by chance would explain at the 5 % level",
        _ => "no clear difference at the 5 % level",
    };
    format!(
        "Weight {} less weight {}: {} points (95 % interval over articles {}; permutation p {}, Holm-corrected {}): {verdict}.",
        comparison.group,
        comparison.against,
        points(comparison.difference),
        interval(comparison.article_interval, points),
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
                .article_interval
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
