//! What is measured: which work each program does, how much of it, and which rows are timed.

use std::ops::Range;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Serialize;

/// Work that is a process of each round, by the name that `--only` and the records give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(into = "String")]
pub(super) enum Case {
    /// Full fine-tuning, no sharing: speed and memory.
    #[value(name = "full-batch-4")]
    FullBatch4,
    /// Full fine-tuning with shared prefixes.
    #[value(name = "full-batch-16-shared")]
    FullBatch16Shared,
    /// LoRA with shared prefixes, plw 0.1.
    #[value(name = "lora-0.1")]
    LoraTenth,
    /// LoRA with shared prefixes, plw 0.
    #[value(name = "lora-0")]
    LoraZero,
    /// Evaluation without prompt loss.
    Evaluate,
    /// A random model of 8.3 M parameters on synthetic questions.
    SmallModel,
}

/// What `--only` chooses: a case, or what is no process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chosen {
    Case(Case),
    /// Useful floating-point operations of full-batch-4's steps against the gemm peak.
    StepEfficiency,
    /// Each kernel against its plain form.
    Kernels,
}

impl FromStr for Chosen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "step-efficiency" => Ok(Self::StepEfficiency),
            "kernels" => Ok(Self::Kernels),
            _ => Case::from_str(text, false).map(Self::Case).map_err(|_| {
                let cases = Case::value_variants().iter().map(|case| case.name());
                let names: Vec<String> = cases
                    .chain(["step-efficiency", "kernels"].map(str::to_string))
                    .collect();
                format!("there are {}", names.join(", "))
            }),
        }
    }
}

/// Who works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Program {
    Plw,
    Peer,
}

/// Which weights are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trained {
    All,
    /// Adapters on all seven linear layers, of [`LORA_R`] and [`LORA_ALPHA`], without dropout.
    Adapters,
}

/// How plw lays a batch out; the peer always pads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Padded,
    Shared,
}

/// Rank of the adapters.
pub(super) const LORA_R: usize = 16;
/// Scale of the adapters.
pub(super) const LORA_ALPHA: usize = 32;

/// A training run on rows in file order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Training {
    pub(super) prompt_loss_weight: f64,
    pub(super) trained: Trained,
    pub(super) layout: Layout,
    pub(super) batch_size: usize,
    pub(super) steps: usize,
    /// Rows, from 0, whose steps are timed.
    pub(super) timed_rows: Range<u64>,
}

/// What a program is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Job {
    Training(Training),
    /// The first so many validation questions.
    Evaluation {
        questions: usize,
    },
}

/// How much is done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Extent {
    padded: Batches,
    shared: Batches,
    timed_rows: Range<u64>,
    questions: usize,
    small: Batches,
    small_timed_rows: Range<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Batches {
    size: usize,
    steps: usize,
}

impl Extent {
    /// Issue 3's: rows 33 to 80 timed, which are the peer's steps 9 to 20 (it is best at batches of 4) and 3 to 5 of 16.
    pub(super) const WHOLE: Self = Self {
        padded: Batches { size: 4, steps: 20 },
        shared: Batches { size: 16, steps: 5 },
        timed_rows: 32..80,
        questions: 100,
        small: Batches { size: 8, steps: 12 },
        small_timed_rows: 16..96,
    };
    /// As little as shows that everything runs.
    pub(super) const SMOKE: Self = Self {
        padded: Batches { size: 4, steps: 4 },
        shared: Batches { size: 8, steps: 2 },
        timed_rows: 8..16,
        questions: 8,
        small: Batches { size: 8, steps: 3 },
        small_timed_rows: 16..24,
    };

    /// Whether it is enough for speeds to be held against a bar.
    pub(super) fn is_judged(&self) -> bool {
        *self != Self::SMOKE
    }
}

impl From<Case> for String {
    fn from(case: Case) -> Self {
        let value = case.to_possible_value().expect("no case is hidden");
        value.get_name().to_string()
    }
}

impl Case {
    pub(super) fn name(self) -> String {
        self.into()
    }

    /// All cases in their order, or those that `only` needs.
    pub(super) fn runs(only: Option<&[Chosen]>) -> Vec<Self> {
        let is_needed = |case: &Self| {
            only.is_none_or(|only| {
                only.contains(&Chosen::Case(*case))
                    || *case == Self::FullBatch4 && only.contains(&Chosen::StepEfficiency)
            })
        };
        let cases = Self::value_variants().iter().copied();
        cases.filter(is_needed).collect()
    }

