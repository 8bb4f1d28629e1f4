//! From runs to a report: groups them by weight and seed, and computes each group's figures.

use std::collections::{BTreeMap, BTreeSet};

use plw_record::{EvaluationSummary, PredictionRow};

use crate::comparison::comparisons;
use crate::format::weight_label;
use crate::passages::{passage_count, pooled_clusters};
use crate::report::{AnalysisOptions, Estimate, GroupStatistics, Report, Section};
use crate::statistics::{bootstrap_ratio, mean_over_seeds};
use crate::sweep::{Run, Sweep};
use crate::warnings::{warn_of_differences, warn_of_missing_digests, warn_of_seeds};

/// Computes a report. The same sweep and options give the same report, bit for bit.
pub fn analyze(sweep: &Sweep, options: &AnalysisOptions) -> Report {
    let (common_settings, varying) = split_settings(&sweep.runs);
    let mut by_settings = BTreeMap::<Vec<Option<&String>>, Vec<&Run>>::new();
    for run in &sweep.runs {
        let values = varying.iter().map(|key| run.settings.get(key)).collect();
        by_settings.entry(values).or_default().push(run);
    }
    let mut warnings = Vec::new();
    warn_of_missing_digests(&sweep.runs, &mut warnings);
    let sections = by_settings
        .iter()
        .map(|(values, runs)| {
            let shown =
                |value: &Option<&String>| value.cloned().unwrap_or_else(|| "(not set)".to_string());
            let named = varying.iter().zip(values);
            let settings = named.map(|(key, value)| (key.clone(), shown(value)));
            section(settings.collect(), runs, options, &mut warnings)
        })
        .collect();
    let mut machines = Vec::new();
    for run in &sweep.runs {
        if !machines.contains(&run.summary.machine) {
            machines.push(run.summary.machine.clone());
        }
    }
    Report {
        name: sweep.name.clone(),
        sections,
        common_settings,
        incomplete: sweep.incomplete.clone(),
        warnings,
        machines,
        options: *options,
    }
}

/// The settings that all runs share, and the names of the others.
fn split_settings(runs: &[Run]) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let mut common = runs
        .first()
        .map(|run| run.settings.clone())
        .unwrap_or_default();
    let mut varying = BTreeSet::new();
    for run in runs {
        for key in common.keys().chain(run.settings.keys()) {
            if common.get(key) != run.settings.get(key) {
                varying.insert(key.clone());
            }
        }
    }
    common.retain(|key, _| !varying.contains(key));
    (common, varying)
}

fn section(
    settings: BTreeMap<String, String>,
    runs: &[&Run],
    options: &AnalysisOptions,
    warnings: &mut Vec<String>,
) -> Section {
    let first = runs[0];
    warn_of_differences(runs, warnings);
    let mut by_weight: Vec<(Option<f64>, Vec<&Run>)> = Vec::new();
    let mut ordered = runs.to_vec();
    ordered.sort_by(|a, b| {
        let weight = |run: &Run| run.weight.unwrap_or(-1.0);
        weight(a)
            .total_cmp(&weight(b))
            .then(a.seed.cmp(&b.seed))
            .then(a.name.cmp(&b.name))
    });
    for run in ordered {
        match by_weight.last_mut() {
            Some((weight, group)) if *weight == run.weight => group.push(run),
            _ => by_weight.push((run.weight, vec![run])),
        }
    }
    warn_of_seeds(&by_weight, warnings);
    let groups: Vec<GroupStatistics> = by_weight
        .iter()
        .map(|(weight, group)| {
            let evaluated: Vec<Evaluated> = group
                .iter()
                .map(|run| (&run.predictions[..], Some(&run.reported.summary)))
                .collect();
            group_statistics(*weight, weight_label(*weight), group, &evaluated, options)
        })
        .collect();
    let chance_sum: f64 = first
        .predictions
        .iter()
        .map(|p| 1.0 / p.logits.len().max(1) as f64)
        .sum();
    Section {
        settings,
        split: first.reported.split.clone(),
        questions: first.predictions.len(),
        passages: passage_count(&first.predictions),
        chance: chance_sum / first.predictions.len() as f64,
        before: before_training(runs, options),
        comparisons: comparisons(&by_weight, &groups, options, warnings),
        groups,
    }
}

