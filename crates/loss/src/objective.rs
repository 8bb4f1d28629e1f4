//! What an optimizer step minimizes.

use crate::{Normalization, TokenWeights};

/// What an optimizer step minimizes: `sum(w_i l_i) / D`, with the weights `w_i` of
/// [`TokenWeights`] and the denominator `D` of [`Normalization`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// What each token counts.
    pub weights: TokenWeights,
    /// What the weighted sum is divided by.
    pub normalization: Normalization,
}

impl Objective {
    /// These weights, divided by their sum: the loss of Vaughn 2024.
    pub fn weight_sum(weights: TokenWeights) -> Self {
        Self {
            weights,
            normalization: Normalization::WeightSum,
        }
    }
}
