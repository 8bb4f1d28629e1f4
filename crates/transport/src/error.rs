//! What can go wrong between processes.

/// Why processes cannot exchange anything. Where MPI itself fails, it ends the job and says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Another process failed, and ended the job.
    #[error("process {rank} ended the job; its own error says why")]
    Aborted {
        /// The process.
        rank: usize,
    },
    /// Another process is gone, without a word.
    #[error("process {rank} ended before the others; start the job again to resume it")]
    Gone {
        /// The process.
        rank: usize,
    },
    /// The MPI library is not fit for the job.
    #[error("MPI: {problem}")]
    Mpi {
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A message is longer than MPI can count.
    #[error("a message of {bytes} bytes is longer than MPI can count; use fewer examples")]
    TooLong {
        /// Its length, over all processes.
        bytes: usize,
    },
}
