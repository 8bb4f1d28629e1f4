//! A CUDA stream of ours beside CubeCL's, which CubeCL does not hand out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn_cubecl::cubecl;
use cubecl::client::Client;
use cubecl::cuda::CudaRuntime;
use cubecl::server::Handle;
use cubecl_common::device_handle::DeviceHandle;
use cubecl_environment::stream::StreamId;
use cubecl_runtime::runtime::Runtime;
use cubecl_runtime::server::ServerStorage;
use cudarc::driver::result;
use cudarc::driver::sys::{
    CUcontext, CUdeviceptr, CUevent, CUevent_flags, CUevent_wait_flags, CUstream, cuCtxGetCurrent,
    cuCtxRecordEvent, cuCtxWaitEvent,
};

use super::CudaError;

type Server = <CudaRuntime as Runtime>::Server;

/// The stream of one CUDA context, and the events that order its work.
#[derive(Debug, Clone, Copy)]
struct Ordered {
    stream: CUstream,
    /// All work of the context that came before ours.
    before: CUevent,
    /// Our work.
    after: CUevent,
}

// SAFETY: a stream and an event may be used from every thread; `in_order` uses them on the device's
// one runner thread.
unsafe impl Send for Ordered {}

/// By the address of a context. A context lives as long as the program.
static STREAMS: Mutex<Option<HashMap<usize, Ordered>>> = Mutex::new(None);

pub(super) fn current_context() -> Result<CUcontext, CudaError> {
    let mut context = std::ptr::null_mut();
    // SAFETY: the call writes the current context through the pointer.
    unsafe { cuCtxGetCurrent(&mut context) }.result()?;
    Ok(context)
}

impl Ordered {
    fn new() -> Result<Self, CudaError> {
        let flags = CUevent_flags::CU_EVENT_DISABLE_TIMING;
        Ok(Self {
            stream: result::stream::create(result::stream::StreamKind::NonBlocking)?,
            before: result::event::create(flags)?,
            after: result::event::create(flags)?,
        })
    }

    fn of(context: CUcontext) -> Result<Self, CudaError> {
        let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = streams.get_or_insert_default();
        if let Some(found) = streams.get(&context.addr()) {
            return Ok(*found);
        }
        let new = Self::new()?;
        streams.insert(context.addr(), new);
        Ok(new)
    }
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

/// Hands `work` to the device's runner thread, and does not wait for it. What `work` queues on the
/// stream that it gets runs after everything that was queued on the device before this call, and
/// before everything that will be after it. It also gets the addresses of `handles`.
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
    server(client).submit(move |server: &mut Server| {
        let run = || {
            let memory = bindings
                .into_iter()
                .map(|binding| server.get_resource(binding, stream_id))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| CudaError::Memory)?;
            let addresses: Vec<CUdeviceptr> = memory.iter().map(|m| m.resource().ptr).collect();
            in_order(|stream| work(stream, &addresses))
        };
        if let Err(error) = run() {
            failure().get_or_insert(error);
        }
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

/// Runs `work` with our stream, which waits for the current context's other streams, and they for
/// it.
fn in_order(work: impl FnOnce(CUstream) -> Result<(), CudaError>) -> Result<(), CudaError> {
    let context = current_context()?;
    let ordered = Ordered::of(context)?;
    // SAFETY: context, stream and events belong together and live as long as the program.
    unsafe {
        cuCtxRecordEvent(context, ordered.before).result()?;
        let flags = CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        result::stream::wait_event(ordered.stream, ordered.before, flags)?;
        let found = work(ordered.stream);
        result::event::record(ordered.after, ordered.stream)?;
        cuCtxWaitEvent(context, ordered.after).result()?;
        found
    }
}