    /// The case whose run by the peer this one is compared with: a peer that pads does the same for both.
    pub(super) fn partner(self) -> Self {
        match self {
            Self::FullBatch16Shared => Self::FullBatch4,
            case => case,
        }
    }

    /// Whether it needs real questions.
    pub(super) fn needs_race(self) -> bool {
        self != Self::SmallModel
    }

    /// What a program does in this case.
    pub(super) fn job(self, extent: &Extent, program: Program) -> Job {
        let training = |prompt_loss_weight, trained, layout| {
            // The peer pads whatever we do.
            let layout = match program {
                Program::Plw => layout,
                Program::Peer => Layout::Padded,
            };
            let batches = match layout {
                Layout::Padded => extent.padded,
                Layout::Shared => extent.shared,
            };
            Job::Training(Training {
                prompt_loss_weight,
                trained,
                layout,
                batch_size: batches.size,
                steps: batches.steps,
                timed_rows: extent.timed_rows.clone(),
            })
        };
        match self {
            Self::FullBatch4 => training(FULL_PROMPT_LOSS_WEIGHT, Trained::All, Layout::Padded),
            Self::FullBatch16Shared => {
                training(FULL_PROMPT_LOSS_WEIGHT, Trained::All, Layout::Shared)
            }
            Self::LoraTenth => training(0.1, Trained::Adapters, Layout::Shared),
            Self::LoraZero => training(0.0, Trained::Adapters, Layout::Shared),
            Self::Evaluate => Job::Evaluation {
                questions: extent.questions,
            },
            Self::SmallModel => Job::Training(Training {
                prompt_loss_weight: 1.0,
                trained: Trained::All,
                layout: Layout::Padded,
                batch_size: extent.small.size,
                steps: extent.small.steps,
                timed_rows: extent.small_timed_rows.clone(),
            }),
        }
    }
}

/// The weight of full fine-tuning.
pub(super) const FULL_PROMPT_LOSS_WEIGHT: f64 = 0.1;

impl Training {
    /// Rows read: those of all steps, with some to spare for rows that are too long.
    pub(super) fn rows(&self) -> usize {
        self.batch_size * (self.steps + 2)
    }

    /// One step at another batch size, with nothing to time.
    pub(super) fn first_step(&self, batch_size: usize) -> Self {
        Self {
            batch_size,
            steps: 1,
            timed_rows: 0..0,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_what_is_run() {
        let names = |only: &str| -> Vec<String> {
            let only: Vec<Chosen> = only
                .split(',')
                .map(|name| name.parse().expect("known"))
                .collect();
            let runs = Case::runs(Some(&only));
            runs.into_iter().map(Case::name).collect()
        };
        assert_eq!(names("step-efficiency"), ["full-batch-4"]);
        assert_eq!(
            names("lora-0,full-batch-16-shared"),
            ["full-batch-16-shared", "lora-0"]
        );
        assert!(names("kernels").is_empty());
        assert_eq!(Case::runs(None).len(), 6);
        let refusal = "lora".parse::<Chosen>().expect_err("unknown");
        assert!(refusal.contains("small-model, step-efficiency, kernels"));
    }

    #[test]
    fn both_programs_time_the_same_rows_and_go_through_them() {
        for extent in [Extent::WHOLE, Extent::SMOKE] {
            for case in Case::runs(None) {
                let jobs = [
                    case.job(&extent, Program::Plw),
                    case.partner().job(&extent, Program::Peer),
                ];
                let trainings = jobs.iter().filter_map(|job| match job {
                    Job::Training(training) => Some(training),
                    Job::Evaluation { .. } => None,
                });
                let trainings: Vec<&Training> = trainings.collect();
                for training in &trainings {
                    let timed = &training.timed_rows;
                    assert_eq!(timed, &trainings[0].timed_rows, "{case:?}");
                    let rows = (training.batch_size * training.steps) as u64;
                    assert!(timed.end <= rows, "{case:?}");
                    let size = training.batch_size as u64;
                    assert!(timed.start % size == 0 && timed.end % size == 0, "{case:?}");
                }
            }
        }
    }
}
