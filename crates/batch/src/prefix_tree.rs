//! The shared layout: sequences as a tree of their common prefixes, each prefix computed once.

use std::borrow::Borrow;

use crate::{Answer, Batch, Sequence, SequenceInfo, Target};

/// Lays sequences out in one row so that each prefix that several of them share stands there once:
/// a passage before its questions, a system prompt before the passages.
///
/// The tree is built from token ids (longest common prefix), so it is exact for any template and
/// tokenizer. It stands in the row depth first: the tokens below a node, and the sequences that go
/// through it, are ranges. A branch attends to its prefix and not to its neighbors, and the prefix
/// to no branch. RoPE's positions are depths. Compare Prefix Grouper (arXiv 2506.05433).
///
/// The batch's sequences come in the order of the leaves: those that end at a node, then its
/// branches by first appearance.
pub fn share_prefixes<S: Borrow<Sequence>>(sequences: &[S]) -> Batch {
    let members: Vec<&Sequence> = sequences.iter().map(Borrow::borrow).collect();
    let mut tree = Tree::default();
    if !members.is_empty() {
        tree.grow(&members, 0);
    }
    // Branches are laid out before their trunk's targets are known.
    tree.batch.targets.sort_by_key(|target| target.position);
    let seq = tree.batch.token_ids.len();
    tree.batch.shape = [usize::from(seq > 0), seq];
    tree.batch
}

/// A row that grows node by node.
#[derive(Default)]
struct Tree<'a> {
    batch: Batch,
    /// The batch's sequences, in its order.
    leaves: Vec<&'a Sequence>,
    /// The positions of the tokens from the root to where the tree grows, by depth.
    path: Vec<u32>,
}

