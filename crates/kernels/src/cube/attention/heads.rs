//! The heads of a grouped-query attention, as kernels are compiled for them.

/// Heads of a grouped-query attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Heads {
    pub(super) query: usize,
    pub(super) key_value: usize,
}

impl Heads {
    /// Heads of the query that share a head of key and value.
    pub(super) fn group(&self) -> usize {
        self.query / self.key_value
    }

    /// Width of a token's queries, keys and values together.
    pub(super) fn width(&self, head_dim: usize) -> usize {
        (self.query + 2 * self.key_value) * head_dim
    }
}
