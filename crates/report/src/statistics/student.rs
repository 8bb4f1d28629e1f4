//! Student's t over seeds: how much a training run varies when only its seed changes.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A quantity over the seeds of a group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeanOverSeeds {
    /// The mean.
    pub mean: f64,
    /// Each run's value, in the group's order of runs.
    pub per_run: Vec<f64>,
    /// Sample standard deviation (n - 1); null with one run.
    pub standard_deviation: Option<f64>,
    /// Student's 95 % interval of the mean; null with one run.
    pub seed_interval: Option<[f64; 2]>,
}

/// A difference between two groups, paired by seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairedSeeds {
    /// Number of seeds that both groups have.
    pub seeds: usize,
    /// Mean difference.
    pub difference: f64,
    /// Student's 95 % interval of the mean difference.
    pub interval: [f64; 2],
    /// Two-sided p-value of the paired t-test; null where all differences are equal.
    pub p: Option<f64>,
}

/// The mean over runs with Student's 95 % interval; `None` without values.
pub fn mean_over_seeds(values: &[f64]) -> Option<MeanOverSeeds> {
    let spread = spread(values)?;
    Some(MeanOverSeeds {
        mean: spread.mean,
        per_run: values.to_vec(),
        standard_deviation: spread.deviation,
        seed_interval: spread.interval(),
    })
}

/// The paired t-test of differences, one for each seed; `None` with fewer than two.
pub fn paired_seeds(differences: &[f64]) -> Option<PairedSeeds> {
    let spread = spread(differences)?;
    Some(PairedSeeds {
        seeds: differences.len(),
        difference: spread.mean,
        interval: spread.interval()?,
        p: spread.p_value_of_zero(),
    })
}

/// What Student's t needs.
struct Spread {
    mean: f64,
    deviation: Option<f64>,
    count: f64,
}

fn spread(values: &[f64]) -> Option<Spread> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (!values.is_empty()).then(|| Spread {
        mean,
        deviation: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
        count,
    })
}

impl Spread {
    fn distribution(&self) -> Option<StudentsT> {
        StudentsT::new(0.0, 1.0, self.count - 1.0).ok()
    }

    fn interval(&self) -> Option<[f64; 2]> {
        let half = self.distribution()?.inverse_cdf(0.975) * self.deviation? / self.count.sqrt();
        Some([self.mean - half, self.mean + half])
    }

    fn p_value_of_zero(&self) -> Option<f64> {
        let deviation = self.deviation.filter(|&deviation| deviation > 0.0)?;
        let t = self.mean / (deviation / self.count.sqrt());
        Some(2.0 * self.distribution()?.sf(t.abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(ours: f64, theirs: f64) {
        assert!((ours - theirs).abs() < 1e-7, "{ours} is not {theirs}");
    }

    /// scipy 1.17.1: `t.interval(0.95, n - 1, x.mean(), sem(x))` (`scripts/golden_statistics.py`).
    #[test]
    fn intervals_agree_with_scipy() {
        let cases: [(&[f64], f64, f64); 3] = [
            (&[0.61, 0.64, 0.59], 0.5508172385395755, 0.675849428127091),
            (&[0.5, 0.7], -0.6706204736174691, 1.870620473617469),
            (
                &[2.1, 2.3, 2.2, 2.6, 1.9],
                1.898603242926801,
                2.5413967570731995,
            ),
        ];
        for (values, low, high) in cases {
            let mean = mean_over_seeds(values).expect("values");
            let interval = mean.seed_interval.expect("two or more");
            close(interval[0], low);
            close(interval[1], high);
        }
    }

    /// scipy 1.17.1: `ttest_1samp(x, 0).pvalue` (`scripts/golden_statistics.py`).
    #[test]
    fn the_paired_test_agrees_with_scipy() {
        let paired = paired_seeds(&[0.03, 0.05, 0.01, -0.005]).expect("four seeds");
        close(paired.p.expect("they differ"), 0.17388607394529057);
        assert_eq!(paired.seeds, 4);
        assert_eq!(
            paired_seeds(&[0.02, 0.02]).and_then(|paired| paired.p),
            None
        );
    }

    #[test]
    fn one_seed_has_no_interval() {
        let mean = mean_over_seeds(&[0.61]).expect("a value");
        assert_eq!(
            (mean.mean, mean.seed_interval, mean.standard_deviation),
            (0.61, None, None)
        );
        assert_eq!(mean_over_seeds(&[]), None);
        assert_eq!(paired_seeds(&[0.1]), None);
    }
}
