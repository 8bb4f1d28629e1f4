//! What a step came to, added up over the processes.

use plw_batch::Batch;
use plw_loss::LossTotals;
use plw_transport::{Transport, TransportError};

/// What one process, or all of them, have computed of a step.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct StepSums {
    /// The objective.
    pub(crate) loss: f64,
    /// The unweighted losses.
    pub(crate) totals: LossTotals,
    /// What the batches hold.
    pub(crate) counts: StepCounts,
    /// Whether a process was asked to stop.
    pub(crate) stop: bool,
}

/// What the batches of a step hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepCounts {
    /// Tokens of the sequences. A shared one counts once for each of them.
    pub tokens: u64,
    /// Positions computed, padding included.
    pub positions: u64,
    /// Sequences.
    pub sequences: u64,
}

impl StepCounts {
    /// Of these batches.
    pub(crate) fn of(batches: &[Batch]) -> Self {
        let total = |of: fn(&Batch) -> usize| batches.iter().map(|batch| of(batch) as u64).sum();
        Self {
            tokens: total(Batch::tokens),
            positions: total(Batch::positions),
            sequences: total(|batch| batch.sequences.len()),
        }
    }
}

impl StepSums {
    /// The sums over all processes, the same for each of them.
    ///
    /// # Errors
    ///
    /// If another process has ended.
    pub(crate) fn over_processes(self, transport: &dyn Transport) -> Result<Self, TransportError> {
        if transport.world_size() == 1 {
            return Ok(self);
        }
        let losses = self.totals.to_numbers();
        let counts = [
            self.counts.tokens,
            self.counts.positions,
            self.counts.sequences,
            u64::from(self.stop),
        ];
        let mut numbers = vec![self.loss];
        numbers.extend(losses);
        // Counts of a step are far below 2^53, so that f64 holds them exactly.
        numbers.extend(counts.map(|count| count as f64));
        transport.sum_f64(&mut numbers)?;
        let count = |index: usize| numbers[1 + losses.len() + index] as u64;
        let mut summed = losses;
        summed.copy_from_slice(&numbers[1..=losses.len()]);
        Ok(Self {
            loss: numbers[0],
            totals: LossTotals::from_numbers(summed),
            counts: StepCounts {
                tokens: count(0),
                positions: count(1),
                sequences: count(2),
            },
            stop: count(3) > 0,
        })
    }
}
