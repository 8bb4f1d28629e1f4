//! The GPUs of a machine, and what of CUDA it has.

use burn::tensor::Device;
#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn::tensor::{DType, DeviceType};
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use burn_cubecl::cubecl::MemoryScope;

/// What Burn reaches a GPU through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuRuntime {
    /// NVIDIA's CUDA; feature `cuda`.
    Cuda,
    /// wgpu: Vulkan, Metal or DirectX 12; feature `wgpu`.
    Wgpu,
}

/// A GPU that this build can compute on.
#[derive(Debug, Clone, PartialEq)]
pub struct Gpu {
    /// What it is reached through.
    pub runtime: GpuRuntime,
    /// Its number among those of its runtime, from 0.
    pub number: usize,
    /// As the driver names it.
    pub name: String,
    /// What kernels are compiled for, as CubeCL names it.
    pub target: String,
    /// Bytes of its memory, where the driver tells.
    pub memory: Option<u64>,
    /// Bytes of memory that the units of a cube share.
    pub shared_memory: usize,
    /// Whether it computes in bf16.
    pub has_bf16: bool,
}

impl GpuRuntime {
    /// Its GPUs, none where the feature is not built in or the driver is not installed.
    pub fn devices(self) -> Vec<Device> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::enumerate(DeviceType::Cuda).into_vec(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Device::enumerate(DeviceType::Wgpu).into_vec(),
            #[allow(unreachable_patterns, reason = "with every feature nothing is left")]
            _ => Vec::new(),
        }
    }

    /// Whether this build has the runtime.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Wgpu => cfg!(feature = "wgpu"),
        }
    }
}

/// The GPU that wgpu prefers, or the one that the environment variable
/// `CUBECL_WGPU_DEFAULT_DEVICE` names.
#[cfg(feature = "wgpu")]
pub fn preferred_wgpu_device() -> Device {
    Device::wgpu(DeviceKind::default())
}

/// Every GPU that this build can compute on. Opens each of them.
pub fn gpus() -> Vec<Gpu> {
    [GpuRuntime::Cuda, GpuRuntime::Wgpu]
        .into_iter()
        .flat_map(|runtime| {
            let devices = runtime.devices().into_iter().enumerate();
            devices.filter_map(move |(number, device)| describe(runtime, number, &device))
        })
        .collect()
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn describe(runtime: GpuRuntime, number: usize, device: &Device) -> Option<Gpu> {
    let client = crate::cube::tensor::client(device);
    let properties = client.properties();
    Some(Gpu {
        runtime,
        number,
        name: properties.identity.name.clone(),
        target: properties.identity.fingerprint.clone(),
        memory: properties.memory.max_memory(),
        shared_memory: properties.hardware.max_shared_memory_size,
        has_bf16: device.supports_dtype(DType::BF16),
    })
}

#[cfg(not(any(feature = "cuda", feature = "wgpu")))]
fn describe(_runtime: GpuRuntime, _number: usize, _device: &Device) -> Option<Gpu> {
    None
}

/// The bytes of a GPU's memory that this process has reserved on it: those in use, and those that
/// it keeps to use again. None on the CPU.
pub fn reserved_memory(device: &Device) -> Option<u64> {
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    if crate::cube::is_gpu(device) {
        let report = crate::cube::tensor::client(device).memory_report(MemoryScope::Device);
        return Some(report.usage().bytes_reserved);
    }
    let _ = device;
    None
}

/// Has a GPU's memory allocated in pages that hold a tensor of so many bytes. Does nothing on the
/// CPU, and where the device allocates no such page.
///
/// CubeCL carves tensors out of pages as large as the largest tensor yet. At each larger one it
/// leaves the pages before behind and takes new ones, so that a run whose tensors grow holds its
/// memory twice: see [`return_pages`].
pub fn prepare_pages(device: &Device, bytes: u64) {
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    if crate::cube::is_gpu(device) {
        let client = crate::cube::tensor::client(device);
        if let Ok(size) = usize::try_from(bytes)
            && bytes <= client.properties().memory.max_page_size
        {
            drop(client.empty(size));
        }
        return_pages(device);
    }
    let _ = (device, bytes);
}

/// Gives pages that a GPU's memory no longer needs back to the driver. CubeCL collects them and
/// waits to be asked. Does nothing on the CPU.
pub fn return_pages(device: &Device) {
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    if crate::cube::is_gpu(device) {
        // What fails on the device is told where results are read.
        drop(crate::cube::tensor::client(device).flush());
    }
    let _ = device;
}

/// The libraries that CUDA needs while a program runs, and whether they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CudaLibraries {
    /// NVIDIA's driver, `libcuda.so`.
    pub driver: bool,
    /// The compiler of kernels, `libnvrtc.so`.
    pub nvrtc: bool,
    /// Fast matrix products, `libcublasLt.so`. Without it Burn's own are used.
    pub cublaslt: bool,
}

impl CudaLibraries {
    /// Looks for them as a program does that opens them, `LD_LIBRARY_PATH` included.
    #[cfg(feature = "cuda")]
    #[allow(unsafe_code, reason = "opening a library runs its initialization")]
    pub fn find() -> Self {
        // SAFETY: each call only opens the library by its usual names, as CubeCL itself does before
        // it computes; NVIDIA's libraries may be opened at any time.
        unsafe {
            Self {
                driver: cudarc::driver::sys::is_culib_present(),
                nvrtc: cudarc::nvrtc::sys::is_culib_present(),
                cublaslt: cudarc::cublaslt::sys::is_culib_present(),
            }
        }
    }
}
