//! The Gaussian kernel density with Silverman's rule, as `scipy.stats.gaussian_kde` computes it.

use std::f64::consts::PI;
use std::fmt;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Width of a bin in bandwidths.
const BIN: f64 = 1.0 / 500.0;
/// Where a kernel ends for bins, in bandwidths: it is below 3e-18 of its height there.
const REACH: f64 = 9.0;

/// Why values have no density.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoDensity {
    /// There are fewer than two values, too few for a spread.
    TooFew {
        /// How many there are.
        values: u64,
    },
    /// All values are the same, but for rounding.
    OneValue {
        /// The value.
        value: f64,
    },
}

impl fmt::Display for NoDensity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFew { values: 0 } => formatter.write_str("there is no value"),
            Self::TooFew { values: 1 } => formatter.write_str("there is only one value"),
            Self::TooFew { values } => write!(formatter, "there are only {values} values"),
            Self::OneValue { value } => write!(formatter, "all values are {value}"),
        }
    }
}

/// A Gaussian kernel density: the mean of normal distributions around the values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelDensity<'a> {
    ascending: &'a [f64],
    bandwidth: f64,
}

impl<'a> KernelDensity<'a> {
    /// Of ascending values, with the bandwidth of Silverman's rule in scipy's form for one
    /// dimension: `(n * 3 / 4)^(-1/5)` times the sample's standard deviation (`ddof = 1`).
    ///
    /// # Errors
    ///
    /// If the values have no spread.
    pub fn silverman(ascending: &'a [f64]) -> Result<Self, NoDensity> {
        let count = ascending.len() as f64;
        let (&[low, .., high], true) = (ascending, ascending.len() > 1) else {
            return Err(NoDensity::TooFew {
                values: ascending.len() as u64,
            });
        };
        let mean = ascending.iter().sum::<f64>() / count;
        let squares = ascending.iter().map(|value| (value - mean).powi(2));
        let deviation = (squares.sum::<f64>() / (count - 1.0)).sqrt();
        let bandwidth = (count * 0.75).powf(-0.2) * deviation;
        // Values that differ by rounding alone have no spread that a grid could show.
        if high - low <= 1e-12 * low.abs().max(high.abs()) || bandwidth <= 0.0 {
            return Err(NoDensity::OneValue { value: low });
        }
        Ok(Self {
            ascending,
            bandwidth,
        })
    }

    /// The kernels' standard deviation.
    pub fn bandwidth(&self) -> f64 {
        self.bandwidth
    }

    /// The density at each place of a grid: a sum over all values for each.
    pub fn exact(&self, grid: &[f64]) -> Vec<f64> {
        let at = |place: &f64| {
            let kernels = self
                .ascending
                .iter()
                .map(|value| self.kernel(place - value));
            self.height() * kernels.sum::<f64>()
        };
        grid.par_iter().map(at).collect()
    }

    /// The density at each place of a grid, from values binned to 1/500 of the bandwidth, each bin
    /// standing at the mean of its values.
    ///
    /// It differs from [`exact`](Self::exact) by at most 5e-7 of a kernel's height
    /// `1 / (bandwidth * sqrt(2 pi))`: half the kernel's largest curvature, times the largest
    /// variance in a bin.
    pub fn binned(&self, grid: &[f64]) -> Vec<f64> {
        let bins = self.bins();
        let reach = REACH * self.bandwidth;
        let at = |&place: &f64| {
            let from = bins.partition_point(|bin| bin.0 < place - reach);
            let near = bins[from..].iter();
            let kernels = near
                .take_while(|bin| bin.0 <= place + reach)
                .map(|&(value, count)| count * self.kernel(place - value));
            self.height() * kernels.sum::<f64>()
        };
        grid.par_iter().map(at).collect()
    }

    /// Bins with values: their mean and number. At most about 400 000, because few values lie many
    /// standard deviations from the mean.
    fn bins(&self) -> Vec<(f64, f64)> {
        let width = BIN * self.bandwidth;
        let origin = self.ascending[0];
        let number = |value: f64| ((value - origin) / width).floor();
        let together = self.ascending.chunk_by(|a, b| number(*a) == number(*b));
        together
            .map(|bin| {
                let count = bin.len() as f64;
                // From the first value on, so that nothing is lost in large sums.
                let offsets = bin.iter().map(|value| value - bin[0]).sum::<f64>();
                (bin[0] + offsets / count, count)
            })
            .collect()
    }

    /// A kernel at a distance, relative to its height.
    fn kernel(&self, distance: f64) -> f64 {
        (-0.5 * (distance / self.bandwidth).powi(2)).exp()
    }

    /// The height of each value's kernel.
    fn height(&self) -> f64 {
        1.0 / (self.ascending.len() as f64 * self.bandwidth * (2.0 * PI).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_values_are_known() {
        let values = [0.0, 2.0];
        let density = KernelDensity::silverman(&values).expect("a spread");
        // The standard deviation of 0 and 2 is sqrt(2); the factor is 1.5^(-1/5).
        let bandwidth = 1.5f64.powf(-0.2) * 2f64.sqrt();
        assert!((density.bandwidth() - bandwidth).abs() < 1e-15);
        let middle = (-0.5 / bandwidth.powi(2)).exp() / (bandwidth * (2.0 * PI).sqrt());
        assert!((density.exact(&[1.0])[0] - middle).abs() < 1e-15);
    }

    #[test]
    fn bins_are_as_close_as_promised() {
        // Many equal values, a dense part, and a heavy tail.
        let value = |i: u32| f64::from(i % 1999).powi(3) / 1e9 + f64::from(i % 7);
        for values in [
            (0..40_000).map(value).collect::<Vec<f64>>(),
            (0..40_000).map(|i| value(i).exp()).collect(),
            (0..40_000).map(|i| 1.0 / f64::from(i + 1)).collect(),
        ] {
            let mut values = values;
            values.sort_by(f64::total_cmp);
            let density = KernelDensity::silverman(&values).expect("a spread");
            let grid: Vec<f64> = (-20..400)
                .map(|step| values[0] + f64::from(step) * 0.2 * density.bandwidth())
                .collect();
            let (exact, binned) = (density.exact(&grid), density.binned(&grid));
            let errors = exact.iter().zip(&binned).map(|(a, b)| (a - b).abs());
            let largest = errors.fold(0.0, f64::max);
            let bound = 5e-7 / (density.bandwidth() * (2.0 * PI).sqrt());
            assert!(largest < bound, "{largest} {bound}");
            assert!(exact.iter().any(|&height| height > 0.0));
            assert!(density.bins().len() < values.len());
        }
    }

    #[test]
    fn values_without_a_spread_are_told() {
        for (values, reason, text) in [
            (vec![], NoDensity::TooFew { values: 0 }, "there is no value"),
            (
                vec![3.0],
                NoDensity::TooFew { values: 1 },
                "there is only one value",
            ),
            (
                vec![0.1; 30],
                NoDensity::OneValue { value: 0.1 },
                "all values are 0.1",
            ),
            (
                vec![0.0; 3],
                NoDensity::OneValue { value: 0.0 },
                "all values are 0",
            ),
        ] {
            assert_eq!(KernelDensity::silverman(&values), Err(reason));
            assert_eq!(reason.to_string(), text);
        }
    }
}
