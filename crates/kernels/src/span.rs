//! The spans of a batch: runs of tokens that attend only to each other.

/// A run of tokens of one row that attend only to each other: a document, or a tree of prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) row: usize,
    /// Position in the row of its first token.
    pub(crate) start: usize,
    /// One past the position of its last token.
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }
}

/// The spans of all rows of `seq` tokens, in order. Together they hold every token once.
///
/// # Panics
///
/// Where a token is visible beyond its row: its span would never end, and kernels would leave out
/// its tokens.
pub(crate) fn spans(seq: usize, visible_until: &[u32]) -> Vec<Span> {
    let mut spans = Vec::new();
    for (row, until) in visible_until.chunks_exact(seq.max(1)).enumerate() {
        let (mut start, mut reach) = (0, 0);
        for (token, &until) in until.iter().enumerate() {
            reach = reach.max(until as usize);
            if reach <= token + 1 {
                spans.push(Span {
                    row,
                    start,
                    end: token + 1,
                });
                start = token + 1;
            }
        }
        assert_eq!(
            start, seq,
            "row {row}: a token is visible until {reach}, beyond the row"
        );
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_ends_before_the_first_token_that_sees_none_of_it() {
        let found = spans(5, &[2, 2, 5, 4, 5, 5, 2, 3, 5, 5]);
        let ranges: Vec<_> = found.iter().map(|s| (s.row, s.start, s.end)).collect();
        assert_eq!(ranges, [(0, 0, 2), (0, 2, 5), (1, 0, 5)]);
        assert_eq!(spans(0, &[]), []);
    }

    #[test]
    #[should_panic(expected = "row 1: a token is visible until 3, beyond the row")]
    fn a_span_that_never_ends_is_refused() {
        spans(2, &[1, 2, 3, 2]);
    }
}
