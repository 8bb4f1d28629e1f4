//! The format NF4: how codes lie in words, and the values that they stand for.

/// Elements that share a scale.
pub(crate) const BLOCK: usize = 64;

/// Blocks whose scales share a scale.
pub(crate) const GROUP: usize = 256;

/// Codes of elements in a word of 32 bits, the first in the lowest ones.
pub(crate) const CODES_OF_WORD: usize = 8;

/// Codes of scales in a word of 32 bits, the first in the lowest ones.
pub(crate) const SCALE_CODES_OF_WORD: usize = 4;

/// Words of a block's codes.
pub(crate) const WORDS_OF_BLOCK: usize = BLOCK / CODES_OF_WORD;

/// The values of NF4's codes: quantiles of the normal distribution, scaled to [-1, 1], with an
/// exact 0 (Dettmers et al. 2023, arXiv 2305.14314, appendix E).
pub(crate) const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Powers of ten in [`dynamic`].
const EXPONENTS: u32 = 7;

/// The values of the codes of 8 bits in which scales are kept, in increasing order: 0, 1 and, for
/// each power of ten from 1e-6 to 1, twice as many evenly spaced fractions as for the one before
/// it, with both signs (dynamic quantization: Dettmers 2015, arXiv 1511.04561). The arithmetic is
/// that of bitsandbytes' `create_dynamic_map`, step by step, so that its values have the same bits.
pub(crate) fn dynamic() -> [f32; 256] {
    let mut values = vec![0.0, 1.0];
    for exponent in 0..EXPONENTS {
        let fractions = 1 << exponent;
        let power = 10f64.powi(exponent as i32 - (EXPONENTS as i32 - 1)) as f32;
        let boundaries = evenly_spaced(fractions + 1);
        for pair in boundaries.windows(2) {
            let value = power * ((pair[0] + pair[1]) / 2.0);
            values.extend([value, -value]);
        }
    }
    values.sort_by(f32::total_cmp);
    values.try_into().expect("2 + 2 * (2^7 - 1) values")
}

/// `count` values from 0.1 to 1, as PyTorch's `linspace` computes them: from the nearer end, with
/// one rounding.
fn evenly_spaced(count: usize) -> Vec<f32> {
    let (first, last) = (0.1f32, 1f32);
    let step = (last - first) / (count - 1) as f32;
    let value = |index: usize| match index < count / 2 {
        true => step.mul_add(index as f32, first),
        false => (-step).mul_add((count - 1 - index) as f32, last),
    };
    (0..count).map(value).collect()
}

/// What separates the codes of values in increasing order: a value above the `i`th boundary is
/// nearer to the code `i + 1` than to the code `i`.
pub(crate) fn boundaries(values: &[f32]) -> Vec<f32> {
    let middle = |pair: &[f32]| (pair[0] + pair[1]) / 2.0;
    values.windows(2).map(middle).collect()
}
