//! NVIDIA's NCCL, opened while the program runs.

#![allow(unsafe_code, reason = "NVIDIA's library is written in C")]

use std::ffi::{c_char, c_int};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{CudaContext, CudaStream, DevicePtr, DevicePtrMut, DriverError};
use cudarc::nccl::result::{self, NcclError};
use cudarc::nccl::sys::{self, ncclDataType_t};

use crate::{Counters, DeviceStream, DeviceTransport, Transport, TransportError};

/// Bytes of a [`NcclId`].
const ID: usize = 128;

/// What processes find each other by: made by one of them, and given to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NcclId([u8; ID]);

/// The GPUs of several processes, one each.
///
/// Gradients stay on the GPU. Messages go there and back, or over another transport.
pub struct Nccl {
    rank: usize,
    world_size: usize,
    gradients: Arc<Communicator>,
    messages: Messages,
    counters: Counters,
}

enum Messages {
    /// Over NCCL too, in the memory of the GPU.
    OnDevice(Box<Mutex<Staging>>),
    Over(Box<dyn Transport>),
}

struct Staging {
    communicator: Communicator,
    stream: Arc<CudaStream>,
}

/// NCCL's communicator.
struct Communicator {
    raw: sys::ncclComm_t,
    world_size: usize,
}

// SAFETY: NCCL lets any thread use a communicator, one at a time. That of messages is behind a
// lock; gradients are queued by the runner thread of their device.
unsafe impl Send for Communicator {}
// SAFETY: as above.
unsafe impl Sync for Communicator {}

impl NcclId {
    /// A new one.
    ///
    /// # Errors
    ///
    /// If NCCL is not installed, or refuses.
    pub fn new() -> Result<Self, TransportError> {
        // SAFETY: this opens the library by its usual names, which may happen at any time.
        if !unsafe { sys::is_culib_present() } {
            return Err(TransportError::Nccl {
                problem: "libnccl.so is not there: install NCCL and name its folder in \
                          LD_LIBRARY_PATH (where it has libnccl.so.2 alone, as in PyTorch's \
                          wheels, link libnccl.so to it)"
                    .to_string(),
            });
        }
        let id = result::get_uniqueid()?;
        Ok(Self(id.internal.map(|byte| byte as u8)))
    }

    /// Its bytes, for the other processes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// From what [`NcclId::as_bytes`] returned.
    ///
    /// # Errors
    ///
    /// If it is not as long.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, TransportError> {
        let id = bytes.try_into().map_err(|_| TransportError::Nccl {
            problem: format!("an id has {ID} bytes, and this one {}", bytes.len()),
        })?;
        Ok(Self(id))
    }
}

impl From<NcclError> for TransportError {
    fn from(error: NcclError) -> Self {
        Self::Nccl {
            problem: format!("{:?}; NCCL_DEBUG=WARN tells more", error.0),
        }
    }
}

impl From<DriverError> for TransportError {
    fn from(error: DriverError) -> Self {
        Self::Nccl {
            problem: format!("the driver refused: {error}"),
        }
    }
}

