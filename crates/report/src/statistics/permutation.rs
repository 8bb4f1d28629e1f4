//! The sign-flip permutation test: if two models were equally good, each passage's difference could
//! as well have the other sign.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Up to this many differing clusters, all sign patterns are computed: 2^16 of them.
const EXACT_CLUSTERS: usize = 16;

/// Two-sided p-value of the sum of paired differences, one for each cluster, under random signs.
///
/// It is the share of sign patterns whose sum is at least as far from 0. It is exact for up to 16
/// clusters that differ at all. Beyond, it is taken over `resamples` random patterns and counts the
/// observed one among them, so that it is never 0 (Phipson & Smyth 2010).
pub fn sign_flip_p_value(differences: &[f64], resamples: usize, seed: u64) -> f64 {
    let differing: Vec<f64> = differences.iter().copied().filter(|&d| d != 0.0).collect();
    let observed = differing.iter().sum::<f64>().abs();
    let scale: f64 = differing.iter().map(|d| d.abs()).sum();
    // Equal sums, added up in another order, may differ in their last bits.
    let as_far = |sum: f64| sum.abs() >= observed - 1e-12 * scale;
    if differing.len() <= EXACT_CLUSTERS {
        let patterns = 1u32 << differing.len();
        let far = (0..patterns).filter(|pattern| {
            let signed = differing.iter().enumerate();
            as_far(
                signed
                    .map(|(i, d)| if pattern >> i & 1 == 1 { -d } else { *d })
                    .sum(),
            )
        });
        return far.count() as f64 / f64::from(patterns);
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let far = (0..resamples).filter(|_| {
        let signed = differing.iter();
        as_far(
            signed
                .map(|d| if random.random_bool(0.5) { -d } else { *d })
                .sum(),
        )
    });
    (far.count() + 1) as f64 / (resamples + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: [f64; 10] = [1.0, 2.0, -1.0, 0.0, 3.0, 1.0, -0.5, 2.0, 0.5, 1.0];
    const MANY: [f64; 30] = [
        1.0, 2.0, -1.0, 0.0, 3.0, 1.0, -2.0, 2.0, -1.0, 1.0, 0.0, 1.0, -1.0, -2.0, 2.0, 1.0, 1.0,
        -1.0, 0.0, 1.0, 2.0, -3.0, 1.0, -1.0, 2.0, 0.0, 1.0, -1.0, 1.0, 1.0,
    ];

    /// scipy 1.17.1: `scipy.stats.permutation_test((d,), np.sum, permutation_type="samples",
    /// n_resamples=np.inf).pvalue` (`scripts/golden_statistics.py`).
    #[test]
    fn few_clusters_agree_with_scipy_exactly() {
        let p = sign_flip_p_value(&FEW, 1, 0);
        assert!((p - 0.0625).abs() < 1e-12, "{p}");
        assert_eq!(sign_flip_p_value(&[0.0, 0.0], 1, 0), 1.0);
        assert_eq!(sign_flip_p_value(&[], 1, 0), 1.0);
    }

    /// As above with `n_resamples=1_000_000, rng=0`.
    #[test]
    fn many_clusters_agree_with_scipy_within_chance() {
        let p = sign_flip_p_value(&MANY, 100_000, 5);
        assert!((p - 0.21115978884021117).abs() < 0.005, "{p}");
        assert_eq!(p, sign_flip_p_value(&MANY, 100_000, 5));
        assert_eq!(sign_flip_p_value(&[1.0; 40], 999, 5), 1.0 / 1000.0);
    }
}
