//! Repeats what failed for a reason that may pass.

use std::time::Duration;

use crate::error::RequestError;

/// How often something is tried in all.
const ATTEMPTS: u32 = 4;

/// The attempts that are left, and the pause before the next one.
pub(crate) struct Attempts {
    first_pause: Duration,
    failed: u32,
}

impl Attempts {
    pub(crate) fn new(first_pause: Duration) -> Self {
        Self {
            first_pause,
            failed: 0,
        }
    }

    /// Something was achieved: starts to count again.
    pub(crate) fn reset(&mut self) {
        self.failed = 0;
    }

    /// Pauses before the next attempt.
    ///
    /// # Errors
    /// The failure, if it does not pass or was the last attempt's.
    pub(crate) fn pause_after(&mut self, failure: RequestError) -> Result<(), RequestError> {
        self.failed += 1;
        if !failure.is_transient() || self.failed == ATTEMPTS {
            return Err(failure);
        }
        std::thread::sleep(self.first_pause * 2u32.pow(self.failed - 1));
        Ok(())
    }
}

/// Tries until it succeeds, fails for good, or has failed too often.
pub(crate) fn retry<T>(
    first_pause: Duration,
    mut attempt: impl FnMut() -> Result<T, RequestError>,
) -> Result<T, RequestError> {
    let mut attempts = Attempts::new(first_pause);
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(failure) => attempts.pause_after(failure)?,
        }
    }
}
