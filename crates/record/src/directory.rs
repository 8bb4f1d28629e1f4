//! The directory of a run: which file lies where below `runs/<name>`.

use std::fs;
use std::path::{Path, PathBuf};

use plw_files::{FileError, Verified, remove_partial, sync_file};

use crate::digested::{SUMMARY, read_digested, write_digested};
use crate::{
    EvaluationRow, MetricsRow, RecordError, RunConfig, RunLock, TrainingSummary, read_evaluations,
    read_metrics,
};

const METRICS: &str = "metrics.jsonl";
const EVALUATIONS: &str = "evaluations.jsonl";
const PREDICTIONS: &str = "predictions";
/// What a sweep's workers write about a run that they share.
const EVENTS: &str = "events";

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
        let lock = RunLock::take(&self.path)?;
        let within = [self.predictions_dir(), self.checkpoints()];
        within.iter().try_for_each(|directory| make(directory))?;
        remove_partial(&self.path)?;
        within.iter().try_for_each(remove_partial)?;
        Ok(lock)
    }

    /// Whether a process is writing to the run, as far as the file system tells: some network file
    /// systems have no locks.
    pub fn is_written(&self) -> bool {
        RunLock::is_held(&self.path)
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
        // The last two are what a sweep's workers leave, each in a folder of its own.
        let directories = [
            self.checkpoints(),
            self.predictions_dir(),
            self.path.join("attempts"),
            self.path.join(EVENTS),
        ];
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
        self.path.join(METRICS)
    }

    /// `evaluations.jsonl`.
    pub fn evaluations(&self) -> PathBuf {
        self.path.join(EVALUATIONS)
    }

    /// `predictions`.
    pub fn predictions_dir(&self) -> PathBuf {
        self.path.join(PREDICTIONS)
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
        self.path.join(SUMMARY)
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

    /// Writes `summary.json`, which makes the run complete, with digests of itself and of the other
    /// records. Atomically, and last.
    pub fn write_summary(&self, summary: &TrainingSummary) -> Result<(), RecordError> {
        write_digested(&self.path, SUMMARY, summary, self.digested()?)
    }

    /// Reads `summary.json`, once it and the other records were compared with its digests, and the
    /// settings in `config.toml` with their hash.
    pub fn read_summary(&self) -> Result<(TrainingSummary, Verified), RecordError> {
        let (summary, verified): (TrainingSummary, Verified) = read_digested(&self.path, SUMMARY)?;
        let hash = self.read_config()?.hash();
        match summary.config_hash == hash {
            true => Ok((summary, verified)),
            false => Err(RecordError::Changed {
                path: self.config(),
                problem: format!(
                    "its settings have the hash {hash}, and those of the run had {}",
                    summary.config_hash
                ),
            }),
        }
    }

    /// The records that a summary has digests of. `config.toml` has its settings' hash instead.
    fn digested(&self) -> Result<Vec<String>, RecordError> {
        let mut names: Vec<String> = [METRICS, EVALUATIONS].map(str::to_string).into();
        names.retain(|name| self.path.join(name).exists());
        let folder = self.predictions_dir();
        if folder.exists() {
            for entry in fs::read_dir(&folder).map_err(FileError::cannot("list", &folder))? {
                let entry = entry.map_err(FileError::cannot("list", &folder))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(".parquet") {
                    names.push(format!("{PREDICTIONS}/{name}"));
                }
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether workers of a sweep make attempts at this run: each in a folder of its own, from
    /// which the records come here once they are complete.
    pub fn has_attempts(&self) -> bool {
        self.path.join(EVENTS).is_dir()
    }

    /// The runs of a sweep, by name: the subdirectories of `sweep_dir` that hold a `config.toml`,
    /// or at which attempts are made.
    pub fn all_in(sweep_dir: impl AsRef<Path>) -> Result<Vec<Self>, RecordError> {
        let sweep_dir = sweep_dir.as_ref();
        let mut runs = Vec::new();
        for entry in fs::read_dir(sweep_dir).map_err(FileError::cannot("list", sweep_dir))? {
            let path = entry.map_err(FileError::cannot("list", sweep_dir))?.path();
            let run = Self::new(path);
            if run.config().is_file() || run.has_attempts() {
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
        assert!(!run.is_written());
        let lock = run.create()?;
        assert!(!partial.exists() && run.is_written());
        assert!(matches!(run.create(), Err(RecordError::Locked { .. })));
        drop(lock);
        assert!(!run.is_written());
        run.create()?;
        assert!(!run.is_complete() && run.first_record().is_none());
        assert_eq!(run.name(), "plw-0.1-seed-1");
        assert!(RunDirectory::all_in(directory.path())?.is_empty());
        RunConfig::default().write(run.config())?;
        assert_eq!(run.first_record(), Some(run.config()));
        assert_eq!(RunDirectory::all_in(directory.path())?, [run]);
        Ok(())
    }

    #[test]
    fn a_complete_run_whose_records_were_changed_is_refused()
    -> Result<(), Box<dyn std::error::Error>> {
        let directory = tempfile::tempdir()?;
        let run = RunDirectory::new(directory.path());
        let config = RunConfig {
            table: "seed = 1".parse()?,
        };
        config.write(run.config())?;
        let records = [run.metrics(), run.predictions(3)];
        fs::create_dir(run.predictions_dir())?;
        for record in &records {
            fs::write(record, "rows")?;
        }
        let summary = TrainingSummary {
            config_hash: config.hash(),
            ..TrainingSummary::default()
        };
        run.write_summary(&summary)?;
        assert_eq!(run.read_summary()?, (summary, Verified::ByDigests));
        let refused = |path: &Path| match run.read_summary() {
            Err(error @ RecordError::Changed { .. }) => {
                let error = error.to_string();
                let name = path.file_name().and_then(|name| name.to_str());
                assert!(error.contains(name.expect("a name")), "{error}");
                assert!(error.contains("train or evaluate again"), "{error}");
            }
            other => panic!("{path:?}: {other:?}"),
        };
        for record in records {
            fs::write(&record, "other")?;
            refused(&record);
            fs::remove_file(&record)?;
            refused(&record);
            fs::write(&record, "rows")?;
        }
        fs::write(run.config(), "seed = 2")?;
        refused(&run.config());
        fs::write(run.config(), "seed = 1 # the same")?;
        run.read_summary()?;
        let text = fs::read_to_string(run.summary())?;
        fs::write(run.summary(), text.replace("\"steps\": 0", "\"steps\": 9"))?;
        refused(&run.summary());
        Ok(())
    }
}
