//! The horizontal axis: weights on a logarithmic scale with 0 at its left, steps, or ratios on a
//! linear or a logarithmic scale.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;

use super::style::{self, WIDTH};
use crate::format::significant;

/// What a figure's horizontal axis counts.
#[derive(Debug, Clone)]
pub(crate) enum Axis {
    /// Prompt loss weights, ascending: log10 of them, 0 to the left of the smallest.
    Weights(Vec<f64>),
    /// Steps from 0 to the last.
    Steps(f64),
    /// Ratios from 0 to the last.
    Ratios(f64),
    /// Positive ratios between two, on a logarithmic scale with labeled decades.
    Decades([f64; 2]),
}

impl Axis {
    /// Where a value lies: log10 of a weight, a step itself.
    fn place(&self, value: f64) -> f64 {
        match self {
            Self::Weights(weights) if value <= 0.0 => {
                let positive: Vec<f64> = weights
                    .iter()
                    .copied()
                    .filter(|&weight| weight > 0.0)
                    .map(f64::log10)
                    .collect();
                match (positive.first(), positive.last()) {
                    // As far from the smallest as weights are from each other, within reason.
                    (Some(first), Some(last)) => {
                        let gaps = (positive.len() - 1).max(1) as f64;
                        first - ((last - first) / gaps).clamp(0.4, 1.0)
                    }
                    _ => 0.0,
                }
            }
            Self::Weights(_) | Self::Decades(_) => value.log10(),
            Self::Steps(_) | Self::Ratios(_) => value,
        }
    }

    /// The places at both ends of the axis.
    fn ends(&self) -> [f64; 2] {
        match self {
            Self::Weights(weights) => {
                let places = weights.iter().map(|&weight| self.place(weight));
                let low = places.clone().fold(f64::INFINITY, f64::min);
                let high = places.fold(f64::NEG_INFINITY, f64::max);
                let margin = (0.06 * (high - low)).max(0.15);
                [low - margin, high + margin]
            }
            Self::Steps(last) => [-0.01 * last, last.max(1.0) * 1.01],
            Self::Ratios(last) => [0.0, *last],
            Self::Decades(ends) => ends.map(f64::log10),
        }
    }

    /// Whether there is a break between 0 and the smallest positive weight.
    pub(crate) fn breaks_after_zero(&self) -> bool {
        matches!(self, Self::Weights(weights) if weights.first() == Some(&0.0) && weights.len() > 1)
    }

    /// Its first value.
    pub(crate) fn first(&self) -> f64 {
        self.range().start
    }

    /// Its last value.
    pub(crate) fn last(&self) -> f64 {
        self.range().end
    }

    /// The weight after the first; the first where there is no other.
    pub(crate) fn second(&self) -> f64 {
        match self {
            Self::Weights(weights) => weights.get(1).copied().unwrap_or(self.first()),
            _ => self.first(),
        }
    }

    fn label(&self, value: f64) -> String {
        match self {
            Self::Weights(_) => value.to_string(),
            Self::Steps(_) => format!("{value:.0}"),
            Self::Ratios(_) => match significant(value) {
                label if label.contains('.') && !label.contains('e') => label
                    .trim_end_matches('0')
                    .trim_end_matches('.')
                    .to_string(),
                label => label,
            },
            Self::Decades(_) if (1e-5..1e7).contains(&value) => value.to_string(),
            Self::Decades(_) => format!("{value:e}"),
        }
    }
}

