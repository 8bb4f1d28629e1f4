//! Sizes of a grouped-query attention.

/// Sizes of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) batch: usize,
    pub(crate) seq: usize,
    pub(crate) heads: usize,
    pub(crate) key_value_heads: usize,
    pub(crate) head_dim: usize,
}

impl Shape {
    pub(crate) fn tokens(&self) -> usize {
        self.batch * self.seq
    }

    /// Width of a token's queries, keys and values together.
    pub(crate) fn width(&self) -> usize {
        (self.heads + 2 * self.key_value_heads) * self.head_dim
    }

    /// Width of a token's output.
    pub(crate) fn output_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// What scores are multiplied by.
    pub(crate) fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }

    /// The columns where a head of the query, and the heads of key and value that it uses, begin.
    pub(super) fn columns(&self, head: usize) -> [usize; 3] {
        let shared = head * self.key_value_heads / self.heads;
        let key = self.heads + shared;
        [head, key, key + self.key_value_heads].map(|head| head * self.head_dim)
    }
}
