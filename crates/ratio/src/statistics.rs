//! Statistics of generation ratios.

use serde::{Deserialize, Serialize};

use crate::bootstrap::bootstrap;
use crate::lengths::Ratios;
use crate::quantile::quantile;
use crate::sorted::SortedRatios;
use crate::trim::{mean, trim_count, trimmed};

/// A mean and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean of the examples.
    pub value: f64,
    /// The 95 % percentile interval of the bootstrap; `None` for fewer than two ratios.
    pub interval: Option<[f64; 2]>,
}

/// Statistics of a data set's generation ratios.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RatioStatistics {
    /// Number of examples.
    pub examples: u64,
    /// Number of examples without a prompt, which have no ratio.
    pub without_prompt: u64,
    /// Number of examples with a prompt and an empty completion, whose ratio is 0.
    pub empty_completions: u64,
    /// Total length of the prompts.
    pub prompt_units: u64,
    /// Total length of the completions.
    pub completion_units: u64,
    /// How the ratios are distributed; `None` if no example has one.
    pub ratio: Option<Distribution>,
}

/// How ratios are distributed. All of them count but where a field says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// Number of ratios.
    pub count: u64,
    /// The arithmetic mean.
    pub mean: Estimate,
    /// The article's mean (Vaughn 2024): without the lowest and the highest 0.25 %.
    pub trimmed_mean: Estimate,
    /// Number of ratios that `trimmed_mean` cuts at each end.
    pub trimmed_at_each_end: u64,
    /// The geometric mean of the ratios above 0; `None` if there is none.
    pub geometric_mean: Option<Estimate>,
    /// Number of ratios of 0, which `geometric_mean` leaves out.
    pub left_out_of_geometric_mean: u64,
    /// The median.
    pub median: f64,
    /// The 10th, 20th, .. 90th percentile, linear between values as numpy's default.
    pub deciles: [f64; 9],
    /// The 99th percentile.
    pub percentile_99: f64,
    /// The smallest ratio.
    pub smallest: f64,
    /// The largest ratio.
    pub largest: f64,
    /// The share of ratios above 1, whose completion is longer than the prompt.
    pub share_above_one: f64,
    /// Number of bootstrap resamples: 2000, but fewer of many ratios, and never below 200.
    pub resamples: u64,
    /// The bootstrap's seed.
    pub seed: u64,
}

impl RatioStatistics {
    /// Of examples and their ratios. The same seed gives the same bits, whatever the order of the
    /// examples and the number of threads.
    pub fn of(ratios: &Ratios, sorted: &SortedRatios, seed: u64) -> Self {
        Self {
            examples: ratios.examples(),
            without_prompt: ratios.without_prompt(),
            empty_completions: sorted.zeros() as u64,
            prompt_units: ratios.prompt_units(),
            completion_units: ratios.completion_units(),
            ratio: Distribution::of(sorted, seed),
        }
    }
}

impl Distribution {
    /// Of all ratios; `None` of none.
    pub fn of(ratios: &SortedRatios, seed: u64) -> Option<Self> {
        let values = ratios.values();
        let (&smallest, &largest) = (values.first()?, values.last()?);
        let arithmetic = mean(values)?;
        let kept = mean(trimmed(values))?;
        let intervals = bootstrap(ratios, seed);
        let positive = ratios.positive();
        let logarithms = positive.iter().map(|ratio| ratio.ln()).sum::<f64>();
        let geometric_mean = (!positive.is_empty()).then(|| Estimate {
            value: (logarithms / positive.len() as f64).exp(),
            interval: intervals.geometric_mean,
        });
        let mut deciles = [0.0; 9];
        for (tenths, decile) in (1..).zip(&mut deciles) {
            *decile = quantile(values, f64::from(tenths) / 10.0)?;
        }
        let above_one = values.len() - values.partition_point(|&ratio| ratio <= 1.0);
        Some(Self {
            count: values.len() as u64,
            mean: Estimate {
                value: arithmetic,
                interval: intervals.mean,
            },
            trimmed_mean: Estimate {
                value: kept,
                interval: intervals.trimmed_mean,
            },
            trimmed_at_each_end: trim_count(values.len()) as u64,
            geometric_mean,
            left_out_of_geometric_mean: ratios.zeros() as u64,
            median: quantile(values, 0.5)?,
            deciles,
            percentile_99: quantile(values, 0.99)?,
            smallest,
            largest,
            share_above_one: above_one as f64 / values.len() as f64,
            resamples: intervals.resamples as u64,
            seed,
        })
    }
}
