//! A proportion of questions, and its confidence interval.

use serde::{Deserialize, Serialize};

/// The normal distribution holds 95 % within this many standard deviations of its mean.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// `correct` of `total` questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Proportion {
    /// Questions answered correctly.
    pub correct: u64,
    /// Questions asked.
    pub total: u64,
}

impl Proportion {
    /// Counts the outcomes that are true.
    pub fn of(outcomes: impl IntoIterator<Item = bool>) -> Self {
        outcomes
            .into_iter()
            .fold(Self::default(), |sum, outcome| Self {
                correct: sum.correct + u64::from(outcome),
                total: sum.total + 1,
            })
    }

    /// The proportion, in [0, 1]. It is 0 for no questions, with the interval [0, 1].
    pub fn value(&self) -> f64 {
        if self.total == 0 {
            0.0
        } else {
            self.correct as f64 / self.total as f64
        }
    }

    /// Wilson's score interval (Wilson 1927) for `z` standard deviations ([`Z_95`] for 95 %): all p
    /// with |value - p| <= z sqrt(p (1 - p) / n). It assumes independent questions. Questions about
    /// one passage are not independent, which is why plw-report resamples whole passages.
    pub fn wilson_interval(&self, z: f64) -> [f64; 2] {
        if self.total == 0 {
            return [0.0, 1.0];
        }
        let n = self.total as f64;
        let p = self.value();
        let scale = 1.0 + z * z / n;
        let center = (p + z * z / (2.0 * n)) / scale;
        let half = z / scale * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        // At 0 and n correct the bound is exact. Rounding could put it slightly outside.
        let low = if self.correct == 0 {
            0.0
        } else {
            center - half
        };
        let high = if self.correct == self.total {
            1.0
        } else {
            center + half
        };
        [low, high]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by scipy 1.17.1:
    /// `[scipy.stats.binomtest(k, n).proportion_ci(0.95, method="wilson") for k, n in cases]`
    #[test]
    fn wilson_agrees_with_scipy() {
        let cases = [
            (0, 1, 0.0, 0.7934506856227626),
            (0, 10, 0.0, 0.27753279986288926),
            (1, 10, 0.017876213095072896, 0.4041500267952385),
            (5, 10, 0.236593090512564, 0.7634069094874361),
            (10, 10, 0.7224672001371109, 1.0),
            (81, 263, 0.2552885198782742, 0.36620957698280004),
            (359, 1436, 0.22829089212746953, 0.27304309461015386),
            (862, 3451, 0.23562347674227124, 0.26449830291545307),
        ];
        for (correct, total, low, high) in cases {
            let interval = Proportion { correct, total }.wilson_interval(Z_95);
            assert!(
                (interval[0] - low).abs() < 1e-12 && (interval[1] - high).abs() < 1e-12,
                "{correct} of {total}: {interval:?}"
            );
        }
    }

    #[test]
    fn nothing_asked_is_nothing_known() {
        let none = Proportion::of([]);
        assert_eq!(
            (none.value(), none.wilson_interval(Z_95)),
            (0.0, [0.0, 1.0])
        );
        let some = Proportion::of([true, false, true, true]);
        assert_eq!((some.correct, some.total, some.value()), (3, 4, 0.75));
    }
}
