//! What is moved as one piece when examples are shuffled and packed.

use std::collections::HashMap;

use plw_batch::{Sequences, Unit};

use crate::{BatchingArguments, Packing, ShuffleUnit};

/// Passages with their questions, or single questions, one after another.
#[derive(Debug)]
pub(crate) struct Units {
    members: Vec<u32>,
    /// Where each unit ends in `members`.
    ends: Vec<u32>,
    /// Tokens of each unit.
    lengths: Vec<u32>,
}

impl Units {
    /// Passages with their questions (split above `max_length` where packed), or questions. In file
    /// order nothing is moved, so that examples stay as in the file.
    pub(crate) fn of(sequences: &Sequences, batching: &BatchingArguments) -> Self {
        let together = batching.shuffle_unit == ShuffleUnit::Passage
            && (batching.shuffle || batching.packing == Packing::ShortestPackFirst);
        let mut members: Vec<u32> = (0..sequences.len() as u32).collect();
        let mut unit_of: Vec<u32> = Vec::with_capacity(members.len());
        let mut lengths: Vec<u32> = Vec::new();
        let mut unit_of_group: HashMap<u32, u32> = HashMap::new();
        for &member in &members {
            let (length, group) = (sequences.length(member), sequences.group(member));
            let fits = |unit: u32| {
                batching.packing == Packing::None
                    || lengths[unit as usize] as usize + length <= batching.max_length
            };
            let unit = match unit_of_group.get(&group) {
                Some(&unit) if together && fits(unit) => unit,
                _ => {
                    unit_of_group.insert(group, lengths.len() as u32);
                    lengths.push(0);
                    lengths.len() as u32 - 1
                }
            };
            lengths[unit as usize] += length as u32;
            unit_of.push(unit);
        }
        let unit = |member: &u32| unit_of[*member as usize];
        members.sort_by_key(unit);
        let mut end = 0;
        let units = members.chunk_by(|a, b| unit(a) == unit(b));
        let ends = units.map(|members| {
            end += members.len() as u32;
            end
        });
        Self {
            ends: ends.collect(),
            members,
            lengths,
        }
    }

    /// Number of units.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The sequences of a unit.
    pub(crate) fn members(&self, unit: u32) -> &[u32] {
        let unit = unit as usize;
        let start = unit.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.members[start as usize..self.ends[unit] as usize]
    }

    /// A unit by itself.
    pub(crate) fn get(&self, unit: u32) -> Unit {
        Unit {
            members: self.members(unit).to_vec(),
            length: self.lengths[unit as usize] as usize,
        }
    }
}
