//! Collectives in the memory of a GPU.

use std::ffi::c_void;

use crate::TransportError;

/// A CUDA stream, as CUDA's own libraries take it.
#[derive(Debug, Clone, Copy)]
pub struct DeviceStream(pub *mut c_void);

/// Queues collectives on a CUDA stream. Nobody waits for them. Every process queues the same ones
/// in the same order, from one thread at a time.
pub trait DeviceTransport: Send + Sync {
    /// [`crate::Transport::exchange`] of blocks of so many f32 at these addresses.
    ///
    /// # Errors
    ///
    /// If the library refuses.
    ///
    /// # Safety
    ///
    /// Both addresses must hold a block for each process until the stream has done its work, in the
    /// memory of the device that the transport was opened for, and the stream must be that
    /// device's.
    #[allow(unsafe_code, reason = "nobody can check an address")]
    unsafe fn exchange(
        &self,
        blocks: u64,
        received: u64,
        block: usize,
        stream: DeviceStream,
    ) -> Result<(), TransportError>;

    /// [`crate::Transport::collect`] of so many f32 at these addresses.
    ///
    /// # Errors
    ///
    /// If the library refuses.
    ///
    /// # Safety
    ///
    /// As for [`DeviceTransport::exchange`]; at `own` is one block.
    #[allow(unsafe_code, reason = "nobody can check an address")]
    unsafe fn collect(
        &self,
        own: u64,
        all: u64,
        block: usize,
        stream: DeviceStream,
    ) -> Result<(), TransportError>;
}
