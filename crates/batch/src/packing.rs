//! Which sequences share a row: shortest-pack-first packing.

use crate::Sequences;

/// What is packed as one piece: a sequence, or all sequences of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Indices of its sequences.
    pub members: Vec<u32>,
    /// Their tokens, unshared.
    pub length: usize,
}

/// The sequences that stand together: one, unless packed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pack {
    /// Indices of the sequences, in the order they are laid out.
    pub members: Vec<u32>,
    /// Their tokens, unshared.
    pub length: usize,
}

impl Pack {
    /// The pack of these indices into `sequences`.
    pub fn of(members: Vec<u32>, sequences: &Sequences) -> Self {
        let length = members.iter().map(|&index| sequences.length(index));
        Self {
            length: length.sum(),
            members,
        }
    }
}

/// Packs units, longest first, each into the shortest pack with room for it, else into a new one.
///
/// This is the shortest-pack-first packing of Krell et al. 2021 (arXiv 2107.02027); the reference
/// implementation of Vaughn 2024 uses a windowed form. A unit longer than `max_length` gets a pack
/// of its own; callers split or drop such units first. Packs come in the order of their first unit
/// in `units`, so that a shuffle of the input shuffles the packs.
pub fn shortest_pack_first(units: &[Unit], max_length: usize) -> Vec<Pack> {
    let mut longest_first: Vec<usize> = (0..units.len()).collect();
    longest_first.sort_by_key(|&u| std::cmp::Reverse(units[u].length));
    // Open packs by (length, number): the first is the shortest, and if it has no room, none has.
    let mut open = std::collections::BTreeSet::<(usize, usize)>::new();
    let mut packed: Vec<Vec<usize>> = Vec::new();
    for unit in longest_first {
        let length = units[unit].length;
        let number = match open.first().copied() {
            Some((shortest, number)) if shortest + length <= max_length => {
                open.remove(&(shortest, number));
                open.insert((shortest + length, number));
                number
            }
            _ => {
                packed.push(Vec::new());
                open.insert((length, packed.len() - 1));
                packed.len() - 1
            }
        };
        packed[number].push(unit);
    }
    for pack in &mut packed {
        pack.sort_unstable();
    }
    packed.sort_unstable_by_key(|pack| pack[0]);
    packed
        .iter()
        .map(|pack| Pack {
            members: pack
                .iter()
                .flat_map(|&u| units[u].members.iter().copied())
                .collect(),
            length: pack.iter().map(|&u| units[u].length).sum(),
        })
        .collect()
}

/// How well packing went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PackingStatistics {
    /// Number of sequences.
    pub sequences: usize,
    /// Number of packs.
    pub packs: usize,
    /// Share of the packs' capacity that holds tokens: tokens / (packs * max_length).
    pub density: f64,
    /// Sequences per pack.
    pub compression: f64,
}

impl PackingStatistics {
    /// Of these packs, each with room for `max_length` tokens.
    pub fn of(packs: &[Pack], max_length: usize) -> Self {
        let sequences = packs.iter().map(|p| p.members.len()).sum();
        let tokens: usize = packs.iter().map(|p| p.length).sum();
        let count = packs.len().max(1) as f64;
        Self {
            sequences,
            packs: packs.len(),
            density: tokens as f64 / (count * max_length as f64),
            compression: sequences as f64 / count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn units(lengths: &[usize]) -> Vec<Unit> {
        (0u32..)
            .zip(lengths)
            .map(|(i, &length)| Unit {
                members: vec![i],
                length,
            })
            .collect()
    }

    #[test]
    fn the_shortest_pack_is_filled_first() {
        let packs = shortest_pack_first(&units(&[3, 6, 5, 2]), 9);
        let members: Vec<_> = packs.iter().map(|p| p.members.clone()).collect();
        // 6, 5, then 3 joins the 5 (the shortest), then 2 joins the 6.
        assert_eq!(members, [vec![0, 2], vec![1, 3]]);
    }

    proptest! {
        #[test]
        fn every_unit_is_packed_once_within_the_limit(
            lengths in prop::collection::vec(1usize..40, 1..200), max_length in 40usize..100,
        ) {
            let packs = shortest_pack_first(&units(&lengths), max_length);
            let mut seen: Vec<u32> = packs.iter().flat_map(|p| p.members.clone()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len() as u32).collect::<Vec<_>>());
            for pack in &packs {
                let length: usize = pack.members.iter().map(|&m| lengths[m as usize]).sum();
                prop_assert_eq!(length, pack.length);
                prop_assert!(length <= max_length);
            }
        }
    }
}
