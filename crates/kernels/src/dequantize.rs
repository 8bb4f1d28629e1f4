//! A weight in NF4 as a matrix.

use burn::tensor::{DType, FloatDType, Int, IntDType, Tensor, TensorData};

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::cube;
use crate::flex;
use crate::flex::tensor::from_flex;
use crate::nf4::{BLOCK, CODES_OF_WORD, GROUP, NF4, SCALE_CODES_OF_WORD};
use crate::nf4_weight::Nf4Weight;
use crate::operations::nf4::dequantize_on_flex;

/// The weight `[out, in]` in f32, without a graph.
///
/// On flex and on a GPU this is one pass, elsewhere [`dequantize_reference`]. [`linear`] takes the
/// weight as it is, and keeps no such copy.
///
/// [`linear`]: crate::linear()
pub fn dequantize(weight: &Nf4Weight) -> Tensor<2> {
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    if cube::supports(&weight.tensors.group_scales) {
        let matrix = cube::nf4::dequantize(weight, DType::F32);
        return cube::tensor::from_cube(matrix);
    }
    match flex::supports(&weight.tensors.group_scales) {
        true => from_flex(dequantize_on_flex(weight)),
        false => dequantize_reference(weight),
    }
}

/// [`dequantize`] as a chain of Burn operations.
pub fn dequantize_reference(weight: &Nf4Weight) -> Tensor<2> {
    let shape @ [outputs, inputs] = weight.shape();
    let count = outputs * inputs;
    let blocks = count.div_ceil(BLOCK);
    let device = weight.tensors.group_scales.device();
    // The codes of words of 32 bits, in order.
    let unpacked = |words: &Tensor<1, Int>, of_word: usize| {
        let bits = 32 / of_word;
        let words = words.clone().cast(IntDType::I64);
        let [length] = words.dims();
        let places: Vec<i64> = (0..of_word).map(|place| 1 << (bits * place)).collect();
        let places = Tensor::<2, Int>::from_data(
            TensorData::new(places, [1, of_word]),
            (&device, DType::I64),
        );
        let codes =
            words.reshape([length, 1]).expand([length, of_word]) / places.expand([length, of_word]);
        codes
            .remainder_scalar(1i64 << bits)
            .reshape([length * of_word])
    };
    let scale_codes =
        unpacked(&weight.tensors.scale_codes, SCALE_CODES_OF_WORD).narrow(0, 0, blocks);
    let scale_values = weight
        .tensors
        .code_books
        .clone()
        .select(0, scale_codes + NF4.len() as i64);
    let [groups] = weight.tensors.group_scales.dims();
    let group_scales = weight
        .tensors
        .group_scales
        .clone()
        .reshape([groups, 1])
        .expand([groups, GROUP])
        .reshape([groups * GROUP])
        .narrow(0, 0, blocks);
    let scales = scale_values * group_scales + weight.tensors.mean_scale;
    let values = weight
        .tensors
        .code_books
        .clone()
        .select(0, unpacked(&weight.tensors.codes, CODES_OF_WORD));
    let elements = values.reshape([blocks, BLOCK]) * scales.reshape([blocks, 1]);
    let matrix = elements
        .reshape([blocks * BLOCK])
        .narrow(0, 0, count)
        .reshape(shape);
    match weight.precision {
        FloatDType::F32 => matrix,
        half => matrix.cast(half).cast(FloatDType::F32),
    }
}

#[cfg(test)]
mod tests;