/// An evaluation's predictions and its losses.
type Evaluated<'a> = (&'a [PredictionRow], Option<&'a EvaluationSummary>);

fn group_statistics(
    weight: Option<f64>,
    label: String,
    runs: &[&Run],
    evaluated: &[Evaluated],
    options: &AnalysisOptions,
) -> GroupStatistics {
    let predictions: Vec<&[PredictionRow]> = evaluated.iter().map(|(rows, _)| *rows).collect();
    let loss = |of: fn(&EvaluationSummary) -> Option<f64>| {
        let losses: Option<Vec<f64>> = evaluated
            .iter()
            .map(|(_, summary)| summary.and_then(of))
            .collect();
        losses.as_deref().and_then(mean_over_seeds)
    };
    let of = |counts: &dyn Fn(&PredictionRow) -> bool, is_right: fn(&PredictionRow) -> bool| {
        estimate(&predictions, counts, is_right, options)
    };
    let everything = |_: &PredictionRow| true;
    let levels: BTreeSet<&str> = predictions
        .iter()
        .flat_map(|run| run.iter().map(|p| &*p.key.level))
        .collect();
    GroupStatistics {
        label,
        weight,
        runs: runs.iter().map(|run| run.name.clone()).collect(),
        seeds: runs.iter().map(|run| run.seed).collect(),
        accuracy: of(&everything, PredictionRow::is_correct),
        argmax_accuracy: of(&everything, |p| p.argmax_is_answer),
        by_level: levels
            .into_iter()
            .map(|level| {
                let estimate = of(&|p| *p.key.level == *level, PredictionRow::is_correct);
                (level.to_owned(), estimate)
            })
            .collect(),
        completion_loss: loss(|summary| summary.completion_loss),
        prompt_loss: loss(|summary| summary.prompt_loss),
        answer_loss: loss(|summary| summary.answer_loss),
    }
}

fn estimate(
    runs: &[&[PredictionRow]],
    counts: &dyn Fn(&PredictionRow) -> bool,
    is_right: fn(&PredictionRow) -> bool,
    options: &AnalysisOptions,
) -> Estimate {
    let per_run: Vec<f64> = runs
        .iter()
        .map(|run| {
            let asked = run.iter().filter(|p| counts(p));
            let right = asked.clone().filter(|p| is_right(p)).count();
            right as f64 / asked.count().max(1) as f64
        })
        .collect();
    let clusters = pooled_clusters(runs, counts, is_right);
    Estimate {
        over_seeds: mean_over_seeds(&per_run).expect("a group has a run"),
        passage_interval: bootstrap_ratio(&clusters, options.resamples, options.seed)
            .map(|bootstrap| bootstrap.interval(0.95)),
    }
}

/// The runs before their first step, as one group.
fn before_training(runs: &[&Run], options: &AnalysisOptions) -> Option<GroupStatistics> {
    let (kept, evaluated): (Vec<&Run>, Vec<Evaluated>) = runs
        .iter()
        .filter_map(|run| {
            let predictions = run
                .initial_predictions
                .as_deref()
                .filter(|rows| !rows.is_empty())?;
            let initial = run.summary.initial.as_ref();
            let summary = initial
                .filter(|row| row.split == run.reported.split)
                .map(|row| &row.summary);
            Some((*run, (predictions, summary)))
        })
        .unzip();
    let label = "before training".to_string();
    (!kept.is_empty()).then(|| group_statistics(None, label, &kept, &evaluated, options))
}
