//! The share of one process in a step.

use plw_batch::{Batch, Layout, Pack, Sequences, divide, micro_batches, undivided};
use plw_loss::{Normalizer, Objective};
use plw_transport::Transport;

use crate::step::lay_out;
use crate::{BatchingArguments, TrainError, TrainingArguments};

/// Lays this process's packs of a step out as micro-batches, with the normalizer of the whole step.
///
/// What a step holds does not depend on the number of processes. They share its packs so that each
/// computes about as many positions, and no prefix is computed by two of them. A process may get
/// nothing.
///
/// # Errors
///
/// If no token of the step has a weight.
pub(crate) fn lay_out_share(
    sequences: &Sequences,
    packs: &[Pack],
    batching: &BatchingArguments,
    training: &TrainingArguments,
    objective: Objective,
    transport: &dyn Transport,
) -> Result<(Vec<Batch>, Normalizer), TrainError> {
    let processes = transport.world_size();
    if processes == 1 {
        return lay_out(sequences, packs, batching, training, objective);
    }
    let (layout, size) = (batching.layout(), training.per_device_train_batch_size);
    let pieces = undivided(sequences, packs, size, layout);
    let laid_out: Vec<Batch> = pieces
        .iter()
        .map(|piece| lay_out_piece(sequences, packs, piece, layout))
        .collect();
    let in_step = laid_out.iter().flat_map(|batch| &batch.sequences);
    let normalizer = Normalizer::of_step(in_step, objective)?;
    let costs: Vec<u64> = laid_out.iter().map(|b| b.positions() as u64).collect();
    drop(laid_out);
    let owners = divide(&costs, processes);
    let own = pieces.iter().zip(owners);
    let mut numbers: Vec<usize> = own
        .filter(|(_, owner)| *owner == transport.rank())
        .flat_map(|(piece, _)| piece.iter().copied())
        .collect();
    numbers.sort_unstable();
    let share: Vec<Pack> = numbers.iter().map(|&n| packs[n].clone()).collect();
    let batches = micro_batches(sequences, &share, size, layout);
    Ok((batches, normalizer))
}

fn lay_out_piece(sequences: &Sequences, packs: &[Pack], piece: &[usize], layout: Layout) -> Batch {
    let members = |&number: &usize| -> Vec<_> {
        let members = packs[number].members.iter();
        members.map(|&index| sequences.get(index)).collect()
    };
    layout.lay_out(&piece.iter().map(members).collect::<Vec<_>>())
}