impl<'a> Tree<'a> {
    /// Adds the node of the sequences that share their first `depth` tokens, and all below it.
    fn grow(&mut self, members: &[&'a Sequence], depth: usize) {
        let first = self.batch.sequences.len() as u32;
        let start = self.batch.token_ids.len();
        let end = common_prefix(members, depth);
        self.path.truncate(depth);
        for (index, &token) in (depth as u32..).zip(&members[0].token_ids[depth..end]) {
            self.path.push(self.batch.token_ids.len() as u32);
            self.batch.token_ids.push(token);
            self.batch.position_ids.push(index);
            self.batch.first_sequence.push(first);
        }
        // What all below sees is known once all below stands.
        let node = start..self.batch.token_ids.len();
        self.batch.visible_until.resize(node.end, 0);
        let (ended, rest): (Vec<&Sequence>, Vec<&Sequence>) =
            members.iter().partition(|sequence| sequence.len() == end);
        for sequence in ended {
            self.end(sequence);
        }
        for branch in branches(&rest, end) {
            self.grow(&branch, end);
        }
        self.path.truncate(end);
        let after = self.batch.token_ids.len() as u32;
        self.batch.visible_until[node].fill(after);
        for index in depth.max(1)..end {
            self.predict(index, members[0].token_ids[index], first);
        }
    }

    /// A sequence ends at the path's last token.
    fn end(&mut self, sequence: &'a Sequence) {
        let [prompt_targets, completion_targets] = sequence.role_targets();
        self.batch.sequences.push(SequenceInfo {
            example: sequence.example,
            prompt_targets,
            completion_targets,
            tokens: sequence.len() as u32,
            answer: sequence.answer.as_ref().map(|answer| Answer {
                position: self.path[answer.position as usize],
                ..answer.clone()
            }),
        });
        self.leaves.push(sequence);
    }

    /// Lets the path's token before `index` predict `token` for the sequences from `first` on: a
    /// target for every run of them to which it counts alike.
    fn predict(&mut self, index: usize, token: u32, first: u32) {
        let mut start = first;
        let counts = |sequence: &Sequence| {
            let segment = sequence.segment(index);
            (segment.role, segment.weight)
        };
        let runs = self.leaves[first as usize..].chunk_by(|a, b| counts(a) == counts(b));
        for run in runs {
            let (role, weight) = counts(run[0]);
            let end = start + run.len() as u32;
            self.batch.targets.push(Target {
                position: self.path[index - 1],
                token,
                role,
                weight,
                sequences: start..end,
            });
            start = end;
        }
    }
}

/// How many first tokens all of these share, `depth` of them being known.
fn common_prefix(members: &[&Sequence], depth: usize) -> usize {
    let [first, others @ ..] = members else {
        return depth;
    };
    let of = |other: &&Sequence| {
        let pairs = first.token_ids[depth..]
            .iter()
            .zip(&other.token_ids[depth..]);
        depth + pairs.take_while(|(a, b)| a == b).count()
    };
    others.iter().map(of).min().unwrap_or(first.len())
}

/// The sequences by their token at `depth`, which all of them have, by first appearance.
fn branches<'a>(members: &[&'a Sequence], depth: usize) -> Vec<Vec<&'a Sequence>> {
    let mut branches: Vec<Vec<&Sequence>> = Vec::new();
    for &sequence in members {
        let token = sequence.token_ids[depth];
        match branches
            .iter_mut()
            .find(|branch| branch[0].token_ids[depth] == token)
        {
            Some(branch) => branch.push(sequence),
            None => branches.push(vec![sequence]),
        }
    }
    branches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::side_by_side::tests::sees;
    use crate::{Role, RoleTargets, Segment, concatenate};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sequence(example: u32, token_ids: &[u32], completion_start: u32) -> Sequence {
        let answer = (completion_start > 0).then(|| Answer {
            position: completion_start - 1,
            option_tokens: vec![7, 8],
            correct: 1,
        });
        Sequence {
            example,
            group: 0,
            token_ids: token_ids.to_vec(),
            segments: Segment::prompt_and_completion(completion_start as usize, token_ids.len()),
            answer,
        }
    }

    #[test]
    fn a_passage_stands_before_its_questions() {
        let batch = share_prefixes(&[
            sequence(0, &[1, 2, 3, 4, 9], 4),
            sequence(1, &[1, 5], 1),
            sequence(2, &[1, 2, 3, 6, 9], 4),
        ]);
        assert_eq!(batch.shape, [1, 8]);
        assert_eq!(batch.token_ids, [1, 2, 3, 4, 9, 6, 9, 5]);
        assert_eq!(batch.position_ids, [0, 1, 2, 3, 4, 3, 4, 1]);
        assert_eq!(batch.visible_until, [8, 7, 7, 5, 5, 7, 7, 8]);
        assert_eq!(batch.first_sequence, [0, 0, 0, 0, 0, 1, 1, 2]);
        let examples: Vec<u32> = batch.sequences.iter().map(|s| s.example).collect();
        assert_eq!(examples, [0, 2, 1]);
        let targets: Vec<_> = batch
            .targets
            .iter()
            .map(|t| (t.position, t.token, t.role, t.sequences.clone()))
            .collect();
        assert_eq!(
            targets,
            [
                (0, 2, Role::Prompt, 0..2),
                (0, 5, Role::Completion, 2..3),
                (1, 3, Role::Prompt, 0..2),
                (2, 4, Role::Prompt, 0..1),
                (2, 6, Role::Prompt, 1..2),
                (3, 9, Role::Completion, 0..1),
                (5, 9, Role::Completion, 1..2),
            ]
        );
        let answers: Vec<u32> = batch
            .sequences
            .iter()
            .filter_map(|s| Some(s.answer.as_ref()?.position))
            .collect();
        assert_eq!(answers, [3, 5, 0]);
        assert_eq!((batch.tokens(), batch.positions()), (12, 8));
    }

    #[test]
    fn a_token_that_is_prompt_to_one_and_completion_to_another_is_two_targets() {
        let batch = share_prefixes(&[sequence(0, &[1, 2, 3], 2), sequence(1, &[1, 2, 3], 1)]);
        assert_eq!(batch.token_ids, [1, 2, 3]);
        let targets: Vec<_> = batch
            .targets
            .iter()
            .map(|t| (t.position, t.role, t.sequences.clone()))
            .collect();
        assert_eq!(
            targets,
            [
                (0, Role::Prompt, 0..1),
                (0, Role::Completion, 1..2),
                (1, Role::Completion, 0..2),
            ]
        );
    }

    #[test]
    fn nothing_is_laid_out_of_nothing() {
        let batch = share_prefixes::<Sequence>(&[]);
        assert_eq!((batch.shape, batch.targets.len()), ([0, 0], 0));
    }

    fn sequences() -> impl Strategy<Value = Vec<Sequence>> {
        // Few tokens, so that sequences often share prefixes, are equal, or begin one another.
        let one = (prop::collection::vec(0u32..3, 1..9), 1u32..9, 0usize..8);
        prop::collection::vec(one, 1..12).prop_map(|all| {
            (0u32..)
                .zip(all)
                .map(|(example, (token_ids, start, turn))| {
                    let length = token_ids.len();
                    let mut made = sequence(example, &token_ids, start.min(length as u32));
                    // Some are conversations: one turn more, of a weight.
                    if turn > 0 && turn < length {
                        made.segments = turns(turn, length);
                    }
                    made
                })
                .collect()
        })
    }

    fn turns(turn: usize, length: usize) -> Vec<Segment> {
        let segment = |role, weight, end: usize| Segment {
            role,
            weight,
            end: end as u32,
        };
        vec![
            segment(Role::Completion, 0.5, turn),
            segment(Role::Prompt, 1.0, length),
        ]
    }

    type Prediction = (u32, u32, u32, Role, f64);

    /// (example, depth, token, role, weight) of every target of every sequence.
    fn predictions(batch: &Batch) -> Vec<Prediction> {
        let mut all: Vec<_> = batch
            .targets
            .iter()
            .flat_map(|target| {
                let depth = batch.position_ids[target.position as usize] + 1;
                let sharing = target.sequences.start as usize..target.sequences.end as usize;
                batch.sequences[sharing]
                    .iter()
                    .map(move |s| (s.example, depth, target.token, target.role, target.weight))
            })
            .collect();
        all.sort_by_key(|&(example, depth, token, _, _)| (example, depth, token));
        all
    }

    /// Targets of each sequence by role, in the order of the examples.
    fn counts(batch: &Batch) -> Vec<(u32, RoleTargets, RoleTargets)> {
        let of = |s: &SequenceInfo| (s.example, s.prompt_targets, s.completion_targets);
        let mut all: Vec<_> = batch.sequences.iter().map(of).collect();
        all.sort_by_key(|(example, ..)| *example);
        all
    }

    proptest! {
        #[test]
        fn each_prefix_stands_once_and_predictions_are_those_of_its_sequences(
            sequences in sequences(),
        ) {
            let batch = share_prefixes(&sequences);
            let prefixes: BTreeSet<&[u32]> = sequences
                .iter()
                .flat_map(|s| (1..=s.len()).map(|length| &s.token_ids[..length]))
                .collect();
            prop_assert_eq!(batch.positions(), prefixes.len());
            prop_assert!(batch.targets.is_sorted_by_key(|target| target.position));
            let unshared = concatenate(&sequences);
            prop_assert_eq!(predictions(&batch), predictions(&unshared));
            prop_assert_eq!(counts(&batch), counts(&unshared));
            for (example, prompt, completion) in counts(&batch) {
                let own = predictions(&batch).into_iter().filter(|(of, ..)| *of == example);
                let mut found = [RoleTargets::default(); 2];
                own.for_each(|(_, _, _, role, weight)| found[role as usize].add(1, weight));
                prop_assert_eq!([prompt, completion], found);
            }
            for (query, &depth) in batch.position_ids.iter().enumerate() {
                let keys = 0..batch.positions();
                let seen: Vec<usize> = keys.filter(|&key| sees(&batch, 0, query, key)).collect();
                let depths: Vec<u32> = seen.iter().map(|&key| batch.position_ids[key]).collect();
                prop_assert_eq!(depths, (0..=depth).collect::<Vec<_>>());
                let tokens: Vec<u32> = seen.iter().map(|&key| batch.token_ids[key]).collect();
                let first = &batch.sequences[batch.first_sequence[query] as usize];
                prop_assert!(sequences[first.example as usize].token_ids.starts_with(&tokens));
            }
            for info in &batch.sequences {
                let own = &sequences[info.example as usize];
                let (answer, own_answer) = (info.answer.as_ref(), own.answer.as_ref());
                let depth = answer.map(|answer| batch.position_ids[answer.position as usize]);
                prop_assert_eq!(depth, own_answer.map(|answer| answer.position));
                prop_assert_eq!(info.tokens as usize, own.len());
            }
        }
    }
}
