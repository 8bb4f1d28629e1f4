//! The batch: what one forward pass computes, and which of its predictions enter the loss.

use std::ops::Range;

use crate::{Role, SequenceInfo};

/// One prediction that may enter the loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Flat position in `[batch * seq]` whose hidden state predicts it.
    pub position: u32,
    /// The token to predict.
    pub token: u32,
    /// Whose token it is.
    pub role: Role,
    /// What the loss weight of its role is multiplied by: its [`crate::Segment::weight`].
    pub weight: f64,
    /// The batch's sequences that share this prediction; one, unless a prefix is shared.
    pub sequences: Range<u32>,
}

/// Sequences laid out for one forward pass: see [`Layout`](crate::Layout).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// `[batch, seq]`.
    pub shape: [usize; 2],
    /// `[batch * seq]`. Padding, which only `Layout::CrossDocument` needs, is token 0.
    pub token_ids: Vec<u32>,
    /// `[batch * seq]`: depth in the prefix tree, RoPE's position.
    pub position_ids: Vec<u32>,
    /// `[batch * seq]`: token j of a row is seen by its queries `j..visible_until[j]`. A padding
    /// token sees itself.
    pub visible_until: Vec<u32>,
    /// `[batch * seq]`: the first of the batch's sequences that holds the token (padding: 0).
    pub first_sequence: Vec<u32>,
    /// The predictions that may enter the loss, ordered by position.
    pub targets: Vec<Target>,
    /// The sequences laid out here.
    pub sequences: Vec<SequenceInfo>,
}

impl Batch {
    /// Number of tokens of its sequences. A shared token counts once for each of its sequences.
    pub fn tokens(&self) -> usize {
        self.sequences.iter().map(|s| s.tokens as usize).sum()
    }

    /// Number of positions that a forward pass computes, padding included.
    pub fn positions(&self) -> usize {
        self.shape[0] * self.shape[1]
    }
}
