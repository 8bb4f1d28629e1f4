//! The rows of issue 3's bar: what each measures, over all rounds, and whether it is reached.

use plw_record::Machine;
use serde::Serialize;

use super::cases::{Case, Extent, Job, Program};
use super::record::{Measurement, Outcome, find};
use super::statistics::{Ratio, median, ratio};

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) work: String,
    pub(super) unit: &'static str,
    /// Round by round.
    pub(super) plw: Vec<f64>,
    /// Round by round; empty without a peer.
    pub(super) peer: Vec<f64>,
    pub(super) plw_median: f64,
    pub(super) peer_median: Option<f64>,
    pub(super) ratio: Option<Ratio>,
    pub(super) bar: Bar,
    /// None where a ratio is asked for and there is no peer, and in a smoke run.
    pub(super) reached: Option<bool>,
    pub(super) aim_reached: Option<bool>,
}

/// What issue 3 asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Bar {
    pub(super) of: Judged,
    pub(super) must_reach: f64,
    pub(super) aim_for: f64,
}

/// What a bar is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Judged {
    /// At least so many times the peer's.
    RatioAtLeast,
    /// At most so many times the peer's.
    RatioAtMost,
    /// At least so much, whatever the peer's.
    ValueAtLeast,
}

impl Judged {
    /// Whether a bar is cleared; none where there is nothing to judge.
    fn is_reached(self, bar: f64, value: f64, ratio: Option<Ratio>) -> Option<bool> {
        match self {
            Self::RatioAtLeast => Some(ratio?.of_medians >= bar),
            Self::RatioAtMost => Some(ratio?.of_medians <= bar),
            Self::ValueAtLeast => Some(value >= bar),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    TokensPerSecond,
    QuestionsPerSecond,
    PeakMemory,
    Efficiency,
}

/// What a row is about.
struct Row {
    case: Case,
    name: &'static str,
    work: &'static str,
    quantity: Quantity,
    of: Judged,
    must_reach: f64,
    aim_for: f64,
    /// Both bars on a Xeon with AVX-512, where they are others.
    on_xeon: Option<[f64; 2]>,
}

const ROWS: [Row; 8] = [
    Row {
        case: Case::FullBatch4,
        name: "full-batch-4",
        work: "full fine-tuning, plw 0.1, batch 4, no sharing",
        quantity: Quantity::TokensPerSecond,
        of: Judged::RatioAtLeast,
        must_reach: 1.2,
        aim_for: 1.33,
        on_xeon: Some([1.5, 1.7]),
    },
    Row {
        case: Case::FullBatch16Shared,
        name: "full-batch-16-shared",
        work: "full fine-tuning, plw 0.1, batch 16, shared prefixes",
        quantity: Quantity::QuestionsPerSecond,
        of: Judged::RatioAtLeast,
        must_reach: 3.0,
        aim_for: 3.4,
        on_xeon: Some([3.5, 4.2]),
    },
    Row {
        case: Case::LoraTenth,
        name: "lora-0.1",
        work: "LoRA r=16, plw 0.1, batch 16, shared prefixes",
        quantity: Quantity::QuestionsPerSecond,
        of: Judged::RatioAtLeast,
        must_reach: 3.5,
        aim_for: 4.5,
        on_xeon: None,
    },
    Row {
        case: Case::LoraZero,
        name: "lora-0",
        work: "LoRA r=16, plw 0, batch 16, shared prefixes",
        quantity: Quantity::QuestionsPerSecond,
        of: Judged::RatioAtLeast,
        must_reach: 4.0,
        aim_for: 5.5,
        on_xeon: None,
    },
    Row {
        case: Case::Evaluate,
        name: "evaluate",
        work: "evaluation without prompt loss",
        quantity: Quantity::QuestionsPerSecond,
        of: Judged::RatioAtLeast,
        must_reach: 2.7,
        aim_for: 3.3,
        on_xeon: None,
    },
    Row {
        case: Case::FullBatch4,
        name: "peak-memory",
        work: "peak memory, full fine-tuning, batch 4",
        quantity: Quantity::PeakMemory,
        of: Judged::RatioAtMost,
        must_reach: 0.6,
        aim_for: 0.4,
        on_xeon: None,
    },
    Row {
        case: Case::SmallModel,
        name: "small-model",
        work: "8.3 M parameters, full training, plw 1, 8 x about 512 tokens, no sharing",
        quantity: Quantity::TokensPerSecond,
        of: Judged::RatioAtLeast,
        must_reach: 1.3,
        aim_for: 1.6,
        on_xeon: None,
    },
    Row {
        case: Case::FullBatch4,
        name: "step-efficiency",
        work: "useful operations of a full-batch-4 step / time / gemm peak",
        quantity: Quantity::Efficiency,
        of: Judged::ValueAtLeast,
        must_reach: 0.75,
        aim_for: 0.85,
        on_xeon: None,
    },
];

/// What an efficiency is computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Work {
    /// Operations that the timed rows need.
    pub(super) operations: f64,
    /// Of the machine, in 10^9 a second.
    pub(super) peak_gflops: f64,
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

    /// Of a run; none where it does not tell.
    fn of(self, outcome: &Outcome, job: &Job, work: Option<Work>) -> Option<f64> {
        let timed = || match job {
            Job::Training(training) => {
                let timed = outcome.training()?.timed(&training.timed_rows);
                (timed.seconds > 0.0).then_some(timed)
            }
            Job::Evaluation { .. } => None,
        };
        match self {
            Self::TokensPerSecond => timed().map(|timed| timed.tokens as f64 / timed.seconds),
            Self::QuestionsPerSecond => match outcome.evaluation() {
                Some(evaluation) => Some(evaluation.questions_per_second),
                None => timed().map(|timed| timed.questions as f64 / timed.seconds),
            },
            Self::PeakMemory => Some(outcome.training()?.peak_memory_bytes? as f64 / 1e9),
            Self::Efficiency => {
                let Work {
                    operations,
                    peak_gflops,
                } = work?;
                timed().map(|timed| operations / timed.seconds / (1e9 * peak_gflops))
            }
        }
    }
}

/// The rows that the measurements tell.
pub(super) fn figures(
    measurements: &[Measurement],
    rounds: usize,
    extent: &Extent,
    work: Option<Work>,
    machine: &Machine,
) -> Vec<Figure> {
    let of_row = |row: &Row| {
        let values = |case: Case, program: Program| -> Vec<f64> {
            let job = case.job(extent, program);
            let found = (1..=rounds).filter_map(|round| find(measurements, round, case, program));
            found
                .filter_map(|outcome| row.quantity.of(outcome, &job, work))
                .collect()
        };
        let plw = values(row.case, Program::Plw);
        let peer = values(row.case.partner(), Program::Peer);
        let plw_median = median(&plw)?;
        let ratio = ratio(&plw, &peer);
        let [must_reach, aim_for] = row
            .on_xeon
            .filter(|_| is_xeon_with_avx512(machine))
            .unwrap_or([row.must_reach, row.aim_for]);
        let is_reached = |bar| {
            let reached = row.of.is_reached(bar, plw_median, ratio);
            reached.filter(|_| extent.is_judged())
        };
        Some(Figure {
            name: row.name.to_string(),
            work: row.work.to_string(),
            unit: row.quantity.unit(),
            peer_median: median(&peer),
            bar: Bar {
                of: row.of,
                must_reach,
                aim_for,
            },
            reached: is_reached(must_reach),
            aim_reached: is_reached(aim_for),
            plw,
            peer,
            plw_median,
            ratio,
        })
    };
    ROWS.iter().filter_map(of_row).collect()
}

fn is_xeon_with_avx512(machine: &Machine) -> bool {
    let has_avx512 = machine
        .vector_extensions
        .iter()
        .any(|extension| extension.starts_with("avx512"));
    machine.processor.contains("Xeon") && has_avx512
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::{EvaluationOutcome, Step, TrainingOutcome};

    /// 20 steps of 4 rows, or 5 of 16, each row 100 tokens and as many seconds.
    fn training(batch: u64, seconds_a_row: f64, peak: u64) -> Outcome {
        let step = |step| Step {
            step,
            loss: 2.0,
            tokens: 100 * batch,
            questions: batch,
            seconds: seconds_a_row * batch as f64,
        };
        Outcome::Training(TrainingOutcome {
            peak_memory_bytes: Some(peak),
            steps: (1..=80 / batch).map(step).collect(),
        })
    }

    fn machine(processor: &str) -> Machine {
        Machine {
            processor: processor.to_string(),
            vector_extensions: vec!["avx2".to_string(), "avx512f".to_string()],
            ..Machine::default()
        }
    }

    fn measurements() -> Vec<Measurement> {
        let evaluation = |questions_per_second| {
            Outcome::Evaluation(EvaluationOutcome {
                questions: 100,
                accuracy: 0.5,
                questions_per_second,
                tokens_per_second: 1.0,
            })
        };
        let of = |case, program, outcomes: [Outcome; 2]| {
            let rounds = (1..).zip(outcomes);
            rounds.map(move |(round, outcome)| Measurement {
                round,
                case,
                program,
                outcome,
            })
        };
        let peer = [
            training(4, 1.0, 6_000_000_000),
            training(4, 2.0, 6_000_000_000),
        ];
        let ours = [
            training(4, 0.5, 3_000_000_000),
            training(4, 1.6, 3_300_000_000),
        ];
        let shared = [training(16, 0.25, 1), training(16, 0.5, 1)];
        let all = of(Case::FullBatch4, Program::Peer, peer)
            .chain(of(Case::FullBatch4, Program::Plw, ours))
            .chain(of(Case::FullBatch16Shared, Program::Plw, shared))
            .chain(of(
                Case::Evaluate,
                Program::Plw,
                [evaluation(3.0), evaluation(5.0)],
            ));
        all.collect()
    }

    #[test]
    fn rows_come_from_both_programs_runs() {
        let work = Work {
            operations: 4.8e12,
            peak_gflops: 200.0,
        };
        let found = figures(
            &measurements(),
            2,
            &Extent::WHOLE,
            Some(work),
            &machine("AMD EPYC"),
        );
        let names: Vec<&str> = found.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "full-batch-4",
                "full-batch-16-shared",
                "evaluate",
                "peak-memory",
                "step-efficiency"
            ]
        );
        let [full, shared, evaluate, memory, efficiency] = &found[..] else {
            panic!("five were named");
        };
        assert_eq!(
            (&full.plw[..], &full.peer[..]),
            (&[200.0, 62.5][..], &[100.0, 50.0][..])
        );
        assert_eq!((full.reached, full.aim_reached), (Some(true), Some(true)));
        // 48 rows of 0.25 and of 0.5 seconds, against the same peer's.
        assert_eq!(
            (&shared.plw[..], &shared.peer[..]),
            (&[4.0, 2.0][..], &[1.0, 0.5][..])
        );
        assert_eq!(shared.ratio.map(|ratio| ratio.of_medians), Some(4.0));
        assert_eq!(
            (evaluate.plw_median, evaluate.ratio, evaluate.reached),
            (4.0, None, None)
        );
        let ratio = memory.ratio.expect("both told").of_medians;
        assert!((ratio - 0.525).abs() < 1e-9, "{ratio}");
        assert_eq!(
            (memory.reached, memory.aim_reached),
            (Some(true), Some(false))
        );
        // 4.8e12 operations in 24 seconds are 200 GFLOP/s.
        assert_eq!(efficiency.plw[0], 1.0);
        assert_eq!(
            (efficiency.reached, efficiency.aim_reached),
            (Some(false), Some(false))
        );
    }

    #[test]
    fn a_smoke_run_is_not_judged() {
        let machine = machine("AMD EPYC");
        let found = figures(&measurements(), 2, &Extent::SMOKE, None, &machine);
        let full = &found[0];
        assert!(full.ratio.is_some() && !full.plw.is_empty());
        for figure in &found {
            assert_eq!((figure.reached, figure.aim_reached), (None, None));
        }
    }

    #[test]
    fn a_xeon_with_avx512_has_other_bars() {
        let bars = |processor| {
            let machine = machine(processor);
            let found = figures(&measurements(), 2, &Extent::WHOLE, None, &machine);
            [found[0].bar, found[2].bar].map(|bar| (bar.must_reach, bar.aim_for))
        };
        assert_eq!(bars("Intel(R) Xeon(R) Platinum"), [(1.5, 1.7), (2.7, 3.3)]);
        assert_eq!(bars("AMD EPYC"), [(1.2, 1.33), (2.7, 3.3)]);
    }
}
