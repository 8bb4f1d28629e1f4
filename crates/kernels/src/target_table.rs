//! The targets of a weighted cross-entropy.

/// Which predictions count, and how much: the columns of a table with one line per target.
///
/// A row of hidden states may predict several targets, as where sequences share a prefix, or none.
#[derive(Debug, Clone, Copy)]
pub struct TargetTable<'a> {
    /// `[targets]`: the row of the hidden states that predicts the target. Rows must not descend.
    pub row: &'a [u32],
    /// `[targets]`: the token to predict.
    pub token: &'a [u32],
    /// `[targets]`: the weight in the loss, with its normalization.
    pub weight: &'a [f32],
}

impl TargetTable<'_> {
    /// Panics unless the table fits `rows` rows of hidden states and `vocab` tokens.
    pub(crate) fn check(&self, rows: usize, vocab: usize) {
        assert!(
            self.row.len() == self.token.len() && self.row.len() == self.weight.len(),
            "the columns of a target table must have one length"
        );
        assert!(
            self.row.is_sorted(),
            "the rows of a target table must not descend"
        );
        assert!(
            self.row.last().is_none_or(|&row| (row as usize) < rows),
            "a target's row is out of range"
        );
        assert!(
            self.token.iter().all(|&token| (token as usize) < vocab),
            "a target's token is not in the vocabulary"
        );
    }
}