impl Nccl {
    /// Gradients over NCCL, on the GPU of this number, and messages over another transport, which
    /// the processes find each other by.
    ///
    /// # Errors
    ///
    /// If NCCL is not installed, or refuses.
    pub fn beside(messages: Box<dyn Transport>, gpu: usize) -> Result<Self, TransportError> {
        let own = match messages.rank() {
            0 => NcclId::new()?.as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let id = NcclId::of_bytes(&messages.broadcast(own)?)?;
        let context = CudaContext::new(gpu)?;
        context.bind_to_thread()?;
        let (rank, world_size) = (messages.rank(), messages.world_size());
        Ok(Self {
            rank,
            world_size,
            gradients: Arc::new(Communicator::open(rank, world_size, id)?),
            messages: Messages::Over(messages),
            counters: Counters::default(),
        })
    }

    /// Everything over NCCL, on the GPU of this number. Each process has the same two ids.
    ///
    /// # Errors
    ///
    /// If NCCL is not installed, or refuses.
    pub fn alone(
        rank: usize,
        world_size: usize,
        ids: [NcclId; 2],
        gpu: usize,
    ) -> Result<Self, TransportError> {
        let context = CudaContext::new(gpu)?;
        context.bind_to_thread()?;
        let [gradients, messages] = ids;
        let gradients = Arc::new(Communicator::open(rank, world_size, gradients)?);
        let staging = Staging {
            communicator: Communicator::open(rank, world_size, messages)?,
            stream: context.new_stream()?,
        };
        Ok(Self {
            rank,
            world_size,
            gradients,
            messages: Messages::OnDevice(Box::new(Mutex::new(staging))),
            counters: Counters::default(),
        })
    }
}

impl Communicator {
    fn open(rank: usize, world_size: usize, id: NcclId) -> Result<Self, TransportError> {
        let id = sys::ncclUniqueId {
            internal: id.0.map(|byte| byte as c_char),
        };
        let mut raw = std::ptr::null_mut();
        // SAFETY: NCCL writes the communicator through the pointer before it returns.
        unsafe { result::comm_init_rank(&mut raw, world_size as c_int, id, rank as c_int)? };
        Ok(Self { raw, world_size })
    }

    /// # Safety
    ///
    /// As [`DeviceTransport::collect`]; `own` has so many bytes.
    unsafe fn collect_bytes(
        &self,
        own: u64,
        all: u64,
        bytes: usize,
        stream: DeviceStream,
    ) -> Result<(), TransportError> {
        let (own, all) = (own as *const _, all as *mut _);
        let of_bytes = ncclDataType_t::ncclUint8;
        // SAFETY: the caller vouches for the addresses and the stream.
        unsafe { result::all_gather(own, all, bytes, of_bytes, self.raw, stream.0.cast())? };
        Ok(())
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        // SAFETY: nobody else has the communicator any more. There is nobody to tell of a failure.
        let _ = unsafe { result::comm_abort(self.raw) };
    }
}

impl DeviceTransport for Communicator {
    unsafe fn exchange(
        &self,
        blocks: u64,
        received: u64,
        block: usize,
        stream: DeviceStream,
    ) -> Result<(), TransportError> {
        let bytes = (block * size_of::<f32>()) as u64;
        result::group_start()?;
        for peer in 0..self.world_size {
            let start = peer as u64 * bytes;
            let (raw, stream) = (self.raw, stream.0.cast());
            let f32s = ncclDataType_t::ncclFloat32;
            // SAFETY: the caller vouches for the addresses and the stream.
            unsafe {
                let from = (blocks + start) as *const _;
                result::send(from, block, f32s, peer as c_int, raw, stream)?;
                let to = (received + start) as *mut _;
                result::recv(to, block, f32s, peer as c_int, raw, stream)?;
            }
        }
        result::group_end()?;
        Ok(())
    }

    unsafe fn collect(
        &self,
        own: u64,
        all: u64,
        block: usize,
        stream: DeviceStream,
    ) -> Result<(), TransportError> {
        // SAFETY: the caller vouches for the same.
        unsafe { self.collect_bytes(own, all, block * size_of::<f32>(), stream) }
    }
}

impl Staging {
    fn exchange(&self, blocks: &[f32], received: &mut [f32]) -> Result<(), TransportError> {
        self.stream.context().bind_to_thread()?;
        let sent = self.stream.clone_htod(blocks)?;
        let mut got = self.stream.alloc_zeros::<f32>(received.len())?;
        let block = blocks.len() / self.communicator.world_size;
        {
            let (from, _sent) = sent.device_ptr(&self.stream);
            let (to, _got) = got.device_ptr_mut(&self.stream);
            let stream = DeviceStream(self.stream.cu_stream().cast());
            // SAFETY: both vectors hold a block for each process, and live until the copy below.
            unsafe { self.communicator.exchange(from, to, block, stream)? };
        }
        self.stream.memcpy_dtoh(&got, received)?;
        Ok(self.stream.synchronize()?)
    }

