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
    /// NCCL or the GPU refused.
    #[error("NCCL: {problem}")]
    Nccl {
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A process was not started, or not in time.
    #[error(
        "process {rank} did not come within {seconds} s: start as many processes as WORLD_SIZE \
         says, each with its RANK, on machines that share the run's folder"
    )]
    Absent {
        /// The process.
        rank: usize,
        /// How long this one has waited.
        seconds: u64,
    },
    /// A file that the processes share cannot be written.
    #[error("{problem}")]
    File {
        /// Which, and why.
        problem: String,
    },
    /// A message is longer than MPI can count.
    #[error("a message of {bytes} bytes is longer than MPI can count; use fewer examples")]
    TooLong {
        /// Its length, over all processes.
        bytes: usize,
    },
}

impl From<plw_files::FileError> for TransportError {
    fn from(error: plw_files::FileError) -> Self {
        Self::File {
            problem: error.to_string(),
        }
    }
}
