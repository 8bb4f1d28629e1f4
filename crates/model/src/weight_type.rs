//! The element type in which weights are stored.

use safetensors::Dtype;
use serde::{Deserialize, Serialize};

/// Element type of stored weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightType {
    /// 32-bit floating point, in which training computes.
    #[default]
    #[serde(rename = "float32")]
    F32,
    /// The upper half of an f32.
    #[serde(rename = "bfloat16")]
    Bf16,
    /// IEEE half precision.
    #[serde(rename = "float16")]
    F16,
}

impl WeightType {
    /// The name that transformers writes into `config.json`, and that settings have.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
            Self::F16 => "float16",
        }
    }

    /// The type in a safetensors file.
    pub(crate) fn stored(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::Bf16 => Dtype::BF16,
            Self::F16 => Dtype::F16,
        }
    }

    /// Bytes per element.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }
}
