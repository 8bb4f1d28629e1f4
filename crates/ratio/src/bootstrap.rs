//! The bootstrap of three means at once: examples are drawn again with replacement.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::quantile::quantile;
use crate::sorted::SortedRatios;
use crate::trim::trim_count;

/// Resamples where examples are few.
const MOST_RESAMPLES: usize = 2000;
/// Resamples where examples are many.
const FEWEST_RESAMPLES: usize = 200;
/// About how many draws all resamples take together, where that leaves enough resamples.
const DRAWS: usize = 400_000_000;
/// The most bytes of counts that threads hold at the same time.
const COUNTS_BYTES: usize = 32 << 20;

/// 95 % percentile intervals of the means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Intervals {
    pub(crate) resamples: usize,
    pub(crate) mean: Option<[f64; 2]>,
    pub(crate) trimmed_mean: Option<[f64; 2]>,
    /// Over the resamples with a positive ratio.
    pub(crate) geometric_mean: Option<[f64; 2]>,
}

/// The means of one resample.
struct Means {
    mean: f64,
    trimmed_mean: f64,
    geometric_mean: Option<f64>,
}

/// How many resamples are taken of so many ratios.
pub(crate) fn resamples(ratios: usize) -> usize {
    match ratios {
        // One ratio says nothing about how ratios vary.
        0 | 1 => 0,
        _ => (DRAWS / ratios).clamp(FEWEST_RESAMPLES, MOST_RESAMPLES),
    }
}

/// Resamples the ratios. Each resample has a stream of its own and sums in the ratios' order, so
/// that the number of threads changes no bit.
pub(crate) fn bootstrap(ratios: &SortedRatios, seed: u64) -> Intervals {
    let resamples = resamples(ratios.values().len());
    let logarithms: Vec<f64> = match resamples {
        0 => Vec::new(),
        _ => ratios.positive().iter().map(|ratio| ratio.ln()).collect(),
    };
    // Each piece holds counts of its own, so there may be few pieces of many ratios.
    let pieces = (COUNTS_BYTES / ratios.values().len().max(1)).clamp(2, 64);
    let indices: Vec<usize> = (0..resamples).collect();
    let means: Vec<Means> = indices
        .par_chunks(resamples.div_ceil(pieces).max(1))
        .flat_map_iter(|piece| {
            let mut counts = vec![0; ratios.values().len()];
            let logarithms = &logarithms;
            piece.iter().map(move |&index| {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                random.set_stream(index as u64);
                draw(&mut counts, &mut random);
                means(ratios, logarithms, &mut counts)
            })
        })
        .collect();
    let interval = |of: fn(&Means) -> Option<f64>| {
        let mut values: Vec<f64> = means.iter().filter_map(of).collect();
        values.sort_by(f64::total_cmp);
        Some([quantile(&values, 0.025)?, quantile(&values, 0.975)?])
    };
    Intervals {
        resamples,
        mean: interval(|means| Some(means.mean)),
        trimmed_mean: interval(|means| Some(means.trimmed_mean)),
        geometric_mean: interval(|means| means.geometric_mean),
    }
}

/// Draws as many indices as there are, and counts how often each one came.
fn draw(counts: &mut [u8], random: &mut ChaCha8Rng) {
    counts.fill(0);
    for _ in 0..counts.len() {
        let drawn = &mut counts[random.random_range(0..counts.len())];
        // Counts are about Poisson with mean 1: above 255 has a probability below 1e-500.
        *drawn = drawn.saturating_add(1);
    }
}

/// What is summed over draws.
#[derive(Default)]
struct Sums {
    values: f64,
    logarithms: f64,
    positive: u64,
}

