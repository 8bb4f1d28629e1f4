//! The rows of the table: what each came to over all rounds, and whether its bars are reached.

use serde::Serialize;

use super::bars::{Bar, Judged, Quantity, Row};
use super::cases::Case;
use super::record::{Measurement, Record};
use super::statistics::{Ratio, median, ratio};
use crate::peer::work::Program;

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) work: String,
    pub(super) unit: &'static str,
    /// Of plw, and of PyTorch in each precision that is measured.
    pub(super) programs: Vec<Series>,
    /// plw's figure by that of PyTorch in f32.
    pub(super) ratio: Option<Ratio>,
    /// plw's figure by PyTorch's best, where other precisions are measured too.
    pub(super) ratio_to_best: Option<Ratio>,
    pub(super) bar: Bar,
    /// None where a ratio is asked for and PyTorch's figure is not there.
    pub(super) reached: Option<bool>,
    pub(super) aim_reached: Option<bool>,
}

/// What a program reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Series {
    pub(super) program: Program,
    pub(super) rounds: Vec<f64>,
    pub(super) median: f64,
}

impl Figure {
    /// A program's median; none where it is not measured.
    pub(super) fn median(&self, program: Program) -> Option<f64> {
        let mut programs = self.programs.iter();
        let found = programs.find(|series| series.program == program);
        found.map(|series| series.median)
    }
}

impl Quantity {
    fn unit(self) -> &'static str {
        match self {
            Self::TokensPerSecond => "tokens/s",
            Self::QuestionsPerSecond => "questions/s",
            Self::PeakMemory => "GB",
            Self::Efficiency => "share of peak",
        }
    }

    /// Of a run; none where it does not tell. `operations` are those that its timed rows need.
    fn of(self, measurement: &Measurement, case: &Case, operations: Option<f64>) -> Option<f64> {
        let outcome = &measurement.outcome;
        let timed = outcome.timed(&case.timed_rows());
        match self {
            Self::TokensPerSecond => timed.tokens_per_second(),
            Self::QuestionsPerSecond => match &outcome.evaluation {
                Some(evaluation) => Some(evaluation.questions_per_second),
                None => timed.questions_per_second(),
            },
            Self::PeakMemory => Some(outcome.peak_memory_bytes? as f64 / 1e9),
            Self::Efficiency => {
                let peak = 1e9 * measurement.gemm_peak.as_ref()?.gflops();
                (timed.seconds > 0.0).then_some(operations? / timed.seconds / peak)
            }
        }
    }
}

/// The rows that a record tells, of its first rounds.
pub(super) fn figures(
    rows: &[Row],
    cases: &[Case],
    record: &Record,
    rounds: usize,
    operations: Option<f64>,
) -> Vec<Figure> {
    let figure = |row: &Row| {
        let case = cases.iter().find(|case| case.name == row.case)?;
        let series = |program: Program| {
            let name = case.compared_with(program);
            let found = (1..=rounds).filter_map(|round| record.find(round, name, program));
            let values = found.filter_map(|run| row.quantity.of(run, case, operations));
            let rounds: Vec<f64> = values.collect();
            Some(Series {
                program,
                median: median(&rounds)?,
                rounds,
            })
        };
        let plw = series(Program::Plw)?;
        let peers: Vec<Series> = Program::PEERS.into_iter().filter_map(series).collect();
        let bar = row.bar(&record.setting.machine);
        let in_f32 = peers.iter().find(|peer| peer.program == Program::Peer);
        let ratio = in_f32.and_then(|peer| ratio(&plw.rounds, &peer.rounds));
        let is_reached = |least: f64| bar.judged.is_reached(least, plw.median, ratio);
        Some(Figure {
            name: row.name.clone(),
            work: row.work.clone(),
            unit: row.quantity.unit(),
            ratio,
            ratio_to_best: ratio_to_best(&plw, &peers, bar.judged),
            reached: is_reached(bar.must_reach),
            aim_reached: is_reached(bar.aim_for),
            programs: [vec![plw], peers].concat(),
            bar,
        })
    };
    rows.iter().filter_map(figure).collect()
}

