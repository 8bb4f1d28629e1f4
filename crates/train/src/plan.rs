//! Which examples each optimizer step holds: decided by the data, the seed and the batch size,
//! before any layout.

use std::collections::HashMap;

use plw_batch::{Pack, PackingStatistics, Sequence, Unit, shortest_pack_first};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{BatchingArguments, Packing, ShuffleUnit, TrainError, TrainingArguments};

/// The packs of every optimizer step of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// `[steps]`: each step's packs, of one sequence each unless packed.
    pub steps: Vec<Vec<Pack>>,
    /// `[steps]`: passes over the data by the end of the step.
    pub epochs: Vec<f64>,
    /// How well the first epoch packs. None without packing.
    pub packing: Option<PackingStatistics>,
}

/// Units packed at a time by the reference implementation of Vaughn 2024.
const REFERENCE_WINDOW: usize = 1000;

/// Plans a run. A partial last batch of an epoch is a step of its own: no step spans two epochs.
///
/// # Errors
///
/// If there is no sequence, or a setting makes no sense.
pub fn plan(
    sequences: &[Sequence],
    batching: &BatchingArguments,
    training: &TrainingArguments,
) -> Result<Plan, TrainError> {
    training.check()?;
    batching.check()?;
    if sequences.is_empty() {
        return Err(TrainError::NoExamples {
            dropped: 0,
            max_length: batching.max_length,
        });
    }
    let mut plan = Plan {
        steps: Vec::new(),
        epochs: Vec::new(),
        packing: None,
    };
    for epoch in 0u64.. {
        let packs = epoch_packs(sequences, batching, training.seed, epoch, &mut plan.packing);
        let total = packs.len() as f64;
        let mut seen = 0;
        for step in packs.chunks(training.packs_per_step()) {
            let enough = match training.max_steps {
                Some(max_steps) => plan.steps.len() as u64 >= max_steps,
                None => epoch as f64 + seen as f64 / total >= training.num_train_epochs - 1e-9,
            };
            if enough {
                return Ok(plan);
            }
            seen += step.len();
            plan.steps.push(step.to_vec());
            plan.epochs.push(epoch as f64 + seen as f64 / total);
        }
    }
    unreachable!("epochs are counted without end")
}

fn epoch_packs(
    sequences: &[Sequence],
    batching: &BatchingArguments,
    seed: u64,
    epoch: u64,
    packing: &mut Option<PackingStatistics>,
) -> Vec<Pack> {
    let mut units = units(sequences, batching);
    if batching.shuffle {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(epoch);
        units.shuffle(&mut rng);
    }
    match batching.packing {
        Packing::None => units
            .iter()
            .flat_map(|unit| &unit.members)
            .map(|&member| Pack::of(vec![member], sequences))
            .collect(),
        Packing::ShortestPackFirst => {
            let all = match batching.cross_document_attention {
                true => REFERENCE_WINDOW,
                false => units.len(),
            };
            let window = batching.packing_window.unwrap_or(all);
            let packs: Vec<_> = units
                .chunks(window)
                .flat_map(|window| shortest_pack_first(window, batching.max_length))
                .collect();
            packing.get_or_insert_with(|| PackingStatistics::of(&packs, batching.max_length));
            packs
        }
    }
}

