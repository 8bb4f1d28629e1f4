//! Which examples each optimizer step holds: decided by the data, the seed and the batch size,
//! before any layout.
//!
//! A plan holds the order of one pass over the data at a time, so that its memory does not grow
//! with the number of steps.

use std::ops::Range;

use plw_batch::{Pack, PackingStatistics, Sequences, Unit, shortest_pack_first};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::units::Units;
use crate::{BatchingArguments, Packing, TrainError, TrainingArguments};

/// The steps of a run, each made when it is asked for.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Number of optimizer steps, at least one.
    pub total_steps: u64,
    /// How well the first epoch packs. None without packing.
    pub packing: Option<PackingStatistics>,
    sequences: &'a Sequences,
    batching: &'a BatchingArguments,
    units: Units,
    seed: u64,
    packs_per_step: usize,
}

/// What an optimizer step holds.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStep {
    /// Its number, from 1.
    pub number: u64,
    /// Its packs, of one sequence each unless packed.
    pub packs: Vec<Pack>,
    /// Passes over the data by its end.
    pub epoch: f64,
}

/// Units packed at a time by the reference implementation of Vaughn 2024.
const REFERENCE_WINDOW: usize = 1000;

/// Plans a run. A partial last batch of an epoch is a step of its own: no step spans two epochs.
///
/// # Errors
///
/// If there is no sequence or no step, or a setting makes no sense.
pub fn plan<'a>(
    sequences: &'a Sequences,
    batching: &'a BatchingArguments,
    training: &TrainingArguments,
) -> Result<Plan<'a>, TrainError> {
    training.check()?;
    batching.check()?;
    if sequences.is_empty() {
        return Err(TrainError::NoExamples {
            dropped: 0,
            max_length: batching.max_length,
        });
    }
    let mut plan = Plan {
        total_steps: 0,
        packing: None,
        sequences,
        batching,
        units: Units::of(sequences, batching),
        seed: training.seed,
        packs_per_step: training.packs_per_step(),
    };
    if batching.packing != Packing::None {
        let first: Vec<Pack> = plan.epoch(0).packs(sequences, 0..usize::MAX);
        plan.packing = Some(PackingStatistics::of(&first, batching.max_length));
    }
    plan.total_steps = match training.max_steps {
        Some(max_steps) => max_steps,
        None => plan.steps_in(training.num_train_epochs),
    };
    match plan.total_steps {
        0 => Err(TrainError::NoSteps),
        _ => Ok(plan),
    }
}

