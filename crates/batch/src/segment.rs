//! Runs of tokens that count alike.

use std::ops::Range;

use crate::{Role, RoleTargets};

/// A run of a sequence's tokens that have one role and one weight. It begins where the segment
/// before it ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// Whose tokens they are.
    pub role: Role,
    /// What the loss weight of their role is multiplied by: the weight that the data gives to the
    /// turn of a conversation, else 1.
    pub weight: f64,
    /// Index of the first token after it.
    pub end: u32,
}

impl Segment {
    /// The segments of a prompt of `completion_start` tokens and a completion up to `length`, both
    /// of weight 1. An empty part has no segment.
    pub fn prompt_and_completion(completion_start: usize, length: usize) -> Vec<Self> {
        let segment = |role, end: usize| Self {
            role,
            weight: 1.0,
            end: end as u32,
        };
        let mut segments = Vec::new();
        if completion_start > 0 {
            segments.push(segment(Role::Prompt, completion_start));
        }
        if completion_start < length {
            segments.push(segment(Role::Completion, length));
        }
        segments
    }

    /// The number of prompt tokens, if `segments` are what [`Self::prompt_and_completion`] makes of
    /// `length` tokens: most are, and need no more to be kept.
    pub fn prompt_of_two_parts(segments: &[Self], length: usize) -> Option<u32> {
        let prompt = segments.first().filter(|first| first.role == Role::Prompt);
        let prompt = prompt.map_or(0, |first| first.end);
        (segments == Self::prompt_and_completion(prompt as usize, length)).then_some(prompt)
    }

    /// Each segment with the indices of its tokens.
    pub(crate) fn with_tokens(segments: &[Self]) -> impl Iterator<Item = (&Self, Range<usize>)> {
        let mut start = 0;
        segments.iter().map(move |segment| {
            let tokens = start..segment.end as usize;
            start = tokens.end;
            (segment, tokens)
        })
    }

    /// Number of tokens of a role.
    pub fn tokens_of(segments: &[Self], role: Role) -> usize {
        let of_role = Self::with_tokens(segments).filter(|(segment, _)| segment.role == role);
        of_role.map(|(_, tokens)| tokens.len()).sum()
    }

    /// What is predicted of the tokens of segments, in the order of [`Role::ALL`]: all tokens but
    /// the first.
    pub(crate) fn role_targets(segments: &[Self]) -> [RoleTargets; 2] {
        let mut targets = [RoleTargets::default(); 2];
        for (segment, tokens) in Self::with_tokens(segments) {
            let predicted = tokens.end - tokens.start.max(1).min(tokens.end);
            targets[segment.role as usize].add(predicted as u32, segment.weight);
        }
        targets
    }
}
