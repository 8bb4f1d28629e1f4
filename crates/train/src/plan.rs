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

/// Steps that are looked at to tell what a run needs: it does not change after so many.
pub(crate) const STEPS_LOOKED_AT: u64 = 1 << 18;

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
mod tests;
