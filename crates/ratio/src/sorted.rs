//! Ratios in ascending order, which all statistics start from.

use rayon::prelude::*;

use crate::lengths::Ratios;

/// The ratios of examples in ascending order, at 8 bytes each, and how many examples have none.
#[derive(Debug, Clone, PartialEq)]
pub struct SortedRatios {
    values: Vec<f64>,
    zeros: usize,
}

impl SortedRatios {
    /// The ratios of all examples that have a prompt.
    pub fn of(ratios: &Ratios) -> Self {
        let all = ratios.with_prompt().iter();
        let mut values: Vec<f64> = all.filter_map(|lengths| lengths.ratio()).collect();
        values.par_sort_unstable_by(f64::total_cmp);
        let zeros = values.partition_point(|&ratio| ratio <= 0.0);
        Self { values, zeros }
    }

    /// All ratios, ascending.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The ratios above 0, ascending.
    pub fn positive(&self) -> &[f64] {
        &self.values[self.zeros..]
    }

    /// Number of ratios that are 0, those of empty completions.
    pub fn zeros(&self) -> usize {
        self.zeros
    }
}
