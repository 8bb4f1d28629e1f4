//! Reading a sweep: a folder whose sub-folders are runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use plw_files::Verified;
use plw_record::{
    EvaluationRow, MetricsRow, PredictionRow, RunDirectory, TrainingSummary, read_predictions,
};
use serde::Serialize;
use toml::{Table, Value};

use crate::contradiction::contradiction;
use crate::error::ReportError;
use crate::metric::Metric;
use crate::passages::item;

/// The setting that a sweep varies, in whatever table of the configuration it is.
const WEIGHT: &str = "prompt_loss_weight";
/// The setting that repeats a run.
const SEED: &str = "seed";
/// Settings that say where a run is or how it is logged, and do not change its result.
const IGNORED: [&str; 8] = [
    "name",
    "run_name",
    "output_dir",
    "out",
    "resume",
    "save_steps",
    "save_total_limit",
    "logging_steps",
];

/// The runs of a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// The folder's name.
    pub name: String,
    /// The complete runs, by name.
    pub runs: Vec<Run>,
    /// The runs that are left out.
    pub incomplete: Vec<IncompleteRun>,
}

/// A complete run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Its folder's name.
    pub name: String,
    /// The configuration, flattened to dotted keys, without seed, weight and the settings that do
    /// not change the result.
    pub settings: BTreeMap<String, String>,
    /// The prompt loss weight, if the configuration has one.
    pub weight: Option<f64>,
    /// The seed, if the configuration has one.
    pub seed: Option<i64>,
    /// What `summary.json` holds.
    pub summary: TrainingSummary,
    /// Whether its records were compared with digests.
    pub verified: Verified,
    /// The evaluation that the tables report.
    pub reported: EvaluationRow,
    /// The predictions of that evaluation.
    pub predictions: Vec<PredictionRow>,
    /// The predictions before the first step on the same split, if there are any.
    pub initial_predictions: Option<Vec<PredictionRow>>,
    /// The rows of `metrics.jsonl`.
    pub metrics: Vec<MetricsRow>,
    /// The rows of `evaluations.jsonl`.
    pub evaluations: Vec<EvaluationRow>,
}

/// A run that the report leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IncompleteRun {
    /// Its folder's name.
    pub name: String,
    /// Why it is left out.
    pub reason: String,
}

/// Reads the runs in `sweep_dir`, or the one run that `sweep_dir` itself is.
///
/// An incomplete run, or one with damaged files, is listed with the reason. It is an error if no
/// complete run is left.
pub fn read_sweep(sweep_dir: impl AsRef<Path>) -> Result<Sweep, ReportError> {
    let sweep_dir = sweep_dir.as_ref();
    let alone = RunDirectory::new(sweep_dir);
    let directories = if alone.config().is_file() {
        vec![alone.clone()]
    } else {
        RunDirectory::all_in(sweep_dir)?
    };
    let mut sweep = Sweep {
        name: match alone.name() {
            name if name.is_empty() => "runs".to_string(),
            name => name,
        },
        runs: Vec::new(),
        incomplete: Vec::new(),
    };
    for directory in directories {
        match read_run(&directory) {
            Ok(run) => sweep.runs.push(run),
            Err(reason) => sweep.incomplete.push(IncompleteRun {
                name: directory.name(),
                reason,
            }),
        }
    }
    leave_out_repetitions(&mut sweep);
    if sweep.runs.is_empty() {
        let incomplete = sweep.incomplete.iter();
        return Err(ReportError::NoCompleteRun {
            path: sweep_dir.to_path_buf(),
            reasons: incomplete
                .map(|run| format!("{}: {}", run.name, run.reason))
                .collect(),
        });
    }
    Ok(sweep)
}

/// Leaves out each run that repeats another, and would count as one more seed: a copy of its
/// folder, or the same run once more. The one that still has the name of its run stays.
fn leave_out_repetitions(sweep: &mut Sweep) {
    let mut runs = std::mem::take(&mut sweep.runs);
    runs.sort_by_key(|run| run.name != run.summary.name);
    for run in runs {
        let is_same = |other: &&Run| {
            (run.seed, run.weight) == (other.seed, other.weight)
                && run.settings == other.settings
                && run.predictions == other.predictions
        };
        match sweep.runs.iter().find(is_same) {
            None => sweep.runs.push(run),
            Some(other) => sweep.incomplete.push(IncompleteRun {
                reason: format!(
                    "it repeats {}: settings, seed and predictions are the same, and count once",
                    other.name
                ),
                name: run.name,
            }),
        }
    }
    sweep.runs.sort_by(|a, b| a.name.cmp(&b.name));
    sweep.incomplete.sort_by(|a, b| a.name.cmp(&b.name));
}

