//! Half-precision values converted to f32, exactly.

use std::mem::MaybeUninit;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::buffer::uninitialized;
use super::vector::vectorize;

/// Elements that one task converts.
const CHUNK: usize = 1 << 15;

/// Elements that are converted on the stack before they are copied: `half` wants initialized room.
const STACK: usize = 256;

pub(crate) fn bf16_to_f32(values: &[bf16]) -> Vec<f32> {
    let mut output = uninitialized(values.len());
    par_chunks(values, &mut output, |values, output| {
        vectorize(|| {
            for (output, value) in output.iter_mut().zip(values) {
                output.write(f32::from_bits(u32::from(value.to_bits()) << 16));
            }
        });
    });
    // SAFETY: the output is as long as the values, and each of its elements was written.
    unsafe { output.assume_init() }.into_vec()
}

pub(crate) fn f16_to_f32(values: &[f16]) -> Vec<f32> {
    let mut output = uninitialized(values.len());
    par_chunks(values, &mut output, |values, output| {
        let mut converted = [0f32; STACK];
        for (values, output) in values.chunks(STACK).zip(output.chunks_mut(STACK)) {
            let converted = &mut converted[..values.len()];
            values.convert_to_f32_slice(converted);
            output.write_copy_of_slice(converted);
        }
    });
    // SAFETY: as in `bf16_to_f32`.
    unsafe { output.assume_init() }.into_vec()
}

fn par_chunks<T: Sync>(
    values: &[T],
    output: &mut [MaybeUninit<f32>],
    convert: impl Fn(&[T], &mut [MaybeUninit<f32>]) + Sync,
) {
    output
        .par_chunks_mut(CHUNK)
        .zip(values.par_chunks(CHUNK))
        .for_each(|(output, values)| convert(values, output));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flex::vector::at_every_width;

    #[test]
    fn every_half_precision_value_is_converted_exactly() {
        let bits: Vec<u16> = (0..=u16::MAX).collect();
        let brain: Vec<bf16> = bits.iter().map(|&bits| bf16::from_bits(bits)).collect();
        let half: Vec<f16> = bits.iter().map(|&bits| f16::from_bits(bits)).collect();
        let found = at_every_width(|| bf16_to_f32(&brain));
        for (found, brain) in found.iter().zip(&brain) {
            assert!(found.to_bits() == brain.to_f32().to_bits() || brain.is_nan());
        }
        for (found, half) in f16_to_f32(&half).iter().zip(&half) {
            assert!(found.to_bits() == half.to_f32().to_bits() || half.is_nan());
        }
    }
}
