//! Where tensors live and are computed.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use miette::{Result, miette};
use plw_kernels::{Gpu, GpuRuntime};
use plw_transport::Launch;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The setting `device`: `cpu`, `cuda`, `cuda:1`, `wgpu`, `wgpu:1`, `vulkan` or `metal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum ComputeDevice {
    /// Burn's flex backend, always built in.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
    /// The GPU of this number that wgpu finds, or the one that it prefers.
    Wgpu(Option<usize>),
    /// The best GPU that Vulkan finds.
    Vulkan,
    /// Apple's GPU.
    Metal,
}

impl ComputeDevice {
    /// The device of one of several processes: where `cuda` has no number, the GPU of the process's
    /// number on its machine, or the only one that it sees.
    pub(crate) fn of_process(self, launch: Option<Launch>) -> Self {
        let local = launch.and_then(|launch| launch.local_rank);
        match (self, local) {
            (Self::Cuda(0), Some(local)) => {
                let there = plw_kernels::GpuRuntime::Cuda.devices().len();
                Self::Cuda(local % there.max(1))
            }
            _ => self,
        }
    }

    /// Checks that this plw was built with it.
    pub(crate) fn check_built_in(self) -> Result<()> {
        let (is_there, feature) = match self {
            Self::Cpu => (true, "cpu"),
            Self::Cuda(_) => (cfg!(feature = "cuda"), "cuda"),
            Self::Wgpu(_) => (cfg!(feature = "wgpu"), "wgpu"),
            Self::Vulkan => (cfg!(feature = "vulkan"), "vulkan"),
            Self::Metal => (cfg!(feature = "metal"), "metal"),
        };
        if is_there {
            return Ok(());
        }
        Err(miette!(
            help = format!("build it in: cargo build --release --bin plw --features {feature}"),
            "this plw was built without the device `{self}`"
        ))
    }

    /// Burn's handle of it. Its driver and libraries are looked for first.
    pub(crate) fn open(self) -> Result<Device, Failure> {
        self.check_built_in().map_err(Failure::never)?;
        Ok(self.find()?)
    }

    fn find(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            Self::Cuda(number) => {
                check_cuda()?;
                self.numbered(GpuRuntime::Cuda, number)
            }
            #[cfg(feature = "wgpu")]
            Self::Wgpu(None) => {
                self.numbered(GpuRuntime::Wgpu, 0)?;
                Ok(plw_kernels::preferred_wgpu_device())
            }
            #[cfg(feature = "wgpu")]
            Self::Wgpu(Some(number)) => self.numbered(GpuRuntime::Wgpu, number),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Ok(Device::vulkan(burn::tensor::DeviceKind::default())),
            #[cfg(feature = "metal")]
            Self::Metal => Ok(Device::metal(burn::tensor::DeviceKind::default())),
            #[allow(unreachable_patterns, reason = "with every feature nothing is left")]
            other => unreachable!("{other} is not built in"),
        }
    }

    /// The GPU that it is, where this plw was built for it and the machine has it.
    pub(crate) fn gpu(self) -> Option<Gpu> {
        let (runtime, number) = match self {
            Self::Cpu => return None,
            Self::Cuda(number) => (GpuRuntime::Cuda, number),
            Self::Wgpu(number) => (GpuRuntime::Wgpu, number.unwrap_or(0)),
            Self::Vulkan | Self::Metal => (GpuRuntime::Wgpu, 0),
        };
        let is_it = |gpu: &Gpu| (gpu.runtime, gpu.number) == (runtime, number);
        plw_kernels::gpus().into_iter().find(is_it)
    }

    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    fn numbered(self, runtime: GpuRuntime, number: usize) -> Result<Device> {
        let mut devices = runtime.devices();
        if number < devices.len() {
            return Ok(devices.swap_remove(number));
        }
        let there = match devices.len() {
            0 => "none".to_string(),
            count => format!("{count}, numbered from 0"),
        };
        Err(miette!(
            help = "`plw devices` lists the devices of this machine; --device cpu is always there",
            "there is no device `{self}`: of its kind the machine has {there}"
        ))
    }
}

/// Without its libraries CUDA would end in a panic.
#[cfg(feature = "cuda")]
fn check_cuda() -> Result<()> {
    let libraries = plw_kernels::CudaLibraries::find();
    if !libraries.driver {
        return Err(miette!(
            help = "install NVIDIA's driver, or compute with --device cpu",
            "CUDA needs NVIDIA's driver, and its libcuda.so is not there"
        ));
    }
    if !libraries.nvrtc {
        return Err(miette!(
            help = "install CUDA's NVRTC and name its folder in LD_LIBRARY_PATH",
            "CUDA needs its compiler NVRTC, and libnvrtc.so is not there"
        ));
    }
    Ok(())
}

impl fmt::Display for ComputeDevice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(0) => formatter.write_str("cuda"),
            Self::Cuda(number) => write!(formatter, "cuda:{number}"),
            Self::Wgpu(None) => formatter.write_str("wgpu"),
            Self::Wgpu(Some(number)) => write!(formatter, "wgpu:{number}"),
            Self::Vulkan => formatter.write_str("vulkan"),
            Self::Metal => formatter.write_str("metal"),
        }
    }
}

impl FromStr for ComputeDevice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbered = |prefix| text.strip_prefix(prefix).and_then(|n: &str| n.parse().ok());
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "wgpu" => Ok(Self::Wgpu(None)),
            "vulkan" => Ok(Self::Vulkan),
            "metal" => Ok(Self::Metal),
            _ => numbered("cuda:")
                .map(Self::Cuda)
                .or_else(|| numbered("wgpu:").map(|number| Self::Wgpu(Some(number))))
                .ok_or_else(|| {
                    format!(
                        "there is no device `{text}`; it must be cpu, cuda, cuda:N, wgpu, wgpu:N, \
                         vulkan or metal"
                    )
                }),
        }
    }
}

impl TryFrom<String> for ComputeDevice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ComputeDevice> for String {
    fn from(device: ComputeDevice) -> Self {
        device.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_refused() {
        for name in ["cpu", "cuda", "cuda:3", "wgpu", "wgpu:0", "vulkan", "metal"] {
            assert_eq!(
                name.parse().map(|device: ComputeDevice| device.to_string()),
                Ok(name.to_string())
            );
        }
        for name in ["", "gpu", "cuda:", "cuda:x", "wgpu:-1", "CPU"] {
            let error = name.parse::<ComputeDevice>().expect_err("refused");
            assert!(error.contains("cuda:N"), "{error}");
        }
    }

    #[test]
    fn what_is_not_built_in_says_how_to_build_it() {
        if cfg!(feature = "metal") {
            return;
        }
        let failure = ComputeDevice::Metal.open().expect_err("not built in");
        let report = format!("{:?}", failure.report);
        assert!(report.contains("--features metal"), "{report}");
        assert!(failure.is_final());
    }

    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let devices: &[ComputeDevice] = &[
            #[cfg(feature = "cuda")]
            ComputeDevice::Cuda(999),
            #[cfg(feature = "wgpu")]
            ComputeDevice::Wgpu(Some(999)),
        ];
        for device in devices {
            let failure = device.open().expect_err("not that many");
            assert!(!failure.is_final(), "another machine may have it");
            let report = format!("{:?}", failure.report);
            assert!(
                report.contains("999") || report.contains("CUDA needs"),
                "{report}"
            );
        }
    }
}
