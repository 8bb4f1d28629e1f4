//! Work of one thread on a device that waits for another thread's.

use burn::tensor::Device;
#[cfg(feature = "cuda")]
use cubecl_environment::stream::StreamId;

#[cfg(feature = "cuda")]
use crate::cube;

/// What a thread has queued on a device so far.
///
/// On CUDA every thread has a queue of its own. CubeCL lets a thread that takes another's tensor
/// wait for it, but goes by the time when the tensor got its memory, which may be long before it is
/// written.
#[derive(Debug, Clone, Copy)]
pub struct QueuePoint {
    #[cfg(feature = "cuda")]
    stream: StreamId,
}

impl QueuePoint {
    /// Of this thread.
    pub fn here() -> Self {
        Self {
            #[cfg(feature = "cuda")]
            stream: StreamId::current(),
        }
    }

    /// Lets what this thread queues on a device from now on wait for it. Does nothing where a
    /// device has one queue for all threads, or none.
    pub fn wait(self, device: &Device) {
        #[cfg(feature = "cuda")]
        if let Some(client) = cube::cuda::client(device) {
            cube::cuda::stream::wait_for(&client, self.stream);
        }
        let _ = device;
    }
}
