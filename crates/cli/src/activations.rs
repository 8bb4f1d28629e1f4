//! The type of a model's activations, and those of its weights, which depend on it.

use burn::tensor::{Device, FloatDType};
use miette::{Result, miette};
use plw_model::{HeldWeights, LinearWeightType, WeightType};

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

/// The types in which the weights are held. A GPU holds tables that are not trained in the type of
/// the activations, to which they are rounded anyway.
pub(crate) fn held_weights(source: &SourceSettings, activations: FloatDType) -> HeldWeights {
    let is_frozen = source.dtype != LinearWeightType::F32;
    let is_on_gpu = source.device != ComputeDevice::Cpu;
    HeldWeights {
        linear: source.dtype,
        tables: match activations {
            FloatDType::BF16 if is_frozen && is_on_gpu => WeightType::Bf16,
            _ => WeightType::F32,
        },
    }
}
