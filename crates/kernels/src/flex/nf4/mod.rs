//! Weights in NF4, from f32 and back.

mod dequantize;
mod quantize;

pub(crate) use dequantize::{Nf4Slices, dequantize};
pub(crate) use quantize::{Quantized, quantize};
