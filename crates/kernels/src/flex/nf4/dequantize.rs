//! From codes to values.

use rayon::prelude::*;

use crate::flex::buffer::uninitialized;
use crate::flex::vector::vectorize;
use crate::nf4::{BLOCK, CODES_OF_WORD, GROUP, NF4, SCALE_CODES_OF_WORD, WORDS_OF_BLOCK};

/// Blocks that one task takes.
const BLOCKS: usize = 512;

/// A weight in NF4 as slices.
pub(crate) struct Nf4Slices<'a> {
    /// Of whole blocks.
    pub(crate) codes: &'a [u32],
    pub(crate) scale_codes: &'a [u32],
    pub(crate) group_scales: &'a [f32],
    /// The values of the scales' codes.
    pub(crate) scale_values: &'a [f32],
    pub(crate) mean_scale: f32,
}

impl Nf4Slices<'_> {
    fn scale(&self, block: usize) -> f32 {
        let word = self.scale_codes[block / SCALE_CODES_OF_WORD];
        let code = word >> (8 * (block % SCALE_CODES_OF_WORD)) & 0xFF;
        self.scale_values[code as usize] * self.group_scales[block / GROUP] + self.mean_scale
    }
}

/// The first `count` elements, each rounded by `round`.
pub(crate) fn dequantize(
    weight: &Nf4Slices<'_>,
    count: usize,
    round: impl Fn(f32) -> f32 + Copy + Sync,
) -> Vec<f32> {
    assert_eq!(
        weight.codes.len(),
        count.div_ceil(BLOCK) * WORDS_OF_BLOCK,
        "codes of whole blocks"
    );
    let mut output = uninitialized(count);
    output
        .par_chunks_mut(BLOCKS * BLOCK)
        .zip(weight.codes.par_chunks(BLOCKS * WORDS_OF_BLOCK))
        .enumerate()
        .for_each(|(task, (output, codes))| {
            let blocks = output
                .chunks_mut(BLOCK)
                .zip(codes.chunks_exact(WORDS_OF_BLOCK));
            for (block, (output, codes)) in blocks.enumerate() {
                let scale = weight.scale(task * BLOCKS + block);
                let values = NF4.map(|value| round(value * scale));
                vectorize(|| {
                    let elements = output.chunks_mut(CODES_OF_WORD).zip(codes);
                    for (elements, word) in elements {
                        for (place, element) in elements.iter_mut().enumerate() {
                            element.write(values[(word >> (4 * place) & 0xF) as usize]);
                        }
                    }
                });
            }
        });
    // SAFETY: there are codes for every element, and each element was written.
    unsafe { output.assume_init() }.into_vec()
}
