//! Whether two programs did the same work: speeds of different work cannot be compared.

use miette::{Result, miette};

use super::cases::Case;
use super::record::{Agreement, Measurement};
use crate::peer::outcome::{Outcome, Timed, relative_difference};
use crate::peer::work::Program;

/// How far two programs may be apart.
struct Tolerance {
    /// Relative difference of the first step's loss.
    loss: f64,
    /// Difference of the share of questions answered right.
    accuracy: f64,
}

impl Tolerance {
    /// Sums in bf16 differ in the third digit; a broken program differs more.
    fn of(program: Program) -> Self {
        match program {
            Program::Plw | Program::Peer => Self {
                loss: 0.002,
                accuracy: 0.01,
            },
            Program::PeerBf16 | Program::PeerAutocast => Self {
                loss: 0.05,
                accuracy: 0.1,
            },
        }
    }
}

/// Checks that both timed sequences of the same tokens, or answered the same questions, and says
/// how far the losses of steps of the same rows are from each other.
pub(super) fn check(
    case: &Case,
    ours: &Measurement,
    theirs: &Measurement,
) -> Result<Option<Agreement>> {
    let tolerance = Tolerance::of(theirs.program);
    let agreement = same_work(case, &ours.outcome, &theirs.outcome, &tolerance);
    let agreement = agreement.map_err(|difference| {
        miette!(
            help = "programs that do different things cannot be compared: see `cargo xtask parity`",
            "{}: {difference} (plw first, then {})",
            case.name,
            theirs.program.name()
        )
    })?;
    Ok(agreement.map(|[first_step, worst_step]| Agreement {
        round: ours.round,
        case: case.name.clone(),
        program: theirs.program,
        first_step,
        worst_step,
    }))
}

/// Relative differences of the first loss and of the worst; or what is not the same.
fn same_work(
    case: &Case,
    ours: &Outcome,
    theirs: &Outcome,
    tolerance: &Tolerance,
) -> Result<Option<[f64; 2]>, String> {
    if let (Some(ours), Some(theirs)) = (&ours.evaluation, &theirs.evaluation) {
        let difference = (ours.accuracy - theirs.accuracy).abs();
        return match ours.questions == theirs.questions && difference <= tolerance.accuracy + 1e-9 {
            true => Ok(None),
            false => Err(format!(
                "of {} and {} questions {:.1} and {:.1} % are answered right",
                ours.questions,
                theirs.questions,
                100.0 * ours.accuracy,
                100.0 * theirs.accuracy
            )),
        };
    }
    let rows = case.timed_rows();
    let [our_rows, their_rows] = [ours, theirs].map(|outcome| Timed {
        seconds: 0.0,
        ..outcome.timed(&rows)
    });
    if our_rows != their_rows || our_rows.questions != rows.end - rows.start {
        return Err(format!(
            "of the rows {rows:?} {} and {} are timed, with {} and {} tokens",
            our_rows.questions, their_rows.questions, our_rows.tokens, their_rows.tokens
        ));
    }
    if !case.has_same_steps() {
        return Ok(None);
    }
    let pairs = ours.steps.iter().zip(&theirs.steps);
    let differences = pairs.map(|(ours, theirs)| relative_difference(ours.loss, theirs.loss));
    let differences: Vec<f64> = differences.collect();
    let first = differences.first().copied().unwrap_or(f64::INFINITY);
    match first <= tolerance.loss {
        true => Ok(Some([first, differences.into_iter().fold(0.0, f64::max)])),
        false => Err(format!(
            "the first step's losses differ by {:.2} %, more than {} %",
            100.0 * first,
            100.0 * tolerance.loss
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cases::committed_cases;
    use crate::peer::outcome::cases::{evaluated, trained};

    fn check(name: &str, program: Program, ours: Outcome, theirs: Outcome) -> Option<[f64; 2]> {
        let cases = committed_cases();
        let case = cases.iter().find(|case| case.name == name);
        let case = case.expect("it is committed");
        let tolerance = Tolerance::of(program);
        let found = same_work(case, &ours, &theirs, &tolerance);
        found.map(|losses| losses.unwrap_or([0.0; 2])).ok()
    }

    /// 80 rows in batches, each of so many tokens, with one loss but the first and the last.
    fn steps(batch: u64, tokens: u64, first_loss: f64, last_loss: f64) -> Outcome {
        let mut losses = vec![2.0; (80 / batch) as usize];
        losses[0] = first_loss;
        *losses.last_mut().expect("one") = last_loss;
        trained(batch, tokens * batch, 1.0, &losses)
    }

    #[test]
    fn first_losses_that_differ_are_an_error() {
        let full = |program, first: f64, last: f64| {
            let theirs = steps(4, 100, 2.0, 1.0);
            check("full-batch-4", program, steps(4, 100, first, last), theirs)
        };
        assert_eq!(full(Program::Peer, 2.0, 1.5), Some([0.0, 0.5]));
        assert_eq!(full(Program::Peer, 2.005, 1.0), None);
        assert_eq!(full(Program::Peer, f64::NAN, 1.0), None);
        assert!(full(Program::PeerBf16, 2.05, 1.0).is_some());
    }

    #[test]
    fn other_rows_are_an_error() {
        let shared = |ours| {
            let theirs = steps(4, 100, 2.0, 2.0);
            check("full-batch-16-shared", Program::Peer, ours, theirs)
        };
        assert!(shared(steps(16, 100, 3.0, 3.0)).is_some());
        assert!(shared(steps(16, 101, 2.0, 2.0)).is_none());
        assert!(shared(trained(16, 1600, 1.0, &[2.0; 4])).is_none());
    }

    #[test]
    fn other_answers_are_an_error() {
        let evaluate = |program, ours| check("evaluate", program, ours, evaluated(100, 0.5, 1.0));
        assert!(evaluate(Program::Peer, evaluated(100, 0.51, 1.0)).is_some());
        assert!(evaluate(Program::Peer, evaluated(100, 0.48, 1.0)).is_none());
        assert!(evaluate(Program::PeerBf16, evaluated(100, 0.48, 1.0)).is_some());
        assert!(evaluate(Program::PeerBf16, evaluated(99, 0.5, 1.0)).is_none());
    }
}
