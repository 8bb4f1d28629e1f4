//! What is measured: `experiments/bench/cases.toml`.

use std::ops::Range;

use miette::Result;
use serde::Deserialize;

use crate::peer::work::{Layout, Program, Training, Work};
use crate::read::read_tables;
use crate::workspace::Workspace;

/// The file, relative to the workspace.
pub(super) const CASES: &str = "experiments/bench/cases.toml";

/// Work that is a process of each program in each round.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    /// In the order in which they run.
    pub(super) programs: Vec<Program>,
    /// The case whose runs by PyTorch this one's figures are compared with; this one if not given.
    compared_with: Option<String>,
    pub(super) data: Data,
    /// Of an evaluation.
    questions: Option<usize>,
    #[serde(default)]
    training: Training,
    #[serde(default = "concatenated")]
    layout: Layout,
    #[serde(default)]
    batch_size: BatchSize,
    /// Rows, from 0, whose steps are timed; the last of them ends the run.
    #[serde(default)]
    timed_rows: [u64; 2],
}

/// What it is done on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Data {
    RaceTrain,
    RaceValidation,
    /// The questions of a random model of 8.3 M parameters.
    SmallModel,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchSize {
    plw: u64,
    peer: u64,
}

fn concatenated() -> Layout {
    Layout::Concatenated
}

impl Case {
    /// The name of the case whose runs by a program its figures need.
    pub(super) fn compared_with(&self, program: Program) -> &str {
        let partner = self.compared_with.as_deref();
        match program {
            Program::Plw => &self.name,
            _ => partner.unwrap_or(&self.name),
        }
    }

    pub(super) fn needs_race(&self) -> bool {
        self.data != Data::SmallModel
    }

    pub(super) fn timed_rows(&self) -> Range<u64> {
        self.timed_rows[0]..self.timed_rows[1]
    }

    fn batch_size(&self, program: Program) -> u64 {
        match program {
            Program::Plw => self.batch_size.plw,
            _ => self.batch_size.peer,
        }
    }

    /// Whether both programs' steps hold the same rows, so that their losses can be compared.
    pub(super) fn has_same_steps(&self) -> bool {
        self.batch_size.plw == self.batch_size.peer
    }

    /// What a program is asked for.
    pub(super) fn work(&self, program: Program) -> Work {
        let size = self.batch_size(program);
        match self.questions {
            Some(questions) => Work::Evaluation(questions),
            None => Work::Training(
                Training {
                    batch_size: size as usize,
                    steps: (self.timed_rows[1] / size.max(1)) as usize,
                    ..self.training
                },
                self.layout,
            ),
        }
    }
}

/// Reads the cases.
pub(super) fn read_cases(workspace: &Workspace) -> Result<Vec<Case>> {
    read_tables(&workspace.path(CASES), "case")
}

/// The committed cases, for tests.
#[cfg(test)]
pub(super) fn committed_cases() -> Vec<Case> {
    read_cases(&Workspace::find()).expect("they are committed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_time_whole_steps_of_the_same_rows() {
        let cases = committed_cases();
        for case in &cases {
            for program in [Program::Plw, Program::Peer] {
                if let Work::Training(training, _) = case.work(program) {
                    let [start, end] = case.timed_rows;
                    let size = training.batch_size as u64;
                    assert!(size > 0 && start < end, "{case:?}");
                    assert_eq!((start % size, end % size), (0, 0), "{case:?}");
                }
            }
            let partner = case.compared_with(Program::Peer);
            let partner = cases.iter().find(|case| case.name == partner);
            let partner = partner.expect("it is a case");
            assert_eq!(partner.timed_rows, case.timed_rows);
            assert!(partner.programs.contains(&Program::Peer), "{case:?}");
        }
    }
}
