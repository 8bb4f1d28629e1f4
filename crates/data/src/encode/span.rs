//! Parts of a rendered text that count alike, and the segments of tokens that they become.

use std::ops::Range;

use plw_batch::{Role, Segment};

/// Bytes of a text that have a role and a weight. Others are prompt of weight 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) bytes: Range<usize>,
    pub(crate) role: Role,
    pub(crate) weight: f64,
}

impl Span {
    /// A completion of weight 1.
    pub(crate) fn completion(bytes: Range<usize>) -> Self {
        Self {
            bytes,
            role: Role::Completion,
            weight: 1.0,
        }
    }
}

/// The segments of tokens, given the bytes of each. `spans` are in order and do not overlap.
///
/// A token belongs to a completion if it holds a byte of one, else to the span that it ends in. A
/// token without text, which the tokenizer added, counts as the one before it does.
pub(crate) fn segments(offsets: &[(usize, usize)], spans: &[Span]) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut counts = (Role::Prompt, 1.0);
    for (index, &(start, end)) in (1u32..).zip(offsets) {
        if start < end {
            counts = of_token(start..end, spans);
        }
        match segments.last_mut() {
            Some(last) if (last.role, last.weight) == counts => last.end = index,
            _ => segments.push(Segment {
                role: counts.0,
                weight: counts.1,
                end: index,
            }),
        }
    }
    segments
}

fn of_token(token: Range<usize>, spans: &[Span]) -> (Role, f64) {
    let first = spans.partition_point(|span| span.bytes.end <= token.start);
    let touched = spans[first..]
        .iter()
        .take_while(|span| span.bytes.start < token.end);
    let touched = touched.filter(|span| !span.bytes.is_empty());
    let found = touched.fold(None, |found: Option<&Span>, span| match found {
        Some(completion) if completion.role == Role::Completion => found,
        _ => Some(span),
    });
    // A token that goes on behind a span of the prompt ends outside it.
    let found = found.filter(|span| span.role == Role::Completion || token.end <= span.bytes.end);
    found.map_or((Role::Prompt, 1.0), |span| (span.role, span.weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_count_as_the_bytes_that_they_hold() {
        let span = |bytes, role, weight| Span {
            bytes,
            role,
            weight,
        };
        let spans = [
            span(2..5, Role::Prompt, 0.5),
            span(5..8, Role::Completion, 1.0),
            span(8..8, Role::Completion, 9.0),
            span(10..12, Role::Completion, 2.0),
        ];
        // Of each token: its bytes, and what it counts.
        let tokens = [
            ((0, 0), Role::Prompt, 1.0),
            ((0, 2), Role::Prompt, 1.0),
            ((2, 4), Role::Prompt, 0.5),
            ((4, 6), Role::Completion, 1.0),
            ((0, 0), Role::Completion, 1.0),
            ((6, 9), Role::Completion, 1.0),
            ((9, 10), Role::Prompt, 1.0),
            ((9, 11), Role::Completion, 2.0),
            ((11, 14), Role::Completion, 2.0),
            ((14, 15), Role::Prompt, 1.0),
            ((15, 15), Role::Prompt, 1.0),
        ];
        let offsets = tokens.map(|(bytes, _, _)| bytes);
        let segments = segments(&offsets, &spans);
        let mut found = Vec::new();
        for segment in &segments {
            let tokens = found.len()..segment.end as usize;
            found.extend(tokens.map(|_| (segment.role, segment.weight)));
        }
        assert_eq!(found, tokens.map(|(_, role, weight)| (role, weight)));
        assert!(
            segments
                .windows(2)
                .all(|w| (w[0].role, w[0].weight) != (w[1].role, w[1].weight))
        );
    }
}
