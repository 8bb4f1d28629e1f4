//! Medians and ratios of paired measurements. Knows numbers; runs nothing.

use serde::Serialize;

/// How our figure compares with another program's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Ratio {
    /// Our median divided by theirs.
    pub(super) of_medians: f64,
    /// The least ratio within a round.
    pub(super) least: f64,
    /// The greatest ratio within a round.
    pub(super) greatest: f64,
}

/// The middle value, or the mean of the two in the middle; none of nothing.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

/// The ratio of values that belong together round by round; none where they do not pair up.
pub(super) fn ratio(ours: &[f64], theirs: &[f64]) -> Option<Ratio> {
    if ours.len() != theirs.len() {
        return None;
    }
    let paired = || ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
    Some(Ratio {
        of_medians: median(ours)? / median(theirs)?,
        least: paired().reduce(f64::min)?,
        greatest: paired().reduce(f64::max)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let cases: [(&[f64], Option<f64>); 4] = [
            (&[], None),
            (&[3.0], Some(3.0)),
            (&[9.0, 1.0, 2.0], Some(2.0)),
            (&[4.0, 1.0, 2.0, 100.0], Some(3.0)),
        ];
        for (values, expected) in cases {
            assert_eq!(median(values), expected, "{values:?}");
        }
    }

    #[test]
    fn a_ratio_is_of_medians_with_the_pairs_range() {
        let found = ratio(&[2.0, 9.0, 4.0], &[1.0, 3.0, 8.0]).expect("three pairs");
        assert_eq!(
            found,
            Ratio {
                of_medians: 4.0 / 3.0,
                least: 0.5,
                greatest: 3.0
            }
        );
        assert_eq!(ratio(&[1.0], &[]), None);
        assert_eq!(ratio(&[], &[]), None);
    }
}
