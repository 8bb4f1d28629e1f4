//! What the weighted sum is divided by.

use plw_batch::{Role, SequenceInfo};
use serde::{Deserialize, Serialize};

use crate::TokenWeights;

/// What the weighted sum is divided by, fixed for an optimizer step before its first forward pass.
///
/// A sequence s with `n_p` prompt and `n_c` completion targets has `W_s = w_p n_p + w_c n_c`. Where
/// the data weighs the turns of a conversation, `n_p` and `n_c` are the sums of these weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// The sum of `W_s`: `sum(w l) / sum(w)` of Vaughn 2024.
    #[default]
    WeightSum,
    /// The number of (sequence, target) pairs of non-zero weight (Weighted Instruction Tuning,
    /// arXiv 2507.07817).
    NonzeroCount,
    /// The number of sequences with `W_s > 0`, each pair scaled by `1 / W_s`: every example counts
    /// the same.
    PerExample,
}

impl Normalization {
    /// Every normalization.
    pub const ALL: [Self; 3] = [Self::WeightSum, Self::NonzeroCount, Self::PerExample];

    /// What a sequence adds to the denominator of its step.
    pub(crate) fn denominator(self, sequence: &SequenceInfo, weights: TokenWeights) -> f64 {
        match self {
            Self::WeightSum => weight_sum(sequence, weights),
            Self::NonzeroCount => Role::ALL
                .into_iter()
                .filter(|&role| weights.of(role) > 0.0)
                .map(|role| f64::from(sequence.targets(role).count))
                .sum(),
            Self::PerExample => f64::from(u8::from(weight_sum(sequence, weights) > 0.0)),
        }
    }

    /// What the weights of a sequence's targets are multiplied by. Some target has a weight.
    pub(crate) fn scale(self, sequence: &SequenceInfo, weights: TokenWeights) -> f64 {
        match self {
            Self::WeightSum | Self::NonzeroCount => 1.0,
            Self::PerExample => weight_sum(sequence, weights).recip(),
        }
    }
}

/// W_s.
fn weight_sum(sequence: &SequenceInfo, weights: TokenWeights) -> f64 {
    Role::ALL
        .into_iter()
        .map(|role| weights.of(role) * sequence.targets(role).weight)
        .sum()
}