/// Reads a run, or says why it cannot be reported.
fn read_run(directory: &RunDirectory) -> Result<Run, String> {
    let reason = |error: plw_record::RecordError| error.to_string();
    let metrics = directory.read_metrics().map_err(reason)?;
    if !directory.is_complete() {
        return Err(match metrics.last() {
            _ if directory.has_attempts() => {
                "it is not complete; `plw sweep --status` tells how far it is".to_string()
            }
            Some(row) => format!("no summary.json; its last logged step is {}", row.step),
            None => "no summary.json and no logged step".to_string(),
        });
    }
    let (summary, verified) = directory.read_summary().map_err(reason)?;
    let reported = summary
        .reported()
        .ok_or("summary.json holds no evaluation")?
        .clone();
    let predictions_path = directory.predictions_of(&reported.split, reported.step);
    let predictions = read_predictions(&predictions_path).map_err(reason)?;
    let metric = Metric::of(&predictions);
    if predictions.iter().all(|p| metric.part(p).is_none()) {
        return Err(format!(
            "{} holds no question, and no example with a completion loss and the number of its \
             tokens",
            predictions_path.display()
        ));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = predictions.iter().find(|p| !seen.insert(item(p))) {
        return Err(format!(
            "{} holds row {} of {} twice",
            predictions_path.display(),
            twice.key.row,
            twice.key.file
        ));
    }
    if let Some((name, said, counted)) = contradiction(&reported.summary, &predictions) {
        return Err(format!(
            "summary.json says that `{name}` is {said}, and by {} it is {counted}: one of the two \
             was changed; train or evaluate again",
            predictions_path.display()
        ));
    }
    let initial_path = directory.predictions_of(&reported.split, 0);
    let initial_predictions = match initial_path.is_file() {
        true => Some(read_predictions(&initial_path).map_err(reason)?),
        false => None,
    };
    let mut flat = BTreeMap::new();
    flatten(
        &directory.read_config().map_err(reason)?.table,
        "",
        &mut flat,
    );
    let number = |name| {
        let found = flat.iter().find(|(key, _)| last_part(key) == name);
        found.and_then(|(_, value)| value.parse::<f64>().ok())
    };
    let (weight, seed) = (number(WEIGHT), number(SEED).map(|seed| seed as i64));
    flat.retain(|key, _| {
        let part = last_part(key);
        part != SEED && !(part == WEIGHT && weight.is_some()) && !IGNORED.contains(&part)
    });
    Ok(Run {
        name: directory.name(),
        settings: flat,
        weight,
        seed,
        summary,
        verified,
        reported,
        predictions,
        initial_predictions,
        metrics,
        evaluations: directory.read_evaluations().map_err(reason)?,
    })
}

/// The last part of a dotted key.
fn last_part(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// Turns nested tables into dotted keys and values into text; equal numbers have equal text.
fn flatten(table: &Table, prefix: &str, flat: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            Value::Table(inner) => flatten(inner, &format!("{key}."), flat),
            Value::String(text) => {
                flat.insert(key, text.clone());
            }
            Value::Float(number) => {
                flat.insert(key, number.to_string());
            }
            other => {
                flat.insert(key, other.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_have_equal_text() {
        let flat = |text: &str| {
            let mut flat = BTreeMap::new();
            flatten(&text.parse().expect("the case is TOML"), "", &mut flat);
            flat
        };
        assert_eq!(flat("a = 1\nb.c = 0.1"), flat("a = 1.0\n[b]\nc = 1e-1"));
        assert_ne!(flat("a = 1"), flat("a = 2"));
        let keys: Vec<String> = flat("x = [1, 2]\n[loss]\nprompt_loss_weight = 0")
            .into_keys()
            .collect();
        assert_eq!(keys, ["loss.prompt_loss_weight", "x"]);
    }
}