/// Powers of ten between two ratios, with 2 and 5 times them where there are few.
fn decades([low, high]: [f64; 2]) -> Vec<f64> {
    let factors: &[u8] = match high.log10() - low.log10() {
        span if span < 2.5 => &[1, 2, 5],
        _ => &[1],
    };
    let exponents = low.log10().floor() as i32..=high.log10().ceil() as i32;
    exponents
        .flat_map(|exponent| factors.iter().map(move |factor| (factor, exponent)))
        // Parsed, because powers are rounded: 1e-3 is written 0.001.
        .filter_map(|(factor, exponent)| format!("{factor}e{exponent}").parse().ok())
        .filter(|tick| (low..=high).contains(tick))
        .collect()
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let [low, high] = self.ends();
        let share = (self.place(*value) - low) / (high - low);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let ticks = match self {
            Self::Steps(_) | Self::Ratios(_) => {
                let is_step = matches!(self, Self::Steps(_));
                let mut ticks = RangedCoordf64::from(self.range()).key_points(hint);
                ticks.retain(|&tick| tick >= 0.0 && (!is_step || tick.fract() == 0.0));
                return ticks;
            }
            Self::Weights(weights) => weights.clone(),
            Self::Decades(ends) => decades(*ends),
        };
        // From the right, so that the largest weight, plain fine-tuning, is always labeled.
        let [low, high] = self.ends();
        let pixels = f64::from(WIDTH - 110) / (high - low);
        let mut kept: Vec<f64> = Vec::new();
        let mut free_until = f64::INFINITY;
        for &tick in ticks.iter().rev() {
            let half = style::text_width(&self.label(tick), 13.0) / 2.0 + 4.0;
            let center = self.place(tick) * pixels;
            if center + half <= free_until {
                kept.push(tick);
                free_until = center - half;
            }
        }
        kept
    }

    fn range(&self) -> Range<f64> {
        match self {
            Self::Weights(weights) => {
                weights.first().copied().unwrap_or(0.0)..weights.last().copied().unwrap_or(1.0)
            }
            Self::Steps(last) => 0.0..last.max(1.0),
            Self::Ratios(last) => 0.0..*last,
            Self::Decades([low, high]) => *low..*high,
        }
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.label(*value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_lies_left_of_the_smallest_weight() {
        let axis = Axis::Weights(vec![0.0, 0.01, 0.1, 1.0]);
        let x = |weight: f64| axis.map(&weight, (0, 1000));
        let distances = [x(0.01) - x(0.0), x(0.1) - x(0.01)];
        assert!(x(0.0) > 0 && x(1.0) < 1000);
        assert!((distances[0] - distances[1]).abs() <= 1, "{distances:?}");
        assert!(axis.breaks_after_zero());
        for weights in [vec![0.0], vec![1.0], vec![0.0, 1.0]] {
            let alone = Axis::Weights(weights.clone());
            assert!(
                weights
                    .iter()
                    .all(|w| (1..1000).contains(&alone.map(w, (0, 1000)))),
                "{weights:?}"
            );
        }
    }

    #[test]
    fn labels_do_not_overlap_and_the_largest_stays() {
        let ticks = Axis::Weights(vec![0.0, 0.97, 0.98, 0.99, 1.0]).key_points(10);
        assert_eq!(ticks.first(), Some(&1.0));
        assert!(ticks.contains(&0.0) && ticks.len() < 5, "{ticks:?}");
        assert!(
            Axis::Steps(3.0)
                .key_points(10)
                .iter()
                .all(|step| step.fract() == 0.0)
        );
    }

    #[test]
    fn decades_are_labeled() {
        let labels = |low: f64, high: f64| {
            let axis = Axis::Decades([low, high]);
            let ticks = axis.key_points(10);
            let labels = ticks.iter().rev().map(|tick| axis.label(*tick));
            labels.collect::<Vec<String>>()
        };
        assert_eq!(labels(0.0004, 30.0), ["0.001", "0.01", "0.1", "1", "10"]);
        assert_eq!(labels(0.3, 2.5), ["0.5", "1", "2"]);
        assert_eq!(
            labels(3e-8, 2e-6),
            ["5e-8", "1e-7", "2e-7", "5e-7", "1e-6", "2e-6"]
        );
        assert!((3..20).contains(&labels(1e-10, 1e10).len()));
    }
}
