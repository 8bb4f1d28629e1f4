//! Where two texts differ.

use std::ops::Range;

use super::error::EncodeError;

/// The ranges in which two texts differ, without their common beginning and then without their
/// common end; on character boundaries. `None` if the texts are equal.
pub(crate) fn difference(left: &str, right: &str) -> Option<(Range<usize>, Range<usize>)> {
    let start: usize = left
        .chars()
        .zip(right.chars())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a.len_utf8())
        .sum();
    let (left_rest, right_rest) = (&left[start..], &right[start..]);
    if left_rest.is_empty() && right_rest.is_empty() {
        return None;
    }
    let backwards = left_rest.chars().rev().zip(right_rest.chars().rev());
    let end: usize = backwards
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a.len_utf8())
        .sum();
    Some((start..left.len() - end, start..right.len() - end))
}

/// The error for a prompt that a conversation does not begin with.
pub(crate) fn not_a_prefix(prompt: &str, conversation: &str) -> EncodeError {
    let at = difference(prompt, conversation).map_or(0, |(range, _)| range.start);
    let beginning = |text: &str| text[at..].chars().take(24).collect();
    EncodeError::NotAPrefix {
        at,
        prompt: beginning(prompt),
        conversation: beginning(conversation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_keep_to_characters() {
        assert_eq!(difference("xAy", "xBy"), Some((1..2, 1..2)));
        assert_eq!(difference("é", "è"), Some((0..2, 0..2)));
        assert_eq!(difference("aa", "aaa"), Some((2..2, 2..3)));
        assert_eq!(difference("same", "same"), None);
    }
}
