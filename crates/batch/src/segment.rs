//! Runs of tokens that count alike.

use crate::Role;

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
}
