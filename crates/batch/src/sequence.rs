//! One tokenized example, and what a batch remembers of it.

use std::ops::Range;

use crate::Role;

/// One tokenized example: a prompt, and the completion that follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Which example of the data set this is: its index there. Keys dropout masks and predictions.
    pub example: u32,
    /// The passage (or other shared context) that it belongs to: sequences of one group are
    /// shuffled and packed together.
    pub group: u32,
    /// Prompt and completion.
    pub token_ids: Vec<u32>,
    /// Index of the first completion token; every token from there on is completion.
    pub completion_start: u32,
    /// Where the answer's letter is predicted, if the example is a multiple-choice question.
    pub answer: Option<Answer>,
}

/// Where a multiple-choice question is answered, and by which tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The position whose hidden state predicts the answer's token: in a [`Sequence`] its index
    /// there, in a batch the flat position in `[batch * seq]`.
    pub position: u32,
    /// The token that each option would put there, options in order.
    pub option_tokens: Vec<u32>,
    /// Index of the right option.
    pub correct: u32,
}

impl Answer {
    /// The token of the right option.
    pub fn token(&self) -> u32 {
        self.option_tokens[self.correct as usize]
    }
}

/// What a batch remembers of a sequence that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceInfo {
    /// The example's index in its data set.
    pub example: u32,
    /// Number of prompt tokens that are predicted.
    pub prompt_targets: u32,
    /// Number of completion tokens that are predicted.
    pub completion_targets: u32,
    /// Number of tokens.
    pub tokens: u32,
    /// Where its answer is predicted; positions are flat in `[batch * seq]`.
    pub answer: Option<Answer>,
}

impl SequenceInfo {
    /// Number of targets of a role.
    pub fn targets(&self, role: Role) -> u32 {
        match role {
            Role::Prompt => self.prompt_targets,
            Role::Completion => self.completion_targets,
        }
    }
}

impl Sequence {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.token_ids.len()
    }

    /// Whether it holds no token.
    pub fn is_empty(&self) -> bool {
        self.token_ids.is_empty()
    }

    /// Whose token the one at `index` is.
    pub fn role(&self, index: usize) -> Role {
        if index < self.completion_start as usize {
            Role::Prompt
        } else {
            Role::Completion
        }
    }

    /// The indices of its tokens that are predicted: all but the first.
    pub fn predicted(&self) -> Range<usize> {
        1..self.len().max(1)
    }
}
