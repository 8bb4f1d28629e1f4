//! The cluster bootstrap: it resamples whole passages, because questions of one passage are not
//! independent.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a resampled unit, such as a passage, adds to a ratio of sums.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cluster {
    /// Its part of the numerator: questions answered right, or a difference of such numbers.
    pub sum: f64,
    /// Its part of the denominator: questions asked.
    pub count: f64,
}

/// The ratios of all resamples, sorted.
#[derive(Debug, Clone, PartialEq)]
pub struct Bootstrap {
    ratios: Vec<f64>,
}

/// The cluster bootstrap of a ratio of sums (Field & Welsh 2007).
///
/// Each of `resamples` times it draws as many clusters as there are, with replacement, and divides
/// the sum of their sums by the sum of their counts. `None` for fewer than two clusters, which say
/// nothing about how clusters vary. The same seed and number of clusters draw the same clusters.
pub fn bootstrap_ratio(clusters: &[Cluster], resamples: usize, seed: u64) -> Option<Bootstrap> {
    if clusters.len() < 2 || resamples == 0 {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut ratios: Vec<f64> = (0..resamples)
        .map(|_| {
            let (mut sum, mut count) = (0.0, 0.0);
            for _ in 0..clusters.len() {
                let drawn = clusters[random.random_range(0..clusters.len())];
                sum += drawn.sum;
                count += drawn.count;
            }
            sum / count
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    Some(Bootstrap { ratios })
}

impl Bootstrap {
    /// The percentile interval that holds `level` of the resamples, such as 0.95.
    pub fn interval(&self, level: f64) -> [f64; 2] {
        let tail = (1.0 - level) / 2.0;
        [self.quantile(tail), self.quantile(1.0 - tail)]
    }

    /// Two-sided p-value of a ratio of zero: twice the smaller share of resamples on one side of
    /// zero. One is added to numerator and denominator, so that it is never 0 (Davison & Hinkley
    /// 1997, 4.2).
    pub fn p_value_of_zero(&self) -> f64 {
        let side = |count: usize| (count + 1) as f64 / (self.ratios.len() + 1) as f64;
        let not_above = self.ratios.iter().filter(|&&ratio| ratio <= 0.0).count();
        let not_below = self.ratios.iter().filter(|&&ratio| ratio >= 0.0).count();
        (2.0 * side(not_above.min(not_below))).min(1.0)
    }

    /// Linear between the two nearest resamples, as numpy's default.
    fn quantile(&self, share: f64) -> f64 {
        let place = share * (self.ratios.len() - 1) as f64;
        let below = self.ratios[place.floor() as usize];
        let above = self.ratios[place.ceil() as usize];
        below + (above - below) * place.fract()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clusters(values: &[(f64, f64)]) -> Vec<Cluster> {
        let clusters = values.iter().map(|&(sum, count)| Cluster { sum, count });
        clusters.collect()
    }

    /// The 24 passages of the golden case: right answers and questions.
    const PASSAGES: [(f64, f64); 24] = [
        (3.0, 5.0),
        (4.0, 4.0),
        (0.0, 3.0),
        (2.0, 4.0),
        (5.0, 5.0),
        (1.0, 4.0),
        (2.0, 3.0),
        (3.0, 3.0),
        (0.0, 4.0),
        (4.0, 5.0),
        (2.0, 2.0),
        (1.0, 5.0),
        (3.0, 4.0),
        (2.0, 4.0),
        (1.0, 3.0),
        (4.0, 4.0),
        (0.0, 2.0),
        (5.0, 5.0),
        (2.0, 5.0),
        (3.0, 4.0),
        (1.0, 4.0),
        (2.0, 3.0),
        (3.0, 5.0),
        (1.0, 1.0),
    ];

    /// scipy 1.17.1: `scipy.stats.bootstrap((s, n), lambda s, n, axis: s.sum(axis) / n.sum(axis),
    /// paired=True, vectorized=True, n_resamples=1_000_000, method="percentile",
    /// rng=0).confidence_interval` (`scripts/golden_statistics.py`). Ours, from 100 000 other
    /// resamples, must agree within Monte Carlo error.
    #[test]
    fn the_interval_agrees_with_scipy() {
        let bootstrap = bootstrap_ratio(&clusters(&PASSAGES), 100_000, 7).expect("24 clusters");
        let [low, high] = bootstrap.interval(0.95);
        let (scipy_low, scipy_high) = (0.45977011494252873, 0.723404255319149);
        assert!((low - scipy_low).abs() < 0.002, "{low}");
        assert!((high - scipy_high).abs() < 0.002, "{high}");
    }

    #[test]
    fn two_clusters_are_known_exactly() {
        // Resamples: (0,0) 1/4, (0,1) 1/2, (1,1) 1/4; ratios 0, 1/4, 1.
        let bootstrap =
            bootstrap_ratio(&clusters(&[(0.0, 3.0), (1.0, 1.0)]), 40_000, 1).expect("2 clusters");
        let share = |ratio: f64| {
            let equal = bootstrap.ratios.iter().filter(|&&r| r == ratio).count();
            equal as f64 / 40_000.0
        };
        assert!((share(0.0) - 0.25).abs() < 0.01 && (share(0.25) - 0.5).abs() < 0.01);
        assert_eq!(bootstrap.interval(0.95), [0.0, 1.0]);
    }

    #[test]
    fn the_seed_decides_and_one_cluster_says_nothing() {
        let of = |seed| bootstrap_ratio(&clusters(&PASSAGES), 500, seed);
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
        assert_eq!(bootstrap_ratio(&clusters(&[(1.0, 2.0)]), 500, 3), None);
    }

    #[test]
    fn a_clear_difference_has_a_small_p_value() {
        let p = |values: &[(f64, f64)]| {
            let bootstrap = bootstrap_ratio(&clusters(values), 9_999, 0).expect("clusters");
            bootstrap.p_value_of_zero()
        };
        assert_eq!(p(&[(1.0, 4.0); 12]), 2.0 / 10_000.0);
        assert_eq!(p(&[(0.0, 4.0); 12]), 1.0);
        assert!(p(&[(1.0, 4.0), (-1.0, 4.0), (2.0, 4.0), (-2.0, 4.0)]) > 0.5);
    }
}
