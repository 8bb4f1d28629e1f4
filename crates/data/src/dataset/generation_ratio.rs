//! The generation ratio: how much of an example is completion.

use plw_ratio::{mean, trim_count, trimmed};

/// The generation ratio Rg = completion tokens / prompt tokens over examples (Vaughn 2024), without
/// its extremes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerationRatio {
    /// Number of examples in the averages.
    pub examples: usize,
    /// Number of examples cut at each end: 0.25 %, rounded down.
    pub cut: usize,
    /// The mean, which the article reports.
    pub mean: f64,
    /// The geometric mean, for ratios that span orders of magnitude.
    pub geometric_mean: f64,
    /// The smallest ratio after the cut.
    pub lowest: f64,
    /// The largest ratio after the cut.
    pub highest: f64,
}

impl GenerationRatio {
    /// Of examples given as (completion tokens, prompt tokens). Examples without a prompt have no
    /// ratio and do not count; `None` if none has one.
    pub fn of(token_counts: impl IntoIterator<Item = (usize, usize)>) -> Option<Self> {
        let mut ratios: Vec<f64> = token_counts
            .into_iter()
            .filter(|&(_, prompt)| prompt > 0)
            .map(|(completion, prompt)| completion as f64 / prompt as f64)
            .collect();
        ratios.sort_by(f64::total_cmp);
        let kept = trimmed(&ratios);
        let logarithms: Vec<f64> = kept.iter().map(|ratio| ratio.ln()).collect();
        Some(Self {
            examples: kept.len(),
            cut: trim_count(ratios.len()),
            mean: mean(kept)?,
            geometric_mean: mean(&logarithms)?.exp(),
            lowest: *kept.first()?,
            highest: *kept.last()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_means() {
        let ratio = GenerationRatio::of([(1, 100), (4, 100), (3, 0)]).expect("two have a prompt");
        assert_eq!(
            (ratio.examples, ratio.cut, ratio.lowest, ratio.highest),
            (2, 0, 0.01, 0.04)
        );
        assert!((ratio.mean - 0.025).abs() < 1e-15 && (ratio.geometric_mean - 0.02).abs() < 1e-15);
        assert_eq!(GenerationRatio::of([(3, 0)]), None);
    }

    #[test]
    fn the_extremes_are_cut_at_both_ends() {
        // Of 400 examples, 0.25 % is one: the lowest (1e-6) and the highest (9) go.
        let middle = (0..398).map(|_| (2, 100));
        let ratio = GenerationRatio::of([(9, 1), (1, 1_000_000)].into_iter().chain(middle))
            .expect("ratios");
        assert_eq!(
            (ratio.examples, ratio.cut, ratio.lowest, ratio.highest),
            (398, 1, 0.02, 0.02)
        );
        let of_399 = GenerationRatio::of((0..399).map(|i| (i + 1, 100))).expect("ratios");
        assert_eq!((of_399.cut, of_399.examples), (0, 399));
    }
}
