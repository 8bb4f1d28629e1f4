//! AdamW on slices: every element of a parameter is read and written once, and checked on the way.

use rayon::prelude::*;

use super::vector::{sum_of, vectorize};

/// Elements that one task takes.
const CHUNK: usize = 1 << 15;

/// Elements whose squares are added in f32, before those sums are added in f64.
const SUM_CHUNK: usize = 1 << 10;

/// The coefficients of one step, computed once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coefficients {
    /// What gradients are multiplied by first: the clipping factor.
    pub(crate) gradient: f32,
    pub(crate) beta_1: f32,
    pub(crate) beta_2: f32,
    pub(crate) epsilon: f32,
    /// 1 - learning rate * weight decay.
    pub(crate) decay: f32,
    /// learning rate / (1 - beta_1^t).
    pub(crate) rate: f32,
    /// 1 / sqrt(1 - beta_2^t).
    pub(crate) second: f32,
}

/// One step of one parameter, in place. Returns whether the parameter and its second moment are
/// finite afterwards; the first moment cannot overflow before the second does.
#[must_use]
pub(crate) fn update(
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    coefficients: &Coefficients,
) -> bool {
    assert!(parameter.len() == gradient.len() && parameter.len() == first.len());
    assert_eq!(parameter.len(), second.len());
    let largest = parameter
        .par_chunks_mut(CHUNK)
        .zip(gradient.par_chunks(CHUNK))
        .zip(first.par_chunks_mut(CHUNK))
        .zip(second.par_chunks_mut(CHUNK))
        .map(|(((parameter, gradient), first), second)| {
            vectorize(|| update_chunk(parameter, gradient, first, second, coefficients))
        })
        .reduce(|| 0, u32::max);
    largest < magnitude(f32::INFINITY)
}

/// The bits of |x|. They are in the order of the values, and those of NaN are above infinity's, so
/// that one integer maximum, which vectorizes, tells whether all values are finite.
#[inline(always)]
fn magnitude(x: f32) -> u32 {
    x.to_bits() & (u32::MAX >> 1)
}

/// Returns the largest [`magnitude`] of the new parameters and second moments.
#[inline(always)]
fn update_chunk(
    parameter: &mut [f32],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    coefficients: &Coefficients,
) -> u32 {
    let Coefficients { beta_1, beta_2, .. } = *coefficients;
    let mut largest = 0;
    let moments = first.iter_mut().zip(second);
    for ((p, g), (m, v)) in parameter.iter_mut().zip(gradient).zip(moments) {
        let g = g * coefficients.gradient;
        *m = beta_1 * *m + (1.0 - beta_1) * g;
        *v = beta_2 * *v + (1.0 - beta_2) * g * g;
        let root = v.sqrt() * coefficients.second + coefficients.epsilon;
        *p = *p * coefficients.decay - coefficients.rate * *m / root;
        largest = largest.max(magnitude(*p)).max(magnitude(*v));
    }
    largest
}

/// The sum of squares.
pub(crate) fn squared_norm(gradient: &[f32]) -> f64 {
    let sums: Vec<f64> = gradient
        .par_chunks(CHUNK)
        .map(|chunk| {
            vectorize(|| {
                let squares = |x: &[f32]| f64::from(sum_of(x, x, |x, _| x * x));
                chunk.chunks(SUM_CHUNK).map(squares).sum()
            })
        })
        .collect();
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flex::vector::at_every_width;

    #[test]
    fn a_step_is_the_formula_at_every_width() {
        let count = CHUNK + 37;
        let values = |seed: usize| -> Vec<f32> {
            let value = |i: usize| ((i * seed % 1009) as f32 - 504.0) / 97.0;
            (0..count).map(value).collect()
        };
        let (parameter, gradient, first) = (values(37), values(53), values(71));
        let second: Vec<f32> = values(89).iter().map(|x| x * x).collect();
        let coefficients = Coefficients {
            gradient: 0.5,
            beta_1: 0.9,
            beta_2: 0.99,
            epsilon: 1e-6,
            decay: 0.999,
            rate: 2e-3,
            second: 1.7,
        };
        let found = at_every_width(|| {
            let [mut parameter, mut first, mut second] =
                [&parameter, &first, &second].map(Vec::clone);
            let finite = update(
                &mut parameter,
                &gradient,
                &mut first,
                &mut second,
                &coefficients,
            );
            assert!(finite);
            [parameter, first, second].concat()
        });
        for index in [0, 1, 500, CHUNK - 1, CHUNK, count - 1] {
            let [p, g, m, v] =
                [&parameter, &gradient, &first, &second].map(|x| f64::from(x[index]));
            let g = 0.5 * g;
            let (m, v) = (0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g);
            let p = p * 0.999 - 2e-3 * m / (v.sqrt() * 1.7 + 1e-6);
            for (part, expected) in [p, m, v].into_iter().enumerate() {
                let found = f64::from(found[part * count + index]);
                assert!(
                    (found - expected).abs() < 1e-5 * (1.0 + expected.abs()),
                    "{found} {expected}"
                );
            }
        }
        let norm = at_every_width(|| vec![squared_norm(&gradient) as f32])[0];
        let expected: f64 = gradient.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        assert!((f64::from(norm) - expected).abs() < 1e-6 * expected);
    }
    #[test]
    fn one_element_that_is_not_finite_is_seen_wherever_it_is() {
        let count = CHUNK + 37;
        let coefficients = Coefficients {
            gradient: 1.0,
            beta_1: 0.9,
            beta_2: 0.99,
            epsilon: 1e-8,
            decay: 1.0,
            rate: 1.0,
            second: 1.0,
        };
        // The square of the second gradient overflows.
        for (gradient, parameter, finite) in [
            (1e19, f32::MAX, true),
            (1e21, 1.0, false),
            (0.0, f32::INFINITY, false),
            (0.0, f32::NEG_INFINITY, false),
            (0.0, f32::NAN, false),
        ] {
            for place in [0, 1, CHUNK - 1, CHUNK, count - 1] {
                let found = at_every_width(|| {
                    let mut parameters = vec![1.0; count];
                    let mut gradients = vec![0.5; count];
                    (parameters[place], gradients[place]) = (parameter, gradient);
                    let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
                    let finite = update(
                        &mut parameters,
                        &gradients,
                        &mut first,
                        &mut second,
                        &coefficients,
                    );
                    vec![f32::from(u8::from(finite))]
                });
                assert_eq!(
                    found,
                    [f32::from(u8::from(finite))],
                    "{parameter} {gradient}"
                );
            }
        }
    }
}
