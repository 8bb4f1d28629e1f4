//! The layout of a batch: how the sequences of a forward pass stand in its rows.

use std::borrow::Borrow;

use crate::{Batch, Pack, Sequence, Sequences, concatenate, share_prefixes, side_by_side};

/// How the sequences of a forward pass stand in its rows.
///
/// The layout decides what a pass costs. Only [`Layout::CrossDocument`] also changes the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// One row, the sequences one after another. None attends to another.
    Concatenated,
    /// One row, a tree of the sequences' prefixes: tokens that sequences begin with in common stand
    /// once. Same losses and gradients as [`Layout::Concatenated`], for fewer tokens.
    #[default]
    SharedPrefixes,
    /// A row for each pack, padded to the longest. Each document attends to all that precede it in
    /// its pack, positions continue, and a later document's first token is a prompt target: what
    /// the reference implementation of Vaughn 2024 computes.
    CrossDocument,
}

impl Layout {
    /// Lays packs of sequences out for one forward pass.
    pub fn lay_out<S: AsRef<[R]>, R: Borrow<Sequence>>(self, packs: &[S]) -> Batch {
        let sequences = || -> Vec<&Sequence> {
            let members = packs.iter().flat_map(AsRef::as_ref);
            members.map(Borrow::borrow).collect()
        };
        match self {
            Self::Concatenated => concatenate(&sequences()),
            Self::SharedPrefixes => share_prefixes(&sequences()),
            Self::CrossDocument => side_by_side::cross_document(packs),
        }
    }
}

/// Lays the packs of an optimizer step out as micro-batches of at most `packs_per_batch` packs.
///
/// # Panics
///
/// If `packs_per_batch` is 0, or a pack names a sequence that does not exist.
pub fn micro_batches(
    sequences: &Sequences,
    packs: &[Pack],
    packs_per_batch: usize,
    layout: Layout,
) -> Vec<Batch> {
    let members = |pack: &Pack| -> Vec<Sequence> {
        let indices = pack.members.iter();
        indices.map(|&index| sequences.get(index)).collect()
    };
    packs
        .chunks(packs_per_batch)
        .map(|packs| layout.lay_out(&packs.iter().map(members).collect::<Vec<_>>()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Segment;

    fn sequence(example: u32, token_ids: &[u32]) -> Sequence {
        Sequence {
            example,
            group: 0,
            token_ids: token_ids.to_vec(),
            segments: Segment::prompt_and_completion(1, token_ids.len()),
            answer: None,
        }
    }

    #[test]
    fn each_layout_has_its_rows() {
        let sequences = Sequences::from_iter([
            sequence(0, &[1, 2, 3]),
            sequence(1, &[1, 2, 4]),
            sequence(2, &[1, 5]),
        ]);
        let packs = [vec![0, 1], vec![2]].map(|members| Pack::of(members, &sequences));
        for (layout, packs_per_batch, shapes) in [
            (Layout::Concatenated, 2, vec![[1, 8]]),
            (Layout::SharedPrefixes, 2, vec![[1, 5]]),
            (Layout::SharedPrefixes, 1, vec![[1, 4], [1, 2]]),
            (Layout::CrossDocument, 2, vec![[2, 6]]),
        ] {
            let batches = micro_batches(&sequences, &packs, packs_per_batch, layout);
            let found: Vec<[usize; 2]> = batches.iter().map(|batch| batch.shape).collect();
            assert_eq!(found, shapes, "{layout:?}");
            let tokens: usize = batches.iter().map(Batch::tokens).sum();
            assert_eq!(tokens, 8, "{layout:?}");
        }
    }
}
