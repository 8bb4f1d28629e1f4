//! Layouts without sharing: sequences side by side in rows.

use std::borrow::Borrow;

use crate::{Answer, Batch, Role, Segment, Sequence, SequenceInfo, Target};

/// What the documents of a row attend to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visibility {
    /// Their own tokens. RoPE's positions restart with each document.
    Document,
    /// Every earlier token of the row. Positions continue.
    Row,
}

/// Lays sequences one after another in a single row, without padding. None attends to another.
pub fn concatenate<S: Borrow<Sequence>>(sequences: &[S]) -> Batch {
    lay_out(&[sequences], Visibility::Document)
}

/// Lays each pack out in a row of its own, padded to the longest. Documents attend to those before
/// them in their row: see [`Layout::CrossDocument`](crate::Layout::CrossDocument).
pub(crate) fn cross_document<S: AsRef<[R]>, R: Borrow<Sequence>>(packs: &[S]) -> Batch {
    lay_out(packs, Visibility::Row)
}

fn lay_out<S: AsRef<[R]>, R: Borrow<Sequence>>(packs: &[S], visibility: Visibility) -> Batch {
    let row_length = |row: &S| -> usize { row.as_ref().iter().map(|s| s.borrow().len()).sum() };
    let seq = packs.iter().map(row_length).max().unwrap_or(0);
    let positions = packs.len() * seq;
    let mut batch = Batch {
        shape: [packs.len(), seq],
        token_ids: vec![0; positions],
        position_ids: vec![0; positions],
        // A padding token attends to itself, so that no softmax is empty.
        visible_until: (0..positions)
            .map(|flat| (flat % seq.max(1)) as u32 + 1)
            .collect(),
        first_sequence: vec![0; positions],
        targets: Vec::new(),
        sequences: Vec::new(),
    };
    for (row, pack) in packs.iter().enumerate() {
        let row_end = row_length(pack);
        let mut start = 0;
        for sequence in pack.as_ref() {
            let sequence = sequence.borrow();
            place(&mut batch, sequence, row, start, row_end, visibility);
            start += sequence.len();
        }
    }
    batch
}

/// Puts one sequence at `start` of a row whose real tokens end at `row_end`.
fn place(
    batch: &mut Batch,
    sequence: &Sequence,
    row: usize,
    start: usize,
    row_end: usize,
    visibility: Visibility,
) {
    let crosses = visibility == Visibility::Row;
    let index = batch.sequences.len() as u32;
    let flat = row * batch.shape[1] + start;
    let end = start + sequence.len();
    let visible_until = if crosses { row_end } else { end } as u32;
    let first_depth = if crosses { start } else { 0 };
    for (depth, &token) in sequence.token_ids.iter().enumerate() {
        batch.token_ids[flat + depth] = token;
        batch.position_ids[flat + depth] = (first_depth + depth) as u32;
        batch.visible_until[flat + depth] = visible_until;
        batch.first_sequence[flat + depth] = index;
    }
    let follows = crosses && start > 0;
    let mut targets = sequence.role_targets();
    for (segment, tokens) in Segment::with_tokens(&sequence.segments) {
        for depth in tokens.filter(|&depth| depth > 0 || follows) {
            let role = if depth == 0 {
                Role::Prompt
            } else {
                segment.role
            };
            if depth == 0 {
                targets[role as usize].add(1, segment.weight);
            }
            batch.targets.push(Target {
                position: (flat + depth - 1) as u32,
                token: sequence.token_ids[depth],
                role,
                weight: segment.weight,
                sequences: index..index + 1,
            });
        }
    }
    let [prompt_targets, completion_targets] = targets;
    batch.sequences.push(SequenceInfo {
        example: sequence.example,
        prompt_targets,
        completion_targets,
        tokens: sequence.len() as u32,
        answer: sequence.answer.as_ref().map(|answer| Answer {
            position: flat as u32 + answer.position,
            ..answer.clone()
        }),
    });
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Whether the query at position `query` of a row attends to the key at position `key`.
    pub(crate) fn sees(batch: &Batch, row: usize, query: usize, key: usize) -> bool {
        key <= query && query < batch.visible_until[row * batch.shape[1] + key] as usize
    }

    fn sequence(example: u32, token_ids: &[u32], completion_start: u32) -> Sequence {
        let answer = Answer {
            position: completion_start - 1,
            option_tokens: vec![7, 8],
            correct: 1,
        };
        Sequence {
            example,
            group: 0,
            token_ids: token_ids.to_vec(),
            segments: Segment::prompt_and_completion(completion_start as usize, token_ids.len()),
            answer: Some(answer),
        }
    }

    #[test]
    fn concatenated_documents_do_not_see_each_other() {
        let batch = concatenate(&[sequence(0, &[1, 2], 1), sequence(1, &[3, 4, 5], 2)]);
        assert_eq!(batch.shape, [1, 5]);
        assert_eq!(batch.token_ids, [1, 2, 3, 4, 5]);
        assert_eq!(batch.visible_until, [2, 2, 5, 5, 5]);
        assert_eq!(batch.position_ids, [0, 1, 0, 1, 2]);
        assert_eq!(batch.first_sequence, [0, 0, 1, 1, 1]);
        let targets = batch.targets.iter().map(|t| (t.position, t.token, t.role));
        assert_eq!(
            targets.collect::<Vec<_>>(),
            [
                (0, 2, Role::Completion),
                (2, 4, Role::Prompt),
                (3, 5, Role::Completion)
            ]
        );
        let answer = batch.sequences[1].answer.as_ref();
        assert_eq!(answer.map(|answer| answer.position), Some(3));
        assert_eq!((batch.tokens(), batch.positions()), (5, 5));
        assert!(sees(&batch, 0, 3, 2) && !sees(&batch, 0, 2, 1) && !sees(&batch, 0, 2, 3));
    }

    #[test]
    fn across_documents_rows_are_padded_and_padding_sees_only_itself() {
        let [a, b] = [sequence(0, &[1, 2], 1), sequence(1, &[3, 4, 5], 1)];
        let batch = cross_document(&[vec![&a, &b], vec![&a]]);
        assert_eq!(batch.shape, [2, 5]);
        assert_eq!(batch.token_ids, [1, 2, 3, 4, 5, 1, 2, 0, 0, 0]);
        assert_eq!(batch.visible_until, [5, 5, 5, 5, 5, 2, 2, 3, 4, 5]);
        assert_eq!(batch.position_ids, [0, 1, 2, 3, 4, 0, 1, 0, 0, 0]);
        let later_first = &batch.targets[1];
        assert_eq!(
            (later_first.position, later_first.token, later_first.role),
            (1, 3, Role::Prompt)
        );
        assert_eq!(batch.sequences[1].prompt_targets.count, 1);
        assert_eq!((batch.tokens(), batch.positions()), (7, 10));
    }
}
