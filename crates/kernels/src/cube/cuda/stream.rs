//! A CUDA stream of ours beside CubeCL's, which CubeCL does not hand out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use burn_cubecl::cubecl;
use cubecl::client::Client;
use cubecl::cuda::CudaRuntime;
use cubecl::server::Handle;
use cudarc::driver::result;
use cudarc::driver::sys::{
    CUcontext, CUdeviceptr, CUevent, CUevent_flags, CUstream, cuCtxGetCurrent, cuCtxRecordEvent,
    cuCtxWaitEvent,
};

use super::CudaError;

type Server = <CudaRuntime as cubecl::__private::Runtime>::Server;

/// The stream of one CUDA context, and the events that order its work.
#[derive(Debug, Clone, Copy)]
struct Ordered {
    stream: CUstream,
    /// All work of the context that came before ours.
    before: CUevent,
    /// Our work.
    after: CUevent,
}

// SAFETY: a stream and an event may be used from every thread; `on_stream` uses them on the device's
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

/// Runs `work` with a CUDA stream and the addresses of `handles`. What it queues on the stream runs
/// after everything that was queued on the device, and before everything that will be.
///
/// `work` runs on the device's runner thread, with the device's context current.
pub(super) fn on_stream<R: Send + 'static>(
    client: &Client,
    handles: Vec<Handle>,
    work: impl FnOnce(CUstream, &[CUdeviceptr]) -> Result<R, CudaError> + Send,
) -> Result<R, CudaError> {
    let task = || {
        let mut memory = Vec::with_capacity(handles.len());
        for handle in handles {
            let found = client.get_resource::<Server>(handle);
            memory.push(found.map_err(|_| CudaError::Memory)?);
        }
        let addresses: Vec<CUdeviceptr> = memory.iter().map(|m| m.resource().ptr).collect();
        let context = current_context()?;
        let ordered = Ordered::of(context)?;
        // SAFETY: context, stream and events belong together and live as long as the program.
        unsafe {
            cuCtxRecordEvent(context, ordered.before).result()?;
            result::stream::wait_event(
                ordered.stream,
                ordered.before,
                cudarc::driver::sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT,
            )?;
            let found = work(ordered.stream, &addresses);
            result::event::record(ordered.after, ordered.stream)?;
            cuCtxWaitEvent(context, ordered.after).result()?;
            found
        }
    };
    client.exclusive(task).map_err(|_| CudaError::Memory)?
}
