//! Collectives of several processes on vectors in the memory of their GPUs.

use std::sync::Arc;

use burn_cubecl::kernel::into_contiguous;
use plw_transport::{DeviceStream, DeviceTransport, TransportError};

use super::CudaError;
use super::stream::queue;
use crate::cube::tensor::{CubeTensor, empty};

/// Queues a collective from a vector into a new one of this length.
fn run(
    from: CubeTensor,
    length: usize,
    collective: impl FnOnce(u64, u64, DeviceStream) -> Result<(), TransportError> + Send + 'static,
) -> CubeTensor {
    let from = into_contiguous(from);
    let to = empty(&from, [length]);
    let handles = vec![from.handle.clone(), to.handle.clone()];
    queue(&from.client, handles, move |stream, addresses| {
        collective(addresses[0], addresses[1], DeviceStream(stream.cast()))
            .map_err(|error| CudaError::Collective(error.to_string()))
    });
    to
}

/// Sends block r of a vector to process r. Block r of the result is what process r sent here.
pub(crate) fn exchange(
    blocks: CubeTensor,
    block: usize,
    transport: Arc<dyn DeviceTransport>,
) -> CubeTensor {
    let length = blocks.meta.shape().num_elements();
    run(blocks, length, move |from, to, stream| {
        // SAFETY: both vectors have a block for each process, on the device of the stream, which
        // orders their use after this.
        unsafe { transport.exchange(from, to, block, stream) }
    })
}

/// The vectors of all processes, one after another.
pub(crate) fn collect(
    own: CubeTensor,
    processes: usize,
    transport: Arc<dyn DeviceTransport>,
) -> CubeTensor {
    let block = own.meta.shape().num_elements();
    run(own, block * processes, move |from, to, stream| {
        // SAFETY: the second vector has room for one of the first's length for each process, on
        // the device of the stream, which orders their use after this.
        unsafe { transport.collect(from, to, block, stream) }
    })
}