/// What is moved as one piece: passages with their questions (split above `max_length` where
/// packed), or questions. In file order nothing is moved, so that examples stay as in the file.
fn units(sequences: &[Sequence], batching: &BatchingArguments) -> Vec<Unit> {
    let together = batching.shuffle_unit == ShuffleUnit::Passage
        && (batching.shuffle || batching.packing == Packing::ShortestPackFirst);
    let mut units: Vec<Unit> = Vec::new();
    let mut unit_of_group: HashMap<u32, usize> = HashMap::new();
    for (index, sequence) in (0u32..).zip(sequences) {
        let fits = |unit: &Unit| {
            batching.packing == Packing::None || unit.length + sequence.len() <= batching.max_length
        };
        match unit_of_group.get(&sequence.group) {
            Some(&unit) if together && fits(&units[unit]) => {
                units[unit].members.push(index);
                units[unit].length += sequence.len();
            }
            _ => {
                unit_of_group.insert(sequence.group, units.len());
                units.push(Unit {
                    members: vec![index],
                    length: sequence.len(),
                });
            }
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sequences(groups: &[u32], length: usize) -> Vec<Sequence> {
        (0u32..)
            .zip(groups)
            .map(|(example, &group)| Sequence {
                example,
                group,
                token_ids: vec![1; length],
                completion_start: 1,
                answer: None,
            })
            .collect()
    }

    fn members(packs: &[Pack]) -> Vec<u32> {
        packs.iter().flat_map(|pack| pack.members.clone()).collect()
    }

    fn arguments(batch_size: usize, max_steps: Option<u64>, epochs: f64) -> TrainingArguments {
        TrainingArguments {
            per_device_train_batch_size: batch_size,
            max_steps,
            num_train_epochs: epochs,
            ..TrainingArguments::default()
        }
    }

    #[test]
    fn without_shuffling_examples_come_in_file_order_and_the_last_batch_is_kept() {
        let data = sequences(&[0, 1, 0, 1, 2], 4);
        let batching = BatchingArguments {
            shuffle: false,
            ..BatchingArguments::default()
        };
        let plan = plan(&data, &batching, &arguments(2, None, 2.0)).expect("valid");
        let flat: Vec<Vec<u32>> = plan.steps.iter().map(|step| members(step)).collect();
        assert_eq!(
            flat,
            [
                vec![0, 1],
                vec![2, 3],
                vec![4],
                vec![0, 1],
                vec![2, 3],
                vec![4]
            ]
        );
        assert_eq!(plan.epochs[2], 1.0);
    }

    #[test]
    fn max_steps_wins_over_epochs() {
        let data = sequences(&[0; 4], 4);
        let plan = plan(
            &data,
            &BatchingArguments::default(),
            &arguments(3, Some(5), 1.0),
        )
        .expect("valid");
        assert_eq!(plan.steps.len(), 5);
    }

    #[test]
    fn shuffling_moves_passages_whole_and_epochs_differ() {
        let groups: Vec<u32> = (0..60).map(|i| i / 3).collect();
        let data = sequences(&groups, 4);
        let batching = BatchingArguments::default();
        let plan = plan(&data, &batching, &arguments(60, None, 2.0)).expect("valid");
        let orders: Vec<Vec<u32>> = plan.steps.iter().map(|step| members(step)).collect();
        assert_ne!(orders[0], orders[1]);
        for order in &orders {
            assert_eq!(order.iter().copied().collect::<BTreeSet<_>>().len(), 60);
            for passage in order.chunks(3) {
                assert!(passage.windows(2).all(|w| w[0] + 1 == w[1]), "{passage:?}");
            }
        }
        assert_eq!(
            super::plan(&data, &batching, &arguments(60, None, 2.0)).expect("valid"),
            plan
        );
    }

    #[test]
    fn packs_hold_passages_up_to_the_limit() {
        let groups: Vec<u32> = (0..40).map(|i| i / 4).collect();
        let data = sequences(&groups, 10);
        let batching = BatchingArguments {
            max_length: 35,
            packing: Packing::ShortestPackFirst,
            ..BatchingArguments::default()
        };
        let plan = plan(&data, &batching, &arguments(2, None, 1.0)).expect("valid");
        let packs: Vec<Pack> = plan.steps.concat();
        assert!(packs.iter().all(|pack| pack.members.len() <= 3));
        assert_eq!(
            members(&packs).into_iter().collect::<BTreeSet<_>>().len(),
            40
        );
        let statistics = plan.packing.expect("packed");
        assert_eq!((statistics.sequences, statistics.packs), (40, packs.len()));
    }
}
