//! The scores of all processes, in the order in which one process computes them.

use plw_transport::{Transport, TransportError};

use crate::score::BatchScore;

/// The scores of all batches. None if a process has none because it was asked to stop.
///
/// # Errors
///
/// If another process has ended.
pub(crate) fn gathered(
    transport: &dyn Transport,
    own: Option<Vec<BatchScore>>,
) -> Result<Option<Vec<BatchScore>>, TransportError> {
    if transport.world_size() == 1 {
        return Ok(own);
    }
    let own = postcard::to_allocvec(&own).expect("plain values in memory");
    let mut all: Vec<BatchScore> = Vec::new();
    for bytes in transport.all_gather(&own)? {
        let found: Option<Vec<BatchScore>> =
            postcard::from_bytes(&bytes).expect("all processes have this type");
        let Some(found) = found else {
            return Ok(None);
        };
        all.extend(found);
    }
    all.sort_by_key(|batch| batch.number);
    Ok(Some(all))
}