    /// The bytes of all processes, each as long as these.
    fn collect(&self, own: &[u8]) -> Result<Vec<u8>, TransportError> {
        if own.is_empty() {
            return Ok(Vec::new());
        }
        self.stream.context().bind_to_thread()?;
        let sent = self.stream.clone_htod(own)?;
        let length = own.len() * self.communicator.world_size;
        let mut got = self.stream.alloc_zeros::<u8>(length)?;
        {
            let (from, _sent) = sent.device_ptr(&self.stream);
            let (to, _got) = got.device_ptr_mut(&self.stream);
            let stream = DeviceStream(self.stream.cu_stream().cast());
            // SAFETY: the vectors have these lengths, and live until the copy below.
            unsafe {
                self.communicator
                    .collect_bytes(from, to, own.len(), stream)?;
            }
        }
        let all = self.stream.clone_dtoh(&got)?;
        self.stream.synchronize()?;
        Ok(all)
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, TransportError> {
        let lengths = self.collect(&(own.len() as u64).to_le_bytes())?;
        let (lengths, _) = lengths.as_chunks();
        let lengths: Vec<usize> = lengths
            .iter()
            .map(|bytes| u64::from_le_bytes(*bytes) as usize)
            .collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut padded = own.to_vec();
        padded.resize(longest, 0);
        let all = self.collect(&padded)?;
        let rows = (0..).zip(lengths);
        Ok(rows
            .map(|(rank, length): (usize, usize)| all[rank * longest..][..length].to_vec())
            .collect())
    }
}

impl Messages {
    fn staging(staging: &Mutex<Staging>) -> MutexGuard<'_, Staging> {
        staging.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Nccl {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world_size
    }

    fn exchange(&self, blocks: &[f32], received: &mut [f32]) -> Result<(), TransportError> {
        match &self.messages {
            Messages::OnDevice(staging) => Messages::staging(staging).exchange(blocks, received),
            Messages::Over(transport) => transport.exchange(blocks, received),
        }
    }

    fn collect(&self, own: &[f32], all: &mut [f32]) -> Result<(), TransportError> {
        match &self.messages {
            Messages::OnDevice(staging) => {
                let bytes: Vec<u8> = own.iter().flat_map(|v| v.to_ne_bytes()).collect();
                let found = Messages::staging(staging).collect(&bytes)?;
                let (numbers, _) = found.as_chunks();
                for (value, number) in all.iter_mut().zip(numbers) {
                    *value = f32::from_ne_bytes(*number);
                }
                Ok(())
            }
            Messages::Over(transport) => transport.collect(own, all),
        }
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, TransportError> {
        match &self.messages {
            Messages::OnDevice(staging) => Messages::staging(staging).all_gather(own),
            Messages::Over(transport) => transport.all_gather(own),
        }
    }

    /// Without MPI it is the launcher that ends the others: `torchrun` does.
    fn abort(&self, exit_code: u8) {
        match &self.messages {
            // What the GPU waits for will never come, and dropping would wait for the GPU.
            Messages::OnDevice(_) => std::process::exit(exit_code.into()),
            Messages::Over(transport) => transport.abort(exit_code),
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn on_device(&self) -> Option<Arc<dyn DeviceTransport>> {
        Some(self.gradients.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_where_nccl_is_and_asked_for_where_it_is_not() {
        // SAFETY: as in NcclId::new.
        let is_there = unsafe { sys::is_culib_present() };
        match NcclId::new() {
            Ok(id) => {
                assert!(is_there);
                assert_eq!(NcclId::of_bytes(id.as_bytes()), Ok(id));
            }
            Err(error) => {
                let expected = if is_there { "NCCL_DEBUG" } else { "libnccl.so" };
                assert!(error.to_string().contains(expected), "{error}");
            }
        }
        assert!(NcclId::of_bytes(&[1, 2]).is_err());
    }
}
