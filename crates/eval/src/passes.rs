//! The forward passes of an evaluation: the sequences of each, and the targets that it scores.

use std::num::NonZeroUsize;

use plw_batch::{Batch, Layout, Sequence, Sequences, divide};
use plw_loss::{Normalization, Normalizer, Objective, TokenWeights, WeightedTargets};
use plw_transport::Transport;

use crate::EvaluationOptions;

impl EvaluationOptions {
    /// The batch of each forward pass, made when its turn comes.
    ///
    /// With [`Layout::SharedPrefixes`] sequences come group by group, and only a group that is
    /// larger than a batch is split.
    pub fn batches(&self, sequences: &Sequences, layout: Layout) -> impl Iterator<Item = Batch> {
        let size = self.per_device_eval_batch_size;
        let numbers = numbers(sequences, size, layout).into_iter();
        numbers.map(move |numbers| lay_out(sequences, &numbers, layout))
    }

    /// The batches of this process: the number of each, and those of its sequences. All processes
    /// have about as many tokens.
    pub(crate) fn share(
        &self,
        sequences: &Sequences,
        layout: Layout,
        transport: &dyn Transport,
    ) -> Vec<(u32, Vec<u32>)> {
        let batches = numbers(sequences, self.per_device_eval_batch_size, layout);
        let tokens = |numbers: &Vec<u32>| numbers.iter().map(|&n| sequences.length(n) as u64).sum();
        let costs: Vec<u64> = batches.iter().map(tokens).collect();
        let owners = divide(&costs, transport.world_size());
        (0..)
            .zip(batches)
            .zip(owners)
            .filter(|(_, owner)| *owner == transport.rank())
            .map(|(batch, _)| batch)
            .collect()
    }

    /// The weights of the tokens whose loss is computed.
    pub(crate) fn weights(&self) -> TokenWeights {
        match self.prompt_loss {
            true => TokenWeights::UNIFORM,
            false => TokenWeights::COMPLETION_ONLY,
        }
    }

    /// The targets of a batch whose loss is computed. None if nothing of it counts, because the
    /// data gives its tokens no weight: such a batch needs no forward pass.
    pub fn targets(&self, batch: &Batch) -> Option<WeightedTargets> {
        let objective = Objective {
            weights: self.weights(),
            normalization: Normalization::NonzeroCount,
        };
        let normalizer = Normalizer::of_step(&batch.sequences, objective).ok()?;
        Some(WeightedTargets::new(batch, &normalizer))
    }
}

/// The batch of these sequences.
pub(crate) fn lay_out(sequences: &Sequences, numbers: &[u32], layout: Layout) -> Batch {
    let packs: Vec<[Sequence; 1]> = numbers.iter().map(|&n| [sequences.get(n)]).collect();
    layout.lay_out(&packs)
}

/// The numbers of the sequences of each forward pass, at most `size`.
fn numbers(sequences: &Sequences, size: NonZeroUsize, layout: Layout) -> Vec<Vec<u32>> {
    let size = size.get();
    let mut numbers: Vec<u32> = (0..sequences.len() as u32).collect();
    if layout != Layout::SharedPrefixes {
        return numbers.chunks(size).map(<[_]>::to_vec).collect();
    }
    let group = |&number: &u32| sequences.group(number);
    numbers.sort_by_key(group);
    let mut batches: Vec<Vec<u32>> = Vec::new();
    let groups = numbers.chunk_by(|a, b| group(a) == group(b));
    for group in groups.flat_map(|group| group.chunks(size)) {
        match batches.last_mut() {
            Some(batch) if batch.len() + group.len() <= size => batch.extend(group),
            _ => batches.push(group.to_vec()),
        }
    }
    batches
}
