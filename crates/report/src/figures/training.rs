//! Figures over the steps of training, with one line for each weight.

use std::collections::BTreeMap;

use plw_record::MetricsRow;

use super::axis::Axis;
use super::chart::{Chart, Panel, Series, Values};
use super::legend::{Entry, Swatch};
use crate::format::percent;
use crate::metric::Metric;
use crate::report::Section;
use crate::sweep::{Run, Sweep};

const CHANCE_DASH: f64 = 6.0;
/// Above this many points, a line is averaged in bins: no screen shows more.
const MOST_POINTS: usize = 300;
/// Above this many points, a line gets no markers.
const MOST_MARKERS: usize = 24;

/// The metric at each evaluation during training; `None` where no run was evaluated twice.
pub(crate) fn results_over_steps(sweep: &Sweep, section: &Section) -> Option<Chart> {
    let metric = section.metric;
    let mut legend = Vec::new();
    let mut all = Vec::new();
    for (index, group) in section.groups.iter().enumerate() {
        let runs = runs_of(sweep, &group.runs);
        let lines: Vec<Vec<(f64, f64)>> = runs
            .iter()
            .map(|run| validation_curve(run, metric))
            .collect();
        let mut series = Series::new(index);
        series.points = mean_curve(&lines);
        if series.points.len() < 2 {
            continue;
        }
        if runs.len() > 1 {
            series.faint = lines;
        }
        if series.points.len() > MOST_MARKERS {
            series.marker = None;
        }
        legend.push(Entry::new(
            Swatch::Series(series.color, series.marker),
            group_label(section, index),
        ));
        all.push(series);
    }
    if all.iter().any(|series| !series.faint.is_empty()) {
        legend.push(Entry::new(Swatch::Faint(all[0].color), "one seed"));
    }
    if let Some(chance) = section.chance {
        let label = format!("guessing ({} %)", percent(chance));
        legend.push(Entry::new(Swatch::Reference(CHANCE_DASH), label));
    }
    let last = last_step(&all)?;
    Some(Chart {
        name: match metric {
            Metric::Accuracy => "accuracy-over-steps",
            Metric::CompletionLoss => "completion-loss-over-steps",
        },
        title: match metric {
            Metric::Accuracy => "Validation accuracy during training",
            Metric::CompletionLoss => "Validation completion loss during training",
        }
        .to_string(),
        caption: "Means over the seeds that were evaluated at a step; step 0 is before training."
            .to_string(),
        legend,
        panels: vec![Panel {
            x: Axis::Steps(last),
            x_label: "optimizer step",
            y_label: metric.name_with_unit(),
            height: 340.0,
            values: match metric {
                Metric::Accuracy => Values::Shares,
                Metric::CompletionLoss => Values::Any,
            },
            references: Vec::from_iter(section.chance.map(|chance| (chance, CHANCE_DASH))),
            verticals: Vec::new(),
            series: all,
        }],
    })
}

/// Training loss by step: the completion's loss, because the objective does not compare between
/// weights.
pub(crate) fn loss_over_steps(sweep: &Sweep, section: &Section) -> Option<Chart> {
    let groups: Vec<Vec<&Run>> = section
        .groups
        .iter()
        .map(|group| runs_of(sweep, &group.runs))
        .collect();
    let rows = || groups.iter().flatten().flat_map(|run| &run.metrics);
    let has_completion_loss = rows().all(|row| row.completion_loss.is_some());
    let value = |row: &MetricsRow| match has_completion_loss {
        true => row.completion_loss,
        false => Some(row.loss),
    };
    let mut legend = Vec::new();
    let mut all = Vec::new();
    for (index, runs) in groups.iter().enumerate() {
        let lines: Vec<Vec<(f64, f64)>> = runs
            .iter()
            .map(|run| {
                let rows = run.metrics.iter();
                rows.filter_map(|row| Some((row.step as f64, value(row)?)))
                    .collect()
            })
            .collect();
        let mean = mean_curve(&lines);
        if mean.len() < 2 {
            continue;
        }
        let mut series = Series::new(index);
        series.marker = None;
        series.points = thinned(&smoothed(&mean));
        series.faint = vec![thinned(&mean)];
        legend.push(Entry::new(
            Swatch::Series(series.color, None),
            group_label(section, index),
        ));
        all.push(series);
    }
    let last = last_step(&all)?;
    legend.push(Entry::new(Swatch::Faint(all[0].color), "not smoothed"));
    let (y_label, what) = match has_completion_loss {
        true => (
            "completion loss in nats",
            "Mean loss of the completions' tokens of each step",
        ),
        false => (
            "objective",
            "The weighted objective of each step, which differs between weights",
        ),
    };
    Some(Chart {
        name: "training-loss",
        title: "Training loss".to_string(),
        caption: format!(
            "{what}; means over seeds, averaged over a window of a twentieth of the steps."
        ),
        legend,
        panels: vec![Panel {
            x: Axis::Steps(last),
            x_label: "optimizer step",
            y_label,
            height: 340.0,
            values: Values::Any,
            references: Vec::new(),
            verticals: Vec::new(),
            series: all,
        }],
    })
}

