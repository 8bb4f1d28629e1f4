//! Where tensors live and are computed.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
use miette::{Result, miette};
use serde::{Deserialize, Serialize};

/// The setting `device`: `cpu`, `cuda`, `cuda:1`, `vulkan` or `metal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum ComputeDevice {
    /// Burn's flex backend, always built in.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
    /// The best GPU that Vulkan finds.
    Vulkan,
    /// Apple's GPU.
    Metal,
}

impl ComputeDevice {
    /// Burn's handle of it.
    pub(crate) fn open(self) -> Result<Device> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            Self::Cuda(number) => Ok(Device::cuda(number)),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Ok(Device::vulkan(burn::tensor::DeviceKind::default())),
            #[cfg(feature = "metal")]
            Self::Metal => Ok(Device::metal(burn::tensor::DeviceKind::default())),
            #[allow(unreachable_patterns, reason = "with every feature nothing is left")]
            other => {
                let name = other.to_string();
                let feature = name.split(':').next().unwrap_or_default();
                Err(miette!(
                    help = format!(
                        "build it in: cargo build --release --bin plw --features {feature}"
                    ),
                    "this plw was built without the device `{name}`"
                ))
            }
        }
    }
}

impl fmt::Display for ComputeDevice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(0) => formatter.write_str("cuda"),
            Self::Cuda(number) => write!(formatter, "cuda:{number}"),
            Self::Vulkan => formatter.write_str("vulkan"),
            Self::Metal => formatter.write_str("metal"),
        }
    }
}

impl FromStr for ComputeDevice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "vulkan" => Ok(Self::Vulkan),
            "metal" => Ok(Self::Metal),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| {
                    format!(
                        "there is no device `{text}`; it must be cpu, cuda, cuda:N, vulkan or metal"
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
        for name in ["cpu", "cuda", "cuda:3", "vulkan", "metal"] {
            assert_eq!(
                name.parse().map(|device: ComputeDevice| device.to_string()),
                Ok(name.to_string())
            );
        }
        for name in ["", "gpu", "cuda:", "cuda:x", "CPU"] {
            let error = name.parse::<ComputeDevice>().expect_err("refused");
            assert!(error.contains("cuda:N"), "{error}");
        }
    }

    #[test]
    fn what_is_not_built_in_says_how_to_build_it() {
        if cfg!(feature = "metal") {
            return;
        }
        let report = format!(
            "{:?}",
            ComputeDevice::Metal.open().expect_err("not built in")
        );
        assert!(report.contains("--features metal"), "{report}");
    }
}
