//! Flat layouts: sequences side by side in rows, without sharing.

use crate::{Answer, Batch, Role, Sequence, SequenceInfo, Target, packing};

/// Whether a packed document may attend to the documents before it in its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CrossDocumentAttention {
    /// Documents do not see each other; RoPE's positions restart with each.
    #[default]
    Masked,
    /// As in the article's reference: every earlier token of the row is visible, positions run on, and each later
    /// document's first token is a prompt target.
    Allowed,
}

/// Lays each sequence in a row of its own, padded to the longest.
pub fn pad<S: std::borrow::Borrow<Sequence>>(sequences: &[S]) -> Batch {
    let rows: Vec<[&Sequence; 1]> = sequences.iter().map(|s| [s.borrow()]).collect();
    lay_out_packs(&rows, CrossDocumentAttention::Masked)
}

/// Lays sequences one after another in a single row, none of which sees another: no position is padding.
pub fn concatenate<S: std::borrow::Borrow<Sequence>>(sequences: &[S]) -> Batch {
    let row: Vec<&Sequence> = sequences.iter().map(|s| s.borrow()).collect();
    lay_out_packs(&[row], CrossDocumentAttention::Masked)
}

/// Packs sequences shortest-pack-first into rows of at most `max_length` tokens; one batch a pack.
pub fn pack(sequences: &[Sequence], max_length: usize) -> Vec<Batch> {
    let units: Vec<packing::Unit> = (0u32..)
        .zip(sequences)
        .map(|(index, s)| packing::Unit {
            members: vec![index],
            length: s.len(),
        })
        .collect();
    packing::shortest_pack_first(&units, max_length)
        .iter()
        .map(|pack| {
            let row: Vec<&Sequence> = pack
                .members
                .iter()
                .map(|&i| &sequences[i as usize])
                .collect();
            lay_out_packs(&[row], CrossDocumentAttention::Masked)
        })
        .collect()
}

/// Lays each pack's sequences side by side in a row, rows padded to the longest.
pub fn lay_out_packs<S: AsRef<[R]>, R: std::borrow::Borrow<Sequence>>(
    packs: &[S],
    attention: CrossDocumentAttention,
) -> Batch {
    let row_length = |row: &S| row.as_ref().iter().map(|s| s.borrow().len()).sum::<usize>();
    let seq = packs.iter().map(row_length).max().unwrap_or(0);
    let positions = packs.len() * seq;
    let mut batch = Batch {
        shape: [packs.len(), seq],
        token_ids: vec![0; positions],
        position_ids: vec![0; positions],
        // A padding token sees itself, so that no softmax is empty.
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
            place(&mut batch, sequence, row, start, row_end, attention);
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
    attention: CrossDocumentAttention,
) {
    let crosses = attention == CrossDocumentAttention::Allowed;
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
    let mut counts = [0u32; 2];
    let follows = crosses && start > 0 && !sequence.is_empty();
    for depth in (!follows as usize)..sequence.len() {
        let role = if depth == 0 {
            Role::Prompt
        } else {
            sequence.role(depth)
        };
        counts[role as usize] += 1;
        batch.targets.push(Target {
            position: (flat + depth - 1) as u32,
            token: sequence.token_ids[depth],
            role,
            sequences: index..index + 1,
        });
    }
    batch.sequences.push(SequenceInfo {
        example: sequence.example,
        prompt_targets: counts[Role::Prompt as usize],
        completion_targets: counts[Role::Completion as usize],
        tokens: sequence.len() as u32,
        answer: sequence.answer.as_ref().map(|answer| Answer {
            position: flat as u32 + answer.position,
            ..answer.clone()
        }),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

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
            completion_start,
            answer: Some(answer),
        }
    }

    #[test]
    fn padding_sees_only_itself() {
        let batch = pad(&[sequence(0, &[1, 2, 3], 2), sequence(1, &[4, 5], 1)]);
        assert_eq!(batch.shape, [2, 3]);
        assert_eq!(batch.token_ids, [1, 2, 3, 4, 5, 0]);
        assert_eq!(batch.visible_until, [3, 3, 3, 2, 2, 3]);
        assert_eq!(batch.position_ids, [0, 1, 2, 0, 1, 0]);
        let roles: Vec<_> = batch
            .targets
            .iter()
            .map(|t| (t.position, t.token, t.role))
            .collect();
        assert_eq!(
            roles,
            [
                (0, 2, Role::Prompt),
                (1, 3, Role::Completion),
                (3, 5, Role::Completion)
            ]
        );
        assert_eq!(
            batch.sequences[1].answer.as_ref().map(|a| a.position),
            Some(3)
        );
        assert_eq!((batch.tokens(), batch.positions()), (5, 6));
    }

    #[test]
    fn documents_of_a_pack_do_not_see_each_other() {
        let [a, b] = [sequence(0, &[1, 2], 1), sequence(1, &[3, 4, 5], 1)];
        let batch = lay_out_packs(&[[&a, &b]], CrossDocumentAttention::Masked);
        assert_eq!(batch.visible_until, [2, 2, 5, 5, 5]);
        assert_eq!(batch.position_ids, [0, 1, 0, 1, 2]);
        assert_eq!(batch.first_sequence, [0, 0, 1, 1, 1]);
        assert_eq!(batch.targets.len(), 3);
        assert!(batch.sees(0, 3, 2) && !batch.sees(0, 2, 1) && !batch.sees(0, 2, 3));
    }

    #[test]
    fn the_reference_lets_documents_see_each_other() {
        let [a, b] = [sequence(0, &[1, 2], 1), sequence(1, &[3, 4, 5], 1)];
        let batch = lay_out_packs(&[vec![&a, &b], vec![&a]], CrossDocumentAttention::Allowed);
        assert_eq!(batch.visible_until, [5, 5, 5, 5, 5, 2, 2, 3, 4, 5]);
        assert_eq!(batch.position_ids, [0, 1, 2, 3, 4, 0, 1, 0, 0, 0]);
        let later_first = &batch.targets[1];
        assert_eq!(
            (later_first.position, later_first.token, later_first.role),
            (1, 3, Role::Prompt)
        );
        assert_eq!(batch.sequences[1].prompt_targets, 1);
    }
}
