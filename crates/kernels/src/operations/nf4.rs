//! Weights in NF4 on flex.

use burn::tensor::{FloatDType, Int, Shape, Tensor};
use half::{bf16, f16};

use crate::flex::nf4::{Nf4Slices, dequantize};
use crate::flex::tensor::{FlexTensor, as_slice, from_vec, into_flex, into_flex_int};
use crate::nf4::NF4;
use crate::nf4_weight::Nf4Weight;

/// The weight `[out, in]` in f32.
pub(crate) fn dequantize_on_flex(weight: &Nf4Weight) -> FlexTensor {
    let words = |words: &Tensor<1, Int>| into_flex_int(words.clone()).to_contiguous();
    let (codes, scale_codes) = (
        words(&weight.tensors.codes),
        words(&weight.tensors.scale_codes),
    );
    let group_scales = into_flex(weight.tensors.group_scales.clone());
    let code_books = into_flex(weight.tensors.code_books.clone());
    let slices = Nf4Slices {
        codes: codes.storage(),
        scale_codes: scale_codes.storage(),
        group_scales: as_slice(&group_scales),
        scale_values: &as_slice(&code_books)[NF4.len()..],
        mean_scale: weight.tensors.mean_scale,
    };
    let count = weight.shape().iter().product();
    let values = match weight.precision {
        FloatDType::BF16 => dequantize(&slices, count, |x| bf16::from_f32(x).to_f32()),
        FloatDType::F16 => dequantize(&slices, count, |x| f16::from_f32(x).to_f32()),
        _ => dequantize(&slices, count, |x| x),
    };
    from_vec(values, Shape::new(weight.shape()))
}
