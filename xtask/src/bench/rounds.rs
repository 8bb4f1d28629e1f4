//! The rounds: in each, every program's run of every case, in turn, and a check that all did the
//! same.

use std::path::{Path, PathBuf};

use miette::{Result, miette};

use super::agreement;
use super::bars::{Quantity, Row};
use super::cases::{Case, Data};
use super::gemm_peak;
use super::record::{Measurement, Record};
use super::small_model::SmallModel;
use crate::peer::inputs::{Level, Race};
use crate::peer::programs::Programs;
use crate::peer::work::{Program, Run};
use crate::progress::Progress;

/// What is measured, how often, and with what.
pub(super) struct Rounds<'a> {
    pub(super) programs: &'a Programs,
    /// The example that measures the machine.
    pub(super) gemm_peak: &'a Path,
    pub(super) files: &'a Files,
    /// Every case that there is.
    pub(super) cases: &'a [Case],
    /// Those that are measured.
    pub(super) chosen: &'a [Case],
    pub(super) rows: &'a [Row],
    pub(super) rounds: usize,
    /// Where what is measured is kept.
    pub(super) saved: PathBuf,
}

/// Models and rows; none where no case needs them.
pub(super) struct Files {
    pub(super) race: Option<Race>,
    pub(super) small: Option<SmallModel>,
}

impl Files {
    /// The model of a case, and the rows that it learns from or answers.
    pub(super) fn of(&self, case: &Case) -> Result<(&Path, PathBuf)> {
        let race = |split: &str| {
            let race = self.race.as_ref()?;
            Some((&*race.model, race.file(Level::Middle, split)))
        };
        let found = match case.data {
            Data::RaceTrain => race("train"),
            Data::RaceValidation => race("validation"),
            Data::SmallModel => {
                let small = self.small.as_ref();
                small.map(|small| (&*small.model, small.questions.clone()))
            }
        };
        found.ok_or_else(|| miette!("there are no questions for {}", case.name))
    }
}

impl Rounds<'_> {
    /// A round's runs, in their order: those of the chosen cases, and those by PyTorch in f32 that
    /// they are compared with.
    fn runs(&self) -> Vec<(&Case, Program)> {
        let mut runs = Vec::new();
        for case in self.chosen {
            let partner = case.compared_with(Program::Peer);
            let partner = self.cases.iter().find(|case| case.name == partner);
            let partner = partner.map(|partner| (partner, Program::Peer));
            let own = case.programs.iter().map(|&program| (case, program));
            for run in partner.into_iter().chain(own) {
                let is_possible = run.1 == Program::Plw || self.programs.pytorch.is_some();
                if is_possible && !runs.contains(&run) {
                    runs.push(run);
                }
            }
        }
        runs
    }

    /// So many processes.
    pub(super) fn processes(&self) -> usize {
        self.rounds * self.runs().len()
    }

    /// Measures what is not measured yet.
    pub(super) fn measure(&self, record: &mut Record, progress: &Progress) -> Result<()> {
        for round in 1..=self.rounds {
            for (case, program) in self.runs() {
                progress.task(&format!("round {round}, {}: {}", case.name, program.name()));
                if record.find(round, &case.name, program).is_none() {
                    let measurement = self.run(round, case, program)?;
                    record.measurements.push(measurement);
                    record.save(&self.saved)?;
                }
            }
            self.compare(record)?;
        }
        Ok(())
    }

    fn run(&self, round: usize, case: &Case, program: Program) -> Result<Measurement> {
        let (model, data) = self.files.of(case)?;
        let run = Run {
            scratch: &self.programs.scratch,
            name: &format!("round-{round}-{}-{}", case.name, program.name()),
            model,
            data: &data,
            initial_adapter: None,
        };
        let run = || self.programs.run(program, &run, &case.work(program));
        // The machine's speed varies: what is compared with it is measured beside it.
        let needs_peak = |row: &Row| row.quantity == Quantity::Efficiency && row.case == case.name;
        let is_f32 = matches!(program, Program::Plw | Program::Peer);
        let (outcome, gemm_peak) = match is_f32 && self.rows.iter().any(needs_peak) {
            true => gemm_peak::beside(self.gemm_peak, run)
                .map(|(outcome, peak)| (outcome, Some(peak)))?,
            false => (run()?, None),
        };
        Ok(Measurement {
            round,
            case: case.name.clone(),
            program,
            gemm_peak,
            outcome,
        })
    }

    /// Checks that PyTorch did what plw did, as far as both have run.
    fn compare(&self, record: &mut Record) -> Result<()> {
        let mut agreements = Vec::new();
        for round in 1..=self.rounds {
            for case in self.cases {
                let ours = record.find(round, &case.name, Program::Plw);
                for program in Program::PEERS {
                    let theirs = record.find(round, case.compared_with(program), program);
                    if let (Some(ours), Some(theirs)) = (ours, theirs) {
                        agreements.extend(agreement::check(case, ours, theirs)?);
                    }
                }
            }
        }
        record.agreements = agreements;
        Ok(())
    }
}
