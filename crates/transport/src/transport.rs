//! What every transport can do.

use std::sync::Arc;

use crate::sum::{sum_in_shards, sum_of_rows};
use crate::{Counters, DeviceTransport, TransportError};

/// The processes of a job, seen by one of them.
///
/// Every method but [`Transport::rank`], [`Transport::world_size`], [`Transport::counters`] and
/// [`Transport::abort`] is a collective: each process calls the same ones in the same order, from
/// one thread at a time.
pub trait Transport: Send + Sync {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// The number of processes.
    fn world_size(&self) -> usize;

    /// Sends block r of `blocks` to process r. Block r of `received` is what process r sent here.
    /// Both hold [`Transport::world_size`] blocks of equal length.
    ///
    /// # Errors
    ///
    /// If another process has ended.
    fn exchange(&self, blocks: &[f32], received: &mut [f32]) -> Result<(), TransportError>;

    /// Gives `own` to every process. Block r of `all` is that of process r.
    ///
    /// # Errors
    ///
    /// If another process has ended.
    fn collect(&self, own: &[f32], all: &mut [f32]) -> Result<(), TransportError>;

    /// The bytes of every process, by rank, for each of them.
    ///
    /// # Errors
    ///
    /// If another process has ended.
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, TransportError>;

    /// Ends the other processes too, with an exit code. A process calls this after it has said its
    /// error. It need not return.
    fn abort(&self, exit_code: u8);

    /// The way to add up what is in the memory of a GPU, if there is one. Its collectives are
    /// beside the others: their order among those does not matter.
    fn on_device(&self) -> Option<Arc<dyn DeviceTransport>> {
        None
    }

    /// What the sums have cost.
    fn counters(&self) -> &Counters;

    /// Adds the values of all processes, in the order of their ranks. Every process ends with the
    /// same bits, which depend on nothing but the values and the number of processes.
    ///
    /// # Errors
    ///
    /// If another process has ended.
    fn sum(&self, values: &mut [f32]) -> Result<(), TransportError> {
        sum_in_shards(self, values)
    }

    /// [`Transport::sum`] for a few numbers.
    ///
    /// # Errors
    ///
    /// If another process has ended.
    fn sum_f64(&self, values: &mut [f64]) -> Result<(), TransportError> {
        if self.world_size() == 1 {
            return Ok(());
        }
        let own: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
        sum_of_rows(&self.all_gather(&own)?, values);
        Ok(())
    }

    /// What process 0 gives. The others' bytes are not looked at.
    ///
    /// # Errors
    ///
    /// If another process has ended.
    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        if self.world_size() == 1 {
            return Ok(bytes);
        }
        let own = if self.rank() == 0 { &bytes[..] } else { &[] };
        Ok(self.all_gather(own)?.swap_remove(0))
    }

    /// The first process whose bytes are not those of process 0. None if all give the same.
    ///
    /// # Errors
    ///
    /// If another process has ended.
    fn first_that_differs(&self, own: &[u8]) -> Result<Option<usize>, TransportError> {
        let all = self.all_gather(own)?;
        Ok(all.iter().position(|other| *other != all[0]))
    }

    /// Returns when every process has called it.
    ///
    /// # Errors
    ///
    /// If another process has ended.
    fn barrier(&self) -> Result<(), TransportError> {
        self.all_gather(&[]).map(drop)
    }
}
