//! What a report holds: plain data, as `report.json` has it.
//!
//! Knows what was measured; computes nothing. In the file, a passage's keys keep the names that
//! earlier reports have (`articles`, `article_interval`), so that old and new results compare.

use std::collections::BTreeMap;

use plw_record::Machine;
use serde::Serialize;

use crate::statistics::{MeanOverSeeds, PairedSeeds};
use crate::sweep::IncompleteRun;

/// How the intervals and tests are computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AnalysisOptions {
    /// Resamples of a bootstrap, and sign patterns of a permutation test.
    pub resamples: usize,
    /// The seed of both.
    pub seed: u64,
}

impl Default for AnalysisOptions {
    fn default() -> Self {
        Self {
            resamples: 10_000,
            seed: 0,
        }
    }
}

/// The results of a sweep; `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The sweep's name.
    pub name: String,
    /// One section for each set of runs that differ only in weight and seed.
    pub sections: Vec<Section>,
    /// The settings that all runs share.
    pub common_settings: BTreeMap<String, String>,
    /// The runs that are left out, and why.
    pub incomplete: Vec<IncompleteRun>,
    /// What a reader must know before trusting a comparison.
    pub warnings: Vec<String>,
    /// The machines that made the runs.
    pub machines: Vec<Machine>,
    /// How the intervals and tests were computed.
    pub options: AnalysisOptions,
}

/// Runs that differ only in weight and seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Section {
    /// The settings that differ between sections, with this section's values.
    pub settings: BTreeMap<String, String>,
    /// The split that the runs were evaluated on: `validation` or `test`.
    pub split: String,
    /// Questions that a run was asked (of the first run, where they differ).
    pub questions: usize,
    /// Passages that the questions belong to.
    #[serde(rename = "articles")]
    pub passages: usize,
    /// Accuracy of guessing: the mean of 1 / options.
    pub chance: f64,
    /// The model before the first step; null where no run kept its predictions.
    pub before: Option<GroupStatistics>,
    /// The runs of each weight, by ascending weight.
    pub groups: Vec<GroupStatistics>,
    /// Each weight against the baseline (1, or the largest), and the best against 0.
    pub comparisons: Vec<Comparison>,
}

/// The runs of one weight.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupStatistics {
    /// The weight as text.
    pub label: String,
    /// The prompt loss weight; null before training, or where the configurations have none.
    pub weight: Option<f64>,
    /// The runs' names.
    pub runs: Vec<String>,
    /// The runs' seeds.
    pub seeds: Vec<Option<i64>>,
    /// Accuracy by choice among the options.
    pub accuracy: Estimate,
    /// Accuracy by the argmax of the whole vocabulary, which the article reports.
    pub argmax_accuracy: Estimate,
    /// Accuracy by choice, level by level.
    pub by_level: BTreeMap<String, Estimate>,
    /// Loss of the completions' tokens in nats.
    pub completion_loss: Option<MeanOverSeeds>,
    /// Loss of the prompts' tokens in nats.
    pub prompt_loss: Option<MeanOverSeeds>,
    /// Loss of the answers' tokens in nats.
    pub answer_loss: Option<MeanOverSeeds>,
}

/// An accuracy with both of its uncertainties.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// How it varies with the training seed, on these questions.
    #[serde(flatten)]
    pub over_seeds: MeanOverSeeds,
    /// How it varies with the passages, for these runs: the 95 % interval of the cluster bootstrap,
    /// pooled over seeds; null with one passage.
    #[serde(rename = "article_interval")]
    pub passage_interval: Option<[f64; 2]>,
}

/// One weight against another, paired by question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The group compared.
    pub group: String,
    /// The group that it is compared with.
    pub against: String,
    /// Whether the group was chosen because it did best on these same questions.
    pub chosen_as_best: bool,
    /// Questions that all runs of both groups were asked.
    pub questions: usize,
    /// Accuracy of the group minus that of the other.
    pub difference: f64,
    /// Its 95 % interval of the cluster bootstrap; null with one passage.
    #[serde(rename = "article_interval")]
    pub passage_interval: Option<[f64; 2]>,
    /// Two-sided p-value of the same bootstrap.
    pub bootstrap_p: Option<f64>,
    /// Two-sided p-value of the sign-flip permutation test on the passages' differences.
    pub permutation_p: f64,
    /// That p-value, Holm-corrected over the section's comparisons.
    pub holm_p: f64,
    /// The difference paired by seed; null with fewer than two shared seeds.
    pub over_seeds: Option<PairedSeeds>,
}
