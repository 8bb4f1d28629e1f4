//! How the work of a step or an evaluation is divided among processes.

use std::collections::{BTreeSet, HashMap};

use crate::{Layout, Pack, Sequences};

/// The process of each piece of work, of `processes`, so that all have about as much to do: the
/// largest piece first, each to the process that has the least until then. Of equals the first.
///
/// No process has more than the mean and the largest piece together (Graham 1969, "Bounds on
/// multiprocessing timing anomalies").
///
/// # Panics
///
/// If there is no process.
pub fn divide(costs: &[u64], processes: usize) -> Vec<usize> {
    assert!(processes > 0, "somebody has to do the work");
    let mut largest_first: Vec<usize> = (0..costs.len()).collect();
    largest_first.sort_by_key(|&piece| std::cmp::Reverse(costs[piece]));
    let mut loads: BTreeSet<(u64, usize)> = (0..processes).map(|process| (0, process)).collect();
    let mut owners = vec![0; costs.len()];
    for piece in largest_first {
        let (load, process) = loads.pop_first().expect("there is a process");
        loads.insert((load + costs[piece], process));
        owners[piece] = process;
    }
    owners
}

/// The numbers of the packs that one process should compute, so that no prefix is computed twice:
/// packs with sequences of the same group, where prefixes are shared, up to a micro-batch of them.
/// Both the pieces and the packs of each come in the order of the packs.
///
/// # Panics
///
/// If `packs_per_batch` is 0, or a pack names a sequence that does not exist.
pub fn undivided(
    sequences: &Sequences,
    packs: &[Pack],
    packs_per_batch: usize,
    layout: Layout,
) -> Vec<Vec<usize>> {
    if layout != Layout::SharedPrefixes {
        return (0..packs.len()).map(|pack| vec![pack]).collect();
    }
    // The first pack of the packs that a pack is connected with, by way of others.
    let mut before: Vec<usize> = (0..packs.len()).collect();
    let mut holder: HashMap<u32, usize> = HashMap::new();
    for (number, pack) in packs.iter().enumerate() {
        for &member in &pack.members {
            let other = *holder.entry(sequences.group(member)).or_insert(number);
            let [a, b] = [first(&before, number), first(&before, other)];
            before[a.max(b)] = a.min(b);
        }
    }
    let mut pieces: Vec<Vec<usize>> = vec![Vec::new(); packs.len()];
    (0..packs.len()).for_each(|number| pieces[first(&before, number)].push(number));
    pieces
        .iter()
        .flat_map(|piece| piece.chunks(packs_per_batch))
        .map(<[_]>::to_vec)
        .collect()
}

fn first(before: &[usize], mut pack: usize) -> usize {
    while before[pack] != pack {
        pack = before[pack];
    }
    pack
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Segment, Sequence};
    use proptest::prelude::*;

    #[test]
    fn the_largest_go_first_to_whom_has_least() {
        for (costs, processes, owners) in [
            (&[3, 5, 4, 1][..], 2, &[1, 0, 1, 0][..]),
            (&[2, 2, 2], 3, &[0, 1, 2]),
            (&[7], 4, &[0]),
            (&[], 2, &[]),
        ] {
            assert_eq!(divide(costs, processes), owners, "{costs:?}");
        }
    }

    #[test]
    fn packs_of_a_group_stay_together_up_to_a_micro_batch() {
        let groups = [0, 1, 0, 2, 1, 3, 3, 3];
        let sequences: Sequences = (0..)
            .zip(groups)
            .map(|(example, group)| Sequence {
                example,
                group,
                token_ids: vec![1, 2],
                segments: Segment::prompt_and_completion(1, 2),
                answer: None,
            })
            .collect();
        let of = |members: &[&[u32]], size, layout| {
            let packs = members.iter().map(|m| Pack::of(m.to_vec(), &sequences));
            undivided(&sequences, &packs.collect::<Vec<_>>(), size, layout)
        };
        let single: [&[u32]; 8] = [&[0], &[1], &[2], &[3], &[4], &[5], &[6], &[7]];
        let shared = Layout::SharedPrefixes;
        assert_eq!(
            of(&single, 2, shared),
            [vec![0, 2], vec![1, 4], vec![3], vec![5, 6], vec![7]]
        );
        assert_eq!(of(&single, 2, Layout::Concatenated).len(), 8);
        // The third pack connects the first two.
        let packs: [&[u32]; 4] = [&[0], &[1], &[2, 4], &[3]];
        assert_eq!(of(&packs, 8, shared), [vec![0, 1, 2], vec![3]]);
    }

    proptest! {
        #[test]
        fn all_is_done_once_and_nobody_has_much_more_than_others(
            costs in prop::collection::vec(0u64..1000, 0..60), processes in 1usize..9,
        ) {
            let owners = divide(&costs, processes);
            prop_assert_eq!(owners.len(), costs.len());
            let mut loads = vec![0; processes];
            owners.iter().zip(&costs).for_each(|(&owner, cost)| loads[owner] += cost);
            let total: u64 = costs.iter().sum();
            prop_assert_eq!(loads.iter().sum::<u64>(), total);
            let largest = costs.iter().max().copied().unwrap_or(0);
            let bound = total as f64 / processes as f64 + largest as f64;
            prop_assert!(loads.iter().all(|&load| load as f64 <= bound + 1e-9));
        }

        #[test]
        fn every_pack_is_in_one_piece_and_pieces_share_no_group(
            groups in prop::collection::vec(0u32..6, 1..30), size in 1usize..40, pack in 1usize..4,
        ) {
            let sequences: Sequences = (0..)
                .zip(&groups)
                .map(|(example, &group)| Sequence {
                    example,
                    group,
                    token_ids: vec![1],
                    segments: Segment::prompt_and_completion(0, 1),
                    answer: None,
                })
                .collect();
            let numbers: Vec<u32> = (0..groups.len() as u32).collect();
            let packs: Vec<Pack> = numbers
                .chunks(pack)
                .map(|members| Pack::of(members.to_vec(), &sequences))
                .collect();
            let pieces = undivided(&sequences, &packs, size, Layout::SharedPrefixes);
            let mut all: Vec<usize> = pieces.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..packs.len()).collect::<Vec<_>>());
            prop_assert!(pieces.iter().all(|piece| piece.len() <= size));
            if size >= packs.len() {
                let mut seen = BTreeSet::new();
                for piece in &pieces {
                    let of_piece: BTreeSet<u32> = piece
                        .iter()
                        .flat_map(|&number| &packs[number].members)
                        .map(|&member| groups[member as usize])
                        .collect();
                    prop_assert!(seen.is_disjoint(&of_piece));
                    seen.extend(of_piece);
                }
            }
        }
    }
}
