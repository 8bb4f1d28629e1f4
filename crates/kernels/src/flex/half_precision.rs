//! Numbers in half precision made f32, exactly.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::buffer::buffer;
use super::vector::vectorize;

/// Numbers that one task takes.
const PIECE: usize = 1 << 15;

pub(crate) fn widen_bf16(numbers: &[bf16]) -> Vec<f32> {
    widen(numbers, |numbers, wide| {
        vectorize(|| {
            for (wide, number) in wide.iter_mut().zip(numbers) {
                *wide = f32::from_bits(u32::from(number.to_bits()) << 16);
            }
        });
    })
}

pub(crate) fn widen_f16(numbers: &[f16]) -> Vec<f32> {
    widen(numbers, |numbers, wide| numbers.convert_to_f32_slice(wide))
}

fn widen<T: Sync>(numbers: &[T], piece: impl Fn(&[T], &mut [f32]) + Sync) -> Vec<f32> {
    let mut wide = buffer(numbers.len());
    wide.par_chunks_mut(PIECE)
        .zip(numbers.par_chunks(PIECE))
        .for_each(|(wide, numbers)| piece(numbers, wide));
    wide
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flex::vector::at_every_width;

    #[test]
    fn every_number_is_kept() {
        let bits: Vec<u16> = (0..=u16::MAX).collect();
        let brains: Vec<bf16> = bits.iter().map(|&bits| bf16::from_bits(bits)).collect();
        let halves: Vec<f16> = bits.iter().map(|&bits| f16::from_bits(bits)).collect();
        let wide = at_every_width(|| widen_bf16(&brains));
        for (wide, brain) in wide.iter().zip(&brains) {
            assert!(wide.to_bits() == brain.to_f32().to_bits() || brain.is_nan());
        }
        for (wide, half) in widen_f16(&halves).iter().zip(&halves) {
            assert!(wide.to_bits() == half.to_f32().to_bits() || half.is_nan());
        }
    }
}
