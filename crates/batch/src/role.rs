//! The part of a sequence that a token belongs to.

/// Which part of a sequence a token belongs to, and so which loss weight it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A token that holds no character of a completion.
    Prompt,
    /// A token of a completion, its end of turn included.
    Completion,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Prompt, Self::Completion];
}
