//! Figures against the prompt loss weight.

use super::axis::Axis;
use super::chart::{Chart, Panel, Series, Values};
use super::legend::{Entry, Swatch};
use crate::format::percent;
use crate::metric::Metric;
use crate::report::{GroupStatistics, Section};
use crate::statistics::MeanOverSeeds;

const X_LABEL: &str = "prompt loss weight (log scale, 0 apart)";
const CHANCE_DASH: f64 = 6.0;
const BEFORE_DASH: f64 = 2.0;

/// Which of a group's losses.
type LossOf = fn(&GroupStatistics) -> Option<&MeanOverSeeds>;

/// The groups with a weight; `None` with fewer than two, since one point is no curve.
fn weighted(section: &Section) -> Option<Vec<(f64, &GroupStatistics)>> {
    let groups = section.groups.iter();
    let weighted: Vec<_> = groups
        .filter_map(|group| Some((group.weight?, group)))
        .collect();
    (weighted.len() > 1).then_some(weighted)
}

/// Adds to the legend what the intervals of a series mean.
fn interval_entries(legend: &mut Vec<Entry>, series: &Series, section: &Section) {
    if !series.bars.is_empty() {
        legend.push(Entry::new(Swatch::Bar(series.color), "95 % over seeds"));
        legend.push(Entry::new(Swatch::Dot(series.color), "one seed"));
    }
    if !series.bands.is_empty() {
        legend.push(Entry::new(
            Swatch::Band(series.color),
            format!("95 % over {}", section.clusters()),
        ));
    }
}

fn add_seeds(series: &mut Series, weight: f64, over: &MeanOverSeeds) {
    series.points.push((weight, over.mean));
    if let Some(bounds) = over.seed_interval {
        series.bars.push((weight, bounds));
        series
            .dots
            .extend(over.per_run.iter().map(|&value| (weight, value)));
    }
}

/// Guessing, and the model before training, where the metric is accuracy. A loss before training is
/// told in words: next to it the differences between weights would look flat.
fn references(section: &Section, legend: &mut Vec<Entry>) -> Vec<(f64, f64)> {
    let Some(chance) = section.chance else {
        return Vec::new();
    };
    let mut lines = vec![(chance, CHANCE_DASH)];
    let label = format!("guessing ({} %)", percent(chance));
    legend.push(Entry::new(Swatch::Reference(CHANCE_DASH), label));
    if let Some(before) = &section.before {
        let mean = before.estimate().over_seeds.mean;
        lines.push((mean, BEFORE_DASH));
        let label = format!("before training ({} %)", percent(mean));
        legend.push(Entry::new(Swatch::Reference(BEFORE_DASH), label));
    }
    lines
}

/// The metric against weight.
pub(crate) fn results(section: &Section) -> Option<Chart> {
    let metric = section.metric;
    let groups = weighted(section)?;
    let mut series = Series::new(0);
    for (weight, group) in &groups {
        let estimate = group.estimate();
        add_seeds(&mut series, *weight, &estimate.over_seeds);
        let bounds = estimate.passage_interval.map(|bounds| (*weight, bounds));
        series.bands.extend(bounds);
    }
    let points = match series.bars.is_empty() {
        true => format!("{} (one seed a weight)", metric.name()),
        false => format!("mean {}", metric.name()),
    };
    let mut legend = vec![Entry::new(
        Swatch::Series(series.color, series.marker),
        points,
    )];
    interval_entries(&mut legend, &series, section);
    let references = references(section, &mut legend);
    Some(Chart {
        name: match metric {
            Metric::Accuracy => "accuracy",
            Metric::CompletionLoss => "completion-loss",
        },
        title: match metric {
            Metric::Accuracy => "Accuracy against prompt loss weight",
            Metric::CompletionLoss => "Completion loss against prompt loss weight",
        }
        .to_string(),
        caption: results_caption(section),
        legend,
        panels: vec![Panel {
            x: Axis::Weights(groups.iter().map(|(weight, _)| *weight).collect()),
            x_label: X_LABEL,
            y_label: metric.name_with_unit(),
            height: 360.0,
            values: match metric {
                Metric::Accuracy => Values::Shares,
                Metric::CompletionLoss => Values::Any,
            },
            references,
            verticals: Vec::new(),
            series: vec![series],
        }],
    })
}

