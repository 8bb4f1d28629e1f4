//! The weight of a linear layer, as it is held in memory.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use half::{bf16, f16};
use plw_kernels::{Nf4Weight, WeightMatrix, dequantize};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::weight_type::WeightType;

/// In which type the linear weights of the layers are held in memory. All but f32 are for weights
/// that are not trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinearWeightType {
    /// 32-bit floating point.
    #[default]
    #[serde(rename = "float32")]
    F32,
    /// The upper half of an f32.
    #[serde(rename = "bfloat16")]
    Bf16,
    /// IEEE half precision.
    #[serde(rename = "float16")]
    F16,
    /// 4-bit NormalFloat with double quantization, which loses precision: see [`Nf4Weight`].
    Nf4,
}

impl LinearWeightType {
    /// The bytes of a matrix of so many elements.
    pub fn bytes(self, elements: u64) -> u64 {
        match self {
            Self::F32 => 4 * elements,
            Self::Bf16 | Self::F16 => 2 * elements,
            Self::Nf4 => Nf4Weight::bytes(elements),
        }
    }
}

/// In which types a model's weights are held in memory. Norms are always in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeldWeights {
    /// The linear weights of the layers.
    pub linear: LinearWeightType,
    /// The embedding table and the language-model head. A half precision is for a GPU, for tables
    /// that are not trained, and for activations of that type, to which both are rounded anyway.
    pub tables: WeightType,
}

/// Tables in f32.
impl From<LinearWeightType> for HeldWeights {
    fn from(linear: LinearWeightType) -> Self {
        Self {
            linear,
            tables: WeightType::F32,
        }
    }
}

/// The values as the elements of a tensor on a device.
///
/// They are converted here, so that no device holds a matrix in f32 beside the one that it keeps.
/// A GPU allocates each for itself: in pages for tensors of a step, weights of 7B left 7 % empty.
pub(crate) fn held<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    held_as: WeightType,
    device: &Device,
) -> Tensor<D> {
    // By reference: what `into_iter` is collected into would keep the room of the f32.
    let (data, dtype) = match held_as {
        WeightType::F32 => (TensorData::new(values, shape), DType::F32),
        WeightType::Bf16 => {
            let values: Vec<bf16> = values.par_iter().map(|v| bf16::from_f32(*v)).collect();
            (TensorData::new(values, shape), DType::BF16)
        }
        WeightType::F16 => {
            let values: Vec<f16> = values.par_iter().map(|v| f16::from_f32(*v)).collect();
            (TensorData::new(values, shape), DType::F16)
        }
    };
    device.memory_persistent_allocations(data, |data| Tensor::from_data(data, (device, dtype)))
}

/// A weight `[out, in]`.
#[derive(Module, Debug)]
pub(crate) enum Weight {
    Dense(Param<Tensor<2>>),
    Nf4(FrozenWeight),
}

/// A weight that is no parameter of the module.
#[derive(Module, Debug)]
pub(crate) struct FrozenWeight {
    #[module(skip)]
    weight: Nf4Weight,
}

impl Weight {
    /// A weight of row-major values, which may be trained where its type is f32.
    pub(crate) fn new(
        values: Vec<f32>,
        shape: [usize; 2],
        held_as: LinearWeightType,
        device: &Device,
    ) -> Self {
        let held_as = match held_as {
            LinearWeightType::F32 => WeightType::F32,
            LinearWeightType::Bf16 => WeightType::Bf16,
            LinearWeightType::F16 => WeightType::F16,
            LinearWeightType::Nf4 => {
                let weight = Nf4Weight::quantize(&values, shape, device);
                return Self::Nf4(FrozenWeight { weight });
            }
        };
        Self::Dense(Param::from_tensor(held(values, shape, held_as, device)))
    }

    /// A weight in f32 of these values, which have no graph; it may be trained where its device has
    /// one.
    pub(crate) fn dense(values: Tensor<2>, device: &Device) -> Self {
        Self::Dense(Param::from_tensor(match device.is_autodiff() {
            true => values.autodiff(),
            false => values,
        }))
    }

    /// As the kernels take it.
    pub(crate) fn matrix(&self) -> WeightMatrix {
        match self {
            Self::Dense(weight) => WeightMatrix::Dense(weight.val()),
            Self::Nf4(frozen) => WeightMatrix::Nf4(frozen.weight.clone()),
        }
    }

    /// `[out, in]`.
    pub(crate) fn dims(&self) -> [usize; 2] {
        match self {
            Self::Dense(weight) => weight.dims(),
            Self::Nf4(frozen) => frozen.weight.shape(),
        }
    }

    /// The values in f32, without a graph.
    pub(crate) fn to_f32(&self) -> Tensor<2> {
        match self {
            Self::Dense(weight) => weight.val().inner().cast(FloatDType::F32),
            Self::Nf4(frozen) => dequantize(&frozen.weight),
        }
    }

    /// A weight in NF4 in f32 instead, on this device.
    pub(crate) fn dequantized(self, device: &Device) -> Self {
        match self {
            Self::Nf4(_) => Self::dense(self.to_f32(), device),
            dense @ Self::Dense(_) => dense,
        }
    }
}
