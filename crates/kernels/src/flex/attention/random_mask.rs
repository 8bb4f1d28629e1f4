//! Random masks for tests.

use proptest::prelude::*;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::tile::TILE;

/// Kinds of random masks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MaskKind {
    /// Nested ranges, as trees in depth-first order have them.
    Trees,
    /// Documents one after another, then padding.
    Documents,
    /// Any ranges that begin at their token, nested or not.
    Any,
}

/// Any kind of mask.
pub(crate) fn mask_kind() -> impl Strategy<Value = MaskKind> {
    prop::sample::select(vec![MaskKind::Trees, MaskKind::Documents, MaskKind::Any])
}

/// Lengths below one tile, about one tile, and above two.
pub(crate) fn sequence_length() -> impl Strategy<Value = usize> {
    prop_oneof![
        1usize..8,
        8..TILE,
        TILE - 1..TILE + 4,
        2 * TILE - 1..2 * TILE + 9
    ]
}

/// The `visible_until` of a random mask, `[batch * seq]`.
pub(crate) fn random_mask(
    rng: &mut ChaCha8Rng,
    kind: MaskKind,
    batch: usize,
    seq: usize,
) -> Vec<u32> {
    let mut row = || match kind {
        MaskKind::Trees => random_tree(rng, seq),
        MaskKind::Documents => {
            let mut until: Vec<u32> = (1..=seq as u32).collect();
            let mut start = 0;
            while start < seq && rng.random_range(0..4) > 0 {
                let end = rng.random_range(start + 1..=seq);
                until[start..end].fill(end as u32);
                start = end;
            }
            until
        }
        MaskKind::Any => (0..seq)
            .map(|token| rng.random_range(token + 1..=seq) as u32)
            .collect(),
    };
    (0..batch).flat_map(|_| row()).collect()
}

fn random_tree(rng: &mut ChaCha8Rng, seq: usize) -> Vec<u32> {
    let mut until = vec![0; seq];
    let mut open = vec![(0, seq)];
    while let Some((start, end)) = open.pop() {
        if start == end {
            continue;
        }
        let trunk = rng.random_range(start..=end);
        until[start..trunk].fill(end as u32);
        let branch = rng.random_range(trunk..=end);
        open.extend([(trunk, branch), (branch, end)]);
    }
    until
}
