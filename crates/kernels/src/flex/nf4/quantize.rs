//! From values to codes.

use rayon::prelude::*;

use crate::flex::vector::vectorize;
use crate::nf4::{
    BLOCK, CODES_OF_WORD, GROUP, NF4, SCALE_CODES_OF_WORD, WORDS_OF_BLOCK, boundaries, dynamic,
};

/// Values in NF4.
pub(crate) struct Quantized {
    /// Words of codes, of whole blocks.
    pub(crate) codes: Vec<u32>,
    /// Words of the codes of the blocks' scales.
    pub(crate) scale_codes: Vec<u32>,
    /// The scales of the groups of blocks.
    pub(crate) group_scales: Vec<f32>,
    /// What the scales' values are added to.
    pub(crate) mean_scale: f32,
}

/// Smallest scale that is divided by, as in bitsandbytes: a block of zeros has codes of zero.
const SMALLEST: f32 = 1e-38;

pub(crate) fn quantize(values: &[f32]) -> Quantized {
    let scales: Vec<f32> = values.par_chunks(BLOCK).map(greatest_magnitude).collect();
    let boundaries = boundaries(&NF4);
    let mut codes = vec![0; scales.len() * WORDS_OF_BLOCK];
    codes
        .par_chunks_mut(WORDS_OF_BLOCK)
        .zip(values.par_chunks(BLOCK).zip(&scales))
        .for_each(|(words, (values, &scale))| {
            vectorize(|| write_codes(words, values, scale, &boundaries));
        });
    let sum: f64 = scales.iter().map(|&scale| f64::from(scale)).sum();
    let mean_scale = (sum / scales.len().max(1) as f64) as f32;
    let (scale_codes, group_scales) = quantize_scales(&scales, mean_scale);
    Quantized {
        codes,
        scale_codes,
        group_scales,
        mean_scale,
    }
}

fn greatest_magnitude(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// Writes the codes of a block, of which the last may be shorter. A code is the number of
/// boundaries below the value.
#[inline(always)]
fn write_codes(words: &mut [u32], values: &[f32], scale: f32, boundaries: &[f32]) {
    let inverse = 1.0 / scale.max(SMALLEST);
    let mut scaled = [0f32; BLOCK];
    for (scaled, value) in scaled.iter_mut().zip(values) {
        *scaled = value * inverse;
    }
    let mut codes = [0u32; BLOCK];
    for boundary in boundaries {
        for (code, value) in codes.iter_mut().zip(&scaled) {
            *code += u32::from(value > boundary);
        }
    }
    for (word, codes) in words.iter_mut().zip(codes.chunks(CODES_OF_WORD)) {
        let codes = codes.iter().enumerate();
        *word = codes.fold(0, |word, (place, code)| word | code << (4 * place));
    }
}

/// The scales less their mean, as codes of 8 bits, four a word, with a scale for each group of
/// them.
fn quantize_scales(scales: &[f32], mean: f32) -> (Vec<u32>, Vec<f32>) {
    let boundaries = boundaries(&dynamic());
    let (mut codes, mut group_scales) = (Vec::with_capacity(scales.len()), Vec::new());
    for group in scales.chunks(GROUP) {
        let group: Vec<f32> = group.iter().map(|scale| scale - mean).collect();
        let scale = greatest_magnitude(&group);
        let inverse = 1.0 / scale.max(SMALLEST);
        codes.extend(group.iter().map(|value| {
            let value = value * inverse;
            boundaries.partition_point(|boundary| *boundary < value) as u32
        }));
        group_scales.push(scale);
    }
    let words = codes.chunks(SCALE_CODES_OF_WORD).map(|codes| {
        let codes = codes.iter().enumerate();
        codes.fold(0, |word, (place, code)| word | code << (8 * place))
    });
    (words.collect(), group_scales)
}
