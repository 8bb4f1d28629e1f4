//! The committed log of how the embedded default's model was made: `assets/pretrain.json`.

use std::path::Path;

use miette::{IntoDiagnostic, Result};
use plw_files::write_json_atomic;
use plw_record::{Machine, RunDirectory};
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::read::read_json;

/// Steps of a stage whose loss is kept.
const KEPT_STEPS: usize = 40;

/// Every stage, in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct PretrainLog {
    stages: Vec<StageLog>,
}

/// What a stage was and came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StageLog {
    name: String,
    /// The commit when its end was logged.
    commit: String,
    /// The settings that the recipe gives; the others are plw's defaults.
    settings: Table,
    steps: u64,
    tokens: u64,
    /// Seconds of its steps.
    seconds: f64,
    tokens_per_second: Option<f64>,
    parameters: u64,
    /// Evenly spaced steps and their losses, the last among them.
    losses: Vec<(u64, f64)>,
    /// Share of the validation questions answered right after the stage, where it had any.
    accuracy: Option<f64>,
    machine: Machine,
}

impl StageLog {
    /// Of a complete run.
    pub(crate) fn of(run: &RunDirectory, settings: Table, commit: &str) -> Result<Self> {
        let (summary, _) = run.read_summary().into_diagnostic()?;
        let metrics = run.read_metrics().into_diagnostic()?;
        let losses: Vec<(u64, f64)> = metrics.iter().map(|row| (row.step, row.loss)).collect();
        Ok(Self {
            name: run.name(),
            commit: commit.to_string(),
            settings,
            steps: summary.steps,
            tokens: summary.tokens,
            seconds: summary.seconds,
            tokens_per_second: summary.tokens_per_second,
            parameters: summary.parameters,
            losses: evenly_spaced(&losses, KEPT_STEPS),
            accuracy: summary
                .last
                .as_ref()
                .map(|row| row.summary.accuracy.accuracy),
            machine: summary.machine,
        })
    }
}

impl PretrainLog {
    /// Reads it; a missing file has no stages.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        match path.is_file() {
            true => read_json(path),
            false => Ok(Self::default()),
        }
    }

    /// Writes it, atomically.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        write_json_atomic(path, self).into_diagnostic()
    }

    /// Adds a stage. One that is logged already and has not run again keeps its commit.
    pub(crate) fn add(&mut self, mut stage: StageLog) {
        let known = self
            .stages
            .iter()
            .position(|known| known.name == stage.name);
        if let Some(known) = known.map(|index| self.stages.remove(index))
            && (&known.settings, &known.losses, known.seconds)
                == (&stage.settings, &stage.losses, stage.seconds)
        {
            stage.commit = known.commit;
        }
        self.stages.push(stage);
    }

    /// Drops the stages that are no longer listed.
    pub(crate) fn keep_only<'a>(&mut self, names: impl Iterator<Item = &'a str> + Clone) {
        self.stages
            .retain(|stage| names.clone().any(|name| name == stage.name));
    }
}

/// So many of the values, evenly spaced, the last among them.
fn evenly_spaced<T: Clone>(values: &[T], count: usize) -> Vec<T> {
    let kept = count.min(values.len());
    (1..=kept)
        .map(|index| values[index * values.len() / kept - 1].clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, commit: &str, seconds: f64) -> StageLog {
        StageLog {
            name: name.to_string(),
            commit: commit.to_string(),
            settings: Table::new(),
            steps: 2,
            tokens: 100,
            seconds,
            tokens_per_second: Some(100.0 / seconds),
            parameters: 10,
            losses: vec![(1, 4.0), (2, 3.5)],
            accuracy: None,
            machine: Machine::default(),
        }
    }

    #[test]
    fn a_stage_that_did_not_run_again_keeps_its_commit() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("assets/pretrain.json");
        let mut log = PretrainLog::read(&path).expect("none yet");
        log.add(stage("words", "first", 3.0));
        log.add(stage("letters", "first", 4.0));
        log.write(&path).expect("written");
        let mut log = PretrainLog::read(&path).expect("read");
        log.add(stage("words", "second", 3.0));
        log.add(stage("letters", "second", 5.0));
        let commits: Vec<&str> = log
            .stages
            .iter()
            .map(|stage| stage.commit.as_str())
            .collect();
        assert_eq!(commits, ["first", "second"]);
        log.keep_only(["letters"].into_iter());
        assert_eq!(log.stages.len(), 1);
    }

    #[test]
    fn the_last_step_is_kept() {
        let values: Vec<u32> = (1..=10).collect();
        assert_eq!(evenly_spaced(&values, 4), [2, 5, 7, 10]);
        assert_eq!(evenly_spaced(&values, 20), values);
        assert!(evenly_spaced::<u32>(&[], 4).is_empty());
    }
}
