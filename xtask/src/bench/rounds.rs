//! The rounds: in each, every run of the peer next to ours of the same work, and a check that it was the same work.

use miette::{Result, miette};

use super::cases::{Case, Extent, Job, Program, Training};
use super::record::{Agreement, Measurement, Outcome, TrainingOutcome, find};
use super::setting::{Files, Setting};
use super::{peer, plw};
use crate::parity::comparison::relative_difference;
use crate::parity::progress::Progress;

/// Largest relative difference of the first step's loss.
const LOSS_TOLERANCE: f64 = 0.002;
/// Largest difference of the share of questions answered right.
const ACCURACY_TOLERANCE: f64 = 0.01;

/// What is measured, and how often.
pub(super) struct Rounds<'a> {
    pub(super) setting: &'a Setting<'a>,
    pub(super) extent: &'a Extent,
    pub(super) cases: &'a [Case],
    pub(super) rounds: usize,
}

/// Every run, and how far the programs' losses are from each other.
#[derive(Default)]
pub(super) struct Measured {
    pub(super) measurements: Vec<Measurement>,
    pub(super) agreements: Vec<Agreement>,
}

impl Rounds<'_> {
    /// So many processes.
    pub(super) fn processes(&self) -> usize {
        let has_peer = self.setting.peer.is_some();
        let mut partners: Vec<Case> = self.cases.iter().map(|case| case.partner()).collect();
        partners.dedup();
        let of_peer = if has_peer { partners.len() } else { 0 };
        let checks = self.cases.iter().filter(|case| {
            let job = |program| case.job(self.extent, program);
            has_peer && needs_check(&job(Program::Plw), &job(Program::Peer))
        });
        self.rounds * (self.cases.len() + of_peer) + checks.count()
    }

    /// Measures.
    ///
    /// # Errors
    ///
    /// Where a run fails, naming its log, or where two did not do the same.
    pub(super) fn measure(&self, progress: &Progress) -> Result<Measured> {
        let mut measured = Measured::default();
        for round in 1..=self.rounds {
            for &case in self.cases {
                let partner = case.partner();
                let is_there = |measured: &Measured| {
                    find(&measured.measurements, round, partner, Program::Peer).is_some()
                };
                if self.setting.peer.is_some() && !is_there(&measured) {
                    let outcome = self.run(round, partner, Program::Peer, progress)?;
                    measured.add(round, partner, Program::Peer, outcome);
                }
                let ours = self.run(round, case, Program::Plw, progress)?;
                if let Some(theirs) = find(&measured.measurements, round, partner, Program::Peer) {
                    let agreement = self.agreement(round, case, &ours, theirs, progress)?;
                    measured.agreements.extend(agreement);
                }
                measured.add(round, case, Program::Plw, ours);
            }
        }
        Ok(measured)
    }

    fn run(
        &self,
        round: usize,
        case: Case,
        program: Program,
        progress: &Progress,
    ) -> Result<Outcome> {
        let job = case.job(self.extent, program);
        let who = match program {
            Program::Plw => "plw",
            Program::Peer => "peer",
        };
        progress.task(&format!("round {round}, {}: {who}", case.name()));
        let name = format!("round-{round}-{}-{who}", case.name());
        self.start(case, program, &job, &name)
    }

    fn start(&self, case: Case, program: Program, job: &Job, name: &str) -> Result<Outcome> {
        let files = self.files(case)?;
        match (program, &self.setting.peer) {
            (Program::Peer, Some(peer)) => peer::run(self.setting, peer, files, job, name),
            (Program::Peer, None) => Err(miette!("there is no peer to run {}", case.name())),
            (Program::Plw, _) => plw::run(self.setting, files, job, name),
        }
    }

    fn files(&self, case: Case) -> Result<&Files> {
        let files = self.setting.files(case);
        files.ok_or_else(|| miette!("there are no questions for {}", case.name()))
    }

    /// Checks that both did the same.
    fn agreement(
        &self,
        round: usize,
        case: Case,
        ours: &Outcome,
        theirs: &Outcome,
        progress: &Progress,
    ) -> Result<Option<Agreement>> {
        let [our_job, their_job] =
            [Program::Plw, Program::Peer].map(|program| case.job(self.extent, program));
        let (Job::Training(our_work), Job::Training(their_work)) = (&our_job, &their_job) else {
            return same_answers(case, ours, theirs).map(|()| None);
        };
        let (Some(ours), Some(theirs)) = (ours.training(), theirs.training()) else {
            return Err(miette!("{} trained nothing", case.name()));
        };
        same_rows(case, our_work, ours, theirs)?;
        if !needs_check(&our_job, &their_job) {
            return compare_losses(round, case, ours, theirs).map(Some);
        }
        if round > 1 {
            return Ok(None);
        }
        // Steps of other sizes have other losses: one of ours at the peer's size, shared as it is, takes their place.
        let check = Job::Training(our_work.first_step(their_work.batch_size));
        progress.task(&format!(
            "{}: plw's first step at the peer's batch size",
            case.name()
        ));
        let name = format!("check-{}", case.name());
        let checked = self.start(case, Program::Plw, &check, &name)?;
        let checked = checked.training();
        checked
            .map(|checked| compare_losses(round, case, checked, theirs))
            .transpose()
    }
}

impl Measured {
    fn add(&mut self, round: usize, case: Case, program: Program, outcome: Outcome) {
        self.measurements.push(Measurement {
            round,
            case,
            program,
            outcome,
        });
    }
}

/// Whether two programs' steps hold different rows, so that their losses say nothing of each other.
fn needs_check(ours: &Job, theirs: &Job) -> bool {
    match (ours, theirs) {
        (Job::Training(ours), Job::Training(theirs)) => ours.batch_size != theirs.batch_size,
        _ => false,
    }
}

