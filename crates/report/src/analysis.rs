//! From runs to a report: groups them by weight and seed, and computes each group's figures.

use std::collections::{BTreeMap, BTreeSet};

use plw_record::{EvaluationSummary, PredictionRow};

use crate::comparison::comparisons;
use crate::format::weight_label;
use crate::metric::Metric;
use crate::passages::{items, passage_count, pooled_clusters};
use crate::report::{
    AnalysisOptions, AnswerScores, CompletionScores, Estimate, GroupStatistics, Report, Scores,
    Section,
};
use crate::statistics::{Cluster, bootstrap_ratio, mean_over_seeds};
use crate::sweep::{Run, Sweep};
use crate::warnings::{
    warn_of_differences, warn_of_missing_digests, warn_of_seeds, warn_of_unscored,
};

/// Computes a report. The same sweep and options give the same report, bit for bit.
pub fn analyze(sweep: &Sweep, options: &AnalysisOptions) -> Report {
    let (common_settings, varying) = split_settings(&sweep.runs);
    // Runs that were asked questions are not compared with runs that were asked none.
    let mut by_settings = BTreeMap::<(Vec<Option<&String>>, Metric), Vec<&Run>>::new();
    for run in &sweep.runs {
        let values = varying.iter().map(|key| run.settings.get(key)).collect();
        let metric = Metric::of(&run.predictions);
        by_settings.entry((values, metric)).or_default().push(run);
    }
    let mut warnings = Vec::new();
    warn_of_missing_digests(&sweep.runs, &mut warnings);
    let sections = by_settings
        .iter()
        .map(|((values, metric), runs)| {
            let shown =
                |value: &Option<&String>| value.cloned().unwrap_or_else(|| "(not set)".to_string());
            let named = varying.iter().zip(values);
            let settings = named.map(|(key, value)| (key.clone(), shown(value)));
            section(*metric, settings.collect(), runs, options, &mut warnings)
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
    metric: Metric,
    settings: BTreeMap<String, String>,
    runs: &[&Run],
    options: &AnalysisOptions,
    warnings: &mut Vec<String>,
) -> Section {
    let first = runs[0];
    warn_of_differences(metric, runs, warnings);
    warn_of_unscored(metric, first, warnings);
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
            let label = weight_label(*weight);
            group_statistics(metric, *weight, label, group, &evaluated, options)
        })
        .collect();
    let (questions, examples) = match metric {
        Metric::Accuracy => (
            first.predictions.iter().filter(|p| p.is_question()).count(),
            None,
        ),
        Metric::CompletionLoss => (0, Some(items(&first.predictions, metric).len())),
    };
    Section {
        settings,
        metric,
        split: first.reported.split.clone(),
        questions,
        examples,
        passages: passage_count(&first.predictions, metric),
        chance: chance(&first.predictions),
        before: before_training(metric, runs, options),
        comparisons: comparisons(metric, &by_weight, &groups, options, warnings),
        groups,
    }
}

/// The accuracy of guessing; none where nothing is asked.
fn chance(predictions: &[PredictionRow]) -> Option<f64> {
    let questions = || predictions.iter().filter(|p| p.is_question());
    let sum: f64 = questions()
        .map(|p| 1.0 / p.logits.len().max(1) as f64)
        .sum();
    let count = questions().count();
    (count > 0).then(|| sum / count as f64)
}

/// An evaluation's predictions and its losses.
type Evaluated<'a> = (&'a [PredictionRow], Option<&'a EvaluationSummary>);

fn group_statistics(
    metric: Metric,
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
    let of =
        |part: &dyn Fn(&PredictionRow) -> Option<Cluster>| estimate(&predictions, part, options);
    let scores = match metric {
        Metric::Accuracy => Scores::Answers(AnswerScores {
            accuracy: of(&|p| metric.part(p)),
            argmax_accuracy: of(&|p| {
                p.is_question().then(|| Cluster {
                    sum: f64::from(u8::from(p.argmax_is_answer)),
                    count: 1.0,
                })
            }),
            by_level: levels(&predictions)
                .into_iter()
                .map(|level| {
                    let on_level = |p: &PredictionRow| {
                        let part = metric.part(p);
                        part.filter(|_| *p.key.level == *level)
                    };
                    (level.to_owned(), of(&on_level))
                })
                .collect(),
            completion_loss: loss(|summary| summary.completion_loss),
        }),
        Metric::CompletionLoss => {
            let completion_loss = of(&|p| metric.part(p));
            Scores::Completions(CompletionScores {
                perplexity: completion_loss.over_seeds.mean.exp(),
                completion_loss,
            })
        }
    };
    GroupStatistics {
        label,
        weight,
        runs: runs.iter().map(|run| run.name.clone()).collect(),
        seeds: runs.iter().map(|run| run.seed).collect(),
        scores,
        prompt_loss: loss(|summary| summary.prompt_loss),
        answer_loss: loss(|summary| summary.answer_loss),
    }
}

/// The levels of the questions.
fn levels<'a>(runs: &[&'a [PredictionRow]]) -> BTreeSet<&'a str> {
    let rows = runs.iter().flat_map(|run| run.iter());
    let questions = rows.filter(|p| p.is_question());
    questions.map(|p| &*p.key.level).collect()
}

/// The ratio of the sums of what the predictions add, for each run and pooled by passage.
fn estimate(
    runs: &[&[PredictionRow]],
    part: &dyn Fn(&PredictionRow) -> Option<Cluster>,
    options: &AnalysisOptions,
) -> Estimate {
    let per_run: Vec<f64> = runs
        .iter()
        .map(|run| {
            let mut total = Cluster::default();
            for part in run.iter().filter_map(part) {
                total.sum += part.sum;
                total.count += part.count;
            }
            total.sum / total.count.max(1.0)
        })
        .collect();
    let clusters = pooled_clusters(runs, part);
    Estimate {
        over_seeds: mean_over_seeds(&per_run).expect("a group has a run"),
        passage_interval: bootstrap_ratio(&clusters, options.resamples, options.seed)
            .map(|bootstrap| bootstrap.interval(0.95)),
    }
}

/// The runs before their first step, as one group.
fn before_training(
    metric: Metric,
    runs: &[&Run],
    options: &AnalysisOptions,
) -> Option<GroupStatistics> {
    let (kept, evaluated): (Vec<&Run>, Vec<Evaluated>) = runs
        .iter()
        .filter_map(|run| {
            let predictions = run
                .initial_predictions
                .as_deref()
                .filter(|rows| rows.iter().any(|p| metric.part(p).is_some()))?;
            let initial = run.summary.initial.as_ref();
            let summary = initial
                .filter(|row| row.split == run.reported.split)
                .map(|row| &row.summary);
            Some((*run, (predictions, summary)))
        })
        .unzip();
    let label = "before training".to_string();
    (!kept.is_empty()).then(|| group_statistics(metric, None, label, &kept, &evaluated, options))
}