/// A group's runs, in its order.
fn runs_of<'a>(sweep: &'a Sweep, names: &[String]) -> Vec<&'a Run> {
    let run = |name: &String| sweep.runs.iter().find(|run| run.name == *name);
    names.iter().filter_map(run).collect()
}

/// A group's label in the legend.
fn group_label(section: &Section, group: usize) -> String {
    let group = &section.groups[group];
    match group.weight {
        Some(_) => format!("weight {}", group.label),
        None => "all runs".to_string(),
    }
}

/// A run's evaluations on validation data, or on what else it was evaluated.
fn validation_curve(run: &Run, metric: Metric) -> Vec<(f64, f64)> {
    let has_validation = run.evaluations.iter().any(|row| row.split == "validation");
    let wanted = if has_validation {
        "validation"
    } else {
        &run.reported.split
    };
    let rows = run.evaluations.iter().filter(|row| row.split == wanted);
    rows.filter_map(|row| Some((row.step as f64, metric.of_summary(&row.summary)?)))
        .collect()
}

/// The mean at each step that every line has. Steps are whole numbers, so they are exact as keys.
fn mean_curve(lines: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let mut by_step = BTreeMap::<u64, Vec<f64>>::new();
    for &(step, value) in lines.iter().flatten() {
        by_step.entry(step as u64).or_default().push(value);
    }
    by_step
        .into_iter()
        .filter(|(_, values)| values.len() == lines.len())
        .map(|(step, values)| {
            (
                step as f64,
                values.iter().sum::<f64>() / values.len() as f64,
            )
        })
        .collect()
}

/// The moving average over a twentieth of the line, narrower toward the ends.
fn smoothed(line: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = line.len() / 40;
    let around = |index: usize| {
        let reach = reach.min(index).min(line.len() - 1 - index);
        let window = &line[index - reach..=index + reach];
        window.iter().map(|(_, value)| value).sum::<f64>() / window.len() as f64
    };
    line.iter()
        .enumerate()
        .map(|(index, (step, _))| (*step, around(index)))
        .collect()
}

/// The line in at most [`MOST_POINTS`] points, each the mean of a bin.
fn thinned(line: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let bin = line.len().div_ceil(MOST_POINTS);
    line.chunks(bin.max(1))
        .map(|chunk| {
            let mean =
                |of: fn(&(f64, f64)) -> f64| chunk.iter().map(of).sum::<f64>() / chunk.len() as f64;
            (mean(|point| point.0), mean(|point| point.1))
        })
        .collect()
}

fn last_step(all: &[Series]) -> Option<f64> {
    all.iter()
        .filter_map(|series| series.points.last())
        .map(|point| point.0)
        .reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_keep_their_means() {
        let line: Vec<(f64, f64)> = (1..=1000)
            .map(|step| (f64::from(step), f64::from(step % 2)))
            .collect();
        let smooth = smoothed(&line);
        assert!(
            smooth[100..900]
                .iter()
                .all(|(_, value)| (value - 0.5).abs() < 0.02)
        );
        assert_eq!((smooth[0], smooth[999]), (line[0], line[999]));
        let thin = thinned(&line);
        assert!(
            thin.len() <= MOST_POINTS
                && thin.iter().all(|(_, value)| (0.25..=0.75).contains(value))
        );
        let few = vec![(1.0, 2.0), (5.0, 4.0)];
        assert_eq!((thinned(&few), smoothed(&few)), (few.clone(), few.clone()));
        assert_eq!(mean_curve(&[few, vec![(5.0, 2.0)]]), [(5.0, 3.0)]);
    }
}