/// Both timed sequences of the same tokens.
fn same_rows(
    case: Case,
    work: &Training,
    ours: &TrainingOutcome,
    theirs: &TrainingOutcome,
) -> Result<()> {
    let counts = [ours, theirs].map(|training| {
        let timed = training.timed(&work.timed_rows);
        (timed.questions, timed.tokens)
    });
    let rows = work.timed_rows.end - work.timed_rows.start;
    if counts[0] == counts[1] && counts[0].0 == rows {
        return Ok(());
    }
    Err(miette!(
        help = "both read the rows in file order and leave out what is longer than 2048 tokens; has one of them changed?",
        "{}: of {rows} rows plw timed {} with {} tokens, the peer {} with {}",
        case.name(),
        counts[0].0,
        counts[0].1,
        counts[1].0,
        counts[1].1
    ))
}

fn compare_losses(
    round: usize,
    case: Case,
    ours: &TrainingOutcome,
    theirs: &TrainingOutcome,
) -> Result<Agreement> {
    let pairs = || ours.steps.iter().zip(&theirs.steps);
    let differences: Vec<f64> = pairs()
        .map(|(ours, theirs)| relative_difference(ours.loss, theirs.loss))
        .collect();
    let first_step = differences.first().copied().unwrap_or(f64::INFINITY);
    if first_step > LOSS_TOLERANCE {
        let losses = pairs()
            .next()
            .map(|(ours, theirs)| [ours.loss, theirs.loss]);
        return Err(miette!(
            help = "what does not compute the same cannot be compared: see `cargo xtask parity`",
            "{}: the first step's losses, plw's and the peer's, are {:?}; they differ by {:.2} %, more than {} %",
            case.name(),
            losses.unwrap_or_default(),
            100.0 * first_step,
            100.0 * LOSS_TOLERANCE
        ));
    }
    let is_whole = ours.steps.len() == theirs.steps.len();
    Ok(Agreement {
        round,
        case,
        first_step,
        worst_step: differences
            .into_iter()
            .reduce(f64::max)
            .filter(|_| is_whole),
    })
}

fn same_answers(case: Case, ours: &Outcome, theirs: &Outcome) -> Result<()> {
    let (Some(ours), Some(theirs)) = (ours.evaluation(), theirs.evaluation()) else {
        return Err(miette!("{} evaluated nothing", case.name()));
    };
    let difference = (ours.accuracy - theirs.accuracy).abs();
    if ours.questions == theirs.questions && difference <= ACCURACY_TOLERANCE + 1e-9 {
        return Ok(());
    }
    Err(miette!(
        help = "what does not compute the same cannot be compared: see `cargo xtask parity`",
        "{}: plw answered {} questions, {:.1} % of them right, the peer {}, {:.1} %",
        case.name(),
        ours.questions,
        100.0 * ours.accuracy,
        theirs.questions,
        100.0 * theirs.accuracy
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cases::{Layout, Trained};
    use crate::bench::record::{EvaluationOutcome, Step};

    fn training(batch: u64, tokens: u64, losses: &[f64]) -> TrainingOutcome {
        let step = |(step, &loss): (u64, &f64)| Step {
            step,
            loss,
            tokens,
            questions: batch,
            seconds: 1.0,
        };
        TrainingOutcome {
            peak_memory_bytes: None,
            steps: (1..).zip(losses).map(step).collect(),
        }
    }

    #[test]
    fn first_losses_that_differ_are_an_error() {
        let theirs = training(4, 100, &[2.0, 1.0]);
        let compare = |losses: &[f64]| {
            compare_losses(1, Case::FullBatch4, &training(4, 100, losses), &theirs)
        };
        let close = compare(&[2.0, 1.5]).expect("the first agrees");
        assert_eq!((close.first_step, close.worst_step), (0.0, Some(0.5)));
        let one_step = compare(&[2.002]).expect("close enough");
        assert_eq!(one_step.worst_step, None);
        for losses in [&[2.005, 1.0][..], &[f64::NAN][..], &[][..]] {
            let report = format!("{:?}", compare(losses).expect_err("too far"));
            assert!(report.contains("full-batch-4"), "{report}");
        }
    }

    #[test]
    fn other_rows_are_an_error() {
        let work = Training {
            prompt_loss_weight: 0.1,
            trained: Trained::All,
            layout: Layout::Shared,
            batch_size: 8,
            steps: 2,
            timed_rows: 8..16,
        };
        let theirs = training(4, 100, &[1.0; 4]);
        let same = |ours| same_rows(Case::FullBatch16Shared, &work, &ours, &theirs);
        same(training(8, 200, &[1.0; 2])).expect("eight rows of 200 tokens");
        let report = same(training(8, 201, &[1.0; 2])).expect_err("one token more");
        let report = format!("{report:?}").replace('\n', " ");
        assert!(report.contains("201"), "{report}");
        same(training(8, 200, &[1.0])).expect_err("the second step is missing");
    }

    #[test]
    fn other_answers_are_an_error() {
        let outcome = |questions, accuracy| {
            Outcome::Evaluation(EvaluationOutcome {
                questions,
                accuracy,
                questions_per_second: 1.0,
                tokens_per_second: 1.0,
            })
        };
        let same = |ours| same_answers(Case::Evaluate, &ours, &outcome(100, 0.5));
        same(outcome(100, 0.51)).expect("one of a hundred");
        same(outcome(100, 0.48)).expect_err("two of a hundred");
        same(outcome(99, 0.5)).expect_err("one is missing");
    }
}