/// The means of the ratios that `counts` drew. The counts end as those of the trimmed mean.
fn means(ratios: &SortedRatios, logarithms: &[f64], counts: &mut [u8]) -> Means {
    let (values, zeros) = (ratios.values(), ratios.zeros());
    let cut = trim_count(values.len());
    let mut sums = Sums::default();
    let mut take = |index: usize, times: u8| {
        sums.values += f64::from(times) * values[index];
        if index >= zeros {
            sums.logarithms += f64::from(times) * logarithms[index - zeros];
            sums.positive += u64::from(times);
        }
    };
    cut_off(counts.iter_mut().enumerate(), cut, &mut take);
    cut_off(counts.iter_mut().enumerate().rev(), cut, &mut take);
    let mut kept = Sums::default();
    let positive = values[zeros..].iter().zip(logarithms);
    for ((value, logarithm), &times) in positive.zip(&counts[zeros..]) {
        let times_f64 = f64::from(times);
        kept.values += times_f64 * value;
        kept.logarithms += times_f64 * logarithm;
        kept.positive += u64::from(times);
    }
    let positive = sums.positive + kept.positive;
    let logarithms = sums.logarithms + kept.logarithms;
    Means {
        mean: (sums.values + kept.values) / values.len() as f64,
        trimmed_mean: kept.values / (values.len() - 2 * cut) as f64,
        geometric_mean: (positive > 0).then(|| (logarithms / positive as f64).exp()),
    }
}

/// Takes `cut` draws off the counts, in their order.
fn cut_off<'a>(
    counts: impl Iterator<Item = (usize, &'a mut u8)>,
    cut: usize,
    mut take: impl FnMut(usize, u8),
) {
    let mut left = cut;
    for (index, count) in counts {
        if left == 0 {
            break;
        }
        let taken = usize::from(*count).min(left);
        left -= taken;
        *count -= taken as u8;
        take(index, taken as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lengths::{Lengths, Ratios};
    use crate::trim::{mean, trimmed};

    fn sorted(lengths: impl IntoIterator<Item = (u32, u32)>) -> SortedRatios {
        let lengths = lengths.into_iter();
        let ratios: Ratios = lengths
            .map(|(completion, prompt)| Lengths { prompt, completion })
            .collect();
        SortedRatios::of(&ratios)
    }

    #[test]
    fn means_by_counts_are_those_of_the_drawn_ratios() {
        let ratios = sorted((0..1000).map(|i| (i * i % 97, 1 + i % 13)));
        let logarithms: Vec<f64> = ratios.positive().iter().map(|ratio| ratio.ln()).collect();
        let mut counts = vec![0; 1000];
        draw(&mut counts, &mut ChaCha8Rng::seed_from_u64(5));
        let drawn: Vec<f64> = ratios
            .values()
            .iter()
            .zip(&counts)
            .flat_map(|(&ratio, &times)| std::iter::repeat_n(ratio, usize::from(times)))
            .collect();
        assert_eq!(drawn.len(), 1000);
        let positive: Vec<f64> = drawn.iter().filter(|r| **r > 0.0).map(|r| r.ln()).collect();
        assert!(positive.len() < 1000);
        let means = means(&ratios, &logarithms, &mut counts);
        for (ours, plain) in [
            (Some(means.mean), mean(&drawn)),
            (Some(means.trimmed_mean), mean(trimmed(&drawn))),
            (means.geometric_mean, mean(&positive).map(f64::exp)),
        ] {
            let (ours, plain) = ours.zip(plain).expect("both");
            assert!((ours - plain).abs() < 1e-12 * plain, "{ours} {plain}");
        }
    }

    #[test]
    fn more_ratios_have_fewer_resamples() {
        let expected = [0, 0, 2000, 2000, 400, 200, 200];
        let counts = [0, 1, 2, 200_000, 1_000_000, 2_000_000, 40_000_000];
        assert_eq!(counts.map(resamples), expected);
    }

    #[test]
    fn threads_change_no_bit_and_the_seed_does() {
        let ratios = sorted((0..5000).map(|i| (i % 71, 1 + i * 7 % 89)));
        let with = |threads: usize, seed: u64| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().expect("a pool");
            pool.install(|| bootstrap(&ratios, seed))
        };
        assert_eq!(with(1, 3), with(5, 3));
        assert_ne!(with(1, 3), with(1, 4));
    }

    #[test]
    fn resamples_without_a_positive_ratio_have_no_geometric_mean() {
        let intervals = bootstrap(&sorted([(0, 1), (1, 2)]), 0);
        assert_eq!(intervals.mean, Some([0.0, 0.5]));
        let geometric = intervals.geometric_mean.expect("an interval");
        assert!(geometric.iter().all(|mean| (mean - 0.5).abs() < 1e-15));
        assert_eq!(bootstrap(&sorted([(0, 1), (0, 2)]), 0).geometric_mean, None);
        assert_eq!(bootstrap(&sorted([(1, 1)]), 0).mean, None);
    }
}