impl Plan<'_> {
    /// The steps after the first `taken`.
    pub fn steps_after(&self, taken: u64) -> impl Iterator<Item = PlannedStep> {
        let (mut pass, step) = match taken < self.total_steps {
            true => self.place(taken),
            false => (0, 0),
        };
        let mut next = step as usize * self.packs_per_step;
        let mut epoch: Option<Epoch> = None;
        (taken + 1..=self.total_steps).map(move |number| {
            if epoch.as_ref().is_some_and(|epoch| next >= epoch.len()) {
                (pass, next, epoch) = (pass + 1, 0, None);
            }
            let epoch = epoch.get_or_insert_with(|| self.epoch(pass));
            let end = epoch.len().min(next + self.packs_per_step);
            let step = PlannedStep {
                number,
                packs: epoch.packs(self.sequences, next..end),
                epoch: pass as f64 + end as f64 / epoch.len() as f64,
            };
            next = end;
            step
        })
    }

    /// Memory that it takes at most, in bytes: for each example its place in an epoch, and the unit
    /// of its passage while the units are made.
    pub(crate) fn memory_bytes(&self) -> u64 {
        36 * self.sequences.len() as u64
    }

    /// The epoch of the step that follows the first `taken`, and the steps before it there.
    fn place(&self, taken: u64) -> (u64, u64) {
        if self.batching.packing == Packing::None {
            let steps = self.steps_per_epoch(0);
            return (taken / steps, taken % steps);
        }
        let (mut epoch, mut step) = (0, taken);
        // Each epoch packs in its own number of steps.
        while step > 0 {
            let steps = self.steps_per_epoch(epoch);
            if step < steps {
                break;
            }
            (epoch, step) = (epoch + 1, step - steps);
        }
        (epoch, step)
    }

    /// Passes over the data by the end of the last step.
    pub fn epochs(&self) -> f64 {
        let mut last = self.steps_after(self.total_steps - 1);
        last.next().map_or(0.0, |step| step.epoch)
    }

    /// The number of steps before `epochs` passes over the data are complete.
    fn steps_in(&self, epochs: f64) -> u64 {
        let enough = |passes: f64| passes >= epochs - 1e-9;
        let mut steps = 0;
        for epoch in 0u64.. {
            if enough(epoch as f64) {
                break;
            }
            if !enough(epoch as f64 + 1.0) {
                steps += self.steps_per_epoch(epoch);
                continue;
            }
            let packs = self.packs_per_epoch(epoch);
            let begun = (0..packs).step_by(self.packs_per_step);
            let passes = begun.map(|seen| epoch as f64 + seen as f64 / packs as f64);
            steps += passes.take_while(|&passes| !enough(passes)).count() as u64;
        }
        steps
    }

    fn steps_per_epoch(&self, epoch: u64) -> u64 {
        self.packs_per_epoch(epoch).div_ceil(self.packs_per_step) as u64
    }

    fn packs_per_epoch(&self, epoch: u64) -> usize {
        match self.batching.packing {
            Packing::None => self.sequences.len(),
            Packing::ShortestPackFirst => self.epoch(epoch).len(),
        }
    }

    /// A pass over the data.
    fn epoch(&self, number: u64) -> Epoch {
        let units = &self.units;
        let mut order: Vec<u32> = (0..units.len() as u32).collect();
        if self.batching.shuffle {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(number);
            order.shuffle(&mut rng);
        }
        let mut epoch = Epoch::default();
        match self.batching.packing {
            Packing::None => {
                let members = order.iter().flat_map(|&unit| units.members(unit));
                members.for_each(|&member| epoch.push(&[member]));
            }
            Packing::ShortestPackFirst => {
                let all = match self.batching.cross_document_attention {
                    true => REFERENCE_WINDOW,
                    false => order.len(),
                };
                for window in order.chunks(self.batching.packing_window.unwrap_or(all)) {
                    let window: Vec<Unit> = window.iter().map(|&unit| units.get(unit)).collect();
                    let packs = shortest_pack_first(&window, self.batching.max_length);
                    packs.iter().for_each(|pack| epoch.push(&pack.members));
                }
            }
        }
        epoch
    }
}

/// The packs of one pass over the data, one after another.
#[derive(Debug, Default)]
struct Epoch {
    members: Vec<u32>,
    /// Where each pack ends in `members`.
    ends: Vec<u32>,
}

impl Epoch {
    fn push(&mut self, pack: &[u32]) {
        self.members.extend_from_slice(pack);
        self.ends.push(self.members.len() as u32);
    }

    /// Number of packs.
    fn len(&self) -> usize {
        self.ends.len()
    }

