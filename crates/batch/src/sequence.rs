//! One tokenized example, and what a batch remembers of it.

use crate::{Role, Segment};

/// One tokenized example: a prompt and the completion that follows it, or a conversation of several
/// of both.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Which example of the data set this is: its index there. Keys dropout masks and predictions.
    pub example: u32,
    /// The passage (or other shared context) that it belongs to: sequences of one group are
    /// shuffled and packed together.
    pub group: u32,
    /// All its tokens.
    pub token_ids: Vec<u32>,
    /// Which of them are prompt and which completion, in order. No segment is empty, and the last
    /// ends with the last token.
    pub segments: Vec<Segment>,
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

/// The targets of one role in a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RoleTargets {
    /// Number of its tokens that are predicted and have a weight other than 0.
    pub count: u32,
    /// The sum of their [`Segment::weight`]: equal to `count` where the data gives no weights.
    pub weight: f64,
}

impl RoleTargets {
    /// Targets of weight 1.
    pub fn unweighted(count: u32) -> Self {
        Self {
            count,
            weight: f64::from(count),
        }
    }

    /// Adds `count` targets of one weight.
    pub(crate) fn add(&mut self, count: u32, weight: f64) {
        if weight != 0.0 {
            self.count += count;
            self.weight += f64::from(count) * weight;
        }
    }
}

/// What a batch remembers of a sequence that it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceInfo {
    /// The example's index in its data set.
    pub example: u32,
    /// The prompt tokens that are predicted.
    pub prompt_targets: RoleTargets,
    /// The completion tokens that are predicted.
    pub completion_targets: RoleTargets,
    /// Number of tokens.
    pub tokens: u32,
    /// Where its answer is predicted; positions are flat in `[batch * seq]`.
    pub answer: Option<Answer>,
}

impl SequenceInfo {
    /// The targets of a role.
    pub fn targets(&self, role: Role) -> RoleTargets {
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

    /// The segment of the token at `index`.
    ///
    /// # Panics
    ///
    /// If there is no such token.
    pub fn segment(&self, index: usize) -> &Segment {
        let after = self
            .segments
            .partition_point(|segment| segment.end as usize <= index);
        &self.segments[after]
    }

    /// Number of tokens of a role.
    pub fn tokens_of(&self, role: Role) -> usize {
        Segment::tokens_of(&self.segments, role)
    }

    /// What of it is predicted, in the order of [`Role::ALL`]: all tokens but the first.
    pub(crate) fn role_targets(&self) -> [RoleTargets; 2] {
        Segment::role_targets(&self.segments)
    }
}
