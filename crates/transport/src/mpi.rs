//! The system's MPI.

use mpi::Threading;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};

use crate::{Counters, Transport, TransportError};

/// The processes that `mpirun` or `srun` started. MPI is finalized when this is dropped.
///
/// A failed call of MPI ends the job, with MPI's own message: that is MPI's default, and what is
/// left of a job whose process is gone cannot go on anyway.
pub struct Mpi {
    _universe: Universe,
    rank: usize,
    world_size: usize,
    counters: Counters,
}

impl Mpi {
    /// Initializes MPI, once in the life of a process.
    ///
    /// # Errors
    ///
    /// If it was initialized before, or its library lets only the main thread communicate.
    pub fn open() -> Result<Self, TransportError> {
        let opened = mpi::initialize_with_threading(Threading::Serialized);
        let (universe, threading) = opened.ok_or_else(|| TransportError::Mpi {
            problem: "it was initialized before".to_string(),
        })?;
        if threading < Threading::Serialized {
            return Err(TransportError::Mpi {
                problem: format!(
                    "the library supports {threading:?} threading, and gradients are sent from \
                     another thread than the main one; use a library built with \
                     MPI_THREAD_SERIALIZED or MPI_THREAD_MULTIPLE"
                ),
            });
        }
        let world = universe.world();
        let [rank, world_size] = [world.rank(), world.size()]
            .map(|number| usize::try_from(number).expect("MPI counts processes from 0"));
        Ok(Self {
            _universe: universe,
            rank,
            world_size,
            counters: Counters::default(),
        })
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // Finalizing would wait for the others, which wait for this process.
        if std::thread::panicking() {
            self.abort(101);
        }
    }
}

impl Transport for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world_size
    }

    fn exchange(&self, blocks: &[f32], received: &mut [f32]) -> Result<(), TransportError> {
        SimpleCommunicator::world().all_to_all_into(blocks, received);
        Ok(())
    }

    fn collect(&self, own: &[f32], all: &mut [f32]) -> Result<(), TransportError> {
        SimpleCommunicator::world().all_gather_into(own, all);
        Ok(())
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, TransportError> {
        let world = SimpleCommunicator::world();
        let mut lengths = vec![0u64; self.world_size];
        world.all_gather_into(&(own.len() as u64), &mut lengths[..]);
        let bytes = lengths.iter().sum::<u64>() as usize;
        if bytes == 0 {
            // MPI refuses the address of nothing. Every process has come here by now.
            return Ok(vec![Vec::new(); self.world_size]);
        }
        if i32::try_from(bytes).is_err() {
            return Err(TransportError::TooLong { bytes });
        }
        let counts: Vec<i32> = lengths.iter().map(|&length| length as i32).collect();
        let mut end = 0;
        let starts: Vec<i32> = counts
            .iter()
            .map(|count| {
                end += count;
                end - count
            })
            .collect();
        let mut all = vec![0u8; bytes];
        let mut places = PartitionMut::new(&mut all[..], &counts[..], &starts[..]);
        world.all_gather_varcount_into(own, &mut places);
        let mut rest = &all[..];
        Ok(lengths
            .iter()
            .map(|&length| {
                let (row, after) = rest.split_at(length as usize);
                rest = after;
                row.to_vec()
            })
            .collect())
    }

    fn abort(&self, exit_code: u8) {
        SimpleCommunicator::world().abort(exit_code.into());
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