/// plw's figure by the best of PyTorch's; none where PyTorch ran in f32 alone.
fn ratio_to_best(plw: &Series, peers: &[Series], judged: Judged) -> Option<Ratio> {
    let ratios = || {
        let peers = peers.iter();
        peers.filter_map(|peer| ratio(&plw.rounds, &peer.rounds))
    };
    if ratios().count() < 2 {
        return None;
    }
    let by_median = |a: &Ratio, b: &Ratio| a.of_medians.total_cmp(&b.of_medians);
    match judged {
        // The less the better: the best has the largest ratio.
        Judged::RatioAtMost => ratios().max_by(by_median),
        Judged::RatioAtLeast | Judged::ValueAtLeast => ratios().min_by(by_median),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::bars::committed_rows;
    use crate::bench::cases::committed_cases;
    use crate::bench::gemm_peak::peak_of;
    use crate::bench::record::Setting;
    use crate::peer::outcome::Outcome;
    use crate::peer::outcome::cases::{evaluated, trained};

    /// 80 rows of 100 tokens, each for so many seconds.
    fn training(batch: u64, seconds_a_row: f64, peak_memory: u64) -> Outcome {
        let losses = vec![2.0; (80 / batch) as usize];
        let trained = trained(batch, 100 * batch, seconds_a_row * batch as f64, &losses);
        Outcome {
            peak_memory_bytes: Some(peak_memory),
            ..trained
        }
    }

    fn record() -> Record {
        let setting = Setting {
            plw_digest: String::new(),
            cases_digest: String::new(),
            versions: Default::default(),
            machine: Default::default(),
            model: None,
        };
        let mut record = Record::new(String::new(), setting);
        let mut add = |case: &str, program, outcomes: [Outcome; 2]| {
            let measurement = |(round, outcome)| Measurement {
                round,
                case: case.to_string(),
                program,
                gemm_peak: (case == "full-batch-4").then(|| peak_of(200.0)),
                outcome,
            };
            let rounds = (1..).zip(outcomes);
            record.measurements.extend(rounds.map(measurement));
        };
        let full = |seconds: [f64; 2], memory| seconds.map(|each| training(4, each, memory));
        add(
            "full-batch-4",
            Program::Peer,
            full([1.0, 2.0], 6_000_000_000),
        );
        add(
            "full-batch-4",
            Program::Plw,
            full([0.5, 1.6], 3_000_000_000),
        );
        add(
            "full-batch-4",
            Program::PeerBf16,
            full([0.4, 0.8], 4_000_000_000),
        );
        let shared = [training(16, 0.25, 1), training(16, 0.5, 1)];
        add("full-batch-16-shared", Program::Plw, shared);
        let answered = [3.0, 5.0].map(|speed| evaluated(100, 0.5, speed));
        add("evaluate", Program::Plw, answered);
        record
    }

    #[test]
    fn rows_come_from_all_programs_runs() {
        let (rows, cases) = (committed_rows(), committed_cases());
        let found = figures(&rows, &cases, &record(), 2, Some(4.8e12));
        let names: Vec<&str> = found.iter().map(|figure| figure.name.as_str()).collect();
        let [full, shared, evaluate, memory, efficiency] = &found[..] else {
            panic!("there are {names:?}");
        };
        let of_rounds = |figure: &Figure, index: usize| figure.programs[index].rounds.clone();
        assert_eq!(of_rounds(full, 0), [200.0, 62.5]);
        assert_eq!(of_rounds(full, 1), [100.0, 50.0]);
        assert_eq!(full.median(Program::PeerBf16), Some(187.5));
        assert_eq!((full.reached, full.aim_reached), (Some(true), Some(true)));
        let of_medians = |ratio: Option<Ratio>| ratio.map(|ratio| ratio.of_medians);
        assert_eq!(of_medians(full.ratio_to_best), Some(131.25 / 187.5));
        // 48 rows of 0.25 and of 0.5 seconds, against the same runs of PyTorch.
        assert_eq!(of_rounds(shared, 0), [4.0, 2.0]);
        assert_eq!(of_medians(shared.ratio), Some(4.0));
        let answered = evaluate.median(Program::Plw);
        assert_eq!(
            (answered, evaluate.ratio, evaluate.reached),
            (Some(4.0), None, None)
        );
        assert_eq!(of_medians(memory.ratio), Some(0.5));
        assert_eq!(
            (memory.reached, memory.aim_reached),
            (Some(true), Some(false))
        );
        assert_eq!(of_medians(memory.ratio_to_best), Some(0.75));
        // 4.8e12 operations in 24 seconds are 200 GFLOP/s.
        assert_eq!(efficiency.name, "step-efficiency");
        assert_eq!(of_rounds(efficiency, 0)[0], 1.0);
    }
}
