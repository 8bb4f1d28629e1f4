//! What the generation ratio implies for the prompt loss weight, in the words of those who measured
//! it.

use serde::{Deserialize, Serialize};

use crate::statistics::RatioStatistics;

/// Where the advice comes from.
pub const SOURCE: &str = "Huerta-Enochian & Ko 2024, arXiv:2401.13586";

/// Below this, completions are short next to prompts. The bound is ours: the source calls ratios
/// below 1 short and measured one such data set.
const WELL_BELOW_ONE: f64 = 0.5;

/// How much a data set's results depend on the prompt loss weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptLossEffect {
    /// Completions are much shorter than prompts: the weight matters.
    Matters,
    /// Completions are somewhat shorter than prompts: it may.
    MayMatter,
    /// Completions are as long as prompts or longer: it hardly does.
    HardlyMatters,
}

/// What a ratio implies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// In a word.
    pub effect: PromptLossEffect,
    /// In one or two sentences, with the source.
    pub text: String,
}

/// What a data set's ratio implies, by the article's mean; `None` without a ratio.
pub fn advice(statistics: &RatioStatistics) -> Option<Advice> {
    let ratio = statistics.ratio.as_ref()?.trimmed_mean.value;
    let (effect, text) = match ratio {
        ratio if ratio < WELL_BELOW_ONE => (
            PromptLossEffect::Matters,
            format!(
                "Completions are short next to prompts, so the prompt loss weight matters: try \
                 weights from 0.01 to 0.5, which did best on multiple choice and short answers \
                 after training on short completions, while weights near 1 did best on long \
                 answers ({SOURCE}). Loss on prompts was found to help most with long prompts and \
                 brief outputs, or with few examples (Shi et al. 2024, arXiv:2405.14394)."
            ),
        ),
        ratio if ratio < 1.0 => (
            PromptLossEffect::MayMatter,
            format!(
                "Completions are somewhat shorter than prompts, so the prompt loss weight may \
                 matter: compare 0 with a few weights from 0.01 to 0.5, which did best on multiple \
                 choice and short answers after training on short completions ({SOURCE})."
            ),
        ),
        _ => (
            PromptLossEffect::HardlyMatters,
            format!(
                "Completions are about as long as prompts or longer, so expect little from the \
                 prompt loss weight: no relationship with it was found after training on medium \
                 and long completions ({SOURCE})."
            ),
        ),
    };
    Some(Advice { effect, text })
}
