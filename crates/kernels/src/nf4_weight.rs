//! Frozen weights in 4-bit NormalFloat.

use std::sync::Arc;

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};

use crate::flex::nf4::{Quantized, quantize};
use crate::integers;
use crate::nf4::{BLOCK, GROUP, NF4, SCALE_CODES_OF_WORD, WORDS_OF_BLOCK, dynamic};

/// A frozen weight `[out, in]` in 4-bit NormalFloat (NF4) with double quantization: about 4.13 bits
/// an element (QLoRA: Dettmers et al. 2023, arXiv 2305.14314).
///
/// An element is one of 16 values times the scale of its block, which is the greatest magnitude of
/// 64 elements in row-major order. The scales, less their mean, are codes of 8 bits, each with the
/// scale of its group of 256 blocks. Codes are the nearest ones, as bitsandbytes' `quantize_4bit`
/// with `quant_type="nf4"` and `compress_statistics=True` finds them on a GPU. On the CPU it misses
/// the nearest code of two scales in a thousand.
#[derive(Debug, Clone)]
pub struct Nf4Weight {
    shape: [usize; 2],
    pub(crate) tensors: Arc<Nf4Tensors>,
    /// The type that elements are rounded to where they are used.
    pub(crate) precision: FloatDType,
}

/// What a weight is kept as.
#[derive(Debug)]
pub(crate) struct Nf4Tensors {
    /// `[blocks * 8]`: words of eight codes.
    pub(crate) codes: Tensor<1, Int>,
    /// Words of four codes.
    pub(crate) scale_codes: Tensor<1, Int>,
    /// `[groups]`.
    pub(crate) group_scales: Tensor<1>,
    /// The values of NF4's codes, then those of the scales' codes.
    pub(crate) code_books: Tensor<1>,
    /// What the scales' values are added to.
    pub(crate) mean_scale: f32,
}

impl Nf4Weight {
    /// The weight `[out, in]` of row-major values, on this device.
    ///
    /// # Panics
    ///
    /// Where the number of values is not that of the shape, which is a bug of the caller.
    pub fn quantize(values: &[f32], shape: [usize; 2], device: &Device) -> Self {
        let [outputs, inputs] = shape;
        assert_eq!(
            values.len(),
            outputs * inputs,
            "a weight [out, in] has out * in values"
        );
        let device = device.clone().inner();
        // As all weights, outside of the pages for tensors of a step.
        let make = |quantized| Self::on_device(quantized, &device);
        let tensors = device.memory_persistent_allocations(quantize(values), make);
        Self {
            shape,
            tensors: Arc::new(tensors),
            precision: FloatDType::F32,
        }
    }

    fn on_device(quantized: Quantized, device: &Device) -> Nf4Tensors {
        let Quantized {
            codes,
            scale_codes,
            group_scales,
            mean_scale,
        } = quantized;
        let floats = |values: Vec<f32>| {
            let count = values.len();
            Tensor::from_data(TensorData::new(values, [count]), device)
        };
        Nf4Tensors {
            codes: integers::to_device(codes, device),
            scale_codes: integers::to_device(scale_codes, device),
            group_scales: floats(group_scales),
            code_books: floats(NF4.into_iter().chain(dynamic()).collect()),
            mean_scale,
        }
    }

    /// `[out, in]`.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The bytes that so many elements take.
    pub fn bytes(elements: u64) -> u64 {
        let blocks = elements.div_ceil(BLOCK as u64);
        let words = blocks * WORDS_OF_BLOCK as u64 + blocks.div_ceil(SCALE_CODES_OF_WORD as u64);
        let floats = blocks.div_ceil(GROUP as u64) + (NF4.len() + 256) as u64;
        4 * (words + floats)
    }

    /// The same weight, whose elements are rounded to this type where they are used.
    pub(crate) fn rounded_to(self, precision: FloatDType) -> Self {
        Self { precision, ..self }
    }
}
