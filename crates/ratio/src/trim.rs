//! The article's mean: without the extremes.

/// Share of ratios cut at each end before averaging, as in the article (Vaughn 2024): the lowest
/// and the highest 0.25 %.
pub const TRIM: f64 = 0.0025;

/// How many of `count` ratios are cut at each end: 0.25 %, rounded down.
pub fn trim_count(count: usize) -> usize {
    (count as f64 * TRIM) as usize
}

/// Ascending ratios without those that are cut at each end.
pub fn trimmed(ascending: &[f64]) -> &[f64] {
    let cut = trim_count(ascending.len());
    &ascending[cut..ascending.len() - cut]
}

/// The arithmetic mean, summed in order; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_400th_is_cut_at_each_end() {
        for (count, cut) in [
            (0, 0),
            (1, 0),
            (399, 0),
            (400, 1),
            (799, 1),
            (4_000_000, 10_000),
        ] {
            assert_eq!(trim_count(count), cut, "{count}");
        }
        let mut values = vec![2.0; 400];
        (values[0], values[399]) = (0.0, 1e9);
        assert_eq!(mean(trimmed(&values)), Some(2.0));
        assert_eq!(mean(trimmed(&[])), None);
    }
}
