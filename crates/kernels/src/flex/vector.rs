//! Passes over slices with the widest vectors that the machine has, and the exponential, sums and
//! maxima that they use.

use std::sync::atomic::{AtomicU8, Ordering};

/// How wide the vectors of elementwise passes may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum VectorWidth {
    /// What every processor of the compilation target has.
    Baseline,
    /// 256 bits: AVX2 with fused multiply-add.
    Bits256,
    /// 512 bits: AVX-512.
    Bits512,
}

const WIDTHS: [VectorWidth; 3] = [
    VectorWidth::Baseline,
    VectorWidth::Bits256,
    VectorWidth::Bits512,
];

static LIMIT: AtomicU8 = AtomicU8::new(VectorWidth::Bits512 as u8);

/// Keeps passes from using wider vectors than this, so that one machine can test every path.
/// Results do not depend on it: every pass adds in one order at every width.
pub fn limit_vector_width(width: VectorWidth) {
    LIMIT.store(width as u8, Ordering::Relaxed);
}

/// Runs a pass compiled for the widest vectors allowed. Only functions that are inlined into it are
/// compiled for them too, so those that it calls must be `#[inline(always)]`.
#[inline]
pub(crate) fn vectorize<R>(pass: impl FnOnce() -> R) -> R {
    let limit = WIDTHS[usize::from(LIMIT.load(Ordering::Relaxed))];
    #[cfg(target_arch = "x86_64")]
    {
        if limit >= VectorWidth::Bits512
            && let Some(simd) = pulp::x86::V4::try_new()
        {
            return simd.vectorize(pass);
        }
        if limit >= VectorWidth::Bits256
            && let Some(simd) = pulp::x86::V3::try_new()
        {
            return simd.vectorize(pass);
        }
        pass()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = limit;
        pulp::Arch::new().dispatch(pass)
    }
}

/// e^x within 2 units in the last place, in arithmetic that compilers vectorize (the polynomial of
/// Cephes). It is 0 below -87.3, and e^88.3 above 88.3, so never infinite. NaN stays NaN.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.3;
    const HIGHEST: f32 = 88.3;
    /// 1.5 * 2^23: adding and subtracting it rounds to an integer, which is in the last bits of the
    /// sum in between.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let is_zero = x < LOWEST;
    let x = if is_zero { LOWEST } else { x };
    let x = if x > HIGHEST { HIGHEST } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        5e-1,
    ] {
        p = p * r + coefficient;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let value = (p * r * r + r + 1.0) * power;
    if is_zero { 0.0 } else { value }
}

/// Number of partial sums or maxima. It is the same at every vector width, so that results do not
/// depend on the width.
const LANES: usize = 16;

/// Sum of f(x, y) over two slices of one length.
#[inline(always)]
pub(crate) fn sum_of(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (x_lanes, x_rest) = x.as_chunks::<LANES>();
    let (y_lanes, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in x_lanes.iter().zip(y_lanes) {
        for lane in 0..LANES {
            lanes[lane] += f(x[lane], y[lane]);
        }
    }
    for (lane, (x, y)) in lanes.iter_mut().zip(x_rest.iter().zip(y_rest)) {
        *lane += f(*x, *y);
    }
    fold(lanes, |a, b| a + b)
}

/// The largest value, or minus infinity for an empty slice.
#[inline(always)]
pub(crate) fn maximum(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, x);
    }
    fold(lanes, larger)
}

#[inline(always)]
fn fold(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = f(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// The result of a pass, after checking that it has the same bits at every vector width that the
/// machine has.
#[cfg(test)]
pub(crate) fn at_every_width(pass: impl Fn() -> Vec<f32>) -> Vec<f32> {
    use std::sync::{Mutex, PoisonError};

    // The limit is global to the process, so tests take turns.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let results = WIDTHS.map(|width| {
        limit_vector_width(width);
        pass()
    });
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for (result, width) in results.iter().zip(WIDTHS) {
        assert_eq!(bits(result), bits(&results[0]), "{width:?}");
    }
    let [_, _, widest] = results;
    widest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exponentials(values: &[f32]) -> Vec<f32> {
        at_every_width(|| {
            let mut values = values.to_vec();
            vectorize(|| values.iter_mut().for_each(|x| *x = exp(*x)));
            values
        })
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        // Every 997th f32 of either sign, subnormal ones included, and the bounds' neighbors.
        let magnitudes = (0..=88.3f32.to_bits()).step_by(997).map(f32::from_bits);
        let bounds = [
            88.3,
            -87.3,
            88.3f32.next_down(),
            (-87.3f32).next_up(),
            0.0,
            -0.0,
        ];
        let values: Vec<f32> = magnitudes
            .flat_map(|x| [x, -x])
            .filter(|&x| x >= -87.3)
            .chain(bounds)
            .collect();
        for (x, found) in values.iter().zip(exponentials(&values)) {
            let expected = f64::from(*x).exp();
            let rounded = expected as f32;
            let unit = f64::from(rounded.next_up()) - f64::from(rounded);
            let off = (f64::from(found) - expected).abs() / unit;
            assert!(off <= 2.0, "exp({x}): {found}, {off} units off {expected}");
        }
    }

    #[test]
    fn exp_beyond_its_bounds_is_as_documented() {
        let highest = exponentials(&[88.3])[0];
        let below = (-87.3f32).next_down();
        for (x, expected) in [
            (0.0, 1.0),
            (-0.0, 1.0),
            (below, 0.0),
            (-100.0, 0.0),
            (f32::MIN, 0.0),
            (f32::NEG_INFINITY, 0.0),
            (88.3f32.next_up(), highest),
            (f32::MAX, highest),
            (f32::INFINITY, highest),
        ] {
            // Enough copies that both the vectorized loop and the remainder loop take some.
            for found in exponentials(&[x; 37]) {
                assert_eq!(found.to_bits(), f32::to_bits(expected), "exp({x})");
            }
        }
        assert!(highest.is_finite());
        assert!(exponentials(&[f32::NAN; 37]).iter().all(|x| x.is_nan()));
    }

    #[test]
    fn sums_and_maxima_include_every_element() {
        for count in [0usize, 1, 15, 16, 17, 50] {
            let x: Vec<f32> = (0..count).map(|i| i as f32 - 60.0).collect();
            let y = vec![2.0; count];
            let found =
                at_every_width(|| vectorize(|| vec![sum_of(&x, &y, |x, y| x * y), maximum(&x)]));
            let sum: f32 = x.iter().map(|x| 2.0 * x).sum();
            let largest = x.last().copied().unwrap_or(f32::NEG_INFINITY);
            assert_eq!(found, [sum, largest]);
            for place in 0..count {
                let mut x = x.clone();
                x[place] = 7.0;
                assert_eq!(at_every_width(|| vec![vectorize(|| maximum(&x))]), [7.0]);
            }
        }
    }
}
