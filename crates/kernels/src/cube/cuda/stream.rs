//! Work of ours on CubeCL's own CUDA streams, between its kernels.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn_cubecl::cubecl;
use cubecl::client::Client;
use cubecl::cuda::CudaRuntime;
use cubecl::server::Handle;
use cubecl_common::device_handle::DeviceHandle;
use cubecl_environment::stream::StreamId;
use cubecl_runtime::runtime::Runtime;
use cubecl_server::stream::{FailureStore, WriteScoped};
use cudarc::driver::result;
use cudarc::driver::sys::{
    CUcontext, CUdeviceptr, CUevent_flags, CUevent_wait_flags, CUstream, cuCtxGetCurrent,
};

use super::CudaError;

type Server = <CudaRuntime as Runtime>::Server;

pub(super) fn current_context() -> Result<CUcontext, CudaError> {
    let mut context = std::ptr::null_mut();
    // SAFETY: the call writes the current context through the pointer.
    unsafe { cuCtxGetCurrent(&mut context) }.result()?;
    Ok(context)
}

/// The first failure of queued work, which nobody waits for.
static FAILURE: Mutex<Option<CudaError>> = Mutex::new(None);

/// The device's server of CubeCL, on its runner thread.
fn server(client: &Client) -> DeviceHandle<Server> {
    DeviceHandle::new(client.service_id().device)
}

/// Runs `work` on the device's runner thread, with the device's context current, and waits for
/// what it returns.
pub(super) fn on_runner<R: Send>(
    client: &Client,
    work: impl FnOnce() -> Result<R, CudaError> + Send,
) -> Result<R, CudaError> {
    // The thread made the context current when it began.
    let found = server(client).submit_blocking(|_: &mut Server| work());
    found.map_err(|_| CudaError::Memory)?
}

/// Runs `work` on the device's runner thread, later. Its failure is kept for [`check`].
fn submit(
    client: &Client,
    work: impl FnOnce(&mut Server) -> Result<(), CudaError> + Send + 'static,
) {
    server(client).submit(move |server: &mut Server| {
        if let Err(error) = work(server) {
            failure().get_or_insert(error);
        }
    });
}

/// Hands `work` to the device's runner thread, and does not wait for it. `work` gets the stream on
/// which CubeCL runs what this thread asks for: what it queues there runs after everything that
/// this thread queued before the call, and before everything that it will queue after it. It also
/// gets the addresses of `handles`. What it writes must have been allocated by this thread: the
/// owner of other memory would not wait for it.
///
/// # Panics
///
/// Where work that was queued before has failed.
pub(super) fn queue(
    client: &Client,
    handles: Vec<Handle>,
    work: impl FnOnce(CUstream, &[CUdeviceptr]) -> Result<(), CudaError> + Send + 'static,
) {
    check();
    let stream_id = StreamId::current();
    let bindings: Vec<_> = handles.into_iter().map(Handle::binding).collect();
    submit(client, move |server| {
        let streams = server.write_streams();
        let is_written = streams.ensure_written(bindings.iter());
        is_written.map_err(|_| CudaError::Memory)?;
        // The stream waits for others that wrote the memory. What belongs to others is kept
        // until the work is done, which an event tells that is recorded when this is dropped.
        let resolved = streams.resolve(stream_id, bindings.iter());
        let mut streams = resolved.map_err(|_| CudaError::Memory)?;
        let mut addresses = Vec::with_capacity(bindings.len());
        for binding in bindings {
            let memory = &mut streams.get(&binding.stream).memory_management_gpu;
            let found =
                memory.get_resource(binding.memory, binding.offset_start, binding.offset_end);
            addresses.push(found.map_err(|_| CudaError::Memory)?.ptr);
        }
        work(streams.current().sys, &addresses)
    });
}

/// Lets what this thread queues from now on wait for all that the thread of another stream has
/// queued.
pub(crate) fn wait_for(client: &Client, other: StreamId) {
    let own = StreamId::current();
    submit(client, move |server| {
        let streams = server.write_streams();
        // A thread without a stream has queued nothing.
        let Some(other) = streams.try_stream_mut(&other).map(|stream| stream.sys) else {
            return Ok(());
        };
        let resolved = streams.resolve(own, std::iter::empty());
        let own = resolved.map_err(|_| CudaError::Memory)?.current().sys;
        let event = result::event::create(CUevent_flags::CU_EVENT_DISABLE_TIMING)?;
        // SAFETY: both streams are CubeCL's, which live as long as the program. The driver
        // keeps an event that was destroyed until nobody waits for it.
        unsafe {
            result::event::record(event, other)?;
            let flags = CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
            result::stream::wait_event(own, event, flags)?;
            result::event::destroy(event)?;
        }
        Ok(())
    });
}

/// Panics where queued work has failed: what it was to compute was never written.
pub(in crate::cube) fn check() {
    if let Some(error) = failure().clone() {
        panic!(
            "the GPU refused a matrix product, an attention or a sum of processes: {error:?}. Set \
             PLW_CUBLASLT=off or PLW_FLASH_ATTENTION=off to compute without NVIDIA's products or \
             our own attention"
        );
    }
}

fn failure() -> MutexGuard<'static, Option<CudaError>> {
    FAILURE.lock().unwrap_or_else(PoisonError::into_inner)
}
