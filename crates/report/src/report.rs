//! What a report holds: plain data, as `report.json` has it.
//!
//! Knows what was measured; computes nothing. In the file, a passage's keys keep the names that
//! earlier reports have (`articles`, `article_interval`), so that old and new results compare. A
//! section of accuracy has the keys of earlier reports and no others.

use std::collections::BTreeMap;

use plw_record::Machine;
use serde::Serialize;

use crate::metric::Metric;
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
    /// What the runs are judged by. Not in the file where that is accuracy.
    #[serde(skip_serializing_if = "Metric::is_accuracy")]
    pub metric: Metric,
    /// The split that the runs were evaluated on: `validation` or `test`.
    pub split: String,
    /// Questions that a run was asked (of the first run, where they differ). 0 in a section of
    /// completion loss.
    pub questions: usize,
    /// Examples whose completions were scored, in a section of completion loss alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// Passages that the questions or examples belong to. An example of no passage is one itself.
    #[serde(rename = "articles")]
    pub passages: usize,
    /// Accuracy of guessing: the mean of 1 / options. Null in a section of completion loss.
    pub chance: Option<f64>,
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
    /// What the section's metric says. Its fields are keys of the group.
    #[serde(flatten)]
    pub scores: Scores,
    /// Loss of the prompts' tokens in nats.
    pub prompt_loss: Option<MeanOverSeeds>,
    /// Loss of the answers' tokens in nats.
    pub answer_loss: Option<MeanOverSeeds>,
}

/// The scores of a group, by the section's [`Metric`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scores {
    /// Of runs that were asked questions.
    Answers(AnswerScores),
    /// Of runs that were asked none.
    Completions(CompletionScores),
}

/// How well questions were answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswerScores {
    /// Accuracy by choice among the options.
    pub accuracy: Estimate,
    /// Accuracy by the argmax of the whole vocabulary, which the article reports.
    pub argmax_accuracy: Estimate,
    /// Accuracy by choice, level by level.
    pub by_level: BTreeMap<String, Estimate>,
    /// Loss of the completions' tokens in nats, as the evaluations computed it.
    pub completion_loss: Option<MeanOverSeeds>,
}

/// How well completions were predicted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompletionScores {
    /// Mean loss of a completion token in nats.
    pub completion_loss: Estimate,
    /// exp of the mean of `completion_loss`.
    pub perplexity: f64,
}

impl GroupStatistics {
    /// What the section's metric says.
    pub fn estimate(&self) -> &Estimate {
        match &self.scores {
            Scores::Answers(scores) => &scores.accuracy,
            Scores::Completions(scores) => &scores.completion_loss,
        }
    }

    /// How well questions were answered; none in a section of completion loss.
    pub fn answers(&self) -> Option<&AnswerScores> {
        match &self.scores {
            Scores::Answers(scores) => Some(scores),
            Scores::Completions(_) => None,
        }
    }

    /// Loss of the completions' tokens in nats, over seeds.
    pub fn completion_loss(&self) -> Option<&MeanOverSeeds> {
        match &self.scores {
            Scores::Answers(scores) => scores.completion_loss.as_ref(),
            Scores::Completions(scores) => Some(&scores.completion_loss.over_seeds),
        }
    }
}

impl Section {
    /// Number of the questions or examples that the metric is measured on.
    pub fn items(&self) -> usize {
        self.examples.unwrap_or(self.questions)
    }

    /// What the intervals and tests resample: passages, or examples where each is one of its own.
    pub fn clusters(&self) -> &'static str {
        match self.examples {
            Some(examples) if examples == self.passages => "examples",
            _ => "passages",
        }
    }
}

/// A metric with both of its uncertainties.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// How it varies with the training seed, on these questions or examples.
    #[serde(flatten)]
    pub over_seeds: MeanOverSeeds,
    /// How it varies with the passages, for these runs: the 95 % interval of the cluster bootstrap,
    /// pooled over seeds; null with one passage.
    #[serde(rename = "article_interval")]
    pub passage_interval: Option<[f64; 2]>,
}

/// One weight against another, paired by question or example.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The group compared.
    pub group: String,
    /// The group that it is compared with.
    pub against: String,
    /// Whether the group was chosen because it did best on these same questions.
    pub chosen_as_best: bool,
    /// Questions that all runs of both groups were asked. 0 in a section of completion loss.
    pub questions: usize,
    /// Examples that all runs of both groups were scored on, in a section of completion loss alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// Accuracy of the group minus that of the other; or its completion loss minus that of the
    /// other, over the completion tokens of the examples in common.
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
