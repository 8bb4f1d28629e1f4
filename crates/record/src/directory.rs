//! The directory of a run: which file lies where below `runs/<name>`.

use std::fs;
use std::path::{Path, PathBuf};

use plw_files::{FileError, remove_partial, sync_file};

use crate::{
    EvaluationRow, MetricsRow, RecordError, RunConfig, RunLock, TrainingSummary, read_evaluations,
    read_metrics,
};

/// A run's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDirectory {
    /// `runs/<name>`.
    pub path: PathBuf,
}

impl RunDirectory {
    /// A run's directory, which may not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Creates the directory where it is missing and removes what killed processes left unfinished
    /// in it. Refuses if another process is writing there.
    pub fn create(&self) -> Result<RunLock, RecordError> {
        let make = |directory: &Path| {
            fs::create_dir_all(directory)
                .map_err(FileError::cannot("make the directory", directory))
        };
        make(&self.path)?;
        let lock = RunLock::take(&self.path)?;
        let within = [self.predictions_dir(), self.checkpoints()];
        within.iter().try_for_each(|directory| make(directory))?;
        remove_partial(&self.path)?;
        within.iter().try_for_each(remove_partial)?;
        Ok(lock)
    }

    /// The first record that the directory holds, of those that a run or an evaluation leaves.
    /// None if a new run can begin here; other files are not its concern.
    pub fn first_record(&self) -> Option<PathBuf> {
        let is_filled = |path: &PathBuf| {
            let mut entries = fs::read_dir(path).into_iter().flatten();
            entries.next().is_some()
        };
        let files = [
            self.config(),
            self.metrics(),
            self.evaluations(),
            self.summary(),
            self.path.join("evaluation.toml"),
            self.path.join("predictions.parquet"),
        ];
        let directories = [self.checkpoints(), self.predictions_dir()];
        let mut files = files.into_iter().filter(|file| file.exists());
        let mut directories = directories.into_iter().filter(is_filled);
        files.next().or_else(|| directories.next())
    }

    /// Makes the rows of both logs durable: a checkpoint counts on those up to its step.
    pub fn sync_logs(&self) -> Result<(), RecordError> {
        for log in [self.metrics(), self.evaluations()] {
            if log.exists() {
                sync_file(log)?;
            }
        }
        Ok(())
    }

    /// Whether the run is complete: `summary.json` is written last.
    pub fn is_complete(&self) -> bool {
        self.summary().is_file()
    }

    /// The run's name, which is that of its directory.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// `config.toml`.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// `evaluations.jsonl`.
    pub fn evaluations(&self) -> PathBuf {
        self.path.join("evaluations.jsonl")
    }

    /// `predictions`.
    pub fn predictions_dir(&self) -> PathBuf {
        self.path.join("predictions")
    }

    /// The predictions of a step on the validation questions: `predictions/step-N.parquet`.
    pub fn predictions(&self, step: u64) -> PathBuf {
        self.predictions_dir().join(format!("step-{step}.parquet"))
    }

    /// The predictions of a step on a split: [`Self::predictions`] for `validation`, else
    /// `predictions/SPLIT-step-N.parquet`.
    pub fn predictions_of(&self, split: &str, step: u64) -> PathBuf {
        match split {
            "validation" => self.predictions(step),
            _ => self
                .predictions_dir()
                .join(format!("{split}-step-{step}.parquet")),
        }
    }

    /// `checkpoints`.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// `summary.json`.
    pub fn summary(&self) -> PathBuf {
        self.path.join("summary.json")
    }

    /// Reads `config.toml`.
    pub fn read_config(&self) -> Result<RunConfig, RecordError> {
        RunConfig::read(self.config())
    }

    /// Reads `metrics.jsonl`.
    pub fn read_metrics(&self) -> Result<Vec<MetricsRow>, RecordError> {
        read_metrics(self.metrics())
    }

    /// Reads `evaluations.jsonl`.
    pub fn read_evaluations(&self) -> Result<Vec<EvaluationRow>, RecordError> {
        read_evaluations(self.evaluations())
    }

    /// Reads `summary.json`.
    pub fn read_summary(&self) -> Result<TrainingSummary, RecordError> {
        TrainingSummary::read(self.summary())
    }

    /// The runs of a sweep, by name: the subdirectories of `sweep_dir` that hold a `config.toml`.
    pub fn all_in(sweep_dir: impl AsRef<Path>) -> Result<Vec<Self>, RecordError> {
        let sweep_dir = sweep_dir.as_ref();
        let mut runs = Vec::new();
        for entry in fs::read_dir(sweep_dir).map_err(FileError::cannot("list", sweep_dir))? {
            let path = entry.map_err(FileError::cannot("list", sweep_dir))?.path();
            let run = Self::new(path);
            if run.config().is_file() {
                runs.push(run);
            }
        }
        runs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_writer() -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let run = RunDirectory::new(directory.path().join("plw-0.1-seed-1"));
        let partial = run.checkpoints().join(".step-1.1-0.partial");
        fs::create_dir_all(&partial)?;
        let lock = run.create()?;
        assert!(!partial.exists());
        assert!(matches!(run.create(), Err(RecordError::Locked { .. })));
        drop(lock);
        run.create()?;
        assert!(!run.is_complete() && run.first_record().is_none());
        assert_eq!(run.name(), "plw-0.1-seed-1");
        assert!(RunDirectory::all_in(directory.path())?.is_empty());
        RunConfig::default().write(run.config())?;
        assert_eq!(run.first_record(), Some(run.config()));
        assert_eq!(RunDirectory::all_in(directory.path())?, [run]);
        Ok(())
    }
}