fn results_caption(section: &Section) -> String {
    let clusters = section.clusters();
    let (what, before) = match section.metric {
        Metric::Accuracy => ("Choice among the options, on", String::new()),
        Metric::CompletionLoss => (
            "Mean loss of a completion token, in nats, on",
            section.before.as_ref().map_or(String::new(), |before| {
                let mean = before.estimate().over_seeds.mean;
                format!(" Lower is better. Before training: {mean:.4}.")
            }),
        ),
    };
    let of_passages = match clusters {
        "passages" => format!(" of {} passages", section.passages),
        _ => String::new(),
    };
    format!(
        "{what} {} {} {}{of_passages}. The bar is the uncertainty of the mean over training seeds, \
         the band that over {clusters}; neither includes the other.{before}",
        section.items(),
        section.split,
        section.metric.items(),
    )
}

/// Accuracy against weight, level by level; `None` with fewer than two levels.
pub(crate) fn levels(section: &Section) -> Option<Chart> {
    let groups = weighted(section)?;
    let chance = section.chance?;
    let levels: Vec<&String> = groups[0].1.answers()?.by_level.keys().collect();
    if levels.len() < 2 {
        return None;
    }
    let mut legend = Vec::new();
    let mut all = Vec::new();
    for (index, level) in levels.iter().enumerate() {
        let mut series = Series::new(index);
        series.offset = 13.0 * (index as f64 - (levels.len() - 1) as f64 / 2.0);
        for (weight, group) in &groups {
            let answers = group.answers();
            let Some(estimate) = answers.and_then(|answers| answers.by_level.get(*level)) else {
                continue;
            };
            series.points.push((*weight, estimate.over_seeds.mean));
            series
                .bands
                .extend(estimate.passage_interval.map(|bounds| (*weight, bounds)));
        }
        legend.push(Entry::new(
            Swatch::Series(series.color, series.marker),
            level.as_str(),
        ));
        all.push(series);
    }
    legend.push(Entry::new(Swatch::Band(all[0].color), "95 % over passages"));
    legend.push(Entry::new(
        Swatch::Reference(CHANCE_DASH),
        format!("guessing ({} %)", percent(chance)),
    ));
    Some(Chart {
        name: "levels",
        title: "Accuracy by level against prompt loss weight".to_string(),
        caption: "Means over seeds; points of one weight stand side by side.".to_string(),
        legend,
        panels: vec![Panel {
            x: Axis::Weights(groups.iter().map(|(weight, _)| *weight).collect()),
            x_label: X_LABEL,
            y_label: "accuracy in %",
            height: 330.0,
            values: Values::Shares,
            references: vec![(chance, CHANCE_DASH)],
            verticals: Vec::new(),
            series: all,
        }],
    })
}

/// Completion and prompt loss against weight, one above the other since their scales differ. Where
/// completion loss is the metric, it has a figure of its own.
pub(crate) fn losses(section: &Section) -> Option<Chart> {
    let groups = weighted(section)?;
    let kinds: [(&str, LossOf); 2] = [
        ("completion loss in nats", |group| {
            group.answers()?.completion_loss.as_ref()
        }),
        ("prompt loss in nats", |group| group.prompt_loss.as_ref()),
    ];
    let mut legend = Vec::new();
    let mut before = Vec::new();
    let mut panels = Vec::new();
    for (index, (y_label, of)) in kinds.into_iter().enumerate() {
        let mut series = Series::new(index);
        for (weight, group) in &groups {
            if let Some(over) = of(group) {
                add_seeds(&mut series, *weight, over);
            }
        }
        if series.points.len() < 2 {
            continue;
        }
        let name = y_label.trim_end_matches(" in nats");
        // In words, not drawn: next to it the differences between weights would look flat.
        if let Some(over) = section.before.as_ref().and_then(of) {
            before.push(format!("{name} {:.4}", over.mean));
        }
        legend.push(Entry::new(
            Swatch::Series(series.color, series.marker),
            name,
        ));
        panels.push(Panel {
            x: Axis::Weights(groups.iter().map(|(weight, _)| *weight).collect()),
            x_label: X_LABEL,
            y_label,
            height: 250.0,
            values: Values::Any,
            references: Vec::new(),
            verticals: Vec::new(),
            series: vec![series],
        });
    }
    let first = panels.first()?;
    interval_entries(&mut legend, &first.series[0], section);
    let before = match before.is_empty() {
        true => String::new(),
        false => format!(" Before training: {}.", before.join(", ")),
    };
    Some(Chart {
        name: "losses",
        title: "Loss against prompt loss weight".to_string(),
        caption: format!("Mean loss a token in evaluation, in nats; lower is better.{before}"),
        legend,
        panels,
    })
}
