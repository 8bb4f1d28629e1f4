//! The part of a sequence that a token belongs to.

/// Which part of a sequence a token belongs to, and so which loss weight it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A token that ends at or before the completion's first character.
    Prompt,
    /// A token of the completion, its end of turn included.
    Completion,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Prompt, Self::Completion];
}