    /// The packs of these numbers, as far as there are any.
    fn packs(&self, sequences: &Sequences, numbers: Range<usize>) -> Vec<Pack> {
        let numbers = numbers.start..numbers.end.min(self.len());
        let pack = |number: usize| {
            let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
            let members = &self.members[start as usize..self.ends[number] as usize];
            Pack::of(members.to_vec(), sequences)
        };
        numbers.map(pack).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plw_batch::Sequence;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sequences(groups: &[u32], length: usize) -> Sequences {
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
        let flat: Vec<Vec<u32>> = plan
            .steps_after(0)
            .map(|step| members(&step.packs))
            .collect();
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
        let epochs: Vec<f64> = plan.steps_after(2).map(|step| step.epoch).collect();
        assert_eq!(epochs, [1.0, 1.4, 1.8, 2.0]);
        assert_eq!(plan.epochs(), 2.0);
    }

    #[test]
    fn max_steps_wins_over_epochs() {
        let data = sequences(&[0; 4], 4);
        let batching = BatchingArguments::default();
        let plan = plan(&data, &batching, &arguments(3, Some(5), 1.0)).expect("valid");
        assert_eq!((plan.total_steps, plan.steps_after(0).count()), (5, 5));
        assert_eq!(plan.epochs(), 2.75);
    }

    #[test]
    fn a_run_of_no_steps_is_refused() {
        let data = sequences(&[0; 4], 4);
        let batching = BatchingArguments::default();
        let error = plan(&data, &batching, &arguments(3, None, 1e-300)).expect_err("refused");
        assert!(matches!(error, TrainError::NoSteps), "{error}");
    }

    #[test]
    fn the_number_of_steps_costs_nothing() {
        let data = sequences(&[0; 4], 4);
        let batching = BatchingArguments::default();
        let plan = plan(&data, &batching, &arguments(3, Some(1 << 40), 1.0)).expect("valid");
        assert_eq!(plan.steps_after(0).take(3).count(), 3);
    }

    #[test]
    fn shuffling_moves_passages_whole_and_epochs_differ() {
        let groups: Vec<u32> = (0..60).map(|i| i / 3).collect();
        let data = sequences(&groups, 4);
        let batching = BatchingArguments::default();
        let plan = plan(&data, &batching, &arguments(60, None, 2.0)).expect("valid");
        let steps = |plan: &Plan| -> Vec<Vec<u32>> {
            plan.steps_after(0)
                .map(|step| members(&step.packs))
                .collect()
        };
        let orders = steps(&plan);
        assert_ne!(orders[0], orders[1]);
        for order in &orders {
            assert_eq!(order.iter().copied().collect::<BTreeSet<_>>().len(), 60);
            for passage in order.chunks(3) {
                assert!(passage.windows(2).all(|w| w[0] + 1 == w[1]), "{passage:?}");
            }
        }
        let again = super::plan(&data, &batching, &arguments(60, None, 2.0)).expect("valid");
        assert_eq!(steps(&again), orders);
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
        let packs: Vec<Pack> = plan.steps_after(0).flat_map(|step| step.packs).collect();
        assert!(packs.iter().all(|pack| pack.members.len() <= 3));
        assert_eq!(
            members(&packs).into_iter().collect::<BTreeSet<_>>().len(),
            40
        );
        let statistics = plan.packing.expect("packed");
        assert_eq!((statistics.sequences, statistics.packs), (40, packs.len()));
    }

    /// The steps as a loop over the epochs takes them: each step's members, and the epochs so far.
    fn one_after_another(plan: &Plan, epochs: f64) -> Vec<(Vec<u32>, f64)> {
        let mut steps = Vec::new();
        for number in 0u64.. {
            let packs = plan.epoch(number).packs(plan.sequences, 0..usize::MAX);
            let mut seen = 0;
            for step in packs.chunks(plan.packs_per_step) {
                if number as f64 + seen as f64 / packs.len() as f64 >= epochs - 1e-9 {
                    return steps;
                }
                seen += step.len();
                steps.push((
                    members(step),
                    number as f64 + seen as f64 / packs.len() as f64,
                ));
            }
        }
        unreachable!("epochs are counted without end")
    }

    proptest! {
        #[test]
        fn steps_are_the_same_wherever_a_run_resumes(
            groups in prop::collection::vec(0u32..9, 1..40), batch_size in 1usize..9,
            epochs in 0.1f64..3.5, resumed in 0.0f64..=1.0, packed: bool, shuffle: bool,
        ) {
            let data = sequences(&groups, 4);
            let batching = BatchingArguments {
                max_length: 14,
                packing: if packed { Packing::ShortestPackFirst } else { Packing::None },
                shuffle,
                ..BatchingArguments::default()
            };
            let plan = plan(&data, &batching, &arguments(batch_size, None, epochs)).expect("valid");
            let steps = |taken| -> Vec<(Vec<u32>, f64)> {
                let steps = plan.steps_after(taken);
                steps.map(|step| (members(&step.packs), step.epoch)).collect()
            };
            let all = steps(0);
            prop_assert_eq!(plan.total_steps, all.len() as u64);
            prop_assert_eq!(&all, &one_after_another(&plan, epochs));
            let taken = (resumed * all.len() as f64) as usize;
            prop_assert_eq!(&steps(taken as u64), &all[taken..]);
            prop_assert_eq!(plan.epochs(), all.last().map_or(0.0, |step| step.1));
        }
    }
}
