//! The type of a model's activations.

use burn::tensor::{Device, FloatDType};
use miette::{Result, miette};

use crate::device::ComputeDevice;
use crate::settings::SourceSettings;

/// f32, or bf16 where the settings ask for it.
///
/// # Errors
///
/// If the device does not compute in bf16. The CPU keeps bf16 and computes in f32.
pub(crate) fn activations(source: &SourceSettings, device: &Device) -> Result<FloatDType> {
    if !source.bf16 {
        return Ok(FloatDType::F32);
    }
    if source.device != ComputeDevice::Cpu && !device.supports_dtype(FloatDType::BF16) {
        return Err(miette!(
            help = "leave bf16 out: products are then in float32",
            "the device `{}` does not compute in bf16",
            source.device
        ));
    }
    Ok(FloatDType::BF16)
}
