//! What communication costs a process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the sums of gradients have cost a process so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Time within sums, the wait for slower processes included.
    pub elapsed: Duration,
    /// Bytes sent to other processes.
    pub bytes: u64,
}

/// Counts a process's [`Traffic`].
#[derive(Debug, Default)]
pub struct Counters {
    nanoseconds: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    /// Counts a sum.
    pub(crate) fn add(&self, elapsed: Duration, bytes: u64) {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What was counted until now.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            elapsed: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
