//! What is measured: part of `results/bench.json`. Written after every run, for `--resume` to start
//! from.

use std::collections::BTreeMap;
use std::path::Path;

use miette::{IntoDiagnostic, Result, miette};
use plw_files::write_json_atomic;
use plw_record::Machine;
use serde::{Deserialize, Serialize};

use super::gemm_peak::GemmPeak;
use super::kernels::KernelFigure;
use crate::peer::outcome::Outcome;
use crate::peer::work::Program;
use crate::read::read_json;

/// Every run of every round, and all that they were made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) commit: String,
    #[serde(flatten)]
    pub(super) setting: Setting,
    pub(super) kernels: Vec<KernelFigure>,
    pub(super) agreements: Vec<Agreement>,
    pub(super) measurements: Vec<Measurement>,
}

/// What measurements must have in common to be in one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Setting {
    /// SHA-256 of the plw binary.
    pub(super) plw_digest: String,
    /// SHA-256 of `cases.toml`.
    pub(super) cases_digest: String,
    pub(super) versions: BTreeMap<String, String>,
    pub(super) machine: Machine,
    /// The name of the directory of the model that learns RACE.
    pub(super) model: Option<String>,
}

/// A run of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Measurement {
    pub(super) round: usize,
    pub(super) case: String,
    pub(super) program: Program,
    /// The machine's speed just before and just after, where the figures need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gemm_peak: Option<GemmPeak>,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// How far PyTorch's losses are from plw's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Agreement {
    pub(super) round: usize,
    pub(super) case: String,
    /// Whom plw is compared with.
    pub(super) program: Program,
    /// Relative difference of the first step's loss.
    pub(super) first_step: f64,
    /// The largest over all steps.
    pub(super) worst_step: f64,
}

impl Record {
    /// Nothing measured yet.
    pub(super) fn new(commit: String, setting: Setting) -> Self {
        Self {
            commit,
            setting,
            kernels: Vec::new(),
            agreements: Vec::new(),
            measurements: Vec::new(),
        }
    }

    /// What an earlier call of the same setting measured; nothing where there was none.
    pub(super) fn resume(path: &Path, commit: String, setting: Setting) -> Result<Self> {
        if !path.is_file() {
            return Ok(Self::new(commit, setting));
        }
        let record: Self = read_json(path)?;
        match record.setting == setting {
            true => Ok(Self { commit, ..record }),
            false => Err(miette!(
                help = "leave out --resume to measure everything anew",
                "{} was measured with another plw, model or machine, other versions or other cases",
                path.display()
            )),
        }
    }

    /// Writes it, atomically.
    pub(super) fn save(&self, path: &Path) -> Result<()> {
        write_json_atomic(path, self).into_diagnostic()
    }

    /// A program's run in a round, if it is done.
    pub(super) fn find(&self, round: usize, case: &str, program: Program) -> Option<&Measurement> {
        let key = (round, case, program);
        let mut measurements = self.measurements.iter();
        measurements.find(|found| (found.round, &*found.case, found.program) == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::outcome::cases::{evaluated, trained};

    #[test]
    fn what_was_measured_is_found_again_by_the_same_binary_only() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("bench.json");
        let setting = Setting {
            plw_digest: "0123".to_string(),
            cases_digest: "89ab".to_string(),
            versions: BTreeMap::new(),
            machine: Machine::default(),
            model: None,
        };
        let resume = |setting: &Setting| Record::resume(&path, "7ab2".to_string(), setting.clone());
        let mut record = resume(&setting).expect("nothing yet");
        assert_eq!(record, Record::new("7ab2".to_string(), setting.clone()));
        let measurement = |case: &str, outcome| Measurement {
            round: 1,
            case: case.to_string(),
            program: Program::PeerBf16,
            gemm_peak: None,
            outcome,
        };
        let outcomes = [trained(8, 4096, 2.5, &[8.3, 8.1]), evaluated(100, 0.4, 2.5)];
        let measurements = ["small-model", "evaluate"].iter().zip(outcomes);
        let measurements = measurements.map(|(case, outcome)| measurement(case, outcome));
        record.measurements.extend(measurements);
        record.save(&path).expect("written");
        let again = resume(&setting).expect("the same");
        assert_eq!(again, record);
        assert!(again.find(1, "evaluate", Program::PeerBf16).is_some());
        assert!(again.find(1, "evaluate", Program::Plw).is_none());
        let other = Setting {
            plw_digest: "4567".to_string(),
            ..setting
        };
        let report = resume(&other).expect_err("another binary");
        assert!(report.to_string().contains("another plw"), "{report}");
    }
}
